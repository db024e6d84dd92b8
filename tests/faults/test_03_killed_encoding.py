"""Fault 3: killed while encoding, or while a cross-encoder scores. At most the open part is made again, and the bits
are those of an unbroken run."""

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


def tried(*words: str, program: str = "encoding") -> Any:
    """What a program of `tests/faults` tried; it raises when a result differs."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-m", f"tests.faults.{program}", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-3_000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_killed_at_some_operations(quick_path: Path, examined: Examined) -> None:
    found = tried("kill", str(quick_path), "9")
    assert {made for _, made in found} >= {0, 1, 2, 3}, "killed before, between and after shards"
    examined(len(found), "operations at which the encoding was killed", at_least=8)


@pytest.mark.slow
def test_killed_at_every_operation(quick_path: Path, examined: Examined) -> None:
    found = tried("kill", str(quick_path))
    assert {operation for operation, _ in found} >= {
        "create folder",
        "lock",
        "create",
        "write",
        "flush",
        "rename",
        "remove",
    }
    examined(len(found), "operations at which the encoding was killed", at_least=60)


def test_killed_while_scoring(quick_path: Path, examined: Examined) -> None:
    found = tried(str(quick_path), "11", program="scoring")
    assert {made for _, made in found} >= {0, 1, 2, 3}, "killed before, between and after chunks"
    examined(len(found), "operations at which a label pass was killed", at_least=8)


@pytest.mark.slow
def test_killed_at_every_operation_of_a_label_pass(quick_path: Path, examined: Examined) -> None:
    found = tried(str(quick_path), "1", program="scoring")
    examined(len(found), "operations at which a label pass was killed", at_least=80)


def test_processes_share_the_work_and_fail_together(quick_path: Path, examined: Examined) -> None:
    """The bits do not depend on the number of processes; one that breaks ends all, and what was done stays."""
    found = tried("share", str(quick_path))
    together, breaking = found["together"], found["breaking"]
    assert (together["codes"], together["there"]) == ([0, 0], True)
    assert together["made"] == [["0", "2", "4"], ["1", "3", "5"]]
    assert (breaking["codes"], breaking["there"]) == ([3, 3], False)
    assert breaking["made"][1] == ["1"], "its second shard was refused"
    assert "not-a-number or infinity in the vector of" in breaking["errors"]["breaking-1-error"]
    examined(4, "processes", at_least=4)
