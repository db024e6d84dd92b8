"""Encodings that are killed, or shared by processes one of which breaks: a program of its own, because it forks.

`python -m tests.faults.encoding kill FOLDER STRIDE`, or `share FOLDER`, prints what was tried as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from mpr import engines, storage
from mpr.errors import MprError
from mpr.search import encode
from mpr.search.vectors import Unfinished
from tests.faults.killing import forked, killer, waited
from tests.unit.encodings import sums, task

LIMIT = 1_000
TEXTS, SHARDS = 24, 3


def small(folder: Path) -> encode.Task:
    return task(folder, TEXTS, constants=encode.Constants(block_tokens=120, shards=SHARDS, least=200, most=4_000))


def killed_at(number: int, folder: Path, target: Path, log: Path) -> int:
    """Exit status of a run that dies at its n-th operation on the disk."""

    def dying() -> None:
        made = small(folder)
        storage.hook = killer(number, log)
        encode.run(made, target)

    return waited(forked(dying))


def committed(folder: Path) -> set[str]:
    """Shards that a killed run left behind."""
    return {path.parent.name for path in folder.glob("[0-9]*/manifest.json")}


def continued(folder: Path, target: Path, expected: dict[str, str]) -> int:
    """Runs the same again; fails if a committed shard was made anew, or the bits differ. How many shards it made."""
    made = small(folder)
    before, begun = committed(made.unfinished(target).folder), list[int]()
    add = Unfinished.add

    def counted(self: Unfinished, number: int, *given: Any) -> None:
        begun.append(number)
        add(self, number, *given)

    Unfinished.add = counted  # type: ignore[method-assign]
    there = target.exists()
    encode.run(made, target)
    Unfinished.add = add  # type: ignore[method-assign]
    assert sums(target) == expected
    left = {path.name for path in target.parent.iterdir()} - {target.name}
    assert left <= ({f".{target.name}.lock"} if there else set()), left
    assert len(begun) == (0 if there else SHARDS - len(before)), (begun, before)
    return len(begun)


def killed_everywhere(folder: Path, stride: int) -> list[tuple[str, int]]:
    """(operation, shards made by the continuation) for every stride-th operation on the disk."""
    found, log = [], folder / "log"
    encode.run(small(folder), folder / "whole" / "store")
    expected = sums(folder / "whole" / "store")
    for number in range(1, LIMIT, stride):
        target = folder / f"at-{number}" / "store"
        status = killed_at(number, folder, target, log)
        if status == 0:
            assert sums(target) == expected
            return found
        assert status == -signal.SIGKILL, status
        found.append((log.read_text(), continued(folder, target, expected)))
    raise AssertionError(f"no run completed within {LIMIT} operations")


def share(folder: Path, target: Path, broken: int | None) -> None:
    """One of several processes. The broken one's encoder says not-a-number from its second shard on."""
    with engines.opened("local") as group:
        made = task(folder)
        add, rank = Unfinished.add, group.place.rank

        def noted(self: Unfinished, number: int, *given: Any) -> None:
            add(self, number, *given)
            with open(folder / f"{target.name}-{rank}", "a") as file:
                file.write(f"{number} ")
            if broken == rank:
                for parameter in made.model.towers.parameters():
                    parameter.data.fill_(float("nan"))

        Unfinished.add = noted  # type: ignore[method-assign]
        encode.run(made, target, group)


def process(rank: int, port: int, folder: Path, target: Path, broken: int | None) -> int:
    """Starts one of two processes; its exit code is the one that a command would have."""

    def action() -> None:
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in place.items()}, MASTER_ADDR="127.0.0.1")
        try:
            share(folder, target, broken)
        except MprError as error:
            (folder / f"{target.name}-{rank}-error").write_text(str(error))
            os._exit(error.exit_code)

    return forked(action)


def shared(folder: Path) -> dict[str, Any]:
    """Two processes together, and two of which one breaks; then the same work continued by one."""
    found: dict[str, Any] = {}
    expected = sums(encode.run(task(folder), folder / "alone").folder)
    for name, broken in (("together", None), ("breaking", 1)):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        children = [process(rank, port, folder, folder / name, broken) for rank in range(2)]
        found[name] = {
            "codes": [waited(child) for child in children],
            "made": [(folder / f"{name}-{rank}").read_text().split() for rank in range(2)],
            "there": (folder / name).exists(),
            "errors": {path.name: path.read_text() for path in folder.glob(f"{name}-*-error")},
        }
        encode.run(task(folder), folder / name)
        assert sums(folder / name) == expected
    return found


MODES = {
    "kill": lambda folder, stride="1": killed_everywhere(folder, int(stride)),
    "share": shared,
}

if __name__ == "__main__":
    json.dump(MODES[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:]), sys.stdout)  # type: ignore[operator]
