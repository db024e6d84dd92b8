"""The result files of DPR and of everything that followed it: one JSON list, each question with its ranked passages.

`[{"question", "answers", "ctxs": [{"id", "score", "title", "text", "has_answer"}]}]`, best first. Scores are numbers or
text that holds one. Questions mostly have no id; then they are known by their text. Passage texts are read and dropped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from mpr.records import RankedList
from mpr.storage.json_fields import Fields, IdOrNumber, Number, Object, Text
from mpr.storage.json_stream import read_array


class _Entry(Fields):
    question: Text
    ctxs: list[Object]
    id: IdOrNumber | None = None
    answers: list[Text] | None = None
    dataset: Any = None


class _Context(Fields):
    id: IdOrNumber
    score: Number
    title: Any = None
    text: Any = None
    has_answer: Any = None
    hasanswer: Any = None


def ranked(path: str | os.PathLike[str], ignore: Sequence[str] = ()) -> Iterator[RankedList]:
    """Each question of the file in its order. `ignore` names further fields, of either level, to be dropped."""
    for line, found in read_array(path):
        entry = _Entry.of(found, line, ignore=ignore)
        contexts = [_Context.of(one, line, f"ctxs[{place}]", ignore) for place, one in enumerate(entry.ctxs)]
        passages = [context.id for context in contexts]
        if len(set(passages)) < len(passages):
            raise line.refuse("a passage is listed twice", "ctxs")
        yield RankedList(entry.id, entry.question, passages, [context.score for context in contexts])
