"""The only writer of files, and the readers of any file with true line numbers.

In: paths, bytes, and writers that are given an open file inside a stage. Out: folders that are complete or absent,
locks, and lines, JSON values and ragged arrays read from disk.

An artefact is a folder that ends with a `manifest.json`: the size and SHA-256 of every file in it, what it is, and a
digest of the manifest itself (`manifest`). It is written beside its place under a hidden name, flushed, and renamed in
one step, so a reader finds either all of it or nothing. No other module opens a file for writing (a test enforces it).
Hence one hook, called before every operation that touches the disk, is enough to make each of them fail or die in the
tests.

Stores are shared: `missing` asks for one, and who comes second waits for the process that makes it.

Door: `storage.stage`, `storage.missing`, `storage.verify`, `storage.lock`; then `ragged` (arrays of unequal rows),
`lines` and `json_stream` (input files), `manifest` (digests).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import logging
import math
import os
import re
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mpr.errors import StorageError
from mpr.storage import _holder
from mpr.storage.manifest import (
    MANIFEST,
    Manifest,
    Opened,
    contents,
    json_digest,
    name_problem,
    pinned_file,
    read_manifest,
    remembered_md5,
    remembered_sha256,
    sha256_file,
    verify,
)

__all__ = [
    "MANIFEST", "OPERATIONS", "Manifest", "Opened", "Stage", "commit", "free_bytes", "growing", "hook", "json_digest",
    "lock", "make_folder", "missing", "name_problem", "patience", "pinned_file", "read_manifest", "remembered_md5",
    "remembered_sha256", "remove", "remove_stale_locks", "require_space", "sha256_file", "stage", "verify",
    "working_for", "write_file",
]  # fmt: skip

log = logging.getLogger("mpr.storage")
OPERATIONS = ("create folder", "create", "write", "flush", "rename", "remove", "lock")
_CHUNK = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PATIENCE = 10.0  # seconds that the writer of one small file waits for another writer of the same file
_DYING = 60.0  # seconds that what a dead holder forked has to begin running, which is when it lets go of the lock
_UNTOLD = 1.0  # seconds of waiting for a shared store that nobody has to be told of

waits = True  # for what another process is making; `--no-wait`: it is refused at once
_tasks: list[str] = []  # what this process works for, the widest first
_told: set[bytes] = set()  # holders that were waited for, each named once


def _nothing(operation: str, path: Path) -> None:
    """The hook of a healthy disk."""


hook: Callable[[str, Path], None] = _nothing  # tests replace it: it may raise OSError or end the process


def _perform(operation: str, path: Path, action: Callable[[], Any], size: int = 1) -> Any:
    """Runs one disk operation; a failure says which path, what was needed and what is free."""
    assert operation in OPERATIONS, operation
    try:
        hook(operation, path)
        return action()
    except OSError as error:
        raise _explained(error, operation, path, size) from error


def _explained(error: OSError, operation: str, path: Path, size: int) -> StorageError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _FULL:
        what = f"cannot {operation}: {reason}; at least {size:,} bytes are needed, {free_bytes(path):,} bytes are free"
        fix = "free some space (or raise the quota or limit that is reached) and run the same command again"
        return StorageError(what, where=str(path), fix=fix)
    return StorageError(f"cannot {operation}: {reason}", where=str(path), fix="check that the folder can be written")


class _HashingFile(io.RawIOBase):
    """A file that knows its size and checksum the moment it is closed, so nothing is read twice."""

    def __init__(self, path: Path) -> None:
        self.path, self.size, self.sha256 = path, 0, hashlib.sha256()
        self.whole = False  # closed and flushed, and no operation on it failed, even if someone swallowed the error
        self._failed = False
        self._handle = -1
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._handle = _perform("create", path, lambda: os.open(path, flags, 0o666))

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if self._handle < 0:  # given up: what is left in a buffer has nowhere to go
            return len(view)
        written: int = self._noted("write", lambda: os.write(self._handle, view), len(view))
        self.sha256.update(view[:written])
        self.size += written
        return written

    def close(self) -> None:
        if self.closed:
            return
        try:
            if self._handle >= 0:
                self._noted("flush", lambda: os.fsync(self._handle), max(self.size, 1))
                self.whole = not self._failed
        finally:
            self.give_up()
            super().close()

    def give_up(self) -> None:
        """Lets go of the file without finishing it; later writes and `close` do nothing and cannot fail."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            with contextlib.suppress(OSError):  # after a flush nothing can be lost here, and before one all is lost
                os.close(handle)

    def _noted(self, operation: str, action: Callable[[], Any], size: int) -> Any:
        # Stays true after any exception, also one that is no OSError. After a failed flush the kernel forgets what it
        # could not write, so that a second flush would succeed and lie.
        failed, self._failed = self._failed, True
        result = _perform(operation, self.path, action, size)
        self._failed = failed
        return result


@dataclass
class Stage:
    """A folder under construction. Files opened through it are checksummed while they are written."""

    folder: Path
    _files: dict[str, _HashingFile] = field(default_factory=dict)
    # Held until they are closed: one that a failing body drops would be finished, flush included, by the collector.
    _buffers: list[io.BufferedWriter] = field(default_factory=list)

    def open(self, name: str) -> io.BufferedWriter:
        """A buffered binary file of that name inside the stage; close it (or use `with`) before the commit."""
        if problem := name_problem(name):
            raise StorageError(f"name {name!r} {problem}", where=str(self.folder), fix="use another name")
        return self._open(name)

    def write(self, name: str, data: bytes) -> None:
        with self.open(name) as file:
            file.write(data)

    def discard(self, name: str) -> None:
        """Removes a finished file that was needed for building alone."""
        self._files.pop(name)
        _clear(self.folder / name)

    def entries(self) -> dict[str, dict[str, Any]]:
        """Size and checksum of every file, including those that a library wrote into the folder by itself."""
        found: dict[str, dict[str, Any]] = {}
        for name, status in contents(self.folder):
            file, path = self._files.get(name), self.folder / name
            if not stat.S_ISREG(status.st_mode) or name_problem(name):
                self._refuse(f"{name!r} cannot be part of an artefact: it is no file, or has no plain name")
            elif file is None:
                _flush(path, status.st_size)
                found[name] = {"bytes": status.st_size, "sha256": sha256_file(path)}
            elif not file.whole or file.size != status.st_size:
                self._refuse(f"'{name}' is not finished: it is still open, failed, or was written by something else")
            else:
                found[name] = {"bytes": file.size, "sha256": file.sha256.hexdigest()}
        if lost := sorted(self._files.keys() - found.keys()):
            self._refuse(f"{lost} were written and then disappeared")
        return found

    def _commit(self, target: Path, kind: str, receipt: Mapping[str, Any]) -> None:
        manifest = Manifest.of(kind, receipt, self.entries(), where=str(target))
        with self._open(MANIFEST) as file:
            file.write(manifest.to_bytes())
        for place, _, _ in os.walk(self.folder, topdown=False):
            _flush(Path(place))
        _perform("rename", target, lambda: os.rename(self.folder, target))
        _flush(target.parent)

    def _give_up(self) -> None:
        """Lets go of every open file and removes the folder; debris that cannot be removed waits for the next start."""
        for file in self._files.values():
            file.give_up()
        with contextlib.suppress(StorageError):
            _clear(self.folder)

    def _open(self, name: str) -> io.BufferedWriter:
        path = self.folder / name
        if path.parent != self.folder:
            make_folder(path.parent)
        file = _HashingFile(path)
        self._files[name] = file
        self._buffers = [*(buffer for buffer in self._buffers if not buffer.closed), io.BufferedWriter(file, _CHUNK)]
        return self._buffers[-1]

    def _refuse(self, what: str) -> None:
        raise StorageError(what, where=str(self.folder), fix="nothing was kept; please report this, it is a bug")


@contextmanager
def stage(target: Path, kind: str, receipt: Mapping[str, Any] | None = None) -> Iterator[Stage]:
    """Builds the folder `target`: yields a stage, commits it if the body ends well, leaves nothing otherwise.

    `receipt` may be filled in while the body runs; it is read at the commit. An existing target is refused: artefacts
    are never changed in place.
    """
    target = Path(os.path.abspath(target))  # the body may change the working folder
    make_folder(target.parent)
    mine = target.with_name(f".{target.name}.lock")
    with nullcontext() if (mine, threading.get_ident()) in _making else lock(mine):
        if os.path.lexists(target):
            raise _in_the_way(target)
        folder = target.with_name(f".{target.name}.staging")
        _clear(folder)  # of a killed process; safe, because we hold the lock of this target
        building = Stage(folder)
        try:
            _perform("create folder", folder, folder.mkdir)
            yield building
            building._commit(target, kind, {} if receipt is None else receipt)
        except BaseException:
            building._give_up()
            raise


@contextmanager
def missing(target: Path) -> Iterator[bool]:
    """Whether an artefact is still to be made, by the body. If another process is making it, that is waited for."""
    target = Path(os.path.abspath(target))
    if os.path.lexists(target):
        yield False
        return
    make_folder(target.parent)
    path = target.with_name(f".{target.name}.lock")
    with lock(path, patience()):
        _making.add(mine := (path, threading.get_ident()))
        try:
            yield not os.path.lexists(target)
        finally:
            _making.discard(mine)


def commit(folder: Path, target: Path, kind: str, receipt: Mapping[str, Any]) -> None:
    """Gives a folder that was filled over several runs its name; for the holder of the target's lock."""
    Stage(folder)._commit(target, kind, receipt)


@contextmanager
def growing(path: Path, kept: int) -> Iterator[Callable[[bytes], None]]:
    """Goes on with a file that is written over several runs, behind its first `kept` bytes; gives what writes.

    For a folder that is no artefact yet: who gives it its name by `commit` looks at every byte first.
    """
    path = Path(os.path.abspath(path))
    make_folder(path.parent)
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    handle = _perform("create", path, lambda: os.open(path, flags, 0o666))
    try:
        _perform("write", path, lambda: os.ftruncate(handle, kept))
        os.lseek(handle, kept, os.SEEK_SET)

        def write(data: bytes) -> None:
            view = memoryview(data)
            while view:
                view = view[_perform("write", path, partial(os.write, handle, view), len(view)) :]

        yield write
    finally:
        os.close(handle)


def _in_the_way(target: Path) -> StorageError:
    try:
        read_manifest(target)
    except StorageError as error:
        found = "; ".join(problem.what for problem in error.problems)  # their remedy is to delete what may be a user's
        what = f"already exists, and is not a finished artefact of mpr: {found}"
        return StorageError(what, where=str(target), fix="choose another place, or move it away")
    return StorageError("already exists", where=str(target), fix="remove it first or choose another place")


def write_file(path: Path, data: bytes) -> None:
    """Replaces one small file in one step: readers see the old bytes or the new ones."""
    path = Path(os.path.abspath(path))
    make_folder(path.parent)
    with lock(path.with_name(f".{path.name}.lock"), _PATIENCE):
        temporary = path.with_name(f".{path.name}.new")
        _clear(temporary)
        file = None
        try:
            file = _HashingFile(temporary)
            with io.BufferedWriter(file, _CHUNK) as buffered:
                buffered.write(data)
            _perform("rename", path, lambda: os.replace(temporary, path))
        except BaseException:
            if file is not None:
                file.give_up()
            with contextlib.suppress(StorageError):
                _clear(temporary)
            raise
        _flush(path.parent)


@contextmanager
def lock(path: Path, patience: float = 0.0) -> Iterator[None]:
    """Holds `path` for this caller alone. The kernel frees it when the holder dies, so no lock is ever stale.

    Another holder is waited for `patience` seconds, then named. One that is dead, and lives on only in a process that
    it had just forked, is waited for longer. The file goes away with the lock; a copied or left-over file means
    nothing, because only the kernel's lock on it counts.
    """
    path = Path(os.path.abspath(path))
    make_folder(path.parent)
    handle = _perform("lock", path, lambda: _taken(path, patience))
    _held.add(handle)
    try:
        data = _holder.text(_tasks)
        _perform("write", path, lambda: os.pwrite(handle, data, 0), len(data))
        yield
    finally:
        if handle in _held:  # not in a forked child that unwinds: the lock is its parent's
            _held.discard(handle)
            with contextlib.suppress(StorageError):
                _perform("remove", path, lambda: path.unlink(missing_ok=True))
            os.close(handle)


def remove_stale_locks(folder: Path) -> None:
    """Lock files that a kill left beside artefacts which are there, so that nobody takes these locks again."""
    found = ((place, name) for place, _, names in os.walk(folder) for name in names)  # folders may vanish meanwhile
    for path in sorted(Path(place, name) for place, name in found if name.startswith(".") and name.endswith(".lock")):
        with contextlib.suppress(StorageError), lock(path):
            pass  # whoever holds a lock removes its file


@contextmanager
def working_for(task: str) -> Iterator[None]:
    """What stands in every lock that the body takes: who waits for it is told."""
    _tasks.append(task)
    try:
        yield
    finally:
        _tasks.pop()


def patience() -> float:
    """Seconds that what others share is waited for: for ever, or with `--no-wait` not at all."""
    return math.inf if waits else 0.0


_held: set[int] = set()
_making: set[tuple[Path, int]] = set()  # locks that `missing` holds, and for which thread


def _let_go_in_child() -> None:
    """A forked worker must not keep its parent's locks alive after the parent was killed."""
    _making.clear()
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_let_go_in_child)


def _taken(path: Path, patience: float) -> int:
    """A descriptor that holds the lock on the file that `path` names now."""
    began, died = time.monotonic(), math.inf
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_named(path, handle):
                kept, handle = handle, -1
                return kept
        except BlockingIOError:
            now, text = time.monotonic(), os.pread(handle, _holder.SIZE, 0)
            if not _holder.is_dead(text):
                died = math.inf
                if now - began >= patience:
                    raise _holder.in_use(path, text) from None
                who = re.sub(rb"since \S+", b"", text)  # of all locks of one holder, the first is named
                if patience == math.inf and now - began >= _UNTOLD and who not in _told:
                    _told.add(who)
                    log.warning("%s: waiting, it is in use by %s (--no-wait refuses)", path, _holder.name(text))
            elif now - died >= _DYING:
                raise _holder.in_use(path, text) from None
            elif died == math.inf:
                log.warning("%s: its holder is dead; waiting until what it forked lets go of the lock", path)
                died = now
            time.sleep(min(0.5, 0.01 + (now - began) / 100))
        finally:
            if handle >= 0:  # busy, or removed by its holder between our opening and our locking it: look again
                os.close(handle)


def _is_named(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def require_space(folder: Path, needed: int) -> None:
    """Refuses a long stage before it starts when its output cannot fit."""
    free = free_bytes(folder)
    if needed > free:
        what = f"needs about {needed:,} bytes, {free:,} bytes are free"
        raise StorageError(what, where=str(folder), fix="free some space or choose another folder")


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk that would hold `folder`, whether or not it exists yet."""
    place = os.path.abspath(folder)
    while not os.path.exists(place):
        place = os.path.dirname(place)
    return shutil.disk_usage(place).free


def make_folder(folder: Path) -> None:
    """Creates `folder` and what is missing above it; each is flushed into its parent, or the power could take it."""
    missing = []
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        _perform("create folder", new, partial(new.mkdir, exist_ok=True))
        _flush(new.parent)


def remove(artefact: Path) -> None:
    """Removes an artefact, its manifest first: killed half-way, what is left is taken for nothing by any reader."""
    artefact = Path(artefact)
    if not artefact.is_symlink():
        _clear(artefact / MANIFEST)
    _clear(artefact)


def _clear(path: Path) -> None:
    """Removes a file or a whole folder if it is there; a link is removed, not what it points at."""
    if os.path.lexists(path):
        folder = os.path.isdir(path) and not os.path.islink(path)
        _perform("remove", path, partial(_removed, path, folder))


def _removed(path: Path, folder: bool) -> None:
    """Of two processes that remove the same, neither fails."""
    while folder and os.path.lexists(path):
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            continue
    if not folder:
        path.unlink(missing_ok=True)


def _flush(path: Path, size: int = 1) -> None:
    def action() -> None:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    _perform("flush", path, action, max(size, 1))
