"""MXNet is retired: every name is there, and says so when it is used."""

import numpy
import pytest

import thinc.api
from thinc import util
from thinc.layers import mxnetwrapper
from thinc.shims.mxnet import MXNetShim

USES = {
    "MXNetShim": lambda: MXNetShim(None),
    "MXNetWrapper": lambda: mxnetwrapper.MXNetWrapper(None),
    "forward": lambda: mxnetwrapper.forward(None, None, False),
    "inputs": lambda: mxnetwrapper.convert_mxnet_default_inputs(None, None, False),
    "outputs": lambda: mxnetwrapper.convert_mxnet_default_outputs(None, None, False),
    "xp2mxnet": lambda: thinc.api.xp2mxnet(numpy.zeros(2)),
    "mxnet2xp": lambda: thinc.api.mxnet2xp(numpy.zeros(2)),
    "enable_mxnet": lambda: thinc.api.enable_mxnet(),
    "assert_mxnet_installed": lambda: util.assert_mxnet_installed(),
}


@pytest.mark.parametrize("name", USES)
def test_using_a_name_says_that_mxnet_is_retired_and_what_to_use(name):
    with pytest.raises(ImportError, match=r"MXNet is retired: .*NumPy 2.*PyTorchWrapper"):
        USES[name]()


def test_mxnet_counts_as_absent():
    assert not util.has_mxnet and not util.is_mxnet_array(numpy.zeros(2))


def test_the_registered_name_is_there():
    assert thinc.registry.layers.get("MXNetWrapper.v1") is thinc.api.MXNetWrapper
