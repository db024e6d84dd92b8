"""YAML 1.2 read without surprises: every value keeps its line, every trap is refused, all of them at once.

What this leaves out on purpose: anchors and aliases (a recipe is complete in itself, and they can be a bomb), merge
keys, tags (`!!python/...`), duplicate keys, several documents, non-finite numbers, numbers with a leading zero (a
commit id of digits would lose it), and files larger or deeper than a recipe can be.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from mpr.errors import Problems, RecipeError, excerpt, nearest_beside

MAX_BYTES = 1 << 16
MAX_DEPTH = 20
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_DIGITS = 18  # of a whole number: more fit into no counter
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_AMBIGUOUS = re.compile(  # what some version of YAML takes for a number, a date, a truth value or nothing
    r"[-+]?[0-9][0-9_.:]*(e[-+]?[0-9]+)?|[-+]?0[xob][0-9a-f_]+|[-+]?\.(inf|nan)|[0-9]{4}-[0-9]+-[0-9]+.*"
    r"|true|false|yes|no|on|off|null|=|<<",
    re.IGNORECASE,
)

Path_ = tuple[str | int, ...]  # the way to a value: ("draw", "negatives", 0, "k")
Finding = tuple[Path_, str, str]  # the key to change, what is wrong with it, and how to fix that


@dataclass
class Document:
    """The plain value of a file, the line of every key and item in it, and what the YAML itself does wrong."""

    value: Any
    file: str
    data: bytes = b""
    """What was read."""
    lines: dict[Path_, int] = field(default_factory=dict)
    problems: Problems = field(default_factory=lambda: Problems(RecipeError))
    refused: set[Path_] = field(default_factory=set)
    """Places whose value was refused and stands as null."""
    replaced: dict[Path_, str] = field(default_factory=dict)
    """Places whose value is not the file's, and what put it there."""
    short: dict[Path_, Path_] = field(default_factory=dict)
    """Places of a short form that was written out -> where the file has it."""

    def where(self, path: Path_) -> str:
        """`file:line` of a value, or of the nearest thing around it when the value itself is missing."""
        path = self.shown(path)
        for length in range(len(path), -1, -1):
            if path[:length] in self.replaced:
                return self.replaced[path[:length]]
            if path[:length] in self.lines:
                return f"{self.file}:{self.lines[path[:length]]}"
        return f"{self.file}:1"

    def shown(self, path: Path_) -> Path_:
        """The way to a value as it is written in messages."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.short:
                return (*self.short[path[:length]], *path[length:])
        return path


def read(path: Path) -> Document:
    """Reads one file. What cannot be read at all is refused here; the rest is collected in `problems`."""
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise RecipeError(
                f"has {size:,} bytes; a recipe has at most {MAX_BYTES:,}", where=str(path), fix="is it a recipe?"
            )
        data = path.read_bytes()
    except FileNotFoundError:
        fix = nearest_beside(path) or "`mpr recipes` lists those that come with mpr"
        raise RecipeError("no such file", where=str(path), fix=fix) from None
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", where=str(path)) from error
    return parse(data, str(path))


def parse(data: bytes, file: str) -> Document:
    """The same for bytes already in memory."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        what = f"is not UTF-8 at byte {error.start:,}: {excerpt(data[error.start : error.start + 8])}"
        raise RecipeError(what, where=f"{file}:{line}", fix="save the file as UTF-8") from error
    tabs = Problems(RecipeError)
    for number, line_text in enumerate(text.split("\n"), start=1):
        if "\t" in line_text[: len(line_text) - len(line_text.lstrip())]:
            tabs.add("a tab is used for indentation", where=f"{file}:{number}", fix="YAML indents with spaces only")
    tabs.stop_if_any()
    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 2)
    reader, found = _Reader(Document(None, file, data), yaml.parse(text)), False
    try:
        for event in reader.events:
            if not isinstance(event, DocumentStartEvent):
                continue
            if found:
                where = f"{file}:{event.start_mark.line + 1}"
                raise RecipeError("holds several documents", where=where, fix="keep one")
            first = next(reader.events)
            found = not (isinstance(first, ScalarEvent) and first.value == "" and not first.style)
            reader.document.value = reader.value(first, ())
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise RecipeError(f"is not YAML: {error.problem}", where=f"{file}:{line}") from error
    except YAMLError as error:
        raise RecipeError(f"is not YAML: {excerpt(str(error))}", where=f"{file}:1") from error
    if not found:
        raise RecipeError("is empty", where=f"{file}:1", fix="see recipes/README.md")
    return reader.document


@dataclass
class _Reader:
    """Turns parser events into plain values; collects problems and lines on the way."""

    document: Document
    events: Iterator[Any]

    def value(self, event: Any, path: Path_) -> Any:
        """What begins with this event. A plain scalar has one spelling of each kind: what could be two is refused."""
        line = event.start_mark.line + 1
        self.document.lines.setdefault(path, line)
        if len(path) > MAX_DEPTH:
            raise RecipeError("is nested too deeply to be a recipe", where=f"{self.document.file}:{line}")
        if isinstance(event, AliasEvent):
            return self._refuse(line, path, "aliases are not allowed", "write the value out")
        if event.anchor is not None:
            self._complain(line, path, "anchors are not allowed", "write the value out each time")
        if event.tag is not None:
            self._complain(line, path, f"tag {excerpt(str(event.tag))} is not allowed", "remove the tag")
        if isinstance(event, MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, SequenceStartEvent):
            items: list[Any] = []
            while not isinstance(event := next(self.events), SequenceEndEvent):
                items.append(self.value(event, (*path, len(items))))
            return items
        text: str = event.value
        if event.style:
            return text
        if text in _WORDS:
            return _WORDS[text]
        is_whole = _INTEGER.fullmatch(text) is not None
        if is_whole and len(text) <= _DIGITS:
            return int(text)
        if _FLOAT.fullmatch(text) and not is_whole and math.isfinite(float(text)):
            return float(text)
        if _AMBIGUOUS.fullmatch(text):
            what = f"{excerpt(text)} is neither a plain decimal number, true, false, null, nor clearly text"
            fix = "put it in quotes if it is text"
            return self._refuse(line, path, what, f"write true or false, or {fix}" if text.isalpha() else fix)
        return text

    def _mapping(self, path: Path_) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self.events), MappingEndEvent):
            line, key = event.start_mark.line + 1, self._key(event, path)
            if key is None:
                self.value(next(self.events), (*path, "?"))  # read past it, for what else is wrong in there
            elif key in found:
                first = self.document.lines[(*path, key)]
                self._refuse(line, (*path, key), f"key is given twice (first in line {first})", "keep one of them")
                self.value(next(self.events), (*path, key))
            else:
                self.document.lines[(*path, key)] = line
                found[key] = self.value(next(self.events), (*path, key))
        return found

    def _key(self, event: Any, path: Path_) -> str | None:
        """The text of a key; None where it is refused."""
        line = event.start_mark.line + 1
        if not isinstance(event, ScalarEvent) or event.anchor is not None or event.tag is not None:
            self._complain(line, path, "a key is not plain text", "no anchors, aliases, tags or lists as keys")
            if not isinstance(event, ScalarEvent | AliasEvent):
                self.value(event, (*path, "?"))
        elif event.value == "<<":
            self._complain(line, path, "merge keys are not allowed", "a recipe is complete: write the keys out")
        elif not event.style and (event.value in _WORDS or _AMBIGUOUS.fullmatch(event.value)):
            self._complain(line, path, f"key {excerpt(event.value)} is not text", "put the key in quotes")
        else:
            return str(event.value)
        return None

    def _complain(self, line: int, path: Path_, what: str, fix: str) -> None:
        self.document.problems.add(what, where=f"{self.document.file}:{line}", key=dotted(path), fix=fix)

    def _refuse(self, line: int, path: Path_, what: str, fix: str) -> None:
        self._complain(line, path, what, fix)
        self.document.refused.add(path)


def dotted(path: Path_) -> str:
    """`draw.negatives[0].k`, the way a recipe key is written in messages and in `--set`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text


def leaves(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Every value of a document that is not itself a mapping or a list, with the way to it; empty ones included."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list) and value:
        for number, item in enumerate(value):
            yield from leaves(item, (*path, number))
    else:
        yield path, value


def holds(value: Any, path: Path_) -> bool:
    """Whether there are mappings all the way, and something in the last one."""
    for part in path:
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True


def scalar(text: str) -> Any:
    """The value of one `--set key=value`, read by the same rules as the file (lists and mappings in flow style)."""
    document = parse(text.encode(), "--set")
    document.problems.stop_if_any()
    return document.value
