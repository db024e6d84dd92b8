"""Runs of several processes, forked from one that has the libraries loaded: what a cluster's own launcher does.

torchrun and accelerate hide the exit codes of single processes behind their own and end the others themselves, so a
process that hangs would not be seen. Here nobody helps.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mpr import train
from tests.forking import fork
from tests.waiting import until


@dataclass
class Running:
    """The processes of a run, in the order of their ranks."""

    folder: Path
    children: list[int]

    def signal(self, number: int, *ranks: int) -> None:
        for rank in ranks or range(len(self.children)):
            os.kill(self.children[rank], number)

    def ended(self) -> Ended:
        """Waits for all; those that hang are killed and counted."""
        codes: dict[int, int] = {}

        def all_ended() -> bool:
            for rank, child in enumerate(self.children):
                if rank not in codes:
                    done, status = os.waitpid(child, os.WNOHANG)
                    if done:
                        codes[rank] = os.waitstatus_to_exitcode(status)
            return len(codes) == len(self.children)

        with contextlib.suppress(AssertionError):
            until(all_ended)
        hanging = [rank for rank in range(len(self.children)) if rank not in codes]
        for rank in hanging:
            os.kill(self.children[rank], signal.SIGKILL)
            os.waitpid(self.children[rank], 0)
        said = "".join((self.folder / f"said-{rank}").read_text("utf-8") for rank in range(len(self.children)))
        return Ended([codes.get(rank, 0) for rank in range(len(self.children))], hanging, said)


@dataclass(frozen=True)
class Ended:
    """How the processes of a run ended, and all that they said."""

    codes: list[int]
    hanging: list[int]
    said: str


def start(
    folder: Path, arguments: Sequence[object], world: int = 2, before: Callable[[int], object] | None = None
) -> Running:
    """Starts `mpr.train` with these arguments on `world` processes; `before(rank)` prepares each of them."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    here = {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1"}
    children = []
    gc.freeze()  # each child collects garbage when its training ends: not among the libraries of its parent
    for rank in range(world):
        child = fork()
        if not child:
            place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_PORT": str(port)}
            os.environ.update({**here, **place} if world > 1 else {})
            _become(folder / f"said-{rank}", [str(word) for word in arguments], rank, before)
        children.append(child)
    return Running(folder, children)


def _become(said: Path, arguments: list[str], rank: int, before: Callable[[int], object] | None) -> None:
    """Never returns."""
    code = 1
    try:
        handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
        sys.argv = ["mpr/train.py", *arguments]
        if before is not None:
            before(rank)
        train.main(arguments)
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:  # noqa: BLE001 - as the interpreter does at its end
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
