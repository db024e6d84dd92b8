"""A run in memory: the passages of each question in one canonical order, whatever wrote the run.

The order is: score down, and where scores are equal, passage up (its row in the corpus; its id where there is no
corpus). Ranks in a file are not used. A score that is not finite, a passage that is ranked twice for a question and a
passage that the corpus does not have are refused: each would change a measure without notice.

Shapes: Q questions, N passages of all questions one after the other, K passages of one question.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mpr.errors import DataError, NumbersError
from mpr.formats import trec
from mpr.records import Hit

_CHUNK = 65_536


class Named(Protocol):
    """What knows passages by id: a PassageStore, or the Names of a run whose corpus is not at hand."""

    def __len__(self) -> int: ...

    def rows_of(self, ids: Sequence[str]) -> NDArray[np.int64]: ...

    def ids(self, rows: Iterable[int]) -> list[str]: ...


class Names:
    """Passages of which only the ids are known, numbered in ascending order of ids."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._ids = sorted(set(ids))
        self._rows = {identifier: row for row, identifier in enumerate(self._ids)}

    def __len__(self) -> int:
        return len(self._ids)

    def rows_of(self, ids: Sequence[str]) -> NDArray[np.int64]:
        return np.array([self._rows.get(identifier, -1) for identifier in ids], dtype=np.int64)

    def ids(self, rows: Iterable[int]) -> list[str]:
        return [self._ids[int(row)] for row in rows]


@dataclass(frozen=True)
class Ranking:
    """The passages of question `q` are `passage_N[offsets[q]:offsets[q + 1]]`, the best first."""

    questions: tuple[str, ...]
    offsets: NDArray[np.int64]
    passage_N: NDArray[np.int64]
    score_N: NDArray[np.float64]

    @classmethod
    def of_rows(cls, questions: Sequence[str], rows_QK: NDArray[Any], scores_QK: NDArray[Any]) -> Ranking:
        """From what a search returns. A row of -1 is an empty place: an index that found fewer than K has them."""
        owner_N = np.repeat(np.arange(len(questions)), rows_QK.shape[1])
        passage_N, score_N = rows_QK.reshape(-1).astype(np.int64), scores_QK.reshape(-1).astype(np.float64)
        there = passage_N >= 0
        return cls._ordered(tuple(questions), owner_N[there], passage_N[there], score_N[there])

    @classmethod
    def of_hits(cls, hits: Iterable[Hit], passages: Named) -> Ranking:
        """From the lines of a run. Questions keep the order in which the run first names them."""
        numbers: dict[str, int] = {}
        owners, rows, scores = [], [], []
        lost: list[str] = []
        source = iter(hits)
        while chunk := list(islice(source, _CHUNK)):
            owners.append(np.array([numbers.setdefault(hit.question, len(numbers)) for hit in chunk], dtype=np.int64))
            found = passages.rows_of([hit.passage for hit in chunk])
            lost.extend(chunk[place].passage for place in np.flatnonzero(found < 0))
            rows.append(found)
            scores.append(np.array([hit.score for hit in chunk], dtype=np.float64))
        if not numbers:
            raise DataError("the run ranks nothing", fix="check the run file")
        if lost:
            what = f"{len(lost):,} ranked passages are not in the corpus, first: {', '.join(lost[:5])}"
            raise DataError(what, fix="evaluate a run over the corpus that it was searched in")
        return cls._ordered(tuple(numbers), np.concatenate(owners), np.concatenate(rows), np.concatenate(scores))

    @classmethod
    def read(cls, path: str | os.PathLike[str], passages: Named) -> Ranking:
        """From a TREC run file."""
        return cls.of_hits(trec.read_hits(path), passages)

    @classmethod
    def _ordered(
        cls, questions: tuple[str, ...], owner_N: NDArray[Any], passage_N: NDArray[np.int64], score_N: NDArray[Any]
    ) -> Ranking:
        if len(set(questions)) != len(questions):
            raise DataError("a question is in the run twice", fix="question ids are unique within a split")
        strange = np.flatnonzero(~np.isfinite(score_N))
        if len(strange):
            first = questions[owner_N[strange[0]]]
            what = f"{len(strange):,} scores are not finite, the first is {score_N[strange[0]]}"
            raise NumbersError(what, key=f"question {first}", fix="no order has a meaning; search again")
        order = np.lexsort((passage_N, -score_N, owner_N))
        counts = np.bincount(owner_N, minlength=len(questions))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        by_passage = np.lexsort((passage_N, owner_N))
        of, found = owner_N[by_passage], passage_N[by_passage]
        twins = np.flatnonzero((of[1:] == of[:-1]) & (found[1:] == found[:-1]))
        if len(twins):
            what = f"{len(twins):,} passages are ranked twice for one question"
            fix = "no measure has a meaning for it; merge the lists first"
            raise DataError(what, key=f"question {questions[of[twins[0]]]}", fix=fix)
        return cls(questions, offsets, passage_N[order], np.asarray(score_N[order], dtype=np.float64))

    def __len__(self) -> int:
        return len(self.questions)

    def row(self, question: int) -> NDArray[np.int64]:
        """Passages of a question, the best first."""
        return self.passage_N[self.offsets[question] : self.offsets[question + 1]]

    def hits(self, ids: Callable[[Any], list[str]], tag: str) -> Iterator[Hit]:
        """Lines of a run file."""
        for number, question in enumerate(self.questions):
            own = slice(int(self.offsets[number]), int(self.offsets[number + 1]))
            pairs = zip(ids(self.passage_N[own]), self.score_N[own].tolist(), strict=True)
            for rank, (passage, score) in enumerate(pairs, 1):
                yield Hit(question, passage, rank, score, tag)

    @property
    def depth(self) -> int:
        """Passages of the longest list."""
        return int(np.diff(self.offsets).max(initial=0))

    @property
    def owner_N(self) -> NDArray[np.int64]:
        """Question of each passage."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @property
    def rank_N(self) -> NDArray[np.int64]:
        """Rank of each passage in the list of its question, from 1."""
        return np.arange(len(self.passage_N)) - self.offsets[self.owner_N] + 1

    def aligned(self, questions: Sequence[str]) -> Ranking:
        """The same lists in the order of `questions`; empty for those that the run does not have, others left out."""
        places = {identifier: place for place, identifier in enumerate(self.questions)}
        found = map(places.get, questions)
        lists = [range(0) if place is None else range(*self.offsets[place : place + 2]) for place in found]
        offsets = np.concatenate([[0], np.cumsum([len(part) for part in lists])]).astype(np.int64)
        taken = np.concatenate([np.arange(part.start, part.stop) for part in lists]).astype(np.int64)
        return Ranking(tuple(questions), offsets, self.passage_N[taken], self.score_N[taken])

    def without_self(self, passages: Named) -> tuple[Ranking, int]:
        """Without the passages whose id is the id of their question, as BEIR does; and how many these were."""
        own_Q = passages.rows_of(self.questions)
        owner_N = self.owner_N
        kept = self.passage_N != own_Q[owner_N]
        counts = np.bincount(owner_N[kept], minlength=len(self))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        smaller = Ranking(self.questions, offsets, self.passage_N[kept], self.score_N[kept])
        return smaller, int((~kept).sum())
