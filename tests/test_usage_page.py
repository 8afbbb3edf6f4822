"""The page that the library began from, docs/usage-models.md: its code runs as written."""
import re
import sys
import types
from pathlib import Path
from typing import Optional

import numpy
import pytest
from sklearn.datasets import load_digits

import thinc
from thinc.api import fix_random_seed, to_categorical

PAGE = Path(__file__).parent.parent / "docs" / "usage-models.md"
BLOCKS = [
    block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S) if "###" in block
]


@pytest.fixture
def ml_datasets(monkeypatch):
    """Stands in for the package of that name, which downloads: scikit-learn's digits."""
    data = load_digits()
    order = numpy.random.RandomState(0).permutation(len(data.target))
    X = (data.data[order] / 16.0).astype("float32")
    Y = to_categorical(data.target[order])
    module = types.ModuleType("ml_datasets")
    module.mnist = lambda: ((X[360:], Y[360:]), (X[:360], Y[:360]))
    monkeypatch.setitem(sys.modules, "ml_datasets", module)


def test_the_five_blocks_train_save_and_register(ml_datasets, capsys, tmp_path):
    assert len(BLOCKS) == 5
    fix_random_seed(0)
    # The names that the page takes for granted.
    names = {"n_epochs": 25, "loss": 0.0, "Optional": Optional}
    for block in BLOCKS:
        exec(block, names)
    accuracy = float(capsys.readouterr().out.splitlines()[-1].split()[-1])
    assert accuracy >= 0.95

    path = tmp_path / "mnist.model"
    names["model"].to_disk(path)
    create = thinc.registry.layers.get("mnist_mlp.v1")
    half = tmp_path / "half.model"
    half.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match="not a saved model: incomplete"):
        create(nO=10, dropout=0.2, from_disk=half)
    loaded = create(nO=10, dropout=0.2, from_disk=path)
    dev_X = names["dev_X"]
    numpy.testing.assert_array_equal(loaded.predict(dev_X), names["model"].predict(dev_X))
