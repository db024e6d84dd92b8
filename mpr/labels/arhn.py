"""A language model's order of candidates and positives: above the positive is a positive, below it is ignored (ARHN).

The verdicts are a file that `mpr judge --prompt judge-order-1` wrote: the model saw the question with its candidates up
to rank `window` and its known positives among them, and put those that state an answer in order. The grade of a passage
is its place from the end of that order (the last one has 1), and 0 if it states none. Relative to the question's known
positives (`than: max`, the highest of them in the order; `min`, the lowest):

    above it              a positive of tier `llm`, the highest first (`above: positive`), or grey (`ignore`)
    below, with an answer grey, neither positive nor negative (`below: ignore`), or still a negative (`negative`)
    without an answer     a negative, as before

Candidates of a question whose answer could not be read are grey. So are those of a question with no positive in the
order: nothing says what is above.

Source: Choi et al. 2026, arXiv 2604.11092, where `above: positive, below: ignore` together do best. It has one positive
a question, and asks twice: for a snippet of each passage that answers, and for the order of the snippets. Here the
model is asked once, for the order of the passages that answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mpr.labels.llm import Judged

if TYPE_CHECKING:
    from mpr.data.pair_labels import Knowledge
    from mpr.sources import Ground

TIER = "llm"
MAKES_GREY = True


class Params(Judged):
    """Which candidates were put in order, and what follows from their places."""

    than: Literal["min", "max"] = "max"
    """Which of several positives in the order counts: the lowest, or the highest."""
    above: Literal["positive", "ignore"] = "positive"
    """What a candidate above it is."""
    below: Literal["ignore", "negative"] = "ignore"
    """What a candidate below it is that states an answer."""


def applied(params: Params, known: Knowledge, ground: Ground) -> Knowledge:
    """The positives with what stands above them; the source without it, and without what is grey."""
    from dataclasses import replace

    import numpy as np

    from mpr.data.positives import GREY, tier_codes
    from mpr.labels import llm, margin

    verdicts = llm.kept(params.judgements, ground, "arhn")
    owner_N, passage_N, place_N, value_N = llm.judged(verdicts, known, ground, params.source, params.window)
    level_N = margin.levels(params.than, known, verdicts, unknown=0.0)[owner_N]  # 0: it is not in the order
    unread_N = (value_N == llm.UNREAD) | np.isnan(level_N) | (level_N == llm.UNREAD)
    above_N = (value_N > level_N) & ~unread_N
    below_N = (value_N > 0) & ~above_N & ~unread_N
    found = np.flatnonzero(above_N)
    found = found[np.lexsort((found, -value_N[found], owner_N[found]))]
    index, taken_N = known.positives, above_N | unread_N
    if params.above == "positive":
        index = index.extended(owner_N[found], passage_N[found], int(tier_codes([TIER])[0]))
    if params.below == "ignore":
        taken_N = taken_N | below_N
    index = index.extended(owner_N[taken_N], passage_N[taken_N], GREY, 0.0)  # positives by now stay positives
    table = known.of(params.source)
    stays_N = np.ones(len(table.columns["passage"]), dtype=bool)
    stays_N[place_N[taken_N]] = False
    counts = {
        "judged": len(owner_N),
        "above": len(found),
        "below with an answer": int(below_N.sum()),
        "unread": int(unread_N.sum()),
    }
    left = replace(known.with_candidates(params.source, table.kept(stays_N)), positives=index)
    return left.noted("arhn", counts, verdicts)
