"""A finished row of which one file is damaged: `mpr verify` must name it, and must find nothing once it is restored."""

from __future__ import annotations

import os
from pathlib import Path

from mpr.errors import MprError, Problem
from mpr.rows import verification
from mpr.storage import manifest
from tests.attack.damage import damaged
from tests.attack.outcome import Attack
from tests.e2e import small_rows

UNSEEN = (".lock", ".begun")
"""Ends of names that say nothing about a result: locks that nobody holds, and counts of attempts."""


def attack(folder: Path, cases: int, seed: int, start: int = 0) -> Attack:
    """Any file of the run folder and of the data that it was made from; its time stays what it was."""
    found, run = Attack(), small_rows.copy(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(UNSEEN))
    files = [path for path in files if path != folder / "small.yaml"]  # the user's own: the run has a copy
    for number, dice in found.turns(cases, seed, start):
        path = dice.choice(files)
        kept, times = path.read_bytes(), path.stat()
        while (changed := damaged(dice, kept)) == kept:
            pass
        path.write_bytes(changed)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        name = f"{number} {path.relative_to(folder)}"
        said = found.case(name, lambda: problems(run))
        if said == []:
            found.failed(name, f"nobody noticed {changed[:80]!r}")
        path.write_bytes(kept)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    if left := problems(run):
        found.failed("restored", str(left))
    return found


def problems(run: Path) -> list[Problem]:
    """What `mpr verify` lists, as in a process that has not looked yet."""
    manifest._remembered.clear()
    try:
        return verification.mismatches(verification.opened(run, run.parents[1] / ".mpr"))
    except MprError as error:
        return list(error.problems)
