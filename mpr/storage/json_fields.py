"""What a JSON object must look like: strict parsing, and a check for every field by name.

Stricter than Python's parser: a field given twice, NaN and infinity are refused. A field that is missing, null, of
another type or unknown is refused too; all problems of one object are reported together.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from mpr.errors import DataError, excerpt, nearest
from mpr.records import text_problem
from mpr.storage.lines import Line, identifier, read_lines

Check = Callable[[object], str]  # says why a value is refused, or nothing


def identifier_or_number(value: object) -> str:
    """Some files write ids as whole numbers; readers that accept them turn them into text."""
    return "" if type(value) is int and abs(value) < 10**18 else identifier(value)


def number(value: object) -> str:
    if type(value) not in (int, float):
        return f"must be a number, not {_kind(value)}"
    return "" if math.isfinite(value) else "must be finite"  # type: ignore[arg-type]


def whole(value: object) -> str:
    return "" if type(value) is int else f"must be a whole number, not {_kind(value)}"


def flag(value: object) -> str:
    return "" if type(value) is bool else f"must be true or false, not {_kind(value)}"


def anything(value: object) -> str:
    return ""


def nothing(value: object) -> str:
    return "" if value is None else "must be null: only text is read"


def maybe(check: Check) -> Check:
    """The same check, but null is allowed."""
    return lambda value: "" if value is None else check(value)


def list_of(check: Check) -> Check:
    """A list whose every entry passes `check`."""

    def problem(value: object) -> str:
        if not isinstance(value, list):
            return f"must be a list, not {_kind(value)}"
        for index, entry in enumerate(value):
            if found := check(entry):
                return f"entry {index} {found}"
        return ""

    return problem


def mapping(value: object) -> str:
    return "" if isinstance(value, dict) else f"must be an object, not {_kind(value)}"


texts = list_of(text_problem)


def _kind(value: object) -> str:
    kinds = {type(None): "null", bool: "a truth value", int: "a number", float: "a number", str: "text"}
    return kinds.get(type(value), "a list" if isinstance(value, list) else "an object")


@dataclass(frozen=True)
class Fields:
    """What a JSON object must have, may have, and may have without anyone looking at it."""

    required: Mapping[str, Check]
    optional: Mapping[str, Check] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    def ignoring(self, names: Sequence[str]) -> Fields:
        """The same fields, with `names` tolerated and dropped."""
        return replace(self, ignored=(*self.ignored, *names)) if names else self

    def check(self, found: Mapping[str, Any], line: Line, inside: str = "") -> None:
        """Refuses the object with all of its problems at once. `inside` is the path to it within the line."""
        for name, check in self.required.items():
            if name not in found or check(found[name]):
                raise self._refusal(found, line, inside)
        for name, check in self.optional.items():
            if name in found and check(found[name]):
                raise self._refusal(found, line, inside)
        if not self._names.issuperset(found):
            raise self._refusal(found, line, inside)

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset((*self.required, *self.optional, *self.ignored))

    def _refusal(self, found: Mapping[str, Any], line: Line, inside: str) -> DataError:
        prefix = f"{inside}." if inside else ""
        problems = [line.problem("field is missing", prefix + name) for name in self.required if name not in found]
        for name, check in (*self.required.items(), *self.optional.items()):
            if name in found and (what := check(found[name])):
                what = "is null" if found[name] is None else what
                problems.append(line.problem(what, prefix + name))
        known = (*self.required, *self.optional)
        for name in found:
            if name not in self._names:
                fix = f"{nearest(name, known)} to read the file without it: ignore=[{excerpt(name)}]".strip()
                problems.append(line.problem("unknown field", prefix + excerpt(name), fix))
        return DataError(problems)


class _StrictError(ValueError):
    """Valid for a lenient JSON parser, but not for us."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _StrictError(f"field {excerpt(twice)} appears twice in one object")
    return found


def _constant(name: str) -> float:
    raise _StrictError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    if math.isinf(value := float(text)):
        raise _StrictError(f"number {excerpt(text, 20)} is too large")
    return value


decode = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant, parse_float=_finite).raw_decode


def json_value(line: Line) -> Any:
    """The JSON value that fills the line."""
    text = line.text.strip(" \t\r")
    if not text:
        raise line.refuse("blank line", fix="every line must hold one JSON object; remove the line")
    try:
        value, end = decode(text)
    except json.JSONDecodeError as error:
        raise line.refuse(f"not JSON: {error.msg}", at=line.text.index(text) + error.pos) from None
    except (ValueError, RecursionError) as error:
        raise line.refuse(refusal_of(error)) from None
    if end != len(text):
        raise line.refuse("not JSON: something follows the object", at=line.text.index(text) + end)
    return value


def refusal_of(error: ValueError | RecursionError) -> str:
    if isinstance(error, _StrictError):
        return str(error)
    return "nested too deeply" if isinstance(error, RecursionError) else "a number has too many digits"


def json_object(line: Line, fields: Fields) -> dict[str, Any]:
    """The JSON object that fills the line, with exactly the fields asked for."""
    value = json_value(line)
    if not isinstance(value, dict):
        raise line.refuse(f"must be a JSON object, not {_kind(value)}")
    fields.check(value, line)
    return value


def read_objects(path: str | os.PathLike[str], fields: Fields) -> Iterator[tuple[Line, dict[str, Any]]]:
    """Every line of a JSONL file with its checked object."""
    for line in read_lines(path):
        yield line, json_object(line, fields)


def json_text(content: Any) -> str:
    """The JSON form of a value on one line."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False)
