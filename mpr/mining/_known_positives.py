"""Tells the known positives of a question from its candidates, three ways, so that none is ever taught as a negative.

By id: the passage is among the question's positives, of whatever tier. By text: it has the text of one of them, white
space aside, under another id. By answer, where the question has answers: it contains one (`mpr/metrics/answers.py`);
this is also how DPR finds distant positives. A candidate gets the first label that fits, so the counts add up.

Shapes: N pairs (question, candidate), K pairs (question, known positive).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpr.data.candidates import ANSWER_MATCH, KNOWN, NEGATIVE, SAME_TEXT, Labelled
from mpr.data.passages import PassageStore
from mpr.data.questions import SplitStore
from mpr.metrics.answers import AnswerMatcher
from mpr.storage.ragged import Ragged

_KEPT = 32_768  # texts kept ready for matching, about 1 kB each


class KnownPositives:
    """Labels the proposals for the questions of one split."""

    def __init__(self, questions: SplitStore, passages: PassageStore) -> None:
        self.questions, self.passages = questions, passages
        self._prepared = lru_cache(maxsize=_KEPT)(self._prepare)

    def __call__(self, rows: NDArray[np.int64], found: Ragged) -> Labelled:
        """`found` has the proposals for the questions `rows`."""
        owner_N, place_N = found.places(np.arange(len(rows)))
        passage_N = np.asarray(found.columns["passage"][place_N], dtype=np.int64)
        owner_K, passage_K, _ = self.questions.positives.known(rows)
        hashes = self.passages.text_hashes
        hash_N, hash_K = hashes[passage_N], hashes[passage_K]
        label_N = np.full(len(owner_N), NEGATIVE, dtype=np.uint8)
        label_N[_shared(owner_N, hash_N, owner_K, hash_K)] = SAME_TEXT
        label_N[_shared(owner_N, passage_N, owner_K, passage_K)] = KNOWN
        self._match(rows, owner_N, passage_N, label_N)
        return Labelled.of(found, label_N, hash_N)

    def _match(
        self, rows: NDArray[np.int64], owner_N: NDArray[Any], passage_N: NDArray[Any], label_N: NDArray[np.uint8]
    ) -> None:
        """Labels what contains an answer."""
        ends = np.searchsorted(owner_N, np.arange(len(rows) + 1))
        for number, row in enumerate(rows):
            question = self.questions[int(row)]
            matcher = AnswerMatcher(question.answers, question.regex, question.id)
            for place in range(ends[number], ends[number + 1]) if question.answers else ():
                if label_N[place] == NEGATIVE:
                    prepared = self._prepared(question.regex, int(passage_N[place]))
                    if matcher.found_in_prepared(prepared):
                        label_N[place] = ANSWER_MATCH

    def _prepare(self, regex: bool, passage: int) -> str:
        return AnswerMatcher((), regex).prepare(self.passages[passage].text)


def _shared(
    owner_N: NDArray[Any], value_N: NDArray[Any], owner_K: NDArray[Any], value_K: NDArray[Any]
) -> NDArray[np.bool_]:
    """Which pairs of the first list are in the second. Values are numbered first, so that a pair fits one integer."""
    code = np.unique(np.concatenate([value_N, value_K]), return_inverse=True)[1].reshape(-1)
    code_N, code_K = code[: len(value_N)], code[len(value_N) :]
    return np.isin(owner_N << 32 | code_N, owner_K << 32 | code_K)
