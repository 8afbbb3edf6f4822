"""Where TensorFlow, JAX or safetensors are missing: all names exist, and say what to install."""

import subprocess
import sys

import numpy
import pytest

import thinc.api
from thinc import compat, util
from thinc.shims.jax import JaxModel, JaxShim
from thinc.shims.tensorflow import TensorFlowShim

X = numpy.zeros((2, 3), "f")

TENSORFLOW = {
    "TensorFlowWrapper": lambda: thinc.api.TensorFlowWrapper(None),
    "TensorFlowShim": lambda: TensorFlowShim(None),
    "xp2tensorflow": lambda: thinc.api.xp2tensorflow(X),
    "tensorflow2xp": lambda: thinc.api.tensorflow2xp(X),
    "assert_tensorflow_installed": lambda: util.assert_tensorflow_installed(),
    "set_gpu_allocator": lambda: thinc.api.set_gpu_allocator("tensorflow"),
}
JAX = {
    "JaxWrapper": lambda: thinc.api.JaxWrapper(lambda params, X: X, X),
    "JaxShim": lambda: JaxShim(JaxModel(lambda params, X: X, X)),
    "xp2jax": lambda: thinc.api.xp2jax(X),
    "jax2xp": lambda: thinc.api.jax2xp(X),
    "as_jax_function": lambda: thinc.api.as_jax_function(thinc.api.Linear(2, 3).initialize()),
    "get_jax_default_device": lambda: util.get_jax_default_device(),
}


@pytest.fixture
def nothing(monkeypatch):
    """Neither framework can be imported, whether it is installed or not."""
    for name in ("tensorflow", "jax"):
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setitem(vars(compat), name, None)
        monkeypatch.setitem(vars(compat), f"has_{name}", False)


@pytest.mark.parametrize("name", TENSORFLOW)
def test_tensorflow_is_asked_for(name, nothing):
    with pytest.raises(
        ImportError, match=r"requires tensorflow>=2.16: pip install thinc\[tensorfl"
    ):
        TENSORFLOW[name]()


@pytest.mark.parametrize("name", JAX)
def test_jax_is_asked_for(name, nothing):
    with pytest.raises(ImportError, match=r"requires jax>=0.4.36: pip install thinc\[jax\]"):
        JAX[name]()


def test_enabling_what_is_not_there(nothing):
    with pytest.warns(DeprecationWarning):
        with pytest.raises(ModuleNotFoundError):
            compat.enable_tensorflow()
    assert not compat.has_tensorflow and compat.tensorflow is None


def test_decorating_a_class_needs_no_framework(nothing):
    class Fake:
        def __init__(self, width):
            self.width = width

    cls = thinc.api.keras_subclass("without_frameworks.v1", X, X, (None, 3))(Fake)
    assert cls(3).eg_args.args == (3,) and cls(3).catalogue_name == "without_frameworks.v1"
    assert thinc.api.keras_model_fns.get("without_frameworks.v1") is cls


def test_predicates_say_no(nothing):
    for name in ("tensorflow", "tensorflow_gpu", "jax", "mxnet", "mxnet_gpu"):
        assert getattr(util, f"is_{name}_array")(X) is False


def test_asking_for_names_loads_no_framework():
    code = (
        "import sys, thinc.api, thinc.layers, thinc.shims\n"
        "for module in (thinc.api, thinc.layers, thinc.shims):\n"
        "    for name in module.__all__:\n"
        "        if name not in ('has_cupy',): getattr(module, name)\n"
        "print([m for m in ('tensorflow', 'keras', 'jax', 'mxnet', 'safetensors', 'flax') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
