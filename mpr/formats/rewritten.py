"""Rewritten passages: what a writer made of known positives, as JSON lines.

A line is `{id, of, questions, title, text, writer, prompt}`: the id of the new passage, the passage that it was made
of, the questions for which it stands in, its title and text, the model, and the version of the prompt (of several, in
order, with `>` between them).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import IO

from pydantic import Field

from mpr.records import Passage
from mpr.storage.json_fields import Fields, Id, Text, json_text, read_objects
from mpr.storage.lines import Ids, writable_id, writable_text, write_lines


class _Line(Fields):
    id: Id
    made_of: Id = Field(alias="of")
    questions: list[Id]
    title: Text
    text: Text
    writer: Text
    prompt: Text


@dataclass(frozen=True, slots=True)
class Rewritten:
    """One line."""

    id: str
    of: str
    questions: tuple[str, ...]
    title: str
    text: str
    writer: str
    prompt: str

    @property
    def passage(self) -> Passage:
        return Passage(self.id, self.text, self.title)


def read_rewritten(path: str | os.PathLike[str]) -> Iterator[Rewritten]:
    ids = Ids()
    for line, found in read_objects(path, _Line):
        ids.add(line, found.id)
        if not found.questions or len(set(found.questions)) != len(found.questions):
            raise line.refuse("must name questions, each once", "questions")
        yield Rewritten(**(found.model_dump(by_alias=True) | {"questions": tuple(found.questions)}))


def write_rewritten(file: IO[bytes], rewritten: Iterable[Rewritten]) -> int:
    return write_lines(file, map(_line, rewritten))


def _line(one: Rewritten) -> str:
    for name in (one.id, one.of, *one.questions):
        writable_id(name, f"passage {one.id}")
    writable_text(one.text, f"passage {one.id}")
    writable_text(one.title, f"passage {one.id}")
    return json_text(asdict(one))
