"""See the package."""

from __future__ import annotations

import argparse
import importlib
import resource
import sys
import tempfile
from pathlib import Path

KINDS = ("files", "recipes", "folders", "damages", "kills", "nodes")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--cases", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--from", type=int, default=0, dest="start", metavar="NUMBER", help="number of the first case")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="attack-") as folder:
        attack = importlib.import_module(f"tests.attack.{given.kind}").attack
        found = attack(Path(folder), given.cases, given.seed, given.start)
        cases = f"seed {given.seed}, cases from {given.start:,}"
        print(f"{given.kind}, {cases}: {found.report()} ({_processor():,.0f} s of processor)")
    sys.exit(bool(found.failures))


def _processor() -> float:
    """Seconds, of processes that were forked too."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    main()
