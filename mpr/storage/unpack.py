"""Opens a data file as a stream of bytes, whatever packs it: nothing, gzip, Zstandard or xz.

The first bytes decide, because none of the three signatures can begin a UTF-8 text. The standard readers are not used:
some of them take a stream that stops in the middle, or garbage behind it, for the end of the file. Here a stream must
be ended by its own end mark, and every stream of a concatenated file is read. Gzip is unpacked by ISA-L, in less than
half the time that zlib takes.
"""

from __future__ import annotations

import io
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import zstandard
from isal import isal_zlib

from mpr.errors import DataError

# One step unpacks this many bytes. Small, because a hostile kilobyte can unpack to tens of megabytes.
_STEP = 1 << 13
_DAMAGED = (isal_zlib.IsalError, lzma.LZMAError, zstandard.ZstdError)
_BUFFER = 1 << 17


class StreamError(Exception):
    """The packed stream is cut short or altered; the reader adds the place."""


class _Kind(NamedTuple):
    name: str
    signature: bytes
    unpacker: Callable[[], Any]  # an object with decompress(bytes), eof and unused_data, which all three libraries have


_KINDS = {
    ".gz": _Kind("gzip", b"\x1f\x8b", lambda: isal_zlib.decompressobj(wbits=31)),
    ".zst": _Kind("Zstandard", b"\x28\xb5\x2f\xfd", lambda: zstandard.ZstdDecompressor().decompressobj()),
    ".xz": _Kind("xz", b"\xfd7zXZ\x00", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ)),
}
PACKED = tuple(_KINDS)  # the endings of packed files
_UNKNOWN = (".bz2", ".zip", ".7z", ".lz4")


class _Unpacked(io.RawIOBase):
    """The bytes inside a packed file."""

    def __init__(self, file: io.BufferedReader, kind: _Kind) -> None:
        self._file, self._kind = file, kind
        self._unpacker: Any = kind.unpacker()
        self._started = False  # whether the current stream has received any byte
        self._packed = b""  # what lies behind the end of the previous stream
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        view = memoryview(target).cast("B")
        while not self._ready:
            packed = self._packed or self._file.read(_STEP)
            self._packed = b""
            if not packed and self._started:
                raise StreamError(f"is cut short: the {self._kind.name} stream has no end")
            if not packed:
                return 0
            if not self._started:
                packed = packed.lstrip(b"\x00")  # zeros may pad the room between and behind streams
                if not packed:
                    continue
            try:
                self._ready = memoryview(self._unpacker.decompress(packed))
            except _DAMAGED as error:  # type: ignore[misc] # the stub of isal calls its class an instance
                raise StreamError(f"is damaged: {self._kind.name} says '{error}'") from error
            self._started = True
            if self._unpacker.eof:
                self._packed = self._unpacker.unused_data
                self._unpacker, self._started = self._kind.unpacker(), False
        size = min(len(view), len(self._ready))
        view[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def open_bytes(path: str | os.PathLike[str]) -> io.BufferedReader:
    """The unpacked bytes of `path`, buffered; reading may raise `StreamError`."""
    path = Path(path)
    try:
        file: io.BufferedReader = io.BufferedReader(io.FileIO(path), _BUFFER)
    except FileNotFoundError:
        raise DataError("file does not exist", where=str(path), fix="check the path") from None
    except IsADirectoryError:
        raise DataError("is a folder, not a file", where=str(path), fix="name a file in it") from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(path), fix="check the path") from error
    first = file.peek(8)[:8]
    for kind in _KINDS.values():
        if first.startswith(kind.signature):
            return io.BufferedReader(_Unpacked(file, kind), _BUFFER)
    if first and path.suffix in _KINDS:
        file.close()
        what = f"is named {path.suffix} but is not {_KINDS[path.suffix].name} data"
        raise DataError(what, where=str(path), fix="rename it, or get it again")
    if path.suffix in _UNKNOWN:
        file.close()
        raise DataError(f"is packed as {path.suffix}", where=str(path), fix=f"repack as one of {', '.join(PACKED)}")
    return file


def packing(name: str) -> str:
    """The ending that says how a file is packed; empty: it is not."""
    return next((ending for ending in PACKED if name.endswith(ending)), "")


def stem(path: str | os.PathLike[str]) -> str:
    """The name of a file without the endings that say how it is packed and written: `nq-test` for `nq-test.qa.csv`."""
    name = Path(path).name
    for endings in (PACKED, (".jsonl", ".json", ".tsv", ".csv", ".txt"), (".qa",)):
        for ending in endings:
            name = name.removesuffix(ending) or name
    return name
