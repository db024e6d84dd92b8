"""The rank profile of a search: how often each rank holds a passage that is relevant.

    P(r) = share of the questions with a positive at rank r,    r = 1 ... depth

Of held-out questions it says where the list of a model holds what is relevant, labelled or not: RANCE (Prakash et al.)
draws negatives by rank with weights made of it. Its sum is the mean number of positives that are found of a question.

Shapes: Q questions, R ranks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpr.storage.ragged import Ragged


def of_ranks(rank_N: NDArray[np.int64], questions: int, depth: int) -> NDArray[np.float64]:
    """P(1) ... P(depth) from the ranks, counted from 1, of all positives that were found for so many questions. What
    lies deeper is left out."""
    counts_R = np.bincount(rank_N[rank_N <= depth], minlength=depth + 1)[1:]
    return counts_R / max(questions, 1)


def of_lists(found: Ragged, positives: Ragged, depth: int) -> NDArray[np.float64]:
    """The same from the list of every question, and its positives. Questions without a positive do not count."""
    rows_Q = np.flatnonzero(positives.lengths())
    owner_N, place_N = found.places(rows_Q)
    owner_K, place_K = positives.places(rows_Q)
    keys_N, keys_K = (
        owner << 40 | np.asarray(table.columns["passage"][place], dtype=np.int64)
        for owner, place, table in ((owner_N, place_N, found), (owner_K, place_K, positives))
    )
    rank_N = np.asarray(found.columns["rank"][place_N], dtype=np.int64)
    return of_ranks(rank_N[np.isin(keys_N, keys_K)], len(rows_Q), depth)
