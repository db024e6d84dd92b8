"""Tevatron's JSON lines, in both generations.

The first carries the texts inline: `query_id`, `query`, `positive_passages` and `negative_passages`, each a list of
`docid`, `title`, `text`. The newer one refers to a corpus: `query_id`, `query_text`, `positive_document_ids`,
`negative_document_ids`, and a corpus file of `docid`, `text`, `title`. Its documentation calls the text
`document_text` while its code reads `text` and takes a missing one for the empty passage; here either name will do,
one of the two must be there, and a passage without any text is refused. Images, video and audio must be null under
either name, or be given up by `ignore`: only text is read.

A row with `answers` is matched by answer (tier `answer_match`), one without is judged (`gold`): so the format says.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from mpr.errors import DataError
from mpr.formats.dpr_json import InlinePassages
from mpr.records import Candidate, Group, Passage, Positive, Question, RankedList
from mpr.storage import passage_columns
from mpr.storage.json_fields import Fields, IdOrNumber, Object, Text, json_object, json_text, read_objects
from mpr.storage.lines import Ids, Line, read_lines, writable_id, writable_text, write_lines
from mpr.storage.passage_columns import Cells
from mpr.storage.passage_lines import PassageLines

_LINE = passage_columns.json_pattern("docid")
_LISTS = ("positive_passages", "negative_passages", "positive_document_ids", "negative_document_ids")


class _Inline(Fields):
    query_id: IdOrNumber
    query: Text
    positive_passages: list[Object]
    negative_passages: list[Object]
    answers: list[Text] | None = None


class _Question(Fields):
    query_id: IdOrNumber
    query_text: Text | None = None
    query: Text | None = None
    query_image: None = None
    query_video: None = None
    query_audio: None = None
    answers: list[Text] | None = None
    answer: list[Text] | None = None
    source: Any = None


class _Referring(_Question):
    positive_document_ids: list[IdOrNumber]
    negative_document_ids: list[IdOrNumber]


class _Passage(Fields):
    docid: IdOrNumber
    text: Text | None = None
    document_text: Text | None = None
    title: Text | None = None
    image: None = None
    video: None = None
    audio: None = None
    document_image: None = None
    document_video: None = None
    document_audio: None = None


def read_passages(path: str | os.PathLike[str], ignore: Sequence[str] = ()) -> PassageLines:
    """The corpus. Duplicate ids are left to the store that takes the passages in."""

    def careful(line: Line) -> Passage:
        return _passage(line, _Passage.of(json_object(line), line, ignore=ignore), "")

    return PassageLines(path, careful, _columns)


def _columns(data: bytes) -> Cells | None:
    found = passage_columns.of_json(data, _LINE)
    if found is None:
        return None
    sizes = [np.diff(passage_columns.parts(each)[0]) for each in found.columns[1:]]
    return found if (sizes[0] + sizes[1]).all() else None  # an empty passage is refused with its line


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
    for line in read_lines(path):
        row = json_object(line)
        if line.number == 1:
            inline = "positive_passages" in row
        made = group(line, row, inline, labels, ignore)
        ids.add(line, made.question.id, "query_id")
        yield made


def ranked(path: str | os.PathLike[str]) -> Iterator[RankedList]:
    """The negatives of each row of either generation."""
    for one in read_groups(path):
        yield RankedList(one.question.id, None, [candidate.passage for candidate in one.candidates], [])


def read_questions(path: str | os.PathLike[str], ignore: Sequence[str] = (), regex: bool = False) -> Iterator[Question]:
    """The questions alone, of a file of groups or of a file that holds nothing else. `regex`: answers are patterns."""
    ids = Ids()
    for line, found in read_objects(path, _Question, (*_LISTS, *ignore)):
        question = _question(line, found, regex)
        ids.add(line, question.id, "query_id")
        yield question


def group(line: Line, row: Mapping[str, Any], inline: bool, labels: Labels, ignore: Sequence[str] = ()) -> Group:
    """The group of one row, wherever the row was read; `inline` says which generation it must be."""
    inlined = InlinePassages(line)
    if inline:
        found = _Inline.of(row, line, ignore=ignore)
        question = Question(found.query_id, found.query, tuple(found.answers or ()), labels.regex)
        positives = _inline(inlined, found.positive_passages, "positive_passages", ignore)
        others = _inline(inlined, found.negative_passages[: labels.negatives], "negative_passages", ignore)
    else:
        referring = _Referring.of(row, line, ignore=ignore)
        question = _question(line, referring, labels.regex)
        positives = _distinct(referring.positive_document_ids)
        others = _distinct(referring.negative_document_ids[: labels.negatives])
    implied = "answer_match" if question.answers else "gold"
    first, rest = labels.first_tier or implied, labels.rest_tier or implied
    return Group(
        question,
        tuple(Positive(passage, rest if index else first) for index, passage in enumerate(positives)),
        tuple(Candidate(passage, labels.source, rank) for rank, passage in enumerate(others, 1)),
        inlined.passages,
    )


def _question(line: Line, found: _Question, regex: bool = False) -> Question:
    text = _one_of(line, ("query_text", found.query_text), ("query", found.query), "")
    answers = _one_of(line, ("answers", found.answers), ("answer", found.answer), "", ())
    return Question(found.query_id, text, tuple(answers), regex)


def _inline(inlined: InlinePassages, rows: list[dict[str, Any]], name: str, ignore: Sequence[str]) -> list[str]:
    """The ids of a list of inline passages; their texts are collected."""
    found = []
    for index, row in enumerate(rows):
        key = f"{name}[{index}]"
        passage = _passage(inlined.line, _Passage.of(row, inlined.line, key, ignore), key)
        inlined.add(passage, key)
        found.append(passage.id)
    return _distinct(found)


def _distinct(ids: Iterable[str]) -> list[str]:
    """Each id once, in its first place: these lists repeat passages, as the DPR files do from which many were made."""
    return list(dict.fromkeys(ids))


def _passage(line: Line, found: _Passage, key: str) -> Passage:
    text = _one_of(line, ("text", found.text), ("document_text", found.document_text), key)
    title = found.title or ""
    if not (text or title):
        raise line.refuse("passage has no text", key, "rename the field that holds the text to 'text'")
    return Passage(found.docid, text, title)


def _one_of(line: Line, first: tuple[str, Any], second: tuple[str, Any], key: str, otherwise: Any = None) -> Any:
    """The value of whichever of two names is there; both are refused, and neither is unless `otherwise` is given."""
    found = [value for _, value in (first, second) if value is not None]
    if len(found) == 2:
        raise line.refuse(f"{first[0]} and {second[0]} are both there", key, "remove one of the two")
    if not found and otherwise is None:
        raise line.refuse(f"neither {first[0]} nor {second[0]} is there", key)
    return found[0] if found else otherwise


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
