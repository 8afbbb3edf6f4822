"""The command line that all programs here share."""
import argparse
import sys
from pathlib import Path
from typing import Dict, NamedTuple, Optional

from .duel import ONE_THREAD

ROOT = Path(__file__).parent.parent


class Options(NamedTuple):
    """peer, jax: interpreters. env: numbers of threads, for Worker. rounds, seconds: how
    often sides take turns, and how long a turn lasts at least."""

    quick: bool
    full: bool
    peer: str
    jax: Optional[str]
    only: str
    all: bool
    env: Dict[str, str]
    rounds: int
    seconds: float


def parse(description: Optional[str]) -> Options:
    """The arguments of the command; exits if the peer is not there."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="all in under two minutes")
    parser.add_argument("--full", action="store_true", help="with what takes many minutes")
    parser.add_argument("--only", default="", metavar="WORD", help="rows whose name has it")
    parser.add_argument("--all", action="store_true", help="all single operations as rows")
    parser.add_argument(
        "--threads",
        choices=("one", "default"),
        default="one",
        help="for every library, by OMP_NUM_THREADS and the like; default: left to the library",
    )
    parser.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu: each process's own time, for a machine that does other work as well",
    )
    parser.add_argument(
        "--peer",
        default=str(ROOT / ".venv-peer" / "bin" / "python"),
        metavar="PYTHON",
        help="with thinc 8.3.14 and PyTorch; by default that of bin/setup-peers",
    )
    parser.add_argument(
        "--jax", default=str(ROOT / ".venv-jax" / "bin" / "python"), metavar="PYTHON",
        help="with JAX; by default that of bin/setup-peers jax, if it is there",
    )
    args = parser.parse_args()
    if not Path(args.peer).exists():
        sys.exit(f"No peer at {args.peer}: run bin/setup-peers, or name one with --peer")
    jax = args.jax if Path(args.jax).exists() else None
    env = dict(ONE_THREAD) if args.threads == "one" else {}
    if args.clock == "cpu":
        env["BENCHMARK_CLOCK"] = "cpu"
    rounds, seconds = (3, 0.03) if args.quick else (9, 0.2)
    return Options(
        args.quick, args.full, args.peer, jax, args.only, args.all, env, rounds, seconds
    )
