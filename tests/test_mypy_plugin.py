"""The mypy plugin, on one file of calls that are right and wrong."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import thinc

pytest.importorskip("mypy", reason="the plugin needs mypy")

PROGRAM = """
from typing import Any, List
import thinc.api
from thinc.api import Linear, Model, Relu, add, chain, concatenate, reduce_max
from thinc.types import Floats1d, Floats2d, Ints2d, Ragged

dense: Model[Floats2d, Floats2d] = Linear()
pool: Model[Ragged, Floats2d]
embed: Model[Ints2d, Floats2d]
score: Model[Floats2d, Floats1d]
unknown: Any
layers: List[Model]

reveal_type(chain(pool, dense, score))  # chain
reveal_type(thinc.api.chain(pool, score))  # dotted
reveal_type(chain(reduce_max(), Relu()))  # calls
reveal_type(add(pool, pool))  # add
reveal_type(concatenate(pool, pool, pool))  # concatenate
reveal_type(chain(unknown, score))  # any
reveal_type(chain(dense, dense, *layers))  # star
reveal_type(chain(dense, chain(dense, score)))  # nested

chain(
    embed,
    score,  # wrong output 1
    dense,  # wrong input 1
)
add(
    pool,  # wrong next input
    embed,  # wrong previous input
)
concatenate(
    dense,  # wrong next output
    score,  # wrong previous output
)
"""
MODEL = r"thinc\.model\.Model\[thinc\.types\.%s, thinc\.types\.%s\]"
# What mypy is to say about the line with each comment.
EXPECTED = {
    "chain": "Revealed type is .*" + MODEL % ("Ragged", "Floats1d"),
    "dotted": "Revealed type is .*" + MODEL % ("Ragged", "Floats1d"),
    "calls": "Revealed type is .*" + MODEL % ("Ragged", "Floats2d"),
    "add": "Revealed type is .*" + MODEL % ("Ragged", "Floats2d"),
    "concatenate": "Revealed type is .*" + MODEL % ("Ragged", "Floats2d"),
    "any": r"Revealed type is .*thinc\.model\.Model\[",
    "star": r"Revealed type is .*thinc\.model\.Model\[",
    "nested": "Revealed type is .*" + MODEL % ("Floats2d", "Floats1d"),
    "wrong output 1": r"Layer outputs type \(thinc\.types\.Floats1d\) but the next layer expects "
    r"\(thinc\.types\.Floats2d\) as an input .*\[layer-mismatch-output\]",
    "wrong input 1": r"Layer input type \(thinc\.types\.Floats2d\) is not compatible with output "
    r"\(thinc\.types\.Floats1d\) from previous layer .*\[layer-mismatch-input\]",
    "wrong next input": r"Layer input \(thinc\.types\.Ragged\) not compatible with next layer "
    r"input \(thinc\.types\.Ints2d\) .*\[layer-mismatch-input\]",
    "wrong previous input": r"Layer input \(thinc\.types\.Ints2d\) not compatible with previous "
    r"layer input \(thinc\.types\.Ragged\) .*\[layer-mismatch-input\]",
    "wrong next output": r"Layer output \(thinc\.types\.Floats2d\) not compatible with next layer "
    r"output \(thinc\.types\.Floats1d\) .*\[layer-mismatch-output\]",
    "wrong previous output": r"Layer output \(thinc\.types\.Floats1d\) not compatible with "
    r"previous layer output \(thinc\.types\.Floats2d\) .*\[layer-mismatch-output\]",
}


@pytest.fixture(scope="module")
def messages(tmp_path_factory):
    """mypy's messages for PROGRAM, by line number."""
    folder = tmp_path_factory.mktemp("mypy_plugin")
    (folder / "program.py").write_text(PROGRAM)
    (folder / "mypy.ini").write_text(
        "[mypy]\nplugins = thinc.mypy\nfollow_imports = silent\nignore_missing_imports = True\n"
    )
    env = dict(os.environ)
    root = Path(thinc.__file__).parent.parent
    if "site-packages" not in root.parts:
        env["MYPYPATH"] = str(root)
        env["PYTHONPATH"] = os.pathsep.join([str(root), env.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-pretty", "--no-error-summary", "program.py"],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
    )
    assert run.stderr == ""
    found = {}
    for line in run.stdout.splitlines():
        match = re.match(r"program\.py:(\d+): (.*)", line)
        if match:
            found.setdefault(int(match[1]), []).append(match[2])
    return found


@pytest.mark.parametrize("comment", EXPECTED)
def test_message(messages, comment):
    lines = PROGRAM.splitlines()
    number = next(i for i, line in enumerate(lines, 1) if line.endswith("# " + comment))
    said = "\n".join(messages.get(number, []))
    assert re.search(EXPECTED[comment], said), said


def test_there_are_no_other_mismatches(messages):
    mismatches = [m for said in messages.values() for m in said if "layer-mismatch" in m]
    assert len(mismatches) == sum("wrong" in comment for comment in EXPECTED)
