"""Stored scores of a teacher, for objectives that imitate one: `kl` and `pairwise` with `target: teacher`.

Every candidate and every positive that counts needs a score: what an objective looks at must be known. A teacher knows
the pairs that were scored, not those of a question with other questions' passages, so such a term looks at its own
(`columns: own`), or the step has no in-batch negatives. Margin-MSE (Hofstätter et al. 2020, arXiv 2010.02666) and TAS-B
(2021, arXiv 2104.06967) take the mean of several cross-encoders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from mpr.catalogue import Parameters
from mpr.labels._score_files import Scores

if TYPE_CHECKING:
    from mpr.data.pair_labels import Knowledge
    from mpr.sources import Ground
    from mpr.storage.ragged import Ragged

PROVIDES = ("teacher_QP",)
MAKES_GREY = True


class Params(Parameters):
    """Which scores, and what happens to pairs without one."""

    scores: Scores
    """Where the scores come from."""
    missing: Literal["refuse", "drop"]
    """Candidates and positives without a score: stop, or do without them. A dropped positive is grey."""
    keep_best: Annotated[int, Field(ge=1)] | None = None
    """Of every source only the candidates that the teacher scores highest, so many a question; null: all."""


def applied(params: Params, known: Knowledge, ground: Ground) -> Knowledge:
    """With the scores as targets; candidates and positives are those that have one."""
    from dataclasses import replace

    import numpy as np

    from mpr.data.pair_labels import Asked
    from mpr.labels import _score_files

    asked = Asked(dict.fromkeys(known.candidates), positives=True)
    scores = _score_files.of(params.scores, asked, known, ground)
    counts = {"candidates dropped": 0, "positives dropped": 0}
    for source, table in known.candidates.items():
        passage_N = table.columns["passage"]
        value_N = scores.lookup(table.owners(), passage_N)
        if params.missing == "refuse":
            _score_files.refuse_unknown(value_N, table.owners(), passage_N, ground, f"candidates of '{source}'")
        wanted_N = _wanted(table, value_N, params.keep_best)
        counts["candidates dropped"] += int((~wanted_N).sum())
        known = known.with_candidates(source, table.kept(wanted_N))
    index, rows = known.positives, known.positives.rows
    value_K = scores.lookup(rows.owners(), rows.columns["passage"])
    open_K = known.counting & np.isnan(value_K)
    if params.missing == "refuse" and open_K.any():
        counted_K = known.counting
        pair_K = rows.owners()[counted_K], rows.columns["passage"][counted_K]
        _score_files.refuse_unknown(value_K[counted_K], *pair_K, ground, "positives")
    counts["positives dropped"] = int(open_K.sum())
    known = replace(known, positives=index.made_grey(open_K) if open_K.any() else index)
    return known.with_scores("teacher_QP", scores).noted("teacher", counts, scores)


def _wanted(table: Ragged, value_N: Any, best: int | None) -> Any:
    """Candidates with a score; with `best`, only so many of each question, of equal scores the first."""
    import numpy as np

    known_N = ~np.isnan(value_N)
    if best is None:
        return known_N
    owner_N = table.owners()
    order = np.lexsort((np.arange(len(owner_N)), -np.where(known_N, value_N, -np.inf), owner_N))
    wanted_N = np.zeros(len(owner_N), dtype=bool)
    wanted_N[order] = np.arange(len(order)) - table.offsets[owner_N[order]] < best
    return wanted_N & known_N
