"""What a JSON object must look like: strict parsing, and a pydantic model of the fields of each kind of object.

Stricter than Python's parser: a field given twice, NaN and infinity are refused. A field that is missing, null, of
another type or unknown is refused too; all problems of one object are reported together.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Annotated, Any, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, InstanceOf, PlainValidator, StringConstraints, ValidationError

from mpr.errors import DataError, Problem, excerpt, nearest
from mpr.records import text_problem
from mpr.storage.lines import Line, identifier, read_lines

_TYPES = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "is_instance_of": "an object",
    "list_type": "a list",
    "model_type": "an object",
}
_KINDS = {type(None): "null", bool: "a truth value", int: "a number", float: "a number", str: "text", list: "a list"}


def _id(value: Any) -> str:
    if problem := identifier(value):
        raise ValueError(problem)
    return str(value)


def _id_or_number(value: Any) -> str:
    return str(value) if type(value) is int and abs(value) < 10**18 else _id(value)


def finite(value: Any) -> float:
    """A number as such or as text; what is no finite number is a ValueError."""
    if type(value) not in (int, float, str):
        raise ValueError(f"must be a number, not {_kind(value)}")
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"must be a number, not {excerpt(value)}") from None
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("must be finite")
    return number


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "an object")


Id = Annotated[str, PlainValidator(_id)]
IdOrNumber = Annotated[str, PlainValidator(_id_or_number)]  # some files write ids as whole numbers: they become text
Text = Annotated[str, StringConstraints(min_length=0)]  # only with a constraint, pydantic refuses lone surrogates
Number = Annotated[float, PlainValidator(finite)]  # finite; some files write scores as text: they become numbers
Object = InstanceOf[dict[str, Any]]  # its fields are checked later


class Fields(BaseModel):
    """Base of the models. A field without a default must be there; null is a value like others, to be allowed."""

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)

    @classmethod
    def of(cls, found: object, line: Line, inside: str = "", ignore: Sequence[str] = ()) -> Self:
        """The object if it has exactly these fields, or a refusal with all of its problems at once.

        `inside` is the path to the object within the line. Fields in `ignore` are dropped if they are unknown, or
        known as what may only be null.
        """
        if ignore and isinstance(found, dict):
            found = {name: value for name, value in found.items() if name not in ignore or name in cls._kept()}
        try:
            made: Self = cls.__pydantic_validator__.validate_python(found)
        except ValidationError as error:
            raise DataError([cls._problem(each, line, inside) for each in error.errors(include_url=False)]) from None
        return made

    @classmethod
    @cache
    def _names(cls) -> tuple[str, ...]:
        return tuple(field.alias or name for name, field in cls.model_fields.items())

    @classmethod
    @cache
    def _kept(cls) -> tuple[str, ...]:
        """Those of which something is read."""
        return tuple(
            field.alias or name for name, field in cls.model_fields.items() if field.annotation is not type(None)
        )

    @classmethod
    def _problem(cls, error: Any, line: Line, inside: str) -> Problem:
        kind, value, path, fix = error["type"], error["input"], list(error["loc"]), ""
        if kind == "missing":
            what = "field is missing"
        elif kind == "extra_forbidden":
            for part in path[:-1]:
                cls = cls if isinstance(part, int) else get_args(cls.model_fields[part].annotation)[0]
            hint, path[-1] = nearest(path[-1], cls._names()), excerpt(path[-1])
            what, fix = "unknown field", f"{hint} {_without(path[-1])}".strip()
        elif value is None and path:
            what = "is null"
        elif kind == "value_error":
            what = str(error["ctx"]["error"])
        elif kind == "none_required":
            what, fix = "must be null: only text is read", _without(excerpt(path[-1]))
        elif kind.startswith("string"):
            what = text_problem(value)
        else:
            what = f"must be {_TYPES[kind]}, not {_kind(value)}"
        if path and isinstance(path[-1], int):
            what = f"entry {path.pop()} {what}"
        key = inside + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
        return line.problem(what, key.removeprefix("."), fix)


def _without(name: str) -> str:
    """How a file is read that has a field too many. The key is that of a file of the collection `local`."""
    return f"to read the file without it: ignore: [{name}] beside its file (data.corpus, local)"


AnyFields = TypeVar("AnyFields", bound=Fields)


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


def json_object(line: Line) -> dict[str, Any]:
    """The JSON object that fills the line."""
    value = json_value(line)
    if not isinstance(value, dict):
        raise line.refuse(f"must be a JSON object, not {_kind(value)}")
    return value


def read_objects(
    path: str | os.PathLike[str], kind: type[AnyFields], ignore: Sequence[str] = ()
) -> Iterator[tuple[Line, AnyFields]]:
    """Every line of a JSONL file with its checked object."""
    for line in read_lines(path):
        yield line, kind.of(json_object(line), line, ignore=ignore)


def json_text(content: Any) -> str:
    """The JSON form of a value on one line."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False)
