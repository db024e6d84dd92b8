"""A row that is killed whenever a hidden name appears: a staging folder, a lock, a file that is not yet in its place.

Every row is killed a few times and then finished: it must leave the same files, byte for byte, as one that nobody
killed, and no hidden name. A program of its own, because it forks.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
from pathlib import Path

from tests.attack.outcome import Attack
from tests.faults.killing import forked, waited
from tests.faults.rows import World, unbroken
from tests.waiting import until

_TIMES = 4  # kills of one row


def attack(folder: Path, cases: int, seed: int, start: int = 0) -> Attack:
    found, deaths = Attack(), list[str]()
    first, _ = unbroken(folder / "whole")
    expected, world = first.facts(), World(folder / "row")
    for number, dice in found.turns(cases, seed, start):
        world.folder.mkdir(exist_ok=True)
        while not (death := _killed(found, number, dice, world)):  # it ended before
            _finished(found, world, expected, deaths)
        found.ended["killed"] += 1
        deaths.append(f"{number} {death}")
        if len(deaths) == _TIMES or found.cases == cases:
            _finished(found, world, expected, deaths)
    return found


def _finished(found: Attack, world: World, expected: dict[str, str], deaths: list[str]) -> None:
    """Finishes the row, looks at it, and makes room for the next one."""
    if waited(forked(world.made)) != 0:
        found.failed(str(deaths), "cannot be finished")
    else:
        facts = world.facts()
        if other := sorted(name for name in {**facts, **expected} if facts.get(name) != expected.get(name)):
            found.failed(str(deaths), f"differs: {other}")
        if hidden := [str(path.relative_to(world.folder)) for path in _hidden(world.folder)]:
            found.failed(str(deaths), f"left {hidden}")
    shutil.rmtree(world.folder)
    world.folder.mkdir()
    deaths.clear()


def _hidden(folder: Path) -> set[Path]:
    return {
        Path(place) / name
        for place, folders, files in os.walk(folder)
        for name in (*folders, *files)
        if name.startswith(".")
    }


def _killed(found: Attack, number: int, dice: random.Random, world: World) -> str:
    """Kills it when the n-th hidden name has appeared; which one that was, or nothing if the row ended before."""
    last = ""
    left, seen, child = dice.choice([1, 2, 3, 5, 8, 13, 21, 34]), _hidden(world.folder), forked(world.made)
    ended: list[int] = []

    def is_time() -> bool:
        nonlocal left, last
        new = _hidden(world.folder) - seen
        seen.update(new)
        left, last = left - len(new), max((path.name for path in new), default=last)
        if left <= 0:
            return True
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            ended.append(os.waitstatus_to_exitcode(status))
        return bool(pid)

    until(is_time)
    if ended:
        if ended != [0]:
            found.failed(f"{number}", f"ended with {ended} before it could be killed")
        return ""
    os.kill(child, signal.SIGKILL)
    waited(child)
    return last
