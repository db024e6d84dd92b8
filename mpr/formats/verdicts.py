"""Verdicts: what a language model says about pairs of a question and a passage, as JSON lines.

A line is `{question, passage, grade, answer, prompt, writer, planted}`: ids, the grade that was read from the answer
(null where none could be read), the answer word by word, the version of the prompt, the model, and whether the pair was
judged only because it is known. A pair stands in one line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import IO

from mpr.records import text_problem
from mpr.storage.json_fields import Fields, flag, json_text, maybe, read_objects, whole
from mpr.storage.lines import identifier, writable_id, writable_text, write_lines

LARGEST = 100  # grade


def _grade(value: object) -> str:
    return whole(value) or ("" if 0 <= int(str(value)) <= LARGEST else f"must be 0 to {LARGEST}")


_VERDICT = Fields(
    {
        "question": identifier,
        "passage": identifier,
        "grade": maybe(_grade),
        "answer": text_problem,
        "prompt": text_problem,
        "writer": text_problem,
        "planted": flag,
    }
)


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
    for line, found in read_objects(path, _VERDICT):
        pair = (found["question"], found["passage"])
        if pair in seen:
            raise line.refuse(f"passage {pair[1]} of question {pair[0]} was judged before", fix="keep one verdict")
        seen.add(pair)
        yield Verdict(**found)


def write_verdicts(file: IO[bytes], verdicts: Iterable[Verdict]) -> int:
    return write_lines(file, map(_line, verdicts))


def _line(one: Verdict) -> str:
    writable_id(one.question, "question id")
    writable_id(one.passage, "passage id")
    writable_text(one.answer, f"question {one.question} passage {one.passage}")
    return json_text(asdict(one))
