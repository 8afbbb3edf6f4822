"""Instructions that each workload executes, by callgrind: the same in every run.

    python -m benchmarks.instructions [--quick] [--peer PYTHON] [--only WORD]

Needs valgrind. It knows no AVX-512, so our kernels and NumPy's run at their AVX2 level.
The counts are no times: a memory access and an addition count as one instruction each.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List

from .duel import ONE_THREAD, WORKER
from .options import Options, parse

WORKLOADS: Dict[str, str] = {
    "30 tiny Linear, 100 predicts": "workloads.mlp:thinc_tiny_predict",
    "tagger, one document of 5 words": "workloads.tagger:thinc_latency5",
    "tagger, one document of 100 words": "workloads.tagger:thinc_latency100",
    "text classifier with attention, predict": "workloads.textcat:thinc_attention_predict",
    "bidirectional LSTM 128, predict": "workloads.lstm:thinc_predict",
    "sparse linear, update": "workloads.textcat:thinc_sparse_update",
}
TOP = 3


def count(python: str, works: List[str]) -> List[Path]:
    """Callgrind's file of one run of each work, in a new folder.

    Instructions are counted only inside of the interpreter's PyObject_Dir, from where
    worker.py calls the work, and a file is written whenever it returns.
    """
    prefix = Path(tempfile.mkdtemp(prefix="thinc-instructions-")) / "counts"
    command = [
        "valgrind", "--tool=callgrind", "--collect-atstart=no", "--toggle-collect=PyObject_Dir",
        "--dump-after=PyObject_Dir", f"--callgrind-out-file={prefix}", python, str(WORKER),
        str(prefix), *works,
    ]
    env = {**os.environ, **ONE_THREAD, "PYTHONHASHSEED": "0"}
    result = subprocess.run(command, capture_output=True, text=True, env=env)
    numbers = result.stdout.split()
    if result.returncode or len(numbers) != len(works):
        raise RuntimeError(f"valgrind failed: {result.stderr[-2000:]}")
    return [prefix.with_name(f"counts.{number}") for number in numbers]


def total(path: Path) -> int:
    match = re.search(r"^(?:totals|summary): (\d+)", path.read_text(errors="replace"), re.M)
    if match is None:
        raise RuntimeError(f"{path} has no total")
    return int(match.group(1))


def hottest(path: Path) -> str:
    """The functions that execute most instructions themselves, with their shares."""
    result = subprocess.run(
        ["callgrind_annotate", "--threshold=100", str(path)], capture_output=True, text=True
    )
    rows = re.findall(r"^\s*[\d,]+ \(\s*([\d.]+)%\)\s+(.*)$", result.stdout, re.M)
    # Functions that were already running when counting began show up with all there is.
    functions = [(share, name) for share, name in rows if float(share) < 100][:TOP]
    return ", ".join(f"{short(name)} {float(share):.0f}%" for share, name in functions)


def short(function: str) -> str:
    """`name` of "file:name(arguments) [library]"."""
    name = re.sub(r"\s*\[.*$", "", function)
    name = name.split(":", 1)[1] if ":" in name else name
    name = re.sub(r"\(.*$", "", re.sub(r"<.*>", "", name))
    return "`" + name.split("::")[-1].strip()[:40].replace("|", "/") + "`"


def show(options: Options) -> bool:
    if shutil.which("valgrind") is None:
        print("Left out: valgrind is not installed.")
        return True
    chosen = {name: work for name, work in WORKLOADS.items() if options.only in name}
    works = list(chosen.values())
    ours, theirs = count(sys.executable, works), count(options.peer, works)
    print("| workload | ours, million | thinc 8.3.14, million | ratio | ours, where |")
    print("| --- | --- | --- | --- | --- |")
    for name, mine, other in zip(chosen, ours, theirs, strict=True):
        print(
            f"| {name} | {total(mine) / 1e6:.2f} | {total(other) / 1e6:.2f} "
            f"| {total(mine) / total(other):.2f} | {hottest(mine)} |"
        )
    for path in (ours[0].parent, theirs[0].parent):
        shutil.rmtree(path)
    return True


def main() -> None:
    sys.exit(0 if show(parse(__doc__)) else 1)


if __name__ == "__main__":
    main()
