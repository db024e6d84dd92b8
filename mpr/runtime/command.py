"""A command as a process: what it may put on the screen, how it is stopped, and how it ends.

Whatever ends the body of `running` becomes one message, the last on the screen, and the exit code that belongs to it.
Ctrl-C (SIGINT) and SIGTERM both raise KeyboardInterrupt there, so locks are let go of and half-made folders go away.
Only while a model trains they are requests, answered after the step (`mpr/training/_callbacks.py`).

Nothing that is read can steer the terminal: control characters in what is printed are shown as escape sequences.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any, NoReturn, cast

from mpr import storage
from mpr.errors import Interrupted, MprError, printable
from mpr.runtime import progress
from mpr.runtime.processes import EndedElsewhere, Place

_CALM = {
    "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads cost 3 to 5 times on a busy machine
    "TRANSFORMERS_VERBOSITY": "error",  # its advice is for those who call it
}


@contextmanager
def running() -> Iterator[None]:
    """The whole life of a command. Ends the process if the body does not end well."""
    for name, value in _CALM.items():
        os.environ.setdefault(name, value)
    try:
        with _terminable(), _logged(), redirect_stdout(cast(Any, _Printable(sys.stdout))), storage.working_for(typed()):
            yield
    except EndedElsewhere as error:  # another process of the launch has said it
        sys.exit(error.exit_code)
    except MprError as error:
        refuse(str(error), error.exit_code)
    except KeyboardInterrupt:
        if Place.here().rank == 0:
            refuse(str(stopped("stopped; what was finished is kept")), Interrupted.exit_code)
        sys.exit(Interrupted.exit_code)


def refuse(message: str, code: int) -> NoReturn:
    """Ends the process with the one message that a person reads."""
    said = f"mpr: {printable(message)}"
    over = "\r" if sys.stderr.isatty() else ""  # the terminal has shown ^C where the line begins
    print(f"{over}{said}", file=sys.stderr, flush=True)
    _tell_launcher(said)
    sys.exit(code)


def _tell_launcher(said: str) -> None:
    """A launcher ends with a report of its own, below what was said. That of torch (and of accelerate with several
    processes) repeats what a failed process wrote into this file; accelerate with one process has no place for it, so
    a helper says it once more when accelerate has ended."""
    if file := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        with suppress(MprError):
            storage.write_file(Path(file), json.dumps({"message": said, "timestamp": int(time.time())}).encode())
    elif _reported_by_accelerate():
        words = [sys.executable, "-I", "-S", str(Path(__file__).with_name("_last_word.py")), str(os.getppid())]
        with suppress(OSError):
            helper = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                encoding="utf-8",
                errors="backslashreplace",
                start_new_session=True,
            )
            assert helper.stdin is not None
            assert helper.stdout is not None
            with helper.stdin as given:
                given.write(f"{said}\n")
            helper.stdout.read()  # until it watches


def _reported_by_accelerate() -> bool:
    """Whether accelerate, without --quiet, started this one process."""
    if "ACCELERATE_MIXED_PRECISION" not in os.environ or Place.here().world > 1:
        return False
    try:
        words = Path(f"/proc/{os.getppid()}/cmdline").read_text("utf-8").split("\0")  # the last one is empty
    except (OSError, UnicodeDecodeError):
        return False
    options = words[: -len(sys.argv)]  # without our arguments
    return any("accelerate" in word for word in options[:3]) and not {"--quiet", "-q"} & set(options)


def stopped(what: str, where: str = "") -> Interrupted:
    """What a person reads after Ctrl-C: what is kept, and the command that goes on."""
    return Interrupted(what, where=where, fix=f"to continue, run again: {typed()}")


def typed() -> str:
    """This command as one types it again."""
    if Place.here().world > 1:
        return "the same launch"
    program = Path(sys.argv[0])
    if program.suffix == ".py":
        module = "mpr.train" if program.name == "train.py" else "mpr.cli"
        words = ["python", "-m", module]
    else:
        found = shutil.which(program.name)
        words = [program.name if found and Path(found).resolve() == program.resolve() else str(program)]
    return shlex.join([*words, *sys.argv[1:]])


def tell() -> None:
    """Also what is not alarming is said, of long work that one watches."""
    logging.getLogger("mpr").setLevel(logging.INFO)


@contextmanager
def _logged() -> Iterator[None]:
    """What is logged goes to the screen, as plain lines."""
    handler, kit = _Screen(), logging.getLogger("mpr")
    handler.setFormatter(_Plain("%(message)s"))
    logging.getLogger().addHandler(handler)
    level = kit.level
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        kit.setLevel(level)


class _Screen(logging.StreamHandler[Any]):
    """Writes to the standard error of now, beside the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        with progress.aside():
            super().emit(record)


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class _Printable:
    """A stream that shows control characters instead of obeying them."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(printable(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":  # what is written there would not be looked at
            raise AttributeError(name)
        return getattr(self._stream, name)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM is what Ctrl-C is, where nobody else has decided about it."""
    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    owner = os.getpid()

    def stop(number: int, frame: object) -> None:
        if os.getpid() != owner:  # a forked worker, which is nobody's command
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
