"""Tevatron's JSON lines, in both generations.

The first carries the texts inline: `query_id`, `query`, `positive_passages` and `negative_passages`, each a list of
`docid`, `title`, `text`. The newer one refers to a corpus: `query_id`, `query_text`, `positive_document_ids`,
`negative_document_ids`, and a corpus file of `docid`, `text`, `title`. Its documentation calls the text
`document_text` while its code reads `text` and takes a missing one for the empty passage; here either name will do,
one of the two must be there, and a passage without any text is refused.

A row with `answers` is matched by answer (tier `answer_match`), one without is judged (`gold`): so the format says.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from mpr.errors import DataError
from mpr.formats.dpr_json import InlinePassages
from mpr.records import Candidate, Group, Passage, Positive, Question, text_problem
from mpr.storage.json_fields import (
    Fields,
    anything,
    identifier_or_number,
    json_text,
    json_value,
    list_of,
    mapping,
    maybe,
    nothing,
    texts,
)
from mpr.storage.lines import Ids, Line, read_lines, writable_id, writable_text, write_lines

_MEDIA = dict.fromkeys(("image", "video", "audio"), nothing)
_QUERY_MEDIA = {f"query_{name}": nothing for name in _MEDIA}
_INLINE = Fields(
    {
        "query_id": identifier_or_number,
        "query": text_problem,
        "positive_passages": list_of(mapping),
        "negative_passages": list_of(mapping),
    },
    {"answers": maybe(texts)},
)
_IDS = list_of(identifier_or_number)
_REFERRING = Fields(
    {"query_id": identifier_or_number, "positive_document_ids": _IDS, "negative_document_ids": _IDS},
    {
        **dict.fromkeys(("query_text", "query"), maybe(text_problem)),
        **_QUERY_MEDIA,
        "answers": maybe(texts),
        "answer": maybe(texts),
        "source": anything,
    },
)
_TEXTS = ("text", "document_text")
_PASSAGE = Fields(
    {"docid": identifier_or_number},
    {**dict.fromkeys(_TEXTS, maybe(text_problem)), "title": maybe(text_problem), **_MEDIA},
)
_QUESTIONS = ("positive_passages", "negative_passages", "positive_document_ids", "negative_document_ids")


def read_passages(path: str | os.PathLike[str], ignore: Sequence[str] = ()) -> Iterator[Passage]:
    """The corpus. Duplicate ids are left to the store that takes the passages in."""
    fields = _PASSAGE.ignoring(ignore)
    for line, row in _rows(path):
        fields.check(row, line)
        yield _passage(line, row, "")


@dataclass(frozen=True, slots=True)
class Labels:
    """What the format does not say. Tiers are those it implies unless given; `negatives` keeps so many of them."""

    first_tier: str | None = None
    rest_tier: str | None = None
    source: str = "bm25"
    negatives: int | None = None
    regex: bool = False


def read_groups(
    path: str | os.PathLike[str],
    first_tier: str | None = None,
    rest_tier: str | None = None,
    source: str = "bm25",
    negatives: int | None = None,
    regex: bool = False,
    ignore: Sequence[str] = (),
) -> Iterator[Group]:
    """A group for each row of either generation; rows of one file may not mix them.

    The tiers of the first positive and of the others are those the format implies, unless given. `source` names where
    the negatives come from; `negatives` keeps that many of them, from the front. `regex`: the answers are patterns.
    """
    labels, ids, inline = Labels(first_tier, rest_tier, source, negatives, regex), Ids(), False
    for line, row in _rows(path):
        if line.number == 1:
            inline = "positive_passages" in row
        made = group(line, row, inline, labels, ignore)
        ids.add(line, made.question.id, "query_id")
        yield made


def read_questions(path: str | os.PathLike[str], ignore: Sequence[str] = ()) -> Iterator[Question]:
    """The questions alone, of a file of groups or of a file that holds nothing else."""
    fields = Fields({"query_id": identifier_or_number}, _REFERRING.optional, _QUESTIONS).ignoring(ignore)
    ids = Ids()
    for line, row in _rows(path):
        fields.check(row, line)
        question = _question(line, row)
        ids.add(line, question.id, "query_id")
        yield question


def group(line: Line, row: Mapping[str, Any], inline: bool, labels: Labels, ignore: Sequence[str] = ()) -> Group:
    """The group of one row, wherever the row was read; `inline` says which generation it must be."""
    inlined = InlinePassages(line)
    if inline:
        _INLINE.ignoring(ignore).check(row, line)
        positives = _inline(inlined, row["positive_passages"], "positive_passages", ignore)
        others = _inline(inlined, row["negative_passages"][: labels.negatives], "negative_passages", ignore)
    else:
        _REFERRING.ignoring(ignore).check(row, line)
        positives = _distinct(str(identity) for identity in row["positive_document_ids"])
        others = _distinct(str(identity) for identity in row["negative_document_ids"][: labels.negatives])
    question = _question(line, row, labels.regex)
    implied = "answer_match" if question.answers else "gold"
    first, rest = labels.first_tier or implied, labels.rest_tier or implied
    return Group(
        question,
        tuple(Positive(passage, rest if index else first) for index, passage in enumerate(positives)),
        tuple(Candidate(passage, labels.source, rank) for rank, passage in enumerate(others, 1)),
        inlined.passages,
    )


def _rows(path: str | os.PathLike[str]) -> Iterator[tuple[Line, dict[str, Any]]]:
    for line in read_lines(path):
        row = json_value(line)
        if problem := mapping(row):
            raise line.refuse(problem)
        yield line, row


def _question(line: Line, row: Mapping[str, Any], regex: bool = False) -> Question:
    text = _one_of(line, row, ("query_text", "query"), "")
    answers = _one_of(line, row, ("answers", "answer"), "", ())
    return Question(str(row["query_id"]), text, tuple(answers), regex)


def _inline(inlined: InlinePassages, rows: list[dict[str, Any]], name: str, ignore: Sequence[str]) -> list[str]:
    """The ids of a list of inline passages; their texts are collected."""
    fields, found = _PASSAGE.ignoring(ignore), []
    for index, row in enumerate(rows):
        key = f"{name}[{index}]"
        fields.check(row, inlined.line, key)
        passage = _passage(inlined.line, row, key)
        inlined.add(passage, key)
        found.append(passage.id)
    return _distinct(found)


def _distinct(ids: Iterable[str]) -> list[str]:
    """Each id once, in its first place: these lists repeat passages, as the DPR files do from which many were made."""
    return list(dict.fromkeys(ids))


def _passage(line: Line, row: Mapping[str, Any], key: str) -> Passage:
    text, title = _one_of(line, row, _TEXTS, key), row.get("title") or ""
    if not (text or title):
        raise line.refuse("passage has no text", key, "rename the field that holds the text to 'text'")
    return Passage(str(row["docid"]), text, title)


def _one_of(line: Line, row: Mapping[str, Any], names: tuple[str, str], key: str, otherwise: Any = None) -> Any:
    """The value of whichever of two names is there; both are refused, and neither is unless `otherwise` is given."""
    found = [name for name in names if row.get(name) is not None]
    if len(found) == 2:
        raise line.refuse(f"{names[0]} and {names[1]} are both there", key, "remove one of the two")
    if not found and otherwise is None:
        raise line.refuse(f"neither {names[0]} nor {names[1]} is there", key)
    return row[found[0]] if found else otherwise


def write_passages(file: IO[bytes], passages: Iterable[Passage]) -> int:
    """Returns the number of lines written."""
    return write_lines(file, (json_text(_passage_fields(passage, "passage id")) for passage in passages))


def write_groups(file: IO[bytes], groups: Iterable[Group], inline: bool = True) -> int:
    """Writes the first generation (texts inline, all of them present) or the newer one. Returns the number of rows.

    Tiers, the source and the kind of answer are told to the reader again. Grades, scores and ranks other than 1, 2, ...
    have no place in the format and are refused.
    """
    return write_lines(file, (json_text(_group_fields(group, inline)) for group in groups))


def _group_fields(group: Group, inline: bool) -> dict[str, Any]:
    question, key = group.question, f"question {writable_id(group.question.id, 'question id')}"
    if any(positive.grade != 1.0 for positive in group.positives):
        raise DataError("has graded positives, which this format cannot hold", key=key, fix="use beir")
    if any(one.score is not None or one.rank != rank for rank, one in enumerate(group.candidates, 1)):
        raise DataError("has candidates with scores or other ranks than 1, 2, ...", key=key, fix="use dpr_json")
    fields: dict[str, Any] = {"query_id": question.id}
    fields["query" if inline else "query_text"] = writable_text(question.text, key)
    if question.answers:
        fields["answers"] = [writable_text(answer, key) for answer in question.answers]
    known = {passage.id: passage for passage in group.passages}
    for name, ids in (
        ("positive", [positive.passage for positive in group.positives]),
        ("negative", [candidate.passage for candidate in group.candidates]),
    ):
        if inline:
            fields[f"{name}_passages"] = [_passage_fields(_known(known, identity, key), key) for identity in ids]
        else:
            fields[f"{name}_document_ids"] = [writable_id(identity, key) for identity in ids]
    return fields


def _known(passages: Mapping[str, Passage], identity: str, key: str) -> Passage:
    if identity not in passages:
        raise DataError(f"text of passage {identity} is not inline", key=key, fix="write with inline=False")
    return passages[identity]


def _passage_fields(passage: Passage, key: str) -> dict[str, Any]:
    """Empty text and title together would be refused on reading, so they are refused here."""
    identity = writable_id(passage.id, key)
    if not (passage.text or passage.title):
        raise DataError("passage has no text", key=f"passage {identity}", fix="leave it out")
    title, text = writable_text(passage.title, identity), writable_text(passage.text, identity)
    return {"docid": identity, "title": title, "text": text}
