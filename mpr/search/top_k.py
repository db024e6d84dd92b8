"""What a search finds: for each question, passages in the canonical order.

The score of a question and a passage is the inner product of their 32-bit vectors, computed in 64 bits in one fixed
order and rounded once to 32 bits. That written score decides: score down, and where written scores are equal, passage
row up. So the order can be checked from what is written, and any tool that sorts by (score, row) agrees with it.

Shapes: Q questions, K passages found for each, N pairs of a question and a passage, D the width of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpr.errors import DataError, NumbersError, RecipeError
from mpr.storage.ragged import Floats, Integers


@dataclass(frozen=True, eq=False)
class TopK:
    """The K best passages of each question, the best first."""

    rows_QK: Integers
    scores_QK: Floats

    @classmethod
    def best(cls, rows_QN: Integers, scores_QN: Floats, k: int) -> TopK:
        """The first k of each line in the canonical order. -0.0 is written as 0.0: equal scores have equal bits."""
        scores_QN = scores_QN + np.float32(0.0)
        order_QK = np.lexsort((rows_QN, -scores_QN), axis=1)[:, :k]
        rows_QK = np.take_along_axis(rows_QN, order_QK, axis=1)
        return cls(rows_QK.astype(np.int64), np.take_along_axis(scores_QN, order_QK, axis=1).astype(np.float32))

    @classmethod
    def none(cls, questions: int) -> TopK:
        """What a process finds that has no shard."""
        return cls(np.zeros((questions, 0), dtype=np.int64), np.zeros((questions, 0), dtype=np.float32))

    def first(self, k: int) -> TopK:
        """The k best of these."""
        return TopK(self.rows_QK[:, :k], self.scores_QK[:, :k])

    def padded(self, k: int) -> TopK:
        """With empty places, of row -1, up to k."""
        questions, depth = self.rows_QK.shape
        rows_QK, scores_QK = np.full((questions, k), -1), np.zeros((questions, k), dtype=np.float32)
        rows_QK[:, :depth], scores_QK[:, :depth] = self.rows_QK, self.scores_QK
        return TopK(rows_QK, scores_QK)

    @classmethod
    def joined(cls, batches: Sequence[TopK]) -> TopK:
        """Of one batch of questions after the other."""
        rows_QK = np.concatenate([hits.rows_QK for hits in batches])
        return cls(rows_QK, np.concatenate([hits.scores_QK for hits in batches]))

    @property
    def depth(self) -> int:
        return int(self.rows_QK.shape[1])


def merge(found: Sequence[TopK], k: int) -> TopK:
    """The k best of what was found in disjoint parts of a store: the same as one search over all of them.

    The order of the parts does not matter, and parts may be merged before others are: a passage among the k best of
    all is among the k best of its part, and the canonical order is a total one. A part must have been searched for its
    k best, or for all it has.
    """
    if not found or len({len(hits.rows_QK) for hits in found}) != 1:
        raise DataError("parts of different numbers of questions, or none", key="merge", fix="merge one batch's parts")
    rows_QN = np.concatenate([hits.rows_QK for hits in found], axis=1)
    scores_QN = np.concatenate([hits.scores_QK for hits in found], axis=1)
    refuse_depth(k, rows_QN.shape[1])
    sorted_QN = np.sort(rows_QN, axis=1)
    if (sorted_QN[:, 1:] == sorted_QN[:, :-1]).any():
        raise DataError(
            "a passage was found in two parts", key="merge", fix="let each shard be searched by one process"
        )
    return TopK.best(rows_QN, scores_QN, k)


def recall(found: TopK, exact: TopK) -> float:
    """Share of the exact hits that `found` has too, over all questions: what an approximate index is judged by."""
    if found.rows_QK.shape != exact.rows_QK.shape or not exact.rows_QK.size:
        raise DataError("recall compares hits of the same questions and depth", key="recall", fix="search both alike")
    shared = [len(np.intersect1d(one, other)) for one, other in zip(found.rows_QK, exact.rows_QK, strict=True)]
    return float(sum(shared)) / exact.rows_QK.size


def refuse_depth(k: int, there: int) -> None:
    if not 1 <= k <= there:
        what = f"cannot find the {k:,} best of {there:,} passages"
        raise RecipeError(what, key="search.depth", fix=f"choose a depth from 1 to {there:,}")


def refuse_questions(queries_QD: Floats, width: int) -> None:
    """Only finite 32-bit vectors of the store's width can be compared with it."""
    if queries_QD.ndim != 2 or queries_QD.shape[1] != width or queries_QD.dtype != np.float32:
        what = f"question vectors are {queries_QD.dtype} of shape {queries_QD.shape}, not float32 of width {width}"
        raise DataError(what, key="queries", fix="encode questions and passages with the two towers of one model")
    bad_Q = ~np.isfinite(queries_QD).all(axis=1)
    if bad_Q.any():
        what = f"{int(bad_Q.sum()):,} question vectors are not finite, first: number {int(bad_Q.argmax())}"
        raise NumbersError(what, key="queries", fix="the model that encoded them is broken; look at its training")


def exact_scores(queries_ND: Floats, passages_ND: Floats) -> Floats:
    """The written score of each pair.

    A product of two 32-bit numbers is exact in 64 bits. Sums are taken by halves, number by number, each rounded as
    IEEE 754 says: no library's reduction, no fused operation and no number of pairs at a time enters the result.
    """
    terms_ND = queries_ND.astype(np.float64)
    terms_ND *= passages_ND
    width = terms_ND.shape[1]
    while width > 1:
        half = (width + 1) // 2
        terms_ND[:, : width - half] += terms_ND[:, half:width]
        width = half
    return terms_ND[:, 0].astype(np.float32) + np.float32(0.0)
