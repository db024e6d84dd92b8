"""False negatives that a language model found in a list: relabelled, ignored, or a reason to drop the question (RLHN).

The verdicts are a file that `mpr judge --prompt judge-relabel-1` wrote: the model saw the question, its known positives
and all its candidates up to rank `window` at once, and gave each candidate a grade: 2, it answers the question as well
as a known positive or better; 1, it answers it, but not as well; 0, it does not. What has `relevant` or more becomes a
positive of tier `llm` (`then: positive`, the best grades first, behind the known ones), or grey (`ignore`), or its
question is not trained on (`drop_question`). A question with more than `drop_above` of them is dropped in any case: so
many say that its candidates, or its judge, cannot be trusted. Candidates without a verdict that could be read are grey.

Source: Thakur et al. 2025, "Fixing Data That Hurts Performance" (RLHN), arXiv 2505.16967, which compares the three and
does best with the first; its released code drops questions with more than 8. It asks a small model first and a larger
one about what the small one found, with a wording of its own; here one model is asked once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mpr.labels.llm import Judged

if TYPE_CHECKING:
    from mpr.data.pair_labels import Knowledge
    from mpr.sources import Ground

TIER = "llm"
MAKES_GREY = True


class Params(Judged):
    """Which candidates were judged, and what follows for them and for their question."""

    relevant: Annotated[int, Field(ge=1, le=2)] = 1
    """Grade from which a candidate is a false negative: 1, it answers the question; 2, as well as a known positive."""
    then: Literal["positive", "ignore", "drop_question"]
    """What a false negative is, or what becomes of its question."""
    drop_above: Annotated[int, Field(ge=1)] | None = 8
    """A question with more false negatives than this is not trained on; null: never."""
    grade: Literal["one", "judged"] = "one"
    """Grade of a relabelled passage, for objectives with graded labels: 1, or the model's."""


def applied(params: Params, known: Knowledge, ground: Ground) -> Knowledge:
    """The positives with what was relabelled; the source without it, and without the questions that are dropped."""
    from dataclasses import replace

    import numpy as np

    from mpr.data.positives import GREY, tier_codes
    from mpr.labels import llm

    verdicts = llm.kept(params.judgements, ground, "rlhn")
    owner_N, passage_N, place_N, value_N = llm.judged(verdicts, known, ground, params.source, params.window)
    wrong_N, unread_N = value_N >= params.relevant, value_N == llm.UNREAD
    many_Q = np.bincount(owner_N[wrong_N], minlength=len(known.positives))
    dropped_Q = many_Q > (len(owner_N) if params.drop_above is None else params.drop_above)
    if params.then == "drop_question":
        dropped_Q |= many_Q > 0
    rows, table = known.positives.rows, known.of(params.source)
    index = known.positives.made_grey(dropped_Q[rows.owners()]) if dropped_Q.any() else known.positives
    better = np.flatnonzero(wrong_N & ~dropped_Q[owner_N])
    better = better[np.lexsort((better, -value_N[better], owner_N[better]))]
    if params.then == "positive":
        grade_N = value_N[better] if params.grade == "judged" else 1.0
        index = index.extended(owner_N[better], passage_N[better], int(tier_codes([TIER])[0]), grade_N)
    grey_N = wrong_N | unread_N  # those that are positives by now stay positives
    index = index.extended(owner_N[grey_N], passage_N[grey_N], GREY, 0.0)
    stays_N = ~dropped_Q[table.owners()]
    stays_N[place_N[grey_N]] = False
    counts = {
        "judged": len(owner_N),
        "false negatives": int(wrong_N.sum()),
        "relabelled": len(better) if params.then == "positive" else 0,
        "unread": int(unread_N.sum()),
        "questions dropped": int(dropped_Q.sum()),
    }
    left = replace(known.with_candidates(params.source, table.kept(stays_N)), positives=index)
    for name in known.candidates:  # a question that is dropped has nothing that a later label could promote
        left = left.with_candidates(name, left.of(name).kept(~dropped_Q[left.of(name).owners()]))
    return left.noted("rlhn", counts, verdicts)
