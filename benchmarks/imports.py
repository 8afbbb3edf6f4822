"""What `import thinc.api` costs, against `import numpy`, an interpreter's start subtracted.

    python -m benchmarks.imports [--quick]

Goal: at most 1.6 times. Modules are compiled to byte code before, as an installation does.
"""
import compileall
import statistics
import sys
from pathlib import Path

from .duel import Side, Worker, take_turns
from .options import Options, parse
from .programs import against

GOAL = 1.6


def show(options: Options) -> bool:
    # An interpreter that may not write byte code would compile what has changed each time.
    compileall.compile_dir(str(Path(__file__).parent.parent / "thinc"), quiet=1)
    with Worker("ours", sys.executable) as worker:
        sides = [Side(worker, f"workloads.parts:import_{name}")
                 for name in ("thinc", "numpy", "nothing")]
        thinc, numpy, nothing = take_turns(sides, 5 if options.quick else 15, 0.0)
    ours = [t - n for t, n in zip(thinc, nothing, strict=True)]
    base = [t - n for t, n in zip(numpy, nothing, strict=True)]
    ratio = statistics.median(ours) / statistics.median(base)
    print(
        f"import thinc.api: {1000 * statistics.median(ours):.0f} ms, {against(GOAL, ratio)} of "
        f"import numpy ({1000 * statistics.median(base):.0f} ms), interpreter start subtracted"
    )
    return True


if __name__ == "__main__":
    show(parse(__doc__))
