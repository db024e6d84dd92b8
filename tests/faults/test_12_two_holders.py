"""Fault 12: two processes on one place. The second is refused and told by whom; a dead holder holds nothing."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from calendar import timegm
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mpr import storage
from mpr.errors import StorageError
from tests.conftest import Examined
from tests.faults.artefacts import ARTEFACTS, finish
from tests.waiting import HANGING

HOLDER = r"is in use by host (\S+), pid (\d+), since (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)"

_HOLD = """
import os, sys
from pathlib import Path
from mpr import storage
kind, target = sys.argv[1], Path(sys.argv[2])
with storage.lock(target) if kind == "lock" else storage.stage(target, kind) as held:
    if kind != "lock":
        held.open("half.bin").write(bytes(2_000_000))
    child = os.fork() if "worker" in sys.argv else 1
    if child:
        print("holding", child, flush=True)
    sys.stdin.read()  # until it is closed
"""


@contextmanager
def _holder(kind: str, target: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that holds `target` until the end of the body, if it is not killed before; and its child."""
    command = [sys.executable, "-c", _HOLD, kind, str(target), *options]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    with process:
        word, child = process.stdout.readline().split()
        assert word == "holding"
        try:
            yield process, int(child)
        finally:
            process.kill()


def _kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def _check_refusal(error: StorageError, pid: int, began: float) -> None:
    found = re.search(HOLDER, str(error))
    assert found, str(error)
    assert found[1] == socket.gethostname()
    assert int(found[2]) == pid
    assert int(began) <= _seconds(found[3]) <= time.time()
    assert error.exit_code == 4


def _seconds(stamp: str) -> float:
    return timegm(time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ"))


@pytest.mark.parametrize("name", ARTEFACTS)
def test_second_is_refused_and_dead_holder_replaced(
    tmp_path: Path, name: str, examined: Examined, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "waits", False)
    golden = finish(name, tmp_path / "golden")
    target, began = tmp_path / "run" / "target", time.time()
    with _holder(name, target) as (process, _):
        for _ in range(3):
            with pytest.raises(StorageError) as caught:
                ARTEFACTS[name](target)
            _check_refusal(caught.value, process.pid, began)
        assert (target.parent / ".target.staging" / "half.bin").stat().st_size > 0, "the refused one cleaned up ours"
        _kill(process)
        assert not target.exists()
        assert finish(name, target) == golden
    assert os.listdir(target.parent) == ["target"]
    examined(3, "refusals, then a takeover", at_least=3)


def test_lock_is_refused_and_freed(tmp_path: Path) -> None:
    path, began = tmp_path / "run" / ".lock", time.time()
    with _holder("lock", path) as (process, _):
        with pytest.raises(StorageError) as caught, storage.lock(path):
            raise AssertionError("two holders")
        _check_refusal(caught.value, process.pid, began)
        _kill(process)
        with storage.lock(path):
            assert f"pid {os.getpid()}," in path.read_text()
    assert os.listdir(path.parent) == []


def test_worker_does_not_outlive_its_dead_parents_lock(tmp_path: Path) -> None:
    """Data workers are forked and may live on for seconds after their parent was killed."""
    path = tmp_path / ".lock"
    with _holder("lock", path, "worker") as (process, worker):
        _kill(process)
        try:
            os.kill(worker, 0)  # still there
            with storage.lock(path):
                pass
        finally:
            os.kill(worker, signal.SIGKILL)


def test_folder_copied_with_its_lock(tmp_path: Path) -> None:
    with _holder("flat", tmp_path / "run" / "target") as (process, _):
        shutil.copytree(tmp_path / "run", tmp_path / "copy")
        assert (tmp_path / "copy" / ".target.lock").read_text().strip().startswith("host ")
        finish("flat", tmp_path / "copy" / "target")  # although the original is still held
        with pytest.raises(StorageError):
            finish("flat", tmp_path / "run" / "target")
        _kill(process)
    shutil.move(tmp_path / "run", tmp_path / "moved")
    finish("flat", tmp_path / "moved" / "target")
    assert os.listdir(tmp_path / "moved") == os.listdir(tmp_path / "copy") == ["target"]


def test_small_file_waits_for_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Examined) -> None:
    """Writers of one small file take turns, between threads too: every version ever seen is a whole one."""
    monkeypatch.setattr(storage, "_PATIENCE", HANGING)
    path = tmp_path / "file"
    versions = [bytes([letter]) * 10_000 for letter in b"abcdef"]
    storage.write_file(path, versions[0])
    done = threading.Event()
    seen: list[bytes] = []
    failed: list[BaseException] = []

    def write(version: bytes) -> None:
        try:
            for _ in range(20):
                storage.write_file(path, version)
        except BaseException as error:
            failed.append(error)
            raise

    def read() -> None:
        while not done.is_set():
            seen.append(path.read_bytes())

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(version,)) for version in versions]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert not failed
    assert set(seen) <= set(versions), "a torn file was visible"
    assert os.listdir(tmp_path) == ["file"]
    examined(len(seen), f"reads while {len(writers)} threads wrote {20 * len(writers)} times", at_least=20)


def test_lock_changes_hands_without_overlap(tmp_path: Path, examined: Examined) -> None:
    """The lock file is removed and made anew all the time; never do two threads hold it at once."""
    path, turns, inside, overlaps = tmp_path / ".lock", [], [], []

    def take() -> None:
        for _ in range(50):
            with storage.lock(path, patience=HANGING):
                inside.append(1)
                overlaps.append(len(inside))
                inside.pop()
            turns.append(1)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(overlaps) == {1}
    assert not path.exists()
    examined(len(turns), "turns of 4 threads", at_least=200)


def test_unfinished_holder_text_is_harmless(tmp_path: Path) -> None:
    """Whatever stands in a lock file goes to a terminal: control characters do not, and it counts for nothing."""
    path = tmp_path / ".lock"
    with _holder("lock", path):
        path.write_bytes(b"\x1b[2J\x07 evil \xff\n")
        with pytest.raises(StorageError) as caught, storage.lock(path):
            raise AssertionError("two holders")
        assert "\x1b" not in str(caught.value)
        assert "\x07" not in str(caught.value)
    path.write_bytes(b"\x1b[2J")
    with storage.lock(path):
        assert path.read_text().startswith("host ")
