"""Pseudo-relevance feedback over vectors: questions moved towards what a first search found for them.

    q' = q + weight * mean of the vectors of the first n passages

The second search ranks the whole collection by q'. No passage is judged: a question whose first passages are wrong is
moved the wrong way, so n and weight are to be chosen on questions that are not evaluated. Source: the search of RANCE
(Prakash, Killingback and Zamani, SIGIR 2021).

Shapes: Q questions, K passages found for each, N passages that some question found, W the width of a vector.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpr.recipe.keys import Feedback
from mpr.search.top_k import Hits
from mpr.search.vectors import VectorStore

Floats = NDArray[np.float32]


def moved(questions_QW: Floats, hits: Hits, corpus: VectorStore, settings: Feedback) -> Floats:
    """The questions of the second search. Of a question that found fewer passages, the mean of those."""
    rows_QK = hits.first(settings.documents).rows_QK
    rows_N, place = np.unique(rows_QK, return_inverse=True)
    found_NW = _vectors(corpus, rows_N).astype(np.float64)
    found_NW[rows_N < 0] = 0.0  # places that hold nothing
    count_Q = np.maximum((rows_QK >= 0).sum(axis=1), 1)
    mean_QW = found_NW[place.reshape(rows_QK.shape)].sum(axis=1) / count_Q[:, None]
    moved_QW: Floats = (questions_QW + settings.weight * mean_QW).astype(np.float32)
    return moved_QW


def _vectors(corpus: VectorStore, rows_N: NDArray[np.int64]) -> Floats:
    """Vectors of these rows, which ascend, shard by shard."""
    vectors_NW = np.zeros((len(rows_N), corpus.width), dtype=np.float32)
    for shard in corpus.shards:
        place_M = np.flatnonzero(np.isin(shard.rows, rows_N))
        for place, target in zip(place_M, np.searchsorted(rows_N, shard.rows[place_M]), strict=True):
            vectors_NW[target] = shard.block(int(place), int(place) + 1)[0]
    return vectors_NW
