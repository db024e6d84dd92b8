"""A file of an archive, unpacked once and kept: `.zip`, or `.tar` in whatever packs it.

Only the one member that is asked for is read, by its exact name, and it is written under a name of ours: paths inside
an archive lead nowhere. A link, a device, a sparse or encrypted file and a name that stands there twice are refused. A
tar is read to its end, so that one that is cut short is noticed even if no checksum of it is known.
"""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from mpr import storage
from mpr.errors import DataError, excerpt, nearest
from mpr.records import stable_hash
from mpr.storage.unpack import StreamError, open_bytes

KIND = "unpacked"
_CHUNK = 1 << 20
_SHOWN = 12  # names in a message


def member(archive: Path, path: str, home: Path) -> Path:
    """The file `path` of an archive, below `home`; the folder is named by the archive's checksum and the path."""
    whole = storage.remembered_sha256(archive)
    target = home / "downloads" / f"{whole[:16]}-{stable_hash(path):016x}"
    name = PurePosixPath(path).name
    with storage.missing(target) as is_missing:
        if is_missing:
            unpack = _from_zip if zipfile.is_zipfile(archive) else _from_tar
            receipt = {"archive": archive.name, "sha256": whole, "member": path}
            with storage.stage(target, KIND, receipt) as stage, _explained(archive, path), stage.open(name) as file:
                unpack(archive, path, file)
    storage.read_manifest(target, KIND)
    return target / name


def _from_zip(archive: Path, path: str, file: IO[bytes]) -> None:
    with zipfile.ZipFile(archive) as opened:
        found = [one for one in opened.infolist() if _plain(one.filename) == path]
        entry = found[_one(archive, path, len(found), [one.filename for one in opened.infolist()])]
        if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG) or entry.is_dir() or entry.flag_bits & 1:
            raise _odd(archive, path)
        storage.require_space(archive.parent, entry.file_size)
        with opened.open(entry) as source:
            _copy(archive, path, source, file, entry.file_size)


def _from_tar(archive: Path, path: str, file: IO[bytes]) -> None:
    found, names = 0, []
    with open_bytes(archive) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as opened:
        for entry in opened:
            names.append(entry.name)
            if _plain(entry.name) != path:
                continue
            found += 1
            if not entry.isreg() or entry.issparse():
                raise _odd(archive, path)
            if found == 1:
                storage.require_space(archive.parent, entry.size)
                source = opened.extractfile(entry)
                assert source is not None
                _copy(archive, path, source, file, entry.size)
        while unpacked.read(_CHUNK):  # behind the end of the archive stands its checksum, if it is packed
            pass
    _one(archive, path, found, names)


def _plain(name: str) -> str:
    """Without the `./` that some archives put before every name."""
    return name.removeprefix("./")


def _one(archive: Path, path: str, found: int, names: list[str]) -> int:
    """0, the first of one."""
    if found == 0:
        hint = nearest(path, names) or f"it has {', '.join(excerpt(name) for name in names[:_SHOWN])}"
        raise DataError(f"has no '{path}'", where=str(archive), fix=hint)
    if found > 1:
        raise DataError(f"has '{path}' {found} times", where=str(archive), fix="get the archive again, or repack it")
    return 0


def _odd(archive: Path, path: str) -> DataError:
    what = f"'{path}' in it is no plain file but a link, a device, or sparse or encrypted"
    return DataError(what, where=str(archive), fix="nothing was unpacked; repack it with plain files")


def _copy(archive: Path, path: str, source: IO[bytes], file: IO[bytes], size: int) -> None:
    """As many bytes as the archive says, and none more."""
    shutil.copyfileobj(source, file, _CHUNK)
    if file.tell() != size:
        what = f"'{path}' in it has {file.tell():,} bytes, where the archive says {size:,}"
        raise DataError(what, where=str(archive), fix="get the archive again")


@contextmanager
def _explained(archive: Path, path: str) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, StreamError, zlib.error, EOFError, NotImplementedError) as error:
        what = f"'{path}' cannot be unpacked: {excerpt(str(error) or type(error).__name__, 200)}"
        raise DataError(
            what, where=str(archive), fix="nothing was kept; the archive is damaged: get it again"
        ) from error
