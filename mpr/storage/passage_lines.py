"""Passages of a file that has one on each line: one after the other, or by the column, many lines at once.

A format gives two readers. The careful one takes a line and refuses it with its number and byte. The quick one takes
whole lines together and gives their columns (`passage_columns`), or None where anything in them is out of the
ordinary: then the careful one reads these same lines. So both give the same passages and the same refusals, and what
the quick one understands may be little. The first line goes to the careful one by itself, since it may be a header or
begin with a byte-order mark.
"""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np

from mpr.errors import DataError
from mpr.records import Passage
from mpr.storage import lines
from mpr.storage.lines import Line
from mpr.storage.passage_columns import Cells
from mpr.storage.unpack import StreamError, open_bytes

BLOCK = 1 << 19  # bytes that are read at once: more does not fit the caches of a core
_THREADS = 4
Made = TypeVar("Made")


class PassageLines(Iterator[Passage]):
    """The passages of a file, each once: by iteration, or by `blocks`."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        careful: Callable[[Line], Passage | None],
        quick: Callable[[bytes], Cells | None],
    ) -> None:
        """`careful` gives None for a line that is no passage, such as a header."""
        self._path, self._careful, self._quick = path, careful, quick
        self._passages = self._read(lines.read_lines(path))

    def __next__(self) -> Passage:
        return next(self._passages)

    def _read(self, found: Iterator[Line]) -> Iterator[Passage]:
        for line in found:
            passage = self._careful(line)
            if passage is not None:
                yield passage

    def blocks(self, each: Callable[[Cells], Made]) -> Iterator[Made | Iterator[Passage]]:
        """All passages in order: what `each` makes of the columns of a block, or passages, to be used up first.

        Blocks are read ahead and worked on by a few threads, since most of the work is done without Python's lock.
        """

        def made(block: _Block) -> Made | None:
            plain = _plain_ends(block.data)
            # The first line may be a header, or begin with a byte-order mark.
            odd = block.number == 0 or b"\r" in plain or len(plain) > 2 * BLOCK
            found = None if odd else self._quick(plain)
            return None if found is None else each(found)

        waiting, problem = deque[tuple[Future[Made | None], _Block]](), None
        with ThreadPoolExecutor(_THREADS) as pool:
            blocks = self._whole_lines()
            while problem is None:
                try:
                    block = next(blocks, None)
                except DataError as error:  # it counts when what stands before it was read
                    problem, block = error, None
                if block is not None:
                    waiting.append((pool.submit(made, block), block))
                while waiting and (block is None or len(waiting) > _THREADS):
                    future, done = waiting.popleft()
                    found = future.result()
                    careful = lines.lines_of(io.BytesIO(done.data), str(self._path), done.number, done.offset)
                    yield self._read(careful) if found is None else found
                if block is None:
                    break
        if problem is not None:
            raise problem

    def _whole_lines(self) -> Iterator[_Block]:
        """The file in parts that end with a line; the first one is the first line."""
        name, number, offset, rest, buffer = str(self._path), 0, 0, b"", bytearray(BLOCK)
        with open_bytes(self._path) as file:
            while True:
                size, problem = _filled(buffer, file)
                is_end = not size and problem is None
                end = size if is_end else buffer.rfind(b"\n", 0, size) + 1
                whole = b"".join((rest, memoryview(buffer)[:end])) if end or is_end else b""
                rest = bytes(memoryview(buffer)[end:size]) if whole else rest + buffer[:size]
                if number == 0 and whole:
                    first = whole.find(b"\n") + 1 or len(whole)
                    yield _Block(whole[:first], 0, 0)
                    number, offset, whole = 1, first, whole[first:]
                if whole:
                    yield _Block(whole, number, offset)
                    number, offset = number + _feeds(whole), offset + len(whole)
                if len(rest) > lines.LONGEST:
                    raise lines.too_long(name, number + 1)
                if isinstance(problem, StreamError):
                    raise lines.damaged(name, number, problem) from problem
                if problem is not None:
                    raise DataError(f"cannot be read: {problem.strerror}", where=f"{name}:{number + 1}") from problem
                if is_end:
                    break
        if number == 0:
            raise lines.empty(name)


class _Block(NamedTuple):
    """Lines, and how many lines and bytes stand before them."""

    data: bytes
    number: int
    offset: int


def _filled(buffer: bytearray, file: io.BufferedReader) -> tuple[int, StreamError | OSError | None]:
    """Puts the next bytes into a buffer: how many, none at the end of the file, and what then stopped the reading; what
    came before is good."""
    view, size = memoryview(buffer), 0
    try:
        while size < len(buffer) and (count := file.readinto1(view[size:])):
            size += count
    except (StreamError, OSError) as error:
        return size, error
    return size, None


def _plain_ends(data: bytes) -> bytes:
    """With line feeds alone at the ends of lines, if all carriage returns stand before one."""
    is_plain = b"\r" not in data or data.count(b"\r") != data.count(b"\r\n")
    return data if is_plain else data.replace(b"\r\n", b"\n")


def _feeds(data: bytes) -> int:
    """`data.count`, several times faster."""
    return int(np.count_nonzero(np.frombuffer(data, dtype=np.uint8) == 10))
