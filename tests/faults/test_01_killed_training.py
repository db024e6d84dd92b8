"""Faults 1, 2 and 8: killed at any moment, killed inside a save, other machine settings. The same bits each time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Examined

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]


def tried(mode: str, folder: Path) -> Any:
    """What `tests/faults/training.py` tried; it raises when a result differs."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-m", "tests.faults.training", mode, str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=1_500
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_killed_at_random_moments(tmp_path: Path, examined: Examined) -> None:
    kills = tried("random", tmp_path)
    examined(sum(kills), f"kills in {len(kills)} runs", at_least=2)


@pytest.mark.slow
def test_killed_at_some_operations_on_the_disk(tmp_path: Path, examined: Examined) -> None:
    examined(len(tried("some", tmp_path)), "operations at which training was killed", at_least=5)


def test_killed_in_a_refresh(tmp_path: Path, examined: Examined) -> None:
    """Between two updates: the same weights, the same table, and nothing else is left."""
    found = tried("refresh", tmp_path)
    assert all(" refresh/own-2-" in place for place in found), found
    examined(len(found), "operations at which a refresh was killed")


@pytest.mark.slow
def test_killed_at_many_operations_of_a_refresh(tmp_path: Path, examined: Examined) -> None:
    examined(len(tried("refreshes", tmp_path)), "operations at which a refresh was killed", at_least=40)


@pytest.mark.slow
def test_settings_that_must_not_change_a_bit(tmp_path: Path, examined: Examined) -> None:
    examined(len(tried("bits", tmp_path)), "settings", at_least=6)


@pytest.mark.slow
def test_killed_often(tmp_path: Path, examined: Examined) -> None:
    kills = tried("often", tmp_path)
    examined(sum(kills), f"kills in {len(kills)} runs", at_least=25)


@pytest.mark.slow
def test_killed_at_every_operation_on_the_disk(tmp_path: Path, examined: Examined) -> None:
    examined(len(tried("saving", tmp_path)), "operations at which training was killed", at_least=40)
