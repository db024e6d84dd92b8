"""Which passages of a ranking contain an answer: DPR's rule of `mpr/metrics/answers.py` over a whole run in seconds.

The work is ordered by passage, not by question: each ranked passage is read and cut into tokens once, in the order in
which the corpus lies on disk, whatever the number of questions that rank it, and nothing of it is kept.

Shapes: N ranked passages of all questions one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mpr.data.passages import PassageStore
from mpr.evaluation.ranking import Ranking
from mpr.metrics.answers import AnswerMatcher
from mpr.runtime.progress import Progress, silent


def contains_answer(
    ranking: Ranking,
    matching: Sequence[AnswerMatcher],
    passages: PassageStore,
    progress: Progress = silent,
) -> NDArray[np.bool_]:
    """For each of the N ranked passages: does its text contain an answer of its question? Titles do not count.

    Question `q` of the ranking is matched by `matching[q]`. `progress` gets the number of passages looked at.
    """
    order = np.argsort(ranking.passage_N, kind="stable")
    owner_N, row_N = ranking.owner_N, ranking.passage_N[order]
    distinct, starts = np.unique(row_N, return_index=True)
    ends = np.append(starts[1:], len(row_N))
    right_N = np.zeros(len(row_N), dtype=np.bool_)
    number = offset = 0
    for batch in passages.batches():  # of each batch on disk only the wanted texts
        wanted = distinct[number : int(np.searchsorted(distinct, offset + batch.num_rows))]
        texts = batch.column("text").take(pa.array(wanted - offset)).to_pylist() if len(wanted) else []
        offset += batch.num_rows
        for text in texts:
            prepared: dict[bool, str] = {}
            places = order[starts[number] : ends[number]]
            for place, question in zip(places.tolist(), owner_N[places].tolist(), strict=True):
                matcher = matching[question]
                if matcher.regex not in prepared:
                    prepared[matcher.regex] = matcher.prepare(text)
                right_N[place] = matcher.found_in_prepared(prepared[matcher.regex])
            progress(len(places))
            number += 1
    return right_N


def first_right(ranking: Ranking, right_N: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Rank of the first right passage of each question, from 1; 0 where there is none."""
    beyond = ranking.depth + 1
    first_Q = np.full(len(ranking), beyond, dtype=np.int64)
    np.minimum.at(first_Q, ranking.owner_N[right_N], ranking.rank_N[right_N])
    return np.where(first_Q == beyond, 0, first_Q).astype(np.int32)


def ranks_of(ranking: Ranking, owner: NDArray[np.int64], passage: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rank of each (question, passage) pair, from 1; 0 where the question's list does not have the passage."""
    if not len(ranking.passage_N):
        return np.zeros(len(passage), dtype=np.int64)
    width = max(int(ranking.passage_N.max()), int(passage.max(initial=0))) + 1
    keys = ranking.owner_N * width + ranking.passage_N
    order = np.argsort(keys)
    wanted = np.where(passage < 0, -1, owner * width + passage)  # outside the corpus: in no list
    at = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)]
    return np.where(keys[at] == wanted, ranking.rank_N[at], 0).astype(np.int64)
