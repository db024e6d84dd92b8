"""A row that is killed whenever a hidden name appears: a staging folder, a lock, a file that is not yet in its place.

Every row is killed a few times and then finished: it must leave the same files, byte for byte, as one that nobody
killed, and no hidden name. A program of its own, because it forks.
"""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

from tests.attack.outcome import Attack
from tests.faults.killing import forked, waited
from tests.faults.rows import World, unbroken
from tests.waiting import until

_TIMES = 4  # kills of one row


def attack(folder: Path, cases: int, seed: int) -> Attack:
    found, dice = Attack(), random.Random(seed)
    first, _ = unbroken(folder / "whole")
    expected, number = first.facts(), 0
    while found.cases < cases:
        number += 1
        world = World(folder / f"row-{number}")
        world.folder.mkdir()
        deaths = [_killed(dice, world) for _ in range(min(_TIMES, cases - found.cases))]
        for death in deaths:
            found.ended["killed" if death else "finished before"] += 1
        if waited(forked(world.made)) != 0:
            found.failed(f"row {number}", f"cannot be finished after {deaths}")
            continue
        facts = world.facts()
        if other := sorted(name for name in {**facts, **expected} if facts.get(name) != expected.get(name)):
            found.failed(f"row {number}", f"differs after {deaths}: {other}")
        if hidden := [str(path.relative_to(world.folder)) for path in _hidden(world.folder)]:
            found.failed(f"row {number}", f"left {hidden} after {deaths}")
    return found


def _hidden(folder: Path) -> set[Path]:
    return {
        Path(place) / name
        for place, folders, files in os.walk(folder)
        for name in (*folders, *files)
        if name.startswith(".")
    }


def _killed(dice: random.Random, world: World) -> str:
    """Kills it at the n-th hidden name that appears; its name, or nothing if the row was finished before."""
    left, seen, child = dice.choice([1, 2, 3, 5, 8, 13, 21, 34]), _hidden(world.folder), forked(world.made)
    ended: list[int] = []

    def is_time() -> bool:
        nonlocal left
        new = _hidden(world.folder) - seen
        seen.update(new)
        left -= len(new)
        if left <= 0:
            return True
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            ended.append(os.waitstatus_to_exitcode(status))
        return bool(pid)

    until(is_time)
    if ended:
        assert ended == [0], ended
        return ""
    os.kill(child, signal.SIGKILL)
    waited(child)
    return "hidden name"
