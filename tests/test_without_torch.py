"""Where PyTorch is not installed, its part of the library says so when it is used."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
sys.modules["torch"] = None  # as if it could not be imported
import numpy
import thinc.api
from thinc.api import *
from thinc.api import Linear, registry
from thinc.layers import PyTorchWrapper_v2, TorchScriptWrapper_v1
from thinc.layers.lstm import PyTorchLSTM
from thinc.shims import PyTorchShim, PyTorchGradScaler, TorchScriptShim
from thinc.shims.pytorch import default_serialize_torch_model
try:
    {use}
except ImportError as error:
    print(type(error).__name__, error)
"""
USES = [
    "PyTorchWrapper(None)",
    "PyTorchWrapper_v2(None)",
    "PyTorchWrapper_v3(None)",
    "PyTorchRNNWrapper(None)",
    "PyTorchLSTM(4, 4)",
    "TorchScriptWrapper_v1()",
    "PyTorchShim(None)",
    "TorchScriptShim(None)",
    "PyTorchGradScaler()",
    "as_torch_module(Linear(1, 1).initialize())",
    "xp2torch(numpy.ones(1))",
    "torch2xp(numpy.ones(1))",
    "registry.layers.get('PyTorchWrapper.v1')(None)",
    "set_gpu_allocator('pytorch')",
]


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.parametrize("use", USES)
def test_what_needs_pytorch_names_the_extra(use):
    done = run(PROGRAM.format(use=use))
    assert "pip install thinc[torch]" in done.stdout, done.stderr
    assert done.stdout.startswith("ImportError")


def test_an_lstm_of_no_depth_needs_nothing():
    done = run(PROGRAM.format(use="print(PyTorchLSTM(4, 4, depth=0).name)"))
    assert done.stdout.strip() == "noop", done.stderr


def test_the_registry_knows_the_names_without_loading_a_framework():
    names = ["PyTorchWrapper.v1", "PyTorchWrapper.v2", "PyTorchWrapper.v3",
             "PyTorchRNNWrapper.v1", "PyTorchLSTM.v1"]  # fmt: skip
    done = run(
        "import sys; from thinc.config import registry\n"
        f"print(all(registry.has('layers', name) for name in {names}))\n"
        "print('torch' in sys.modules)"
    )
    assert done.stdout.split() == ["True", "False"], done.stderr
