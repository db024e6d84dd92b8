"""A system that nobody thought of: the label that docs/systems.md shows, added to a copy as the one file that it is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Examined
from tests.e2e import collection

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
SOURCES = ("{name: file, as: bm25}, {name: random, as: easy, depth: 6, seed: 1}",
           "labels=[{name: known_positives, tiers: [gold, answer_match], siblings: ignore, shared: ignore, "
           "duplicates: ignore, doubtful: ignore}, {name: agreed, source: bm25, other: easy}]")  # fmt: skip


def test_one_file_and_a_recipe_are_a_system(tmp_path: Path, examined: Examined) -> None:
    page = (ROOT / "docs" / "systems.md").read_text("utf-8")
    (label,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    shutil.copytree(ROOT / "mpr", tmp_path / "mpr", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "mpr" / "labels" / "agreed.py").write_text(label, "utf-8")
    recipe = collection.write(tmp_path / "collection")
    command = [sys.executable, "-m", "mpr.cli", "train", str(recipe), "--quiet", "--set", f"sources=[{SOURCES[0]}]",
               "--set", SOURCES[1], "--home", str(tmp_path / "home"), "--folder", str(tmp_path / "run")]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "model").is_dir()
    mined = subprocess.run(
        [*command[:3], "mine", *command[4:-2]],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    (line,) = re.findall(r"label .*agreed (\d+) remain, (\d+) left out", mined.stdout)
    assert int(line[1]) > 0
    examined(sum(map(int, line)), "candidates, of which two sources agree on some", at_least=5)
