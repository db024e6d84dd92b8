"""Fault 32: several starts want one store. The second waits, is told for whom, and goes on with what the first made."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from mpr import storage
from mpr.data._corpus import Corpus
from mpr.errors import StorageError
from mpr.recipe import read
from mpr.runtime.progress import bar
from tests.conftest import Examined
from tests.published import ROOT, said, smaller
from tests.waiting import until

pytestmark = pytest.mark.small
HOST = socket.gethostname()

# Makes a store when it is told to, or dies; says who it is.
_MAKER = """
import sys
from pathlib import Path
from mpr import storage
with storage.working_for("mpr reproduce one.yaml"), storage.working_for("runs/one-seed42"):
    with storage.missing(Path(sys.argv[1])) as is_missing:
        print("at work" if is_missing else "found it", flush=True)
        sys.stdin.read()  # until it is closed
        if is_missing:
            with storage.stage(Path(sys.argv[1]), "store") as stage:
                stage.write("made by", b"the first")
"""


@contextmanager
def _maker(target: Path) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", _MAKER, str(target)]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def _waiting(target: Path, made: Callable[[], object]) -> Iterator[list[str]]:
    """A second start, in a thread, that has come to the lock; what it found out stands in the list at the end."""
    found: list[str] = []

    def second() -> None:
        with storage.missing(target) as is_missing:
            if is_missing:
                made()
            found.append("made it" if is_missing else "found it")

    thread = threading.Thread(target=second)
    thread.start()
    yield found
    thread.join()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_UNTOLD", 0.0)
    monkeypatch.setattr(storage, "_told", set())


def _written(target: Path) -> None:
    with storage.stage(target, "store") as stage:
        stage.write("made by", b"the second")


def test_the_second_waits_and_takes_what_the_first_made(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, examined: Examined
) -> None:
    target = tmp_path / "home" / "store"
    with caplog.at_level(logging.WARNING), _maker(target) as first, _waiting(target, lambda: _written(target)) as found:
        until(lambda: caplog.records)
        assert not found
        assert first.stdin is not None
        first.stdin.close()
    assert found == ["found it"]
    assert (target / "made by").read_bytes() == b"the first"
    line = caplog.records[0].getMessage()
    assert re.search(rf"home/\.store\.lock: waiting, it is in use by host \S+, pid {first.pid}, since \S+Z", line), line
    assert ", for runs/one-seed42: mpr reproduce one.yaml (--no-wait refuses)" in line
    assert len(caplog.records) == 1, "one line for one holder"
    assert os.listdir(target.parent) == ["store"]
    examined(1, "start that waited")


def test_a_dead_maker_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    target = tmp_path / "store"
    with caplog.at_level(logging.WARNING), _maker(target) as first, _waiting(target, lambda: _written(target)) as found:
        until(lambda: caplog.records)
        first.send_signal(signal.SIGKILL)
    assert found == ["made it"]
    assert (target / "made by").read_bytes() == b"the second"
    assert os.listdir(tmp_path) == ["store"]


def test_without_waiting_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "waits", False)
    target = tmp_path / "store"
    refused = pytest.raises(StorageError, match=r"is in use by host .*, for runs/one-seed42: mpr reproduce one.yaml")
    with _maker(target) as first, refused, storage.missing(target):
        raise AssertionError(f"two makers, {first.pid} and we")


def test_a_store_that_is_there_takes_no_lock(tmp_path: Path) -> None:
    target = tmp_path / "store"
    _written(target)
    with storage.lock(tmp_path / ".store.lock"), storage.missing(target) as is_missing:
        assert not is_missing


def test_what_fails_while_it_is_made_is_still_missing(tmp_path: Path) -> None:
    target = tmp_path / "store"
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), storage.missing(target):
            raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []
    with storage.missing(target) as is_missing:
        assert is_missing
        _written(target)
    assert storage.verify(target).kind == "store"


_WAITS = """
import sys
from pathlib import Path
from mpr import storage
from mpr.runtime import command
with command.running(), storage.missing(Path(sys.argv[1])):
    raise AssertionError("two makers")
"""


def test_interrupted_while_it_waits(tmp_path: Path, examined: Examined) -> None:
    """Ctrl-C and SIGTERM end a command that waits as they end it anywhere: one line, 75, and nothing is left of it."""
    target, ends = tmp_path / "store", (signal.SIGINT, signal.SIGTERM)
    with storage.missing(target):
        kept = (tmp_path / ".store.lock").read_bytes()
        for end in ends:
            command = [sys.executable, "-c", _WAITS, str(target)]
            with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
                assert process.stderr is not None
                line = process.stderr.readline()
                assert f"waiting, it is in use by host {HOST}, pid {os.getpid()}" in line
                process.send_signal(end)
                rest = process.stderr.read()
            assert process.returncode == 75, rest
            assert rest.startswith("mpr: stopped; what was finished is kept (to continue, run again: "), rest
            assert rest.count("\n") == 1, rest
        assert (tmp_path / ".store.lock").read_bytes() == kept
    assert os.listdir(tmp_path) == []
    examined(len(ends), "signals while it waited", at_least=2)


def test_the_command_refuses_where_it_is_told_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "waits", True)  # restored when the command has changed it
    path = tmp_path / "small.yaml"
    path.write_text(smaller((ROOT / "recipes" / "quickstart.yaml").read_text("utf-8")), "utf-8")
    folder = Corpus(read.load(path), tmp_path / "home", partial(bar, quiet=True)).folder
    with storage.missing(folder / "passages"):
        said("data", path, "--home", tmp_path / "home", "--quiet", "--no-wait", code=4)
    assert f"passages.lock: is in use by host {HOST}, pid {os.getpid()}" in capsys.readouterr().err
