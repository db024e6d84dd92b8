"""BM25 scores of pairs of a split: of a question with some passages, and a store that computes what it does not hold.

Both go to other processes by the folders that they read, so that the workers of a loader can look scores up however
they were started.

Shapes: N pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpr.data.pair_scores import Floats, PairScores
from mpr.data.questions import SplitStore
from mpr.search.bm25 import LexicalIndex


@dataclass(frozen=True)
class LexicalScorer:
    """Called with a row of the split and rows of passages."""

    index: LexicalIndex
    questions: SplitStore
    divided: bool
    """By the number of words of the question."""

    @classmethod
    def opened(cls, index: Path, questions: Path, divided: bool) -> LexicalScorer:
        return cls(LexicalIndex(index), SplitStore(questions), divided)

    def __reduce__(self) -> Any:
        return LexicalScorer.opened, (self.index.folder, self.questions.folder, self.divided)

    def __call__(self, question: int, passage_N: Any) -> Floats:
        text = self.questions[question].text
        divisor = len(self.index.analysis(text)) if self.divided else 1
        return np.asarray(self.index.scores_of(text, passage_N) / np.float32(max(1, divisor)))


class CompletedScores(PairScores):
    """A store, and what it does not hold computed when it is looked up."""

    def __init__(self, stored: PairScores, scorer: LexicalScorer) -> None:
        super().__init__(stored.keys, stored.values, stored.folder, stored.digest)
        self.scorer = scorer

    @classmethod
    def opened(cls, stored: Path, scorer: LexicalScorer) -> CompletedScores:
        return cls(PairScores.open(stored), scorer)

    def __reduce__(self) -> Any:
        return CompletedScores.opened, (self.folder, self.scorer)

    def lookup(self, question_N: Any, passage_N: Any) -> Floats:
        value_N = super().lookup(question_N, passage_N)
        rows_N, texts_N = np.broadcast_arrays(question_N, passage_N)
        open_N = np.isnan(value_N) & (rows_N >= 0) & (texts_N >= 0)  # below 0: no question, or no passage
        for row in np.unique(rows_N[open_N]):
            mine_N = open_N & (rows_N == row)
            value_N[mine_N] = self.scorer(int(row), texts_N[mine_N])
        return value_N
