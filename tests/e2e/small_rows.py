"""A row that takes seconds: the quickstart on a small world. Made once; each test breaks a copy of its own."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from tests.published import ROOT, said, smaller


def mpr(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line as a user types it, in a process of its own."""
    command = [sys.executable, "-m", "mpr.cli", *map(str, arguments)]
    found = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300, check=False, env=found)


def reproduce(place: Path, *more: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return mpr("reproduce", "small.yaml", "--no-baselines", "--quiet", *more, cwd=place, **environment)


@cache
def _made() -> Path:
    place = Path(tempfile.mkdtemp(prefix="row"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    text = (ROOT / "recipes" / "quickstart.yaml").read_text("utf-8")
    (place / "small.yaml").write_text(smaller(text), "utf-8")
    with contextlib.chdir(place):  # in this process, which has loaded the libraries
        said("reproduce", "small.yaml", "--no-baselines", "--quiet")
    return place


def copy(place: Path) -> Path:
    """`small.yaml`, `.mpr` and `runs/small-seed42` with its result, copied without times."""
    shutil.copytree(_made(), place, dirs_exist_ok=True, copy_function=shutil.copyfile)
    return place / "runs" / "small-seed42"
