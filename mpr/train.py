"""Trains a recipe: `accelerate launch mpr/train.py RECIPE`, `python -m mpr.train RECIPE` or `mpr train RECIPE`.

Running the same command again continues where the run stopped. What is left is a run folder whose `model/` every later
command accepts. The work is in `mpr/training/launch.py`.
"""

from __future__ import annotations

import os
import sys

if __package__ in (None, ""):  # launched by path: this folder is first on sys.path and would shadow libraries
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path

from mpr import storage
from mpr.recipe import read, shipped
from mpr.runtime import command
from mpr.runtime.processes import Place
from mpr.training.launch import Launch, run


def parse(arguments: Sequence[str]) -> tuple[Path, list[str], Launch]:
    """The recipe, what overrides it, and the rest."""
    parser = argparse.ArgumentParser(prog="mpr train", description=__doc__)
    parser.add_argument("recipe", type=Path, help="a recipe file, or the name of one that comes with mpr")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key; recorded")
    parser.add_argument("--home", type=Path, default=Path(os.environ.get("MPR_HOME", ".mpr")), help="prepared data")
    parser.add_argument("--folder", "--run", dest="run", type=Path, help="run folder; default runs/<recipe>-seed<seed>")
    parser.add_argument("--fork", metavar="NAME", help="start another run folder of the same recipe")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    parser.add_argument("--no-wait", action="store_true", help="refuse where another process is at work")
    parser.add_argument("--stage", metavar="NAME", help="of a recipe with a plan: only this stage")
    found = parser.parse_args(arguments)
    storage.waits = not found.no_wait
    return found.recipe, found.set, Launch(found.home, found.run, found.fork, found.quiet, found.stage)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry of all three spellings."""
    warnings.filterwarnings("ignore", message=".*broadcast_buffers", category=FutureWarning)  # ours, until it is gone
    path, overrides, launch = parse(sys.argv[1:] if arguments is None else arguments)
    with command.running():
        command.tell()
        with Place.here().speaking_once():
            recipe = read.load(shipped.find(path), overrides)
        folder = run(recipe, launch)
        if Place.here().rank == 0:
            print(f"trained: {folder}")


if __name__ == "__main__":
    main()
