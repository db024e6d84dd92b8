"""Kills a process at the first, second, third ... storage operation until a run completes; prints where, as JSON.

Called as `python -m tests.faults.kill_sweep ARTEFACT FOLDER`. It is a program of its own, because it forks: the
threads of the test session could hold locks for ever in a child; here libraries are told to start none. A child ends by
SIGKILL, so nothing of it is cleaned up or flushed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from mpr import storage
from tests.faults.artefacts import ARTEFACTS, complete, finish, hooked
from tests.faults.killing import killer

LIMIT = 2_000
OLD, NEW = b"old", b"new" * 5_000


def _forked(action: Callable[..., object], *arguments: object) -> int:
    """Exit status of a child that does only this: 0 if it ended well, the negative signal if it was killed."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        action(*arguments)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(1)


def _prepare(name: str, world: Path, golden: Path) -> None:
    world.mkdir()
    if name == "write_file":
        (world / "target").write_bytes(OLD)
    else:
        shutil.copytree(golden, world / "earlier")


def _attempt(name: str, world: Path) -> None:
    if name == "write_file":
        storage.write_file(world / "target", NEW)
    else:
        ARTEFACTS[name](world / "target")


def _check(name: str, world: Path, golden: str) -> None:
    """Readers see the old world or the new one; the same command ends well and leaves nothing but its result."""
    target = world / "target"
    if name == "write_file":
        assert target.read_bytes() in (OLD, NEW)
        _attempt(name, world)
        assert target.read_bytes() == NEW
        assert set(os.listdir(world)) == {"target"}, os.listdir(world)
        return
    assert storage.verify(world / "earlier").digest == golden
    assert complete(target) == target.exists(), "a half-written artefact has the final name"
    untouched = complete(target)  # then nothing is left to do, and the dead holder's lock file may stay
    assert finish(name, target) == golden
    assert set(os.listdir(world)) <= {"earlier", "target", *([".target.lock"] if untouched else [])}, os.listdir(world)


def main(name: str, folder: Path) -> list[str]:
    """The operations at which a run was killed."""
    log, killed = folder / "log", list[str]()
    # Built in this process, so that libraries that load others at their first use do so once and not in each child.
    digest = "" if name == "write_file" else finish(name, folder / "golden")
    for number in range(1, LIMIT):
        world = folder / str(number)
        assert _forked(_prepare, name, world, folder / "golden") == 0
        with hooked(killer(number, log)):
            status = _forked(_attempt, name, world)
        if status == 0:
            return killed
        assert status == -signal.SIGKILL, status
        killed.append(log.read_text())
        assert _forked(_check, name, world, digest) == 0, f"after a kill at operation {number}: {killed[-1]}"
        shutil.rmtree(world)
    raise AssertionError(f"no run completed within {LIMIT} operations")


if __name__ == "__main__":
    json.dump(main(sys.argv[1], Path(sys.argv[2])), sys.stdout)
