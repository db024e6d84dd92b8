"""Reads text files line by line, each line with its true number and byte offset.

Only a line feed (with or without a carriage return before it) ends a line: U+2028, a form feed or a lone carriage
return stay in the text. Offsets count the unpacked bytes. Whatever is wrong is a `DataError` that starts with
`path:line` and shows the byte offset and a safe excerpt; nothing is skipped or repaired.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, NamedTuple

from mpr.errors import DataError, Problem, excerpt
from mpr.records import id_problem, text_problem
from mpr.storage.unpack import StreamError, open_bytes

_MARK = b"\xef\xbb\xbf"  # the byte-order mark that some editors put in front of UTF-8
_AROUND = 30  # characters shown on each side of the place of an error


LONGEST = 1 << 28  # bytes of a record: what a small packed file can unpack to must not fill the memory


class Line(NamedTuple):
    """A place in a file and the text found there. `offset` is negative where bytes cannot be counted (table rows)."""

    path: str
    number: int
    offset: int
    text: str

    @property
    def where(self) -> str:
        return f"{self.path}:{self.number}"

    def problem(self, what: str, key: str = "", fix: str = "", at: int = 0) -> Problem:
        """`at` is the character of the text at which the trouble was noticed."""
        shown = excerpt(self.text[max(0, at - _AROUND) : at + 2 * _AROUND], 3 * _AROUND)
        byte = self.offset + len(self.text[:at].encode("utf-8", "surrogatepass"))
        place = f"at byte {byte}" if self.offset >= 0 else "in this row"
        return Problem(f"{what}, {place}: {shown}", self.where, key, fix)

    def refuse(self, what: str, key: str = "", fix: str = "", at: int = 0) -> DataError:
        return DataError([self.problem(what, key, fix, at)])


def read_lines(path: str | os.PathLike[str]) -> Iterator[Line]:
    """Every line of a plain or packed UTF-8 file, in constant memory. A file without lines is refused."""
    with open_bytes(path) as file:
        yield from lines_of(file, str(path))


def lines_of(file: IO[bytes], name: str, number: int = 0, offset: int = 0) -> Iterator[Line]:
    """The same of an open file, or of a part of one that begins behind so many lines and bytes."""
    try:
        while raw := file.readline(LONGEST + 1):
            number += 1
            if len(raw) > LONGEST:
                raise too_long(name, number)
            if number == 1 and raw.startswith(_MARK):
                raw, offset = raw[len(_MARK) :], len(_MARK)
                if not raw:
                    raise empty(name)
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise undecodable(name, number, offset + error.start, raw[error.start :]) from None
            yield Line(name, number, offset, text[:-2] if text.endswith("\r\n") else text.removesuffix("\n"))
            offset += len(raw)
    except StreamError as error:
        raise damaged(name, number, error) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=f"{name}:{number + 1}") from error
    if number == 0:
        raise empty(name)


def empty(path: str) -> DataError:
    return DataError("is empty: it has no line", where=path, fix="get the file again, or remove it from the recipe")


def too_long(path: str, number: int) -> DataError:
    what = f"one record is longer than {LONGEST:,} bytes, which is no text to search or to train on"
    return DataError(what, where=f"{path}:{number}", fix="get the file again, or cut the record into passages")


def damaged(path: str, number: int, error: StreamError) -> DataError:
    return DataError(f"{error} (after {number} lines)", where=f"{path}:{number + 1}", fix="get the file again")


def undecodable(path: str, number: int, offset: int, data: bytes) -> DataError:
    fix = "convert the file to UTF-8"
    what = f"byte 0x{data[0]:02x} is not UTF-8, at byte {offset}: {excerpt(data[: 2 * _AROUND])}"
    return DataError(what, where=f"{path}:{number}", fix=fix)


def split_line(line: Line, names: Sequence[str]) -> list[str]:
    """The tab-separated columns of a line, which must be exactly those named."""
    columns = line.text.split("\t")
    if len(columns) != len(names):
        raise wrong_columns(line, len(columns), names)
    return columns


def wrong_columns(line: Line, found: int, names: Sequence[str], separator: str = "tab") -> DataError:
    what = f"has {found} {separator}-separated columns instead of {len(names)}"
    return line.refuse(what, fix=f"expected: {', '.join(names)}")


def identifier(value: object) -> str:
    """`records.id_problem`, with a short way for ordinary ids: files hold hundreds of millions of them."""
    if type(value) is str and value.isascii() and value.isprintable() and " " not in value and 0 < len(value) <= 200:
        return ""
    return id_problem(value)


def line_id(line: Line, value: str, key: str) -> str:
    """`value` if it can be an id."""
    if problem := identifier(value):
        fix = "give it another id: run files separate their columns by white space" if value else "give it an id"
        raise line.refuse(problem, key, fix)
    return value


class Ids:
    """The ids of a file that must not name one thing twice; remembers the line of each."""

    def __init__(self) -> None:
        self._lines: dict[str, int] = {}

    def add(self, line: Line, value: str, key: str = "id", fix: str = "remove one of the two") -> None:
        if value in self._lines:
            what = f"id {excerpt(value)} is already on line {self._lines[value]}"
            raise line.refuse(what, key, fix)
        self._lines[value] = line.number

    def line(self, value: str) -> int:
        """The line that holds the id."""
        return self._lines[value]


# For writers: what a format cannot hold is refused, because a reader could never give it back.


def write_lines(file: IO[bytes], lines: Iterable[str]) -> int:
    """Writes lines, given without their ends, as UTF-8. Returns how many."""
    count = 0
    for line in lines:
        file.write(f"{line}\n".encode())
        count += 1
    return count


def writable_id(value: str, key: str) -> str:
    if problem := identifier(value):
        raise DataError(f"{problem}: {excerpt(value)}", key=key, fix="give it another id")
    return value


def writable_text(value: str, key: str) -> str:
    if problem := text_problem(value):
        raise DataError(f"{problem}: {excerpt(value)}", key=key, fix="correct the text")
    return value


def writable_cell(value: str, key: str) -> str:
    """A text for one column of a tab-separated line."""
    for character, name in (("\t", "tab"), ("\n", "line feed"), ("\r", "carriage return")):
        if character in value:
            what = f"has a {name} at position {value.index(character)}, which this format cannot hold"
            raise DataError(what, key=key, fix="write a JSONL format")
    return writable_text(value, key)
