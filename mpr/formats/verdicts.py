"""Verdicts: what a language model says about pairs of a question and a passage, as JSON lines.

A line is `{question, passage, grade, answer, prompt, writer, planted}`: ids, the grade that was read from the answer
(null where none could be read), the answer word by word, the version of the prompt, the model, and whether the pair was
judged only because it is known. A pair stands in one line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import IO, Annotated

from pydantic import AfterValidator

from mpr.storage.json_fields import Fields, Id, Text, json_text, read_objects
from mpr.storage.lines import writable_id, writable_text, write_lines

LARGEST = 100  # grade


def _checked(grade: int) -> int:
    if not 0 <= grade <= LARGEST:
        raise ValueError(f"must be 0 to {LARGEST}")
    return grade


class _Line(Fields):
    question: Id
    passage: Id
    grade: Annotated[int, AfterValidator(_checked)] | None
    answer: Text
    prompt: Text
    writer: Text
    planted: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line."""

    question: str
    passage: str
    grade: int | None
    answer: str
    prompt: str
    writer: str
    planted: bool = False


def read_verdicts(path: str | os.PathLike[str]) -> Iterator[Verdict]:
    seen = set[tuple[str, str]]()
    for line, found in read_objects(path, _Line):
        pair = (found.question, found.passage)
        if pair in seen:
            raise line.refuse(f"passage {pair[1]} of question {pair[0]} was judged before", fix="keep one verdict")
        seen.add(pair)
        yield Verdict(**dict(found))


def write_verdicts(file: IO[bytes], verdicts: Iterable[Verdict]) -> int:
    return write_lines(file, map(_line, verdicts))


def _line(one: Verdict) -> str:
    writable_id(one.question, "question id")
    writable_id(one.passage, "passage id")
    writable_text(one.answer, f"question {one.question} passage {one.passage}")
    return json_text(asdict(one))
