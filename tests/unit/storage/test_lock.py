"""Locks: one holder at a time, freed whatever happens, never through a link, and nothing left behind."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mpr import storage
from mpr.errors import StorageError
from mpr.storage import _holder
from tests.conftest import Examined

pytestmark = pytest.mark.small

ROOT = Path(__file__).parents[3]


def test_two_threads_on_one_target(tmp_path: Path) -> None:
    caught: list[StorageError] = []

    def second() -> None:
        try:
            with storage.stage(tmp_path / "t", "second"):
                raise AssertionError("two holders")
        except StorageError as error:
            caught.append(error)

    with storage.stage(tmp_path / "t", "first") as stage:
        stage.write("a", b"1")
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert f"pid {os.getpid()}" in str(caught[0])
    assert storage.verify(tmp_path / "t").kind == "first"


def test_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / ".lock").symlink_to("precious")
    with pytest.raises(StorageError, match="cannot lock"), storage.lock(tmp_path / ".lock"):
        raise AssertionError("held")
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_lock_file_removed_while_it_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its holder removes the file between our opening and our locking it: we would hold a file without a name."""
    path, flock, calls = tmp_path / ".lock", fcntl.flock, []

    def late(handle: int, flags: int) -> None:
        calls.append(handle)
        if len(calls) == 1:
            path.unlink()
        flock(handle, flags)

    monkeypatch.setattr(storage.fcntl, "flock", late)
    with storage.lock(path):
        assert len(calls) == 2
        with pytest.raises(StorageError, match=f"pid {os.getpid()}"), storage.lock(path):
            raise AssertionError("two holders")
    assert os.listdir(tmp_path) == []


_FORK = """
import os, sys
from pathlib import Path
from mpr import storage
path = Path(sys.argv[1])
with storage.lock(path):
    child = os.fork()
    if not child:
        sys.exit(7)  # leaves through the `with`
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(status, path.exists())
print(path.exists())
"""


def test_forked_child_leaves_its_parents_lock_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _FORK, str(tmp_path / ".lock")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout.split() == ["7", "True", "False"], done.stderr


# Its holder is dead, and what it forked has not begun to run: the child still has what the kernel's lock is on.
_DEAD = """
import os, sys
from pathlib import Path
from mpr import storage
path = Path(sys.argv[1])
with storage.lock(path):
    storage._held.clear()  # so that the child lets go when it is told to, not when it begins
    if os.fork():
        print(os.getpid(), flush=True)
        os._exit(0)
    sys.stdin.read()
    os._exit(0)
"""


@pytest.fixture
def dead(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A program that has ended and whose child holds `.lock` until the program's input is closed."""
    command = [sys.executable, "-c", _DEAD, str(tmp_path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        process.wait(60)
        yield process


def test_lock_of_a_dead_holder_is_waited_for(
    tmp_path: Path, dead: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks: list[float] = []

    def slept(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            assert dead.stdin is not None
            dead.stdin.close()
        threading.Event().wait(seconds)

    monkeypatch.setattr(storage.time, "sleep", slept)
    with caplog.at_level(logging.WARNING), storage.lock(tmp_path / ".lock"):
        assert f"pid {os.getpid()}," in (tmp_path / ".lock").read_text()
    assert len(looks) >= 3
    assert caplog.text.count("its holder is dead; waiting until what it forked lets go") == 1


def test_the_wait_for_a_dead_holder_ends(
    tmp_path: Path, dead: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_DYING", 0.05)
    with pytest.raises(StorageError, match=f"is in use by .*pid {dead.pid},"), storage.lock(tmp_path / ".lock"):
        raise AssertionError("two holders")


@pytest.mark.parametrize(
    "text", [b"", b"pid 1", b"host elsewhere, pid 999999999, since ", b"host {here}, pid 1, since "]
)
def test_only_a_process_of_this_host_that_is_gone_is_dead(text: bytes) -> None:
    here = socket.gethostname().encode()
    assert not _holder.is_dead(text.replace(b"{here}", here))
    assert _holder.is_dead(b"host " + here + b", pid 999999999, since 2026")


def test_refused_locks_leak_nothing(tmp_path: Path, examined: Examined) -> None:
    with storage.lock(tmp_path / ".lock"):
        lowest, next_free = os.dup(0), os.dup(0)
        os.close(next_free)
        for _ in range(50):
            with pytest.raises(StorageError, match="is in use"), storage.lock(tmp_path / ".lock"):
                raise AssertionError("two holders")
        after = os.dup(0)
        os.close(lowest)
        os.close(after)
    assert after == next_free, "descriptors stayed open"
    examined(50, "refused locks")


def test_failing_body_frees_the_lock(tmp_path: Path) -> None:
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt), storage.lock(tmp_path / ".lock"):
            raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_lock_files_that_a_kill_left_are_removed_and_held_ones_stay(tmp_path: Path) -> None:
    stale, held = tmp_path / "vectors" / ".test.lock", tmp_path / ".row.lock"
    stale.parent.mkdir()
    stale.write_bytes(b"host somewhere, pid 1, since yesterday".ljust(256))
    (tmp_path / "notes.lock").write_bytes(b"no lock of ours")
    with storage.lock(held):
        storage.remove_stale_locks(tmp_path)
        assert not stale.exists()
        assert held.exists()
    assert not held.exists()
    assert (tmp_path / "notes.lock").exists()


def test_folders_that_vanish_while_locks_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run of the same home commits meanwhile: what it was writing in has another name."""
    stale, staging = tmp_path / ".old.lock", tmp_path / ".table.staging"
    stale.write_bytes(b"host somewhere, pid 1, since yesterday".ljust(256))
    staging.mkdir()
    look = os.scandir

    def gone(place: Any) -> Any:
        if Path(place).name == staging.name:
            staging.rmdir()
        return look(place)

    monkeypatch.setattr(os, "scandir", gone)
    storage.remove_stale_locks(tmp_path)
    assert os.listdir(tmp_path) == []


def test_of_two_that_remove_the_same_neither_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "table-parts-8"
    (folder / "0-8").mkdir(parents=True)
    remove, calls = storage.shutil.rmtree, 0

    def second(path: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            remove(path)  # the other one was quicker
        remove(path)

    monkeypatch.setattr(storage.shutil, "rmtree", second)
    storage.remove(folder)
    assert (calls, folder.exists()) == (1, False)


def test_a_holder_that_lives_starts_the_wait_for_dead_ones_anew(
    tmp_path: Path, dead: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead holder, a living one, and another dead one long after: that one is waited for as well."""
    path, now, looks = tmp_path / ".lock", [0.0], [0]
    seen = storage._holder.is_dead

    def is_dead(text: bytes) -> bool:
        looks[0] += 1
        now[0] += 40.0  # each look is 40 seconds after the one before; a dead holder is waited for 60 seconds
        return seen(text) and looks[0] not in (2, 3)

    def is_free() -> bool:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    def slept(seconds: float) -> None:
        if looks[0] == 5:
            assert dead.stdin is not None
            dead.stdin.close()
            while not is_free():
                threading.Event().wait(seconds)

    monkeypatch.setattr(storage._holder, "is_dead", is_dead)
    monkeypatch.setattr(storage.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(storage.time, "sleep", slept)
    with storage.lock(path, float("inf")):
        assert looks[0] >= 5
