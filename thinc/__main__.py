"""`python -m thinc gpu`: what of a GPU can be used here."""

import argparse
import sys
from typing import List, Optional


def main(arguments: Optional[List[str]] = None) -> int:
    """0 if what was asked about works, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m thinc")
    commands = parser.add_subparsers(dest="command", required=True)
    gpu = commands.add_parser("gpu", help="what of a GPU can be used, and what to install")
    gpu.add_argument("--no-self-test", action="store_true", help="do not run kernels")
    options = parser.parse_args(arguments)
    from .gpu_report import explain_gpu

    report = explain_gpu(self_test=not options.no_self_test)
    print(report)
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
