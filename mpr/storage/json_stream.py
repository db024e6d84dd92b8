"""Streams the objects of one huge JSON list, such as DPR's training files, in bounded memory.

The text is decoded piece by piece into a window. An object that does not end inside the window makes the window grow;
one that is malformed is told from one that is only cut off by where the parser gave up, so an error on the first page
of a file of gigabytes is reported from there, with its true line and byte.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import re
from collections.abc import Iterator
from typing import Any

from mpr.errors import DataError, excerpt
from mpr.storage import lines
from mpr.storage.json_fields import decode, refusal_of
from mpr.storage.lines import Line, damaged, empty, undecodable
from mpr.storage.unpack import StreamError, open_bytes

_WINDOW = 1 << 22
_CUT = 16  # a token that the end of the window cuts off makes the parser give up this close to the end
_SHOWN = 120
_SPACE = re.compile(r"[ \t\r\n]*")


def read_array(path: str | os.PathLike[str], member: str | None = None) -> Iterator[tuple[Line, dict[str, Any]]]:
    """Each object of the list that fills the file, with the place where it starts.

    With `member`, the file holds one object and the list is that member of it. An empty list is refused.
    """
    with open_bytes(path) as file:
        window = _Window(str(path), file)
        if not window.next():
            raise empty(str(path))
        yield from _entries(window) if member is None else _member(window, member)
        if window.next():
            raise window.refuse("something follows the end of the JSON value")


def _entries(window: _Window) -> Iterator[tuple[Line, dict[str, Any]]]:
    if window.next() == "{":
        raise window.refuse("a list of objects was expected", fix="JSON lines need another reader, or wrap them in [ ]")
    window.take("[", "a list of objects was expected")
    while True:
        line, value = window.value()
        if not isinstance(value, dict):
            raise line.refuse("every entry of the list must be an object")
        yield line, value
        if window.next() == "]":
            break
        window.take(",", "',' or ']' was expected after an entry")
    window.take("]", "']' was expected")


def _member(window: _Window, member: str) -> Iterator[tuple[Line, dict[str, Any]]]:
    window.take("{", "an object was expected")
    seen: list[str] = []
    while True:
        line, name = window.value()
        if not isinstance(name, str) or name in seen:
            raise line.refuse("a field name was expected that was not there before")
        seen.append(name)
        window.take(":", "':' was expected after a field name")
        window.next()
        if name == member:
            yield from _entries(window)
        else:
            window.value()
        if window.next() == "}":
            break
        window.take(",", "',' or '}' was expected")
        window.next()
    if member not in seen:
        raise window.refuse("field is missing", key=member, fix=f"fields found: {excerpt(', '.join(seen))}")
    window.take("}", "'}' was expected")


class _Window:
    """A stretch of decoded text of a file, and the place where the next token starts."""

    def __init__(self, path: str, file: io.BufferedReader) -> None:
        self._path, self._file = path, file
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._read = 0  # bytes given to the decoder
        self._text, self._at = "", 0
        self._number, self._offset = 1, 0  # line and byte of text[at]
        while not self._text and self._more():
            pass  # a window may hold only a part of the first character
        if self._text.startswith("\ufeff"):
            self._advance(1)

    def next(self) -> str:
        """The next character that is not white space; empty at the end of the file."""
        while True:
            space = _SPACE.match(self._text, self._at)
            assert space is not None, "the pattern matches everywhere"
            self._advance(space.end())
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, character: str, otherwise: str) -> None:
        if self.next() != character:
            raise self.refuse(otherwise)
        self._advance(self._at + 1)

    def value(self) -> tuple[Line, Any]:
        """The JSON value that comes next, and the place where it starts."""
        self.next()
        while True:
            try:
                value, end = decode(self._text, self._at)
            except json.JSONDecodeError as error:
                is_open = error.msg.startswith("Unterminated string")
                if not (is_open or error.pos >= len(self._text) - _CUT) or not self._more():
                    ended = is_open or error.pos >= len(self._text.rstrip())
                    what = f"not JSON, in the entry that starts on line {self._number}: "
                    what += f"the file ends within it: {error.msg}" if ended else error.msg
                    self._advance(min(error.pos, len(self._text)))
                    raise self._line().refuse(what) from None
            except (ValueError, RecursionError) as error:
                raise self.refuse(refusal_of(error)) from None
            else:
                # A number at the end of the window may go on behind it: `1`, `1.` and `1e-` may all become `1e-5`.
                if end >= len(self._text) - 2 and self._more():
                    continue
                line = self._line()
                self._advance(end)
                return line, value

    def refuse(self, what: str, key: str = "", fix: str = "") -> DataError:
        what = what if self._at < len(self._text) else f"the file ends here: {what}"
        return self._line().refuse(what, key, fix)

    def _line(self) -> Line:
        return Line(self._path, self._number, self._offset, self._text[self._at : self._at + _SHOWN])

    def _advance(self, end: int) -> None:
        passed = self._text[self._at : end]
        self._number += passed.count("\n")
        self._offset += len(passed.encode("utf-8"))
        self._at = end

    def _more(self) -> bool:
        """Drops what was passed and decodes at least as much again as is left; false at the end, without a change."""
        rest = self._text[self._at :]
        if len(rest) > lines.LONGEST:
            raise lines.too_long(self._path, self._number)
        wanted = max(_WINDOW, len(rest))
        try:
            data = self._file.read(wanted)
        except StreamError as error:
            raise damaged(self._path, self._number, error) from error
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror}", where=f"{self._path}:{self._number}") from error
        pending = len(self._decoder.getstate()[0])
        try:
            added = self._decoder.decode(data, final=len(data) < wanted)
        except UnicodeDecodeError as error:
            number = self._number + rest.count("\n") + error.object[: error.start].count(b"\n")
            offset = self._read - pending + error.start
            raise undecodable(self._path, number, offset, error.object[error.start :]) from None
        if not data:
            return False
        self._read += len(data)
        self._text, self._at = rest + added, 0
        return True
