"""Rows of a user's table: one question, any number of positives and of negatives, in columns or in lists."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mpr.errors import DataError, nearest

_QUESTIONS = ("anchor", "query", "question")
_POSITIVES = re.compile(r"(positives?|pos)(_\d+)?")
_NEGATIVES = re.compile(r"(negatives?|neg)(_\d+)?")


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are what."""

    question: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...]

    @classmethod
    def of(cls, names: Sequence[str]) -> Columns:
        """By their names; where none is called a positive, by their places, as sentence-transformers has it."""
        question = next((name for name in names if name in _QUESTIONS), names[0])
        others = [name for name in names if name != question]
        positives = tuple(name for name in others if _POSITIVES.fullmatch(name))
        negatives = tuple(name for name in others if _NEGATIVES.fullmatch(name))
        if not others:
            raise DataError("there is no column of positives", key=question, fix="name it positive, positive_1 ...")
        if not positives and not negatives:
            return cls(question, (others[0],), tuple(others[1:]))
        foreign = [name for name in others if name not in (*positives, *negatives)]
        if foreign or not positives:
            named = "', '".join(foreign)
            hint = nearest(foreign[0], ("positive", "positives", "negative", "negatives")) if foreign else ""
            what = f"'{named}' is neither question, positive nor negative" if foreign else "there are no positives"
            fix = f"{hint} rename it, or leave it out with dataset.remove_columns".strip()
            raise DataError(what, key="columns", fix=fix)
        return cls(question, positives, negatives)


@dataclass(frozen=True)
class Example:
    """A question with its passages."""

    question: str
    positives: list[str]
    negatives: list[str]

    @classmethod
    def of(cls, cells: Mapping[str, Any], columns: Columns) -> Example:
        """Cells that are None or empty are no passages; a row without a positive is refused."""
        question = _text(cells.get(columns.question), columns.question)
        made = cls(question, _texts(cells, columns.positives), _texts(cells, columns.negatives))
        if not made.positives:
            raise DataError(f"{question!r} has no positive", key=columns.positives[0], fix="leave such rows out")
        return made


def _texts(cells: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    listed = ((name, cells.get(name)) for name in columns)
    found = ((name, value if isinstance(value, list | tuple) else [value]) for name, value in listed)
    return [_text(value, name) for name, values in found for value in values if value is not None and value != ""]


def _text(value: Any, column: str) -> str:
    if not isinstance(value, str):
        fix = "give texts, or lists of texts; other inputs are not supported"
        raise DataError(f"{type(value).__name__} is no text", key=column, fix=fix)
    return value
