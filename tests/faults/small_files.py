"""Small files that say what a row gave: killed while they are written, each is the old one or the new one.

`python -m tests.faults.small_files MODE FOLDER [STRIDE]` prints at what it killed, as JSON: (operation, file). It is a
program of its own, because it forks. `board` adds a run to a leaderboard, writes the band of its recipe and builds the
pages anew; `row` makes the last stages of a finished row again, after their outputs were lost.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from mpr import storage
from mpr.errors import DataError
from mpr.publishing import _board as leaderboard
from mpr.publishing import _board_drawing, board_entries, board_lock  # noqa: F401
from mpr.rows.receipts import Receipts
from mpr.rows.result import Result
from tests import boards
from tests.faults.killing import forked, waited
from tests.faults.rows import World, finished, unbroken

Death = tuple[str, str]
"""Operation on the disk, and the file it was about."""
ROW, SEED = "trec_joint_m2", 45
SMALL = ("result.json", ".row.lock", "row.json", "small.yaml")  # of a run folder, besides receipts
SAME = ("receipts/row.json", "recipe/small.yaml")  # those that are written again just as they were


def logged(log: Path, act: Callable[[], object], at: int = 0) -> int:
    """Does it in a child that writes down each operation on the disk, and dies at one of them; its exit status."""
    log.unlink(missing_ok=True)

    def child() -> None:
        out, count = log.open("w"), 0

        def hook(operation: str, path: Path) -> None:
            nonlocal count
            count += 1
            print(json.dumps([operation, path.name]), file=out, flush=True)
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

        storage.hook = hook
        act()

    return waited(forked(child))


def operations(log: Path) -> list[Death]:
    return [(found[0], found[1]) for found in map(json.loads, log.read_text().splitlines())]


# The leaderboard


def grown(root: Path, runs: Path) -> None:
    """One more run of a row, the band of the row's recipe, and everything that is written from them."""
    board_entries.add(root, runs / f"{ROW}-{SEED}")
    board_lock.build(root)
    row = leaderboard.read(root).row(ROW)
    board_entries.write_expected(
        root / row.path, board_entries.bands([one.result for one in row.of("trained")], row.role)
    )
    board_lock.build(root)


def content(root: Path) -> dict[str, bytes]:
    """Everything that a reader would look at."""
    paths = [path for path in root.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def board(folder: Path, stride: int) -> list[Death]:
    """After each kill every file is one of those that there were without it; then the same commands end the same."""
    old, runs, log = boards.board(folder / "old", folder / "runs"), folder / "runs", folder / "log"
    path = leaderboard.read(old).row(ROW).path
    boards.run(runs / f"{ROW}-{SEED}", old / path, "trained", SEED, 0.57)
    states = _states(old, runs, folder / "states")
    shutil.copytree(old, folder / "new")
    assert logged(log, lambda: grown(folder / "new", runs)) == 0
    total, new, found = len(operations(log)), content(folder / "new"), []
    for number in range(1, total + 1, stride):
        root = folder / f"killed-{number}"
        shutil.copytree(old, root)
        assert logged(log, lambda root=root: grown(root, runs), number) == -signal.SIGKILL  # type: ignore[misc]
        death = operations(log)[-1]
        for name, data in content(root).items():
            assert data in states.get(name, ()), (number, death, name)
        _readable(root)
        assert waited(forked(lambda root=root: grown(root, runs))) == 0, (number, death)  # type: ignore[misc]
        assert content(root) == new, (number, death)
        debris = [path.name for path in root.rglob(".*") if path.suffix != ".lock"]  # which locks nobody out
        assert not debris, (number, death, debris)
        found.append(death)
        shutil.rmtree(root)
    return found


def _states(old: Path, runs: Path, root: Path) -> dict[str, set[bytes]]:
    """File -> every content that it has between two of the commands of an unbroken `grown`."""
    shutil.copytree(old, root)
    states: dict[str, set[bytes]] = {}

    def note() -> None:
        for name, data in content(root).items():
            states.setdefault(name, set()).add(data)

    note()
    build, write = board_lock.build, board_entries.write_expected
    board_entries.add(root, runs / f"{ROW}-{SEED}")
    note()
    build(root)
    note()
    row = leaderboard.read(root).row(ROW)
    write(root / row.path, board_entries.bands([one.result for one in row.of("trained")], row.role))
    note()
    build(root)
    note()
    return states


def _readable(root: Path) -> None:
    """Reading what lies there ends well; checking it ends well or says what has to be built."""
    leaderboard.read(root)
    problems = []
    try:
        board_lock.check(root)
    except DataError as error:
        problems = error.problems
    assert all("leaderboard build" in problem.fix for problem in problems), problems


# A row


def row(folder: Path, stride: int) -> list[Death]:
    """Rankings and scores of a finished row are lost; killed while it is mended, no small file is ever half one."""
    whole, _ = unbroken(folder / "whole")
    expected, log = whole.facts(), folder / "log"
    for lost in ("rankings", "scores"):
        shutil.rmtree(whole.run / lost)
    again, found = _copied(whole, folder / "again"), []
    assert logged(log, again.made) == 0
    seen = operations(log)
    wanted = [number for number, (_, name) in enumerate(seen, 1) if _is_small(name)]
    for number in wanted[::stride]:
        world = _copied(whole, folder / f"killed-{number}")
        assert logged(log, world.made, number) == -signal.SIGKILL
        death = operations(log)[-1]
        assert death[0] == seen[number - 1][0], (number, death)
        _kept(world, expected, death)
        for name in SAME:
            assert (world.run / name).read_bytes() == (whole.run / name).read_bytes(), (death, name)
        finished(world, expected, death)
        found.append(death)
        shutil.rmtree(world.folder)
    return found


def _is_small(name: str) -> bool:
    return any(part in name for part in (*SMALL, "search.", "evaluate."))


def _copied(whole: World, folder: Path) -> World:
    shutil.copytree(whole.folder, folder)
    return World(folder)


def _kept(world: World, expected: dict[str, str], death: Death) -> None:
    """The result is one with the numbers of this row, and each receipt is whole or not there."""
    document = Result.of_run(world.run).document
    scores = {role: {**found, "digest": None} for role, found in document["scores"].items()}
    numbers = storage.json_digest([scores, document["curve"], document["model"]])
    assert numbers == expected["numbers of result.json"], death
    receipts = Receipts(world.run, world.home)
    for stage in ("data", "mine", "train", "encode"):
        assert receipts.read(stage) is not None, (death, stage)
    for stage in ("search", "evaluate"):
        receipts.read(stage)


MODES: dict[str, Callable[[Path, int], list[Death]]] = {"board": board, "row": row}

if __name__ == "__main__":
    json.dump(MODES[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3])), sys.stdout)
