"""The code on docs/gpu.md runs as written, on fake_cupy."""

import re
from pathlib import Path

import fake_cupy
import numpy

from thinc.api import fix_random_seed, set_deterministic

PAGE = Path(__file__).parent.parent / "docs" / "gpu.md"


def test_the_code_runs_as_written(monkeypatch, capsys):
    fake_cupy.install(monkeypatch)
    fix_random_seed(0)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf8"), re.S)
    names: dict = {}
    try:
        for block in blocks:
            exec(compile(block, str(PAGE), "exec"), names)
    finally:
        set_deterministic(False)
    losses = [float(line.split()[1]) for line in capsys.readouterr().out.splitlines()]
    assert losses[-1] < losses[0]
    assert isinstance(names["Y"], fake_cupy.ndarray)
    assert names["predict"].n_graphs == names["update"].n_graphs == 1
    assert numpy.isfinite(names["Y"].get()).all()
