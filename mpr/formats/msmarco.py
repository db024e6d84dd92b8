"""MS MARCO's passage ranking files, all tab-separated and without headers.

`collection.tsv` (passage id, text), `queries.*.tsv` (question id, text), `qrels.*.tsv` (question id, 0, passage id,
grade), triples by id (question id, positive, negative), `top1000.*.tsv` (question id, passage id, question, text).
The large files exist only in the order in which they were published: triples and top-1000 lists become groups without
being held in memory, which asks for the lines of a question to stand together.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import groupby
from typing import IO

from mpr.errors import DataError
from mpr.formats.trec import SeenPairs, judged_groups, judgement, judgement_columns
from mpr.records import Candidate, Group, Hit, Judgement, Passage, Positive, Question
from mpr.storage import passage_columns
from mpr.storage.lines import Ids, Line, line_id, read_lines, split_line, writable_cell, writable_id, write_lines
from mpr.storage.passage_lines import PassageLines

_TRIPLE = ("question id", "positive passage id", "negative passage id")
_TOP1000 = ("question id", "passage id", "question", "text")
_SORT = "bring the lines of a question together: sort -s -t $'\\t' -k1,1"


def read_passages(path: str | os.PathLike[str]) -> PassageLines:
    """Duplicate ids are left to the store that takes the passages in."""
    return PassageLines(path, _passage, partial(passage_columns.of_tabs, names=("id", "text"), quoted=False))


def _passage(line: Line) -> Passage:
    identity, text = split_line(line, ("passage id", "text"))
    return Passage(line_id(line, identity, "passage id"), text)


def read_questions(path: str | os.PathLike[str]) -> Iterator[Question]:
    ids = Ids()
    for line in read_lines(path):
        identity, text = split_line(line, ("question id", "text"))
        ids.add(line, line_id(line, identity, "question id"), "question id")
        yield Question(identity, text)


def read_judgements(path: str | os.PathLike[str], repeated: bool = False) -> Iterator[Judgement]:
    """`repeated`: a line that says the same as an earlier one counts once; without it any second one is refused."""
    pairs, graded = SeenPairs(), SeenPairs()
    for line in read_lines(path):
        question, _, passage, grade = split_line(line, ("question id", "0", "passage id", "grade"))
        if repeated and not graded.is_new(question, f"{passage}\t{grade}"):
            continue
        yield judgement(line, question, passage, grade, pairs)


def read_groups(queries: str | os.PathLike[str], judgements: str | os.PathLike[str], least: int = 1) -> Iterator[Group]:
    """The judged questions; see `trec.judged_groups`."""
    return judged_groups(read_questions(queries), read_judgements(judgements), least)


def read_triples(path: str | os.PathLike[str], queries: str | os.PathLike[str]) -> Iterator[Group]:
    """A group for each question of a file of triples: its positives (`gold`) and its negatives (`bm25`).

    Each passage is kept once, in the order of the file, which is also the negatives' rank.
    """
    questions = {question.id: question for question in read_questions(queries)}
    for rows in _by_question(path, _TRIPLE):
        line, (identity, *_) = rows[0]
        if identity not in questions:
            raise line.refuse(f"question is not in {queries}", _TRIPLE[0])
        positives = dict.fromkeys(line_id(row, positive, _TRIPLE[1]) for row, (_, positive, _) in rows)
        negatives = dict.fromkeys(line_id(row, negative, _TRIPLE[2]) for row, (_, _, negative) in rows)
        candidates = tuple(Candidate(passage, "bm25", rank) for rank, passage in enumerate(negatives, 1))
        yield Group(questions[identity], tuple(Positive(passage) for passage in positives), candidates)


def read_top1000(path: str | os.PathLike[str]) -> Iterator[Group]:
    """A group for each question, with what BM25 found for it and the texts. Ranks are places: the file tells none."""
    for rows in _by_question(path, _TOP1000):
        line, (identity, _, question, _) = rows[0]
        passages = dict[str, Passage]()
        for row, (_, passage, asked, text) in rows:
            if asked != question:
                raise row.refuse(f"question differs from that on line {line.number}", "question")
            if passage in passages:
                raise row.refuse("passage was listed before for this question", "passage id")
            passages[passage] = Passage(line_id(row, passage, "passage id"), text)
        candidates = tuple(Candidate(passage, "bm25", rank) for rank, passage in enumerate(passages, 1))
        yield Group(Question(identity, question), (), candidates, tuple(passages.values()))


def _by_question(path: str | os.PathLike[str], names: tuple[str, ...]) -> Iterator[list[tuple[Line, list[str]]]]:
    """The lines of each question with their columns. A question that comes back later is refused."""
    ids = Ids()
    split = ((line, split_line(line, names)) for line in read_lines(path))
    for identity, same in groupby(split, key=lambda row: row[1][0]):
        rows = list(same)
        ids.add(rows[0][0], line_id(rows[0][0], identity, names[0]), names[0], _SORT)
        yield rows


def write_passages(file: IO[bytes], passages: Iterable[Passage]) -> int:
    """Titles have no place in the format and must be empty. Returns the number of lines, as do the other writers."""
    return write_lines(file, map(_passage_line, passages))


def write_questions(file: IO[bytes], questions: Iterable[Question]) -> int:
    """Answers have no place in the format and must be empty."""
    return write_lines(file, map(_question_line, questions))


def write_judgements(file: IO[bytes], judgements: Iterable[Judgement]) -> int:
    return write_lines(file, ("\t".join(judgement_columns(one, "0")) for one in judgements))


def write_triples(file: IO[bytes], groups: Iterable[Group]) -> int:
    """Every positive of a group with every candidate."""
    return write_lines(file, (line for group in groups for line in _triple_lines(group)))


def write_hits(file: IO[bytes], hits: Iterable[Hit]) -> int:
    """The form in which runs are submitted: question id, passage id, rank. Scores are left out."""
    return write_lines(file, map(_hit_line, hits))


def _passage_line(passage: Passage) -> str:
    key = f"passage {writable_id(passage.id, 'passage id')}"
    if passage.title:
        raise DataError("has a title, which this format cannot hold", key=key, fix="use dpr_tsv or beir")
    return f"{passage.id}\t{writable_cell(passage.text, key)}"


def _question_line(question: Question) -> str:
    key = f"question {writable_id(question.id, 'question id')}"
    if question.answers:
        raise DataError("has answers, which this format cannot hold", key=key, fix="use questions_jsonl")
    return f"{question.id}\t{writable_cell(question.text, key)}"


def _triple_lines(group: Group) -> Iterator[str]:
    question = writable_id(group.question.id, "question id")
    if not (group.positives and group.candidates):
        what = f"has {len(group.positives)} positives and {len(group.candidates)} candidates: no triple to write"
        raise DataError(what, key=f"question {question}", fix="leave it out")
    for positive in group.positives:
        for candidate in group.candidates:
            ids = writable_id(positive.passage, "passage id"), writable_id(candidate.passage, "passage id")
            yield f"{question}\t{ids[0]}\t{ids[1]}"


def _hit_line(hit: Hit) -> str:
    question, passage = writable_id(hit.question, "question id"), writable_id(hit.passage, "passage id")
    return f"{question}\t{passage}\t{int(hit.rank)}"
