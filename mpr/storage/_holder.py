"""What stands in a lock file: who holds the lock, since when, and for what."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from mpr.errors import StorageError

SIZE = 512  # bytes of a lock file, always rewritten whole
_STAMP = "%Y-%m-%dT%H:%M:%SZ"


def text(tasks: Sequence[str]) -> bytes:
    """Of this process, which works for these tasks, the innermost last."""
    said = f"host {socket.gethostname()}, pid {os.getpid()}, since {time.strftime(_STAMP, time.gmtime())}"
    said += f", for {': '.join(reversed(tasks))}" if tasks else ""
    return (said.encode("utf-8", "replace")[: SIZE - 1] + b"\n").ljust(SIZE)


def is_dead(text: bytes) -> bool:
    """Whether it names a process of this host that is no more: wrong of another container's, hence the limit."""
    found = re.match(rb"host (.*), pid (\d{1,9}), since ", text)
    try:
        return found is not None and found[1] == socket.gethostname().encode() and os.getpgid(int(found[2])) < 0
    except OSError as error:
        return isinstance(error, ProcessLookupError)


def in_use(path: Path, text: bytes) -> StorageError:
    fix = "wait for it to finish, or stop it and run the same command again"
    return StorageError(f"is in use by {name(text)}", where=str(path), fix=fix)


def name(text: bytes) -> str:
    shown = "".join(character for character in text.decode("utf-8", "replace").strip() if character.isprintable())
    return shown or "a process that is just starting"
