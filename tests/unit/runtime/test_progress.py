"""What a terminal and a log file show of long work, on a real pseudo-terminal."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import pty
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from mpr.runtime import command, progress
from mpr.runtime.progress import bar, ours_alone

log = logging.getLogger("mpr.test")


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The standard error is a terminal meanwhile; afterwards the list has everything that was written to it."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    written: list[str] = []
    with open(slave, "w", encoding="utf-8", buffering=1) as screen:
        monkeypatch.setattr(sys, "stderr", screen)
        yield written
        screen.flush()
        monkeypatch.undo()
    os.set_blocking(master, False)
    data = b""
    while chunk := _read(master):
        data += chunk
    os.close(master)
    written.append(data.decode())


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # the other end is closed
        return b""


def screen(text: str) -> list[str]:
    """The lines that are left on a terminal: carriage returns write over what was there."""
    lines, column = [""], 0
    for character in text:
        if character == "\r":
            column = 0
        elif character == "\n":
            lines.append("")
        else:
            assert character.isprintable(), f"{character!r} moves the cursor: there was more than one bar"
            lines[-1] = lines[-1][:column].ljust(column) + character + lines[-1][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines if line.strip()]


def _worked() -> None:
    with bar("updates of a long name", 4, quiet=False) as outer:
        for update in range(4):
            outer(1)
            with bar("val", 3, quiet=False) as inner:
                inner(3)
            log.warning("update %d", update)


def test_one_bar_at_a_time_is_gone_when_done_and_lines_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as written, command.running():
        _worked()
    assert "4/4" in written[0]
    assert "val:" in written[0]
    assert screen(written[0]) == [f"update {update}" for update in range(4)]


def test_a_bar_of_work_that_failed_goes_away_before_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as written, suppress(ValueError), bar("updates", 4, quiet=False) as work:
        work(1)
        raise ValueError("odd")
    assert "updates:" in written[0]
    assert screen(written[0]) == []


def test_a_log_file_has_lines_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    with command.running():
        _worked()
        log.warning("of a file: \x1b[1mbold\x1b[0m")
    assert file.getvalue().splitlines() == [
        *(f"update {update}" for update in range(4)),
        r"of a file: \x1b[1mbold\x1b[0m",
    ]


def test_quiet_means_no_bar_on_a_terminal_either(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as written, bar("updates", 4, quiet=True) as work:
        work(4)
    assert written == [""]


def test_transformers_is_silent_where_we_load_and_as_before_afterwards(capfd: pytest.CaptureFixture[str]) -> None:
    from transformers.utils import logging as theirs

    before = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity_warning()
    theirs.enable_progress_bar()
    try:
        with ours_alone():
            theirs.get_logger("transformers.modeling_utils").warning("LOAD REPORT")
            list(theirs.tqdm(range(3), desc="Loading weights"))
        assert capfd.readouterr() == ("", "")
        list(theirs.tqdm(range(3), desc="theirs"))
        assert "theirs" in capfd.readouterr().err, "who trains with transformers beside us keeps its bars"
        assert theirs.get_verbosity() == logging.WARNING
    finally:
        theirs.set_verbosity(before[0])
        (theirs.enable_progress_bar if before[1] else theirs.disable_progress_bar)()


def test_the_screen_of_this_test_sees_two_bars() -> None:
    with pytest.raises(AssertionError, match="more than one bar"):
        screen("one\n\x1b[Atwo")
    assert screen("long bar\r  \rline\nnext") == ["line bar", "    next"]


def test_a_log_says_from_time_to_time_how_long_the_rest_takes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a terminal: after a minute and then every ten; a quiet command says nothing."""
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with caplog.at_level(logging.INFO, logger="mpr"), bar("encode passages", 1_000, False) as advance:
        for _ in range(100):
            clock[0] += 10.0
            advance(1)
    assert caplog.messages == [
        "encode passages: 0.6% of 1,000 done, about 2.8 hours left",
        "encode passages: 6.6% of 1,000 done, about 2.6 hours left",
    ]
    caplog.clear()
    for total, quiet in ((None, False), (5, True)):
        with caplog.at_level(logging.INFO, logger="mpr"), bar("x", total, quiet) as advance:
            clock[0] += 100.0
            advance(7)
    assert caplog.messages == ["x: 7 done"]
