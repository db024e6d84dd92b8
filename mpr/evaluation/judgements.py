"""Judgements in memory: which passages are relevant to each judged question, and how much.

They come from qrels, or, on request, from the known positives of a question-answering split. A judged passage that is
not in the corpus stays: it cannot be found, so it lowers recall, as it does in trec_eval; these passages are counted. A
question without a judgement is not judged; one whose judgements are all too low is judged and has no positive.

Shapes: Q judged questions, N judgements of all questions one after the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpr.data.questions import SplitStore
from mpr.errors import DataError
from mpr.evaluation.ranking import Named, Names
from mpr.records import TIERS, Judgement


@dataclass(frozen=True)
class Judgements:
    """The judgements of question `q` are at `offsets[q]:offsets[q + 1]`; a passage outside the corpus is negative."""

    questions: tuple[str, ...]
    offsets: NDArray[np.int64]
    passage_N: NDArray[np.int64]
    grade_N: NDArray[np.int64]
    source: str
    """Who judged, in words."""
    outside: int | None
    """Judged passages that the corpus does not have; None where the corpus is not at hand."""
    digest: str
    """Of questions, passage ids and grades: two results are comparable only under the same judgements."""

    @classmethod
    def of(cls, judgements: Iterable[Judgement], passages: Named, source: str = "qrels") -> Judgements:
        listed: dict[str, dict[str, int]] = {}
        for one in judgements:
            mine = listed.setdefault(one.question, {})
            if one.passage in mine:
                fix = "remove one of the two judgements"
                raise DataError(f"passage {one.passage} is judged twice", key=f"question {one.question}", fix=fix)
            mine[one.passage] = int(one.grade)
        if not listed:
            raise DataError(
                "there are no judgements", fix="a measure over no questions is not a number; check the file"
            )
        ids = [passage for mine in listed.values() for passage in mine]
        grade_N = np.array([grade for mine in listed.values() for grade in mine.values()], dtype=np.int64)
        rows = passages.rows_of(ids)
        lost = rows < 0
        rows[lost] = -1 - np.arange(int(lost.sum()))
        offsets = np.concatenate([[0], np.cumsum([len(mine) for mine in listed.values()])]).astype(np.int64)
        outside = None if isinstance(passages, Names) else int(lost.sum())
        digest = hashlib.sha256()
        for question in sorted(listed):
            for passage in sorted(listed[question]):
                digest.update(f"{question} {passage} {listed[question][passage]}\n".encode())
        return cls(tuple(listed), offsets, rows, grade_N, source, outside, digest.hexdigest())

    @classmethod
    def of_positives(
        cls, split: SplitStore, own: Named, passages: Named, tiers: Sequence[str] = ("gold", "answer_match")
    ) -> Judgements:
        """The known positives of a split as judgements. `own`: the passages that the split's labels refer to."""
        counting = split.positives.counting(tiers)
        listed = []
        for row, question in enumerate(split.ids):
            grades = counting.row(row, "grade")
            for passage, grade in zip(own.ids(counting.row(row, "passage")), grades.tolist(), strict=True):
                if grade != int(grade):
                    raise DataError(
                        f"grade {grade} of passage {passage} is no whole number", key=f"question {question}"
                    )
                listed.append(Judgement(question, passage, int(grade)))
        named = ", ".join(tier for tier in TIERS if tier in tiers)
        return cls.of(listed, passages, source=f"known positives ({named})")

    def __len__(self) -> int:
        return len(self.questions)

    def positive_pairs(self, least: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(question, passage) of every judgement of grade `least` or more."""
        owner = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        positive = self.grade_N >= least
        return owner[positive], self.passage_N[positive]

    def aligned(self, questions: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """`positive_pairs(1)` numbered by `questions`; of questions that are not among them nothing is left."""
        places = {identifier: place for place, identifier in enumerate(questions)}
        number_Q = np.array([places.get(identifier, -1) for identifier in self.questions], dtype=np.int64)
        owner, passage = self.positive_pairs(1)
        kept = number_Q[owner] >= 0
        return number_Q[owner[kept]], passage[kept]
