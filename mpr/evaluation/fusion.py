"""One ranking of several: a weighted sum of scores, or a sum of reciprocal ranks.

Weighted sum. DPR's hybrid ranks the union of what BM25 and the dense retriever found (2000 each) by
BM25(q, p) + 1.1 sim(q, p) (Karpukhin et al. 2020, section 5). A passage that one of them did not find has no score
there; the paper does not say what is put in its place. `missing` says it here: `minimum` is the lowest score of that
list for the question, as Pyserini does it (pyserini/search/hybrid/_searcher.py); `zero` is 0, as in CombSUM (Fox and
Shaw 1994). Scores are added as they are, without normalisation.

Reciprocal rank. score(p) = sum over lists of weight / (60 + rank of p), ranks from 1; a list without p adds nothing
(Cormack, Clarke and Buettcher, SIGIR 2009, with their constant 60).

Sums are taken in 64 bits, list by list as given, and rounded once to 32 bits. Equal scores are ordered by row.

`fuse` does it for every question of several runs; `commit` keeps the result as `run.trec` with a receipt.

Shapes: K passages of one list, U passages in the union.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mpr import storage
from mpr.errors import DataError, NumbersError, RecipeError
from mpr.evaluation.ranking import Named, Ranking
from mpr.formats import trec

KIND = "fusion"
RUN_FILE = "run.trec"
DPR_WEIGHTS = (1.0, 1.1)  # BM25, dense
RANK_CONSTANT = 60.0


@dataclass(frozen=True, eq=False)
class Ranked:
    """What one retriever found for one question, the best first; it may be empty."""

    rows_K: NDArray[np.int64]
    scores_K: NDArray[np.float32] | NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.rows_K.shape != self.scores_K.shape or self.rows_K.ndim != 1:
            raise DataError("rows and scores differ in number", key="fusion", fix="give one score for each passage")
        if not np.isfinite(self.scores_K).all():
            raise DataError("a score is not finite", key="fusion", fix="mend the run")
        if len(np.unique(self.rows_K)) != len(self.rows_K):
            raise DataError("a passage is ranked twice", key="fusion", fix="mend the run")
        if not np.array_equal(np.lexsort((self.rows_K, -self.scores_K)), np.arange(len(self.rows_K))):
            what = "a list is not in the canonical order (score down, passage row up)"
            raise DataError(what, key="fusion", fix="sort it; where scores are equal the order of a run means nothing")


def weighted_sum(
    lists: Sequence[Ranked], weights: Sequence[float], k: int, *, missing: Literal["minimum", "zero"]
) -> Ranked:
    """The k best of the union (all, if there are fewer) by the weighted sum of their scores."""
    _refuse(lists, weights, k)
    if missing not in ("minimum", "zero"):
        raise RecipeError(f"'{missing}' is no score for a missing passage", key="missing", fix="minimum or zero")
    union_U = _union(lists)
    total_U = np.zeros(len(union_U), dtype=np.float64)
    for ranked, weight in zip(lists, weights, strict=True):
        lowest = float(ranked.scores_K.min()) if missing == "minimum" and len(ranked.scores_K) else 0.0
        total_U += weight * _spread(union_U, ranked.rows_K, ranked.scores_K.astype(np.float64), lowest)
    return _first(union_U, total_U, k)


def reciprocal_rank(
    lists: Sequence[Ranked], k: int, *, weights: Sequence[float] | None = None, constant: float = RANK_CONSTANT
) -> Ranked:
    """The k best of the union (all, if there are fewer) by the sum of reciprocal ranks."""
    weights = [1.0] * len(lists) if weights is None else weights
    _refuse(lists, weights, k)
    if not (math.isfinite(constant) and constant >= 0):
        raise RecipeError(f"the constant is {constant}", key="constant", fix="a number of at least 0, usually 60")
    union_U = _union(lists)
    total_U = np.zeros(len(union_U), dtype=np.float64)
    for ranked, weight in zip(lists, weights, strict=True):
        parts_K = weight / (constant + 1.0 + np.arange(len(ranked.rows_K), dtype=np.float64))
        total_U += _spread(union_U, ranked.rows_K, parts_K, 0.0)
    return _first(union_U, total_U, k)


def fuse(runs: Sequence[Ranking], combine: Callable[[Sequence[Ranked]], Ranked]) -> Ranking:
    """One run of several over the same questions in the same order (`Ranking.aligned`), where lists may be empty.

    `combine` makes one list of a question's lists: `weighted_sum` or `reciprocal_rank` with its arguments.
    """
    questions = runs[0].questions
    if any(run.questions != questions for run in runs):
        raise DataError("the runs have other questions, or another order of them", key="fusion", fix="align them first")
    found = [combine([_listed(run, number) for run in runs]) for number in range(len(questions))]
    offsets = np.concatenate([[0], np.cumsum([len(ranked.rows_K) for ranked in found])]).astype(np.int64)
    nothing = Ranked(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float64))
    passage_N = np.concatenate([ranked.rows_K for ranked in (nothing, *found)])
    score_N = np.concatenate([ranked.scores_K.astype(np.float64) for ranked in (nothing, *found)])
    return Ranking(questions, offsets, passage_N, score_N)


def _listed(run: Ranking, question: int) -> Ranked:
    own = slice(int(run.offsets[question]), int(run.offsets[question + 1]))
    return Ranked(run.passage_N[own], run.score_N[own])


def commit(target: Path, ranking: Ranking, passages: Named, receipt: Mapping[str, Any]) -> None:
    """Writes the folder `target` with a run file that any tool reads; `receipt` says of what it was made and how."""
    with storage.stage(target, KIND, receipt) as stage, stage.open(RUN_FILE) as file:
        trec.write_hits(file, ranking.hits(passages.ids, KIND))


def _refuse(lists: Sequence[Ranked], weights: Sequence[float], k: int) -> None:
    if not lists or len(weights) != len(lists) or not all(math.isfinite(weight) for weight in weights):
        what = f"{len(lists)} lists and weights {list(weights)}"
        raise RecipeError(what, key="weights", fix="give one finite weight for each of one or more lists")
    if k < 1:
        raise RecipeError(f"cannot keep the {k} best", key="search.depth", fix="keep at least 1")


def _union(lists: Sequence[Ranked]) -> NDArray[np.int64]:
    return np.unique(np.concatenate([ranked.rows_K for ranked in lists])).astype(np.int64)


def _spread(
    union_U: NDArray[np.int64], rows_K: NDArray[np.int64], values_K: NDArray[np.float64], otherwise: float
) -> NDArray[np.float64]:
    values_U = np.full(len(union_U), otherwise)
    values_U[np.searchsorted(union_U, rows_K)] = values_K
    return values_U


def _first(union_U: NDArray[np.int64], total_U: NDArray[np.float64], k: int) -> Ranked:
    with np.errstate(over="ignore"):  # what does not fit is refused in the next line
        scores_U = total_U.astype(np.float32) + np.float32(0.0)
    if not np.isfinite(scores_U).all():
        raise NumbersError("a fused score does not fit 32 bits", key="fusion", fix="scale the scores of the runs down")
    order_K = np.lexsort((union_U, -scores_U))[:k]
    return Ranked(union_U[order_K], scores_U[order_K])
