"""Retrieval measures of a list of ranks: top-k, MRR and DPR's average rank.

A rank is the 0-based place of a positive passage among all passages of a pool; its owner is the question it belongs to.
A question may own several positives: top-k and MRR look at the best placed, `average_rank` at the first one listed
(Karpukhin et al. 2020, arXiv 2004.04906, section 5, choose the checkpoint by it).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mpr.errors import DataError

CUTS = (1, 5, 20, 100)
LOWER_IS_BETTER = ("average_rank",)
NAMES = (*(f"top{cut}" for cut in CUTS), "mrr", *LOWER_IS_BETTER)


def of(ranks: Iterable[int], owners: Iterable[int], cuts: Sequence[int] = CUTS) -> dict[str, float]:
    """Means over questions. `ranks` and `owners` go together; each owner's ranks are in the order of its positives.

    >>> of([4, 0, 9], [7, 7, 8], cuts=(1, 5))
    {'top1': 0.5, 'top5': 0.5, 'mrr': 0.55, 'average_rank': 6.5}
    """
    first: dict[int, int] = {}
    best: dict[int, int] = {}
    for rank, owner in zip(ranks, owners, strict=True):
        if rank < 0:
            raise DataError(f"a rank is {rank}", key="ranks", fix="ranks count from 0")
        first.setdefault(owner, rank)
        best[owner] = min(rank, best.get(owner, rank))
    if not best:
        raise DataError("no ranks, so there is no mean", key="ranks", fix="give at least one positive")
    questions = len(best)
    found = {f"top{cut}": sum(rank < cut for rank in best.values()) / questions for cut in cuts}
    found["mrr"] = sum(1.0 / (rank + 1) for rank in best.values()) / questions
    found["average_rank"] = sum(first.values()) / questions
    return found
