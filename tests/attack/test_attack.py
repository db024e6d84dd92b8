"""A small share of the attack; `make attack` runs the rest."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Examined
from tests.published import ROOT


@pytest.mark.long
@pytest.mark.parametrize("kind, cases", [("files", 1_200), ("recipes", 120), ("folders", 24), ("damages", 12)])
def test_no_case_ends_in_a_traceback(tmp_path: Path, kind: str, cases: int, examined: Examined) -> None:
    found = importlib.import_module(f"tests.attack.{kind}").attack(tmp_path, cases, seed=7)
    assert not found.failures, found.report()
    examined(found.cases, f"cases of {kind}", at_least=cases // 2)


@pytest.mark.slow
def test_killed_where_hidden_names_appear(examined: Examined) -> None:
    command = [sys.executable, "-m", "tests.attack", "kills", "--cases", "2", "--seed", "7"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    examined(2, f"kills: {done.stdout.strip()}")


@pytest.mark.slow
def test_machines_of_a_cluster_are_lost(examined: Examined) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    command = [sys.executable, "-m", "tests.attack", "nodes", "--cases", "2", "--seed", "7"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    examined(2, f"machines: {done.stdout.strip()}")
