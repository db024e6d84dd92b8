"""See the package."""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from pathlib import Path

KINDS = ("files", "recipes", "folders", "damages", "kills", "nodes")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--cases", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="attack-") as folder:
        began = time.process_time()
        found = importlib.import_module(f"tests.attack.{given.kind}").attack(Path(folder), given.cases, given.seed)
        print(f"{given.kind}, seed {given.seed}: {found.report()} ({time.process_time() - began:,.0f} s of processor)")
    sys.exit(bool(found.failures))


if __name__ == "__main__":
    main()
