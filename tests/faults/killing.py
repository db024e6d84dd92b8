"""Children of a fault program that die: by a signal, or at one of their operations on the disk."""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.forking import fork


def forked(action: Callable[[], Any]) -> int:
    """Process id of a child that does only this; it ends with 0, with 1 after an error, or by a signal."""
    gc.freeze()  # a child collects garbage when its training ends: not among the libraries of its parent
    child = fork()
    if child:
        return child
    try:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        action()
        os._exit(0)
    except BaseException:  # noqa: BLE001
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(1)


def waited(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killer(at: int, log: Path) -> Callable[[str, Path], None]:
    """A hook of the storage that kills its process at the n-th operation, and writes down which one that was."""
    count = 0

    def hook(operation: str, path: Path) -> None:
        nonlocal count
        count += 1
        if count == at:
            log.write_text(operation)
            os.kill(os.getpid(), signal.SIGKILL)

    return hook
