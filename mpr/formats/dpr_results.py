"""The result files of DPR and of everything that followed it: one JSON list, each question with its ranked passages.

`[{"question", "answers", "ctxs": [{"id", "score", "title", "text", "has_answer"}]}]`, best first. Scores are numbers or
text that holds one. Questions mostly have no id; then they are known by their text. Passage texts are read and dropped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mpr.errors import excerpt
from mpr.records import text_problem
from mpr.storage.json_fields import Fields, anything, identifier_or_number, list_of, mapping, maybe, number, texts
from mpr.storage.json_stream import read_array
from mpr.storage.lines import Line


def _score_problem(value: object) -> str:
    try:
        return number(float(value)) if isinstance(value, str) else number(value)
    except ValueError:
        return f"must be a number, not {excerpt(str(value))}"


_ENTRY = Fields(
    {"question": text_problem, "ctxs": list_of(mapping)},
    {"id": maybe(identifier_or_number), "answers": maybe(texts), "dataset": anything},
)
_CONTEXT = Fields(
    {"id": identifier_or_number, "score": _score_problem},
    dict.fromkeys(("title", "text", "has_answer", "hasanswer"), anything),
)


@dataclass(frozen=True, slots=True)
class Result:
    """The passages found for one question, best first."""

    line: Line
    id: str | None
    question: str
    passages: tuple[str, ...]
    scores: tuple[float, ...]


def read_results(path: str | os.PathLike[str], ignore: Sequence[str] = ()) -> Iterator[Result]:
    """Each question of the file in its order. `ignore` names further fields, of either level, to be dropped."""
    entries, contexts = _ENTRY.ignoring(ignore), _CONTEXT.ignoring(ignore)
    for line, entry in read_array(path):
        entries.check(entry, line)
        for place, context in enumerate(entry["ctxs"]):
            contexts.check(context, line, f"ctxs[{place}]")
        passages = tuple(str(context["id"]) for context in entry["ctxs"])
        if len(set(passages)) < len(passages):
            raise line.refuse("a passage is listed twice", "ctxs")
        scores = tuple(float(context["score"]) for context in entry["ctxs"])
        identity = entry.get("id")
        yield Result(line, None if identity is None else str(identity), entry["question"], passages, scores)
