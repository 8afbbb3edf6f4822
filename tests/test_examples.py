"""The programs in examples/ do what they say."""
import importlib.util
from pathlib import Path

import numpy
import pytest

from thinc.api import prefer_gpu

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def mnist():
    spec = importlib.util.spec_from_file_location("mnist_example", EXAMPLES / "mnist.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_digits_are_recognized(mnist, capsys):
    accuracy = mnist.main(["--no-progress"])
    assert accuracy >= 0.95
    output = capsys.readouterr().out
    assert output.splitlines()[-1] == f"Final accuracy: {accuracy:.3f}"
    assert "guess" in output and "Saved and loaded again" in output


def test_the_same_seed_trains_the_same_model(mnist, capsys):
    outputs = []
    for _ in range(2):
        mnist.main(["--no-progress", "--epochs", "2", "--seed", "3"])
        lines = capsys.readouterr().out.splitlines()
        # The last column of an epoch's line is its speed.
        outputs.append([line.rsplit(None, 1)[0] for line in lines[2:4]])
    assert outputs[0] == outputs[1]


def test_the_picture_shows_every_image(mnist):
    images = numpy.zeros((2, 64), dtype="float32")
    images[1, 0] = 1.0
    text = mnist.picture(images, [3, 4], [3, 5])
    assert text.splitlines()[0].strip() == "@@"
    assert "guess 4, true 5" in text


@pytest.mark.parametrize(
    "arguments,message",
    [(["--epochs", "0"], "--epochs must be at least 1"), (["--data", "cifar"], "invalid choice")],
)
def test_wrong_options_are_refused(mnist, capsys, arguments, message):
    with pytest.raises(SystemExit):
        mnist.main(arguments)
    assert message in capsys.readouterr().err


def test_gpu_option_says_what_is_missing(mnist):
    if prefer_gpu():
        pytest.skip("this machine has a GPU")
    with pytest.raises(SystemExit, match="--gpu: Cannot use GPU"):
        mnist.main(["--gpu"])
