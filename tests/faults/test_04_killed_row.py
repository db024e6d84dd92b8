"""Fault 4: `mpr reproduce` is killed in each of its stages. The same command ends with the same files and numbers.

And what says what a row gave (receipts, result, leaderboard, band, locks) is read after a kill at each of its writes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mpr.rows.pipeline import STAGES
from tests.conftest import Examined

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]


def tried(mode: str, folder: Path, program: str = "rows", *more: str) -> list[list[str]]:
    """At what `tests/faults/rows.py` killed: stage, operation, file; it raises when a result differs."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-m", f"tests.faults.{program}", mode, str(folder), *more]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=3_000
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    found: list[list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_killed_once_in_every_stage(quick_path: Path, examined: Examined) -> None:
    """And once more with a plan: where one of its stages is over and the next begins, and twice inside of that."""
    found = tried("stages", quick_path)
    stages = [stage for stage, _, _ in found]
    assert stages[:6] == list(STAGES)
    assert stages[6:] == ["train-first", "mine-second", "train-second", "train-second"]
    examined(len(found), "kills of two rows", at_least=10)


@pytest.mark.slow
def test_killed_in_every_stage_at_other_moments(quick_path: Path, examined: Examined) -> None:
    examined(len(tried("often", quick_path)), "kills of rows", at_least=48)


@pytest.mark.slow
def test_killed_at_many_operations_of_every_stage(quick_path: Path, examined: Examined) -> None:
    found = tried("sweep", quick_path)
    assert {stage for stage, _, _ in found} == set(STAGES)
    assert {operation for _, operation, _ in found} >= {"create", "write", "flush", "rename", "remove", "lock"}
    examined(len(found), "kills, each of a row of its own", at_least=80)


@pytest.mark.slow
def test_killed_at_random_times(quick_path: Path, examined: Examined) -> None:
    examined(len(tried("times", quick_path)), "kills at random times", at_least=15)


@pytest.mark.slow
@pytest.mark.parametrize("what, files", [("board", 10), ("row", 5)])
def test_small_files_are_the_old_or_the_new_ones(what: str, files: int, quick_path: Path, examined: Examined) -> None:
    """At every operation of `leaderboard add`, `build` and `expect`; at every one on a small file of a mended row."""
    found = tried(what, quick_path, "small_files", "1")
    assert {operation for operation, _ in found} >= {"create", "write", "flush", "rename", "remove", "lock"}
    names = {name.removeprefix(".").removesuffix(".new").removesuffix(".lock") for _, name in found}
    assert len(names) >= files, names
    examined(len(found), f"kills while {len(names)} files of a {what} were written", at_least=40)
