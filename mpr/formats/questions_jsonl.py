"""mpr's own plain JSON lines: questions, and what is known about them by passage id.

A line of questions is `{id, question, answers?, regex?}`. A line of candidates is `{id, pos, neg}` with passage ids in
rank order (text, or whole numbers, which become text), and may have `pos_rank` (the rank of each positive), `gold`
(the passage that is known to be right, not only matched by answer), `tier` (of the others; `answer_match` if it is not
told), `question` and `answers`. A generated question tells `writer` and `prompt`, which readers leave to people.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Annotated, Any

from pydantic import Field, PlainValidator

from mpr.errors import DataError
from mpr.records import TIERS, Candidate, Group, Positive, Question
from mpr.storage.json_fields import Fields, Id, IdOrNumber, Text, json_text, read_objects
from mpr.storage.lines import Ids, Line, writable_id, writable_text, write_lines


class _Asked(Fields):
    id: Id
    question: Text
    answers: list[Text] = Field([])
    regex: bool = False


def _tier(value: object) -> str:
    if value not in TIERS[1:]:
        raise ValueError(f"must be one of {', '.join(TIERS[1:])}")
    return str(value)


class _Line(Fields):
    id: Id
    pos: list[IdOrNumber]
    neg: list[IdOrNumber]
    question: Text = ""
    answers: list[Text] = Field([])
    regex: bool = False
    gold: IdOrNumber = ""
    pos_rank: list[int] = Field([])
    tier: Annotated[str, PlainValidator(_tier)] = "answer_match"
    writer: Text = ""
    prompt: Text = ""


@dataclass(frozen=True, slots=True)
class CandidateLine:
    """A line of candidates: ids in rank order. `ranks` belong to `positives`, or are empty where none are told."""

    id: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...]
    ranks: tuple[int, ...] = ()
    gold: str | None = None
    question: Question | None = None
    tier: str = "answer_match"

    def group(self, question: Question, source: str) -> Group:
        """Gold first, then the others in rank order; the negatives as candidates of `source`."""
        matches = tuple(Positive(passage, self.tier) for passage in self.positives if passage != self.gold)
        positives = matches if self.gold is None else (Positive(self.gold), *matches)
        candidates = tuple(Candidate(passage, source, rank) for rank, passage in enumerate(self.negatives, 1))
        return Group(question, positives, candidates)


def read_questions(path: str | os.PathLike[str], ignore: Sequence[str] = ()) -> Iterator[Question]:
    """`ignore` names further fields that the lines may have; they are dropped."""
    return (question for _, question in _questions(path, ignore, Ids()))


def _questions(path: str | os.PathLike[str], ignore: Sequence[str], ids: Ids) -> Iterator[tuple[Line, Question]]:
    for line, found in read_objects(path, _Asked, ignore):
        ids.add(line, found.id)
        yield line, _question(found)


def _question(found: _Asked | _Line) -> Question:
    return Question(found.id, found.question, tuple(found.answers), found.regex)


def read_rows(path: str | os.PathLike[str], ignore: Sequence[str] = ()) -> Iterator[CandidateLine]:
    """The lines of a file of candidates as they are."""
    return (row for _, row in _rows(path, ignore))


def _rows(path: str | os.PathLike[str], ignore: Sequence[str]) -> Iterator[tuple[Line, CandidateLine]]:
    ids = Ids()
    for line, found in read_objects(path, _Line, ignore):
        ids.add(line, found.id)
        for name, passages in (("pos", found.pos), ("neg", found.neg)):
            if len(set(passages)) != len(passages):
                raise line.refuse("a passage is listed twice", name)
        given, ranks = found.model_fields_set, tuple(found.pos_rank)
        if "pos_rank" in given and len(ranks) != len(found.pos):
            raise line.refuse(f"has {len(ranks)} ranks for {len(found.pos)} positives", "pos_rank")
        if len(set(ranks)) != len(ranks) or min(ranks, default=1) < 1:
            raise line.refuse("ranks count from 1 and differ from each other", "pos_rank")
        question = _question(found) if "question" in given else None
        gold = found.gold or None
        yield line, CandidateLine(found.id, tuple(found.pos), tuple(found.neg), ranks, gold, question, found.tier)


def read_groups(
    candidates: str | os.PathLike[str],
    questions: str | os.PathLike[str] | None = None,
    source: str = "bm25",
    ignore: Sequence[str] = (),
) -> Iterator[Group]:
    """A group for each line of candidates, then one without positives for each question that has no line.

    Questions come from the file `questions`, which is held in memory, or from the candidates themselves. `ignore`
    names further fields of either file, to be dropped.
    """
    if questions is None:
        for line, row in _rows(candidates, ignore):
            if row.question is None:
                raise line.refuse("field is missing", "question", "or name a file of questions")
            yield row.group(row.question, source)
        return
    ids = Ids()
    known = {question.id: question for _, question in _questions(questions, ignore, ids)}
    left = dict(known)
    for line, row in _rows(candidates, ignore):
        if row.id not in known:
            what = f"question {row.id} is not in {questions}"
            raise line.refuse(what, "id", "check that both files belong to the same split")
        question = left.pop(row.id)
        if row.question is not None and row.question != question:
            raise line.refuse(f"question or answers differ from {questions}:{ids.line(row.id)}", "question")
        yield row.group(question, source)
    yield from (Group(question) for question in left.values())


def write_questions(file: IO[bytes], questions: Iterable[Question]) -> int:
    return write_lines(file, (json_text(_question_fields(question)) for question in questions))


def _question_fields(question: Question) -> dict[str, Any]:
    key = f"question {writable_id(question.id, 'question id')}"
    fields: dict[str, Any] = {"id": question.id, "question": writable_text(question.text, key)}
    if question.answers:
        fields["answers"] = [writable_text(answer, key) for answer in question.answers]
    return {**fields, "regex": True} if question.regex else fields


def write_groups(
    file: IO[bytes], groups: Iterable[Group], source: str = "bm25", written: Mapping[str, str] | None = None
) -> int:
    """Writes candidates with their questions, as `read_groups` without a file of questions gives them back.

    The form holds one gold positive at most, others of one tier and of grade 1, and unscored candidates of one source.
    `written` says who wrote the questions: `writer` and `prompt`.
    """
    return write_lines(file, (json_text(_group_fields(group, source) | dict(written or {})) for group in groups))


def _group_fields(group: Group, source: str) -> dict[str, Any]:
    key = f"question {writable_id(group.question.id, 'question id')}"
    positives = [writable_id(positive.passage, key) for positive in group.positives]
    negatives = [writable_id(candidate.passage, key) for candidate in group.candidates]
    gold = positives[0] if positives and group.positives[0].tier == "gold" else None
    tiers = {positive.tier for positive in group.positives[gold is not None :]}
    tier = tiers.pop() if len(tiers) == 1 and "gold" not in tiers else "answer_match"
    row = CandidateLine(group.question.id, tuple(positives), tuple(negatives), (), gold, group.question, tier)
    same = row.group(group.question, source)
    repeated = len(set(positives)) != len(positives) or len(set(negatives)) != len(negatives)
    if repeated or (same.positives, same.candidates) != (group.positives, group.candidates):
        what = "has tiers, grades, sources, scores, ranks or repeated passages that this form cannot hold"
        raise DataError(what, key=key, fix="one gold positive first, others of one tier, candidates ranked 1, 2, ...")
    fields = {**_question_fields(group.question), "pos": positives, "neg": negatives}
    fields |= {} if tier == "answer_match" else {"tier": tier}
    return fields if gold is None else {**fields, "gold": gold}
