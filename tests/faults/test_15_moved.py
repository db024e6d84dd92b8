"""Fault 15: a run is moved, copied without times, opened in another time zone or locale, with another hash seed.

Nothing depends on absolute paths, modification times, the locale or the order of sets.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import Examined
from tests.e2e import small_rows

pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    "elsewhere",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "LANG": "C", "PYTHONHASHSEED": "7", "USER": "another"},
    ],
    ids=["as it was", "elsewhere"],
)
def test_a_moved_run_is_the_same_run(tmp_path: Path, elsewhere: dict[str, str], examined: Examined) -> None:
    place = tmp_path / "deep er" / "plåce"
    place.mkdir(parents=True)
    run = small_rows.copy(place)
    moved = run.with_name("another name")
    run.rename(moved)
    files = [path for path in moved.rglob("*") if path.is_file()]
    for number, path in enumerate(files):
        os.utime(path, (1_000_000_000 - number, 1_000_000_000 - number))
    done = small_rows.mpr("verify", moved, cwd=place, **elsewhere)
    assert done.returncode == 0, done.stderr
    moved.rename(run)
    again = small_rows.reproduce(place, **elsewhere)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("kept: its receipt verifies") == 6, again.stdout
    examined(len(files), "files moved", at_least=20)
