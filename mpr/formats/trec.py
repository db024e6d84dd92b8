"""TREC's two line formats: judgements (qrels) and runs, and groups made from judged questions.

A line of qrels is `question iteration passage grade`; a line of a run is `question Q0 passage rank score tag`. White
space separates the columns. A grade may be negative (some tracks mark spam so). A pair of question and passage that
is there twice is refused in both: no measure has a meaning for it. Questions need not be contiguous.
"""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import IO

from mpr.errors import DataError, excerpt
from mpr.records import Candidate, Group, Hit, Judgement, Positive, Question, RankedList
from mpr.storage.lines import Line, line_id, read_lines, writable_id, write_lines, wrong_columns

_JUDGEMENT = ("question id", "iteration", "passage id", "grade")
_HIT = ("question id", "Q0", "passage id", "rank", "score", "tag")


class SeenPairs:
    """The pairs of question and passage met so far, eight bytes each: a run may hold tens of millions.

    Only a hash of 64 bits is kept. By chance two of a question's thousand passages share one in 10^13 questions.
    """

    def __init__(self) -> None:
        self._left: dict[str, array[int]] = {}
        self._question, self._passages = "", set[int]()

    def is_new(self, question: str, passage: str) -> bool:
        """Whether the pair was not met before; from now on it was."""
        if question != self._question:
            if self._passages:
                self._left[self._question] = array("q", self._passages)
            self._question, self._passages = question, set(self._left.pop(question, ()))
        before = len(self._passages)
        self._passages.add(hash(passage))
        return len(self._passages) > before

    def add(self, line: Line, question: str, passage: str) -> None:
        if not self.is_new(question, passage):
            what = f"question {excerpt(question)} and passage {excerpt(passage)} were paired on an earlier line"
            raise line.refuse(what, fix="remove one of the two lines")


def read_judgements(path: str | os.PathLike[str]) -> Iterator[Judgement]:
    pairs = SeenPairs()
    for line in read_lines(path):
        columns = line.text.split()
        if len(columns) != len(_JUDGEMENT):
            raise wrong_columns(line, len(columns), _JUDGEMENT, "space")
        yield judgement(line, columns[0], columns[2], columns[3], pairs)


def judgement(line: Line, question: str, passage: str, grade: str, pairs: SeenPairs) -> Judgement:
    """A checked judgement from the columns of any qrels-like line."""
    line_id(line, question, "question id")
    line_id(line, passage, "passage id")
    pairs.add(line, question, passage)
    return Judgement(question, passage, whole_number(line, grade, "grade"))


def write_judgements(file: IO[bytes], judgements: Iterable[Judgement]) -> int:
    """Returns the number of lines written."""
    return write_lines(file, (" ".join(judgement_columns(one, "0")) for one in judgements))


def judgement_columns(one: Judgement, *between: str) -> tuple[str, ...]:
    """Question id, what the format puts between, passage id, grade."""
    question, passage = writable_id(one.question, "question id"), writable_id(one.passage, "passage id")
    return (question, *between, passage, str(int(one.grade)))


def read_hits(path: str | os.PathLike[str]) -> Iterator[Hit]:
    """The lines of a run in the order of the file. Ranks are kept as they are; measures go by the score."""
    pairs = SeenPairs()
    for line in read_lines(path):
        columns = line.text.split()
        if len(columns) != len(_HIT):
            raise wrong_columns(line, len(columns), _HIT, "space")
        question, _, passage, rank, score, tag = columns
        line_id(line, question, "question id")
        line_id(line, passage, "passage id")
        pairs.add(line, question, passage)
        yield Hit(
            question,
            passage,
            whole_number(line, rank, "rank"),
            finite_number(line, score, "score"),
            line_id(line, tag, "tag"),
        )


def ranked(path: str | os.PathLike[str]) -> Iterator[RankedList]:
    """The lines of a run that stand together for a question, with their scores."""
    for question, same in groupby(read_hits(path), key=lambda hit: hit.question):
        hits = list(same)
        yield RankedList(question, None, [hit.passage for hit in hits], [hit.score for hit in hits])


def write_hits(file: IO[bytes], hits: Iterable[Hit]) -> int:
    """Scores are printed so that reading gives back the same float. Returns the number of lines written."""
    return write_lines(file, map(_hit_line, hits))


def _hit_line(hit: Hit) -> str:
    question, passage = writable_id(hit.question, "question id"), writable_id(hit.passage, "passage id")
    score, tag = float(hit.score), writable_id(hit.tag, "tag")
    if not math.isfinite(score):
        raise DataError(f"score is {score}", key=f"question {question} passage {passage}", fix="scores are finite")
    return f"{question} Q0 {passage} {int(hit.rank)} {score!r} {tag}"


def judged_groups(questions: Iterable[Question], judgements: Iterable[Judgement], least: int = 1) -> Iterator[Group]:
    """A group for each judged question, in the order of `questions`.

    Passages of grade `least` or more are positives of tier `gold` with their grade; the others were judged and found
    wanting, and become candidates of source `judged`. Judgements are held in memory, questions are not.
    """
    judged: dict[str, list[Judgement]] = {}
    for one in judgements:
        judged.setdefault(one.question, []).append(one)
    for question in questions:
        mine = judged.pop(question.id, [])
        if mine:
            positives = tuple(Positive(one.passage, "gold", float(one.grade)) for one in mine if one.grade >= least)
            others = [one.passage for one in mine if one.grade < least]
            candidates = tuple(Candidate(passage, "judged", rank) for rank, passage in enumerate(others, 1))
            yield Group(question, positives, candidates)
    if judged:
        first = ", ".join(list(judged)[:5])
        what = f"{len(judged)} judged questions are not among the questions, first: {first}"
        raise DataError(what, fix="check that questions and judgements belong to the same split")


def whole_number(line: Line, text: str, key: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise line.refuse(f"must be a whole number, not {excerpt(text)}", key)
    return int(text)


def finite_number(line: Line, text: str, key: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise line.refuse(f"must be a number, not {excerpt(text)}", key) from None
    if not math.isfinite(number) or "_" in text:
        raise line.refuse(f"must be a finite number, not {excerpt(text)}", key)
    return number
