"""What a finished artefact says about itself, and the proof that it is true: reading and verifying, never writing.

An artefact is a folder with a `manifest.json`: what it is, its receipt, the size and SHA-256 of every other file in it,
and a digest of all that. A folder without a manifest that holds is not an artefact, whatever its name says. Checks come
cheapest first: the manifest, then sizes (`read_manifest`), then every byte (`verify`); only then may anyone parse.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mpr.errors import DataError, Problem, StorageError, excerpt

MANIFEST = "manifest.json"
FORMAT = 1
MAX_MANIFEST = 1 << 24  # bytes; a hundred thousand files fit, and junk of any size is refused without reading it
REDO = "delete the folder and run the stage that makes it again"
_SETTLED = 2_000_000_000  # nanoseconds: the coarsest clock that a file system stamps changes with


@dataclass(frozen=True)
class Manifest:
    """What a committed folder claims to be."""

    kind: str
    receipt: dict[str, Any]
    files: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, kind: str, receipt: Mapping[str, Any], files: dict[str, dict[str, Any]], where: str) -> Manifest:
        """A manifest that its readers will accept: plain JSON, finite numbers, not too long."""
        try:
            # Through JSON and back, so that the digest is of what a reader will see: text keys, lists, floats.
            manifest = cls(kind, json.loads(json.dumps(dict(receipt))), files)
            size = len(manifest.to_bytes())
        except (TypeError, ValueError, RecursionError) as error:
            what = f"receipt cannot be written as JSON: {error}"
            raise StorageError(what, where=where, fix="nothing was kept; please report this, it is a bug") from error
        if size > MAX_MANIFEST:
            what = f"manifest would have {size:,} bytes, readers accept {MAX_MANIFEST:,}"
            raise StorageError(what, where=where, fix="use fewer files or a shorter receipt")
        return manifest

    @property
    def digest(self) -> str:
        return json_digest(self._content())

    def to_bytes(self) -> bytes:
        return (json.dumps({**self._content(), "digest": self.digest}, indent=1, sort_keys=True) + "\n").encode()

    def _content(self) -> dict[str, Any]:
        return {"format": FORMAT, "kind": self.kind, "receipt": self.receipt, "files": self.files}


class Opened:
    """Base of what reads one artefact. To another process, or another machine, it goes as its folder."""

    folder: Path

    def __reduce__(self) -> Any:
        return type(self), (self.folder,)


def read_manifest(folder: Path, kind: str | None = None) -> Manifest:
    """Reads a manifest and checks that every file has its size: milliseconds, whatever the artefact weighs."""
    folder = Path(folder)
    path = folder / MANIFEST
    manifest = _parsed(_manifest_bytes(path), path)
    if kind is not None and manifest.kind != kind:
        what = f"is of kind {excerpt(manifest.kind)}, not '{kind}'"
        raise StorageError(what, where=str(folder), fix="check the path")
    present, problems = dict(contents(folder)), []
    for name, entry in manifest.files.items():
        status, where = present.get(name), str(folder / name)
        if status is None:
            problems.append(Problem("file is missing", where, fix=REDO))
        elif not stat.S_ISREG(status.st_mode):
            problems.append(Problem("is a link or a device, not a file", where, fix=REDO))
        elif status.st_size != entry["bytes"]:
            what = f"has {status.st_size:,} bytes instead of {entry['bytes']:,}"
            problems.append(Problem(what, where, fix=REDO))
    for name in sorted(present.keys() - manifest.files.keys()):
        problems.append(Problem("file is not in the manifest", f"{folder}/{name}", fix=REDO))
    if problems:
        raise StorageError(problems)
    return manifest


def verify(folder: Path, kind: str | None = None) -> Manifest:
    """`read_manifest`, then every byte against its checksum. Files already verified in this process are remembered."""
    manifest = read_manifest(folder, kind)
    problems: list[Problem] = []
    for name, entry in manifest.files.items():
        path = Path(folder) / name
        try:
            actual = remembered_sha256(path)
        except StorageError as error:
            problems.extend(error.problems)
            continue
        if actual != entry["sha256"]:
            what = f"checksum mismatch: expected {entry['sha256'][:16]}..., found {actual[:16]}..."
            problems.append(Problem(what, str(path), fix=REDO))
    if problems:
        raise StorageError(problems)
    return manifest


def _manifest_bytes(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise StorageError("manifest is a link, a folder or a device, not a file", where=str(path), fix=REDO)
        with open(path, "rb") as file:
            return file.read(MAX_MANIFEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        there = os.path.lexists(path.parent)
        what = "is not a finished artefact: it has no manifest" if there else "does not exist"
        fix = REDO if there else "run the stage that makes it, or check the path"
        raise StorageError(what, where=str(path.parent), fix=fix) from None
    except OSError as error:
        raise StorageError(f"manifest cannot be read: {error.strerror}", where=str(path), fix=REDO) from error


def _parsed(data: bytes, path: Path) -> Manifest:
    """The manifest in `data`, only if these are the very bytes that mpr would write for it."""
    if len(data) > MAX_MANIFEST:
        raise StorageError(f"manifest is longer than {MAX_MANIFEST:,} bytes", where=str(path), fix=REDO)
    try:
        content = json.loads(data)
        if isinstance(content, dict) and content.get("format", FORMAT) != FORMAT:
            what = f"manifest has format {excerpt(str(content['format']))}, this version of mpr reads format {FORMAT}"
            raise StorageError(what, where=str(path), fix="use the version of mpr that wrote it, or make it again")
        manifest = Manifest(content["kind"], content["receipt"], content["files"])
        faithful = manifest.to_bytes() == data
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        what = f"manifest cannot be read: {type(error).__name__} {excerpt(str(error))}"
        raise StorageError(what, where=str(path), fix=REDO) from error
    if not faithful:
        raise StorageError("manifest was altered: its own digest does not match", where=str(path), fix=REDO)
    # A manifest can carry a true digest of false content, so names and entries are looked at one by one.
    types = isinstance(manifest.kind, str), isinstance(manifest.receipt, dict), isinstance(manifest.files, dict)
    if not all(types) or not all(
        isinstance(entry, dict)
        and entry.keys() == {"bytes", "sha256"}
        and type(entry["bytes"]) is int
        and isinstance(entry["sha256"], str)
        and not name_problem(name)
        for name, entry in manifest.files.items()
    ):
        raise StorageError("manifest was not written by mpr: its entries are malformed", where=str(path), fix=REDO)
    return manifest


def name_problem(name: str) -> str:
    """Why `name` cannot be a file of an artefact, or the empty string. No name leads out of the folder."""
    parts = PurePosixPath(name).parts
    if not parts or name != "/".join(parts) or ".." in parts or name.startswith("/"):
        return "is not a plain path inside the folder"
    if name == MANIFEST:
        return "is the name of the manifest itself"
    if "\\" in name or not name.isprintable():
        return "has a backslash or a character that cannot be printed"
    return ""


def contents(folder: Path) -> list[tuple[str, os.stat_result]]:
    """Everything below `folder` that is not a folder, with its status, by name; links are listed, never followed.

    Folders themselves are no content: archives and file hosts drop empty ones, and an artefact must survive the trip.
    """
    found = []
    try:
        for place, folders, files in os.walk(folder, onerror=_raise):
            links = [name for name in folders if os.path.islink(os.path.join(place, name))]
            for path in (Path(place, name) for name in files + links):
                found.append((path.relative_to(folder).as_posix(), os.lstat(path)))
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise StorageError(what, where=str(folder), fix="check its permissions") from error
    return sorted((name, status) for name, status in found if name != MANIFEST)


def _raise(error: OSError) -> None:
    raise error


_remembered: dict[tuple[str, tuple[int, ...]], str] = {}


def remembered_sha256(path: Path) -> str:
    """The checksum of a file, computed once per process as long as nothing touches the file.

    A change stamps the file with a clock that ticks in steps, so a file whose stamp is younger than a step may change
    again without a trace: its checksum is not remembered.
    """
    return _remembered_sum(path, "sha256")


def remembered_md5(path: Path) -> str:
    """The same for files of which others published no better checksum."""
    return _remembered_sum(path, "md5")


def pinned_file(
    file: str,
    sha256: str | None,
    folder: Path | None,
    key: str,
    *,
    of: str = "",
    fix: str = "check the name, or make it first",
) -> Path:
    """Inside the user's folder if there is one; `key` is that of the recipe, `of` says what the file holds."""
    path = (folder or Path()) / file
    if not path.is_file():
        raise DataError(f"file of {of} is not there" if of else "is not there", where=str(path), key=key, fix=fix)
    seen = remembered_sha256(path)
    if sha256 not in (None, seen):
        what = f"is not the pinned file: expected sha256 {str(sha256)[:16]}..., found {seen[:16]}..."
        raise DataError(what, where=str(path), key=key, fix="bring the pinned file, or pin this one")
    return path


def _remembered_sum(path: Path, algorithm: str) -> str:
    before = _identity(path)
    if (algorithm, before) not in _remembered:
        settled = before[-1] < time.time_ns() - _SETTLED
        digest = _sum(path, algorithm)
        if not settled or before != _identity(path):
            return digest
        _remembered[algorithm, before] = digest
    return _remembered[algorithm, before]


def _identity(path: Path) -> tuple[int, ...]:
    try:
        status = os.stat(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def sha256_file(path: Path) -> str:
    """Checksum of a file's bytes, in lower-case hexadecimal."""
    return _sum(path, "sha256")


def _sum(path: Path, algorithm: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> StorageError:
    return StorageError(f"cannot be read: {error.strerror}", where=str(path), fix="check that the file is there")


def json_digest(content: Any) -> str:
    """SHA-256 of the canonical JSON form; the same for equal content on every platform."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
