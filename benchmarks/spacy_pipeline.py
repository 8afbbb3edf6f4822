"""spaCy on this package against spaCy on thinc 8.3.14: training, nlp.pipe and latency.

    python -m benchmarks.spacy_pipeline [--quick] [--ours PYTHON] [--peer PYTHON]

A tagger, parser and ner on a shared tok2vec of width 96 and depth 4, one thread. The two
interpreters, with the same spaCy, are those of `bin/test-spacy install`. Goals: twice the
words a second, half the latency.
"""
import argparse
import os
import statistics
import sys
from pathlib import Path
from typing import List, Tuple

from .duel import ONE_THREAD, Side, Worker, median_ratio, take_turns
from .machine import cpu_name, output

ROOT = Path(__file__).parent.parent
VERSIONS = """
import spacy, sys, thinc
print('spaCy', spacy.__version__, 'thinc', thinc.__version__, 'Python', sys.version.split()[0])
"""
# Label, work, the goal of theirs/ours in time.
ROWS: List[Tuple[str, str, float]] = [
    ("training", "train", 2.0),
    ("nlp.pipe", "pipe", 2.0),
    ("nlp(text), 5 words", "latency_5", 2.0),
    ("nlp(text), 20 words", "latency_20", 2.0),
    ("nlp(text), 100 words", "latency_100", 2.0),
    ("frozen: nlp.pipe", "frozen_pipe", 2.0),
    ("frozen: nlp(text), 5 words", "frozen_latency_5", 2.0),
    ("frozen: nlp(text), 20 words", "frozen_latency_20", 2.0),
    ("frozen: nlp(text), 100 words", "frozen_latency_100", 2.0),
]


def amount(work: str, units: float, seconds: float) -> str:
    if "latency" in work:
        return f"{seconds * 1e3:.2f} ms"
    return f"{units / seconds:,.0f} words/s"


def show(ours: str, peer: str, quick: bool = False) -> bool:
    """Print the table. Returns whether every goal was reached."""
    rounds, seconds = (3, 0.5) if quick else (9, 1.0)
    good = True
    print("| what | ours | thinc 8.3.14 | times as fast | goal |")
    print("| --- | --- | --- | --- | --- |")
    with Worker("ours", ours) as mine, Worker("thinc 8.3.14", peer) as other:
        for label, name, goal in ROWS:
            work = f"workloads.spacy_pipeline:{name}"
            units = mine.ask("build", work)["units"]
            a, b = take_turns([Side(mine, work), Side(other, work)], rounds, seconds)
            ratio = median_ratio(b, a)
            good = good and ratio >= goal
            figures = [amount(name, units, statistics.median(times)) for times in (a, b)]
            verdict = f"{goal:.1f}" if ratio >= goal else f"{goal:.1f}, MISSED"
            print("|", " | ".join([label, *figures, f"{ratio:.2f}", verdict]), "|", flush=True)
    return good


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three short rounds")
    for option, folder in (("--ours", ".venv-spacy"), ("--peer", ".venv-spacy-peer")):
        parser.add_argument(option, default=str(ROOT / folder / "bin/python"), metavar="PYTHON")
    args = parser.parse_args()
    for python in (args.ours, args.peer):
        if not Path(python).exists():
            sys.exit(f"There is no {python}: run `bin/test-spacy install`, or name another")
    print(f"CPU: {cpu_name()}, load before the run {os.getloadavg()[0]:.1f}")
    print(f"ours: {output(args.ours, VERSIONS, ONE_THREAD)}")
    print(f"peer: {output(args.peer, VERSIONS, ONE_THREAD)}")
    show(args.ours, args.peer, args.quick)


if __name__ == "__main__":
    main()
