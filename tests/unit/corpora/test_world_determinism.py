"""The same dials give the same bytes: on every machine, in every locale and time zone, whatever the hash seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.invented import digest, small, usual

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[3]

# Written once from this code; any change of a template, of a word list or of the order of throws changes them, and with
# them every result that was measured on an invented world.
USUAL = "fc3f7a91f617686d8b7cdd2abd70a783c7078e4ef738b67cbb43fd1e2547ad37"
SMALL = "20d2e0728dacc8337807f687c8cc47a4c2b0081f963a9d5a1e32b2d00a278df2"
DIALS = {
    "seed": 7,
    "statements": 4,
    "few_positive": 0.5,
    "false_matches": 2.5,
    "duplicates": 0.2,
    "wrong_positives": 0.25,
}

_CHILD = f"from tests.unit.invented import digest, small; print(digest(small(**{DIALS})))"


def test_default_world_is_golden() -> None:
    assert digest(usual()) == USUAL


def test_another_world_is_golden() -> None:
    assert digest(small(**DIALS)) == SMALL


@pytest.mark.parametrize(
    "surroundings",
    [
        {"PYTHONHASHSEED": "0", "LC_ALL": "C", "TZ": "UTC"},
        {"PYTHONHASHSEED": "1", "LC_ALL": "C.UTF-8", "TZ": "Pacific/Kiritimati"},
        {"PYTHONHASHSEED": "random", "LC_ALL": "tr_TR.UTF-8", "TZ": "America/St_Johns", "PYTHONOPTIMIZE": "2"},
    ],
    ids=["C", "far east", "elsewhere"],
)
def test_surroundings_change_nothing(surroundings: dict[str, str], tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **surroundings}
    done = subprocess.run(
        [sys.executable, "-c", _CHILD], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == SMALL


def test_seeds_and_dials_change_the_digest() -> None:
    changed = [{**DIALS, "seed": 8}, {**DIALS, "statements": 5}, {**DIALS, "wrong_positives": 0.3}]
    digests = {digest(small(**dials)) for dials in changed}
    assert len(digests | {SMALL}) == 4


def test_reading_twice_gives_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    collection = small(seed=3)
    assert digest(collection) == digest(collection)
