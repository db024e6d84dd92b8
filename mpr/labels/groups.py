"""Graded groups from a teacher's order: relevant, hard, semi-hard (CL-DRD, whose stages make the groups finer).

The candidates of a source are put into the order of their scores. The question's own positives stand before them and
share the first place. The first `relevant` of this list have the grade 1/place; of those up to `hard_until` some are
drawn and get the grade `hard_grade`; of those behind it others, with `semi_grade`. The rest of the source is dropped.
An objective over pairs of different grade then learns the teacher's order at the top, and three coarse classes below:

    pairs of a question   K = 5, 12 hard, 13 semi-hard: 291;   K = 10, 10, 10: 345;   K = 30: 435

A later stage with a larger K only refines the order of an earlier one. Which passages are drawn is a function of the
seed and the pair. To see a whole group in a step, draw all positives and `k` of the source with `weight: top`.

Source: Zeng, Zamani and Vinay 2022 (arXiv 2204.13679); groups and grades by its code's defaults. Where hard ends, and
that known positives are in the group, is ours: the paper's values are not known to us.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from mpr.catalogue import Parameters
from mpr.labels._score_files import Scores

if TYPE_CHECKING:
    from mpr.data.pair_labels import Knowledge
    from mpr.sources import Ground

PROVIDES = ("grades_QP",)
Grade = Annotated[float, Field(lt=0.0, allow_inf_nan=False)]


class Params(Parameters):
    """Whose order, and the sizes and grades of the groups."""

    source: Annotated[str, Field(min_length=1)]
    """The `as` of a source."""
    scores: Scores
    """Where the scores come from."""
    depth: Annotated[int, Field(ge=1)]
    """Candidates up to this rank are put into order; each needs a score."""
    relevant: Annotated[int, Field(ge=1)]
    """Places with a grade of their own, known positives included."""
    hard: Annotated[int, Field(ge=0)]
    """How many are drawn of the places behind those, up to `hard_until`."""
    semi: Annotated[int, Field(ge=0)]
    """How many are drawn of the places behind `hard_until`."""
    hard_until: Annotated[int, Field(ge=1)]
    """Last place of the hard ones."""
    hard_grade: Grade = -0.25
    """Grade of the hard ones."""
    semi_grade: Grade = -0.5
    """Grade of the semi-hard ones; below `hard_grade`."""
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    """Another seed draws other hard and semi-hard ones."""

    @model_validator(mode="after")
    def _in_order(self) -> Params:
        if not self.relevant <= self.hard_until <= self.depth:
            raise ValueError("relevant, hard_until and depth must not fall")
        if self.semi_grade >= self.hard_grade:
            raise ValueError("semi_grade must be below hard_grade")
        return self


def applied(params: Params, known: Knowledge, ground: Ground) -> Knowledge:
    """The source's candidates as they stand in the groups, in the teacher's order, and the grades as targets."""
    import numpy as np

    from mpr.data.pair_labels import Asked
    from mpr.data.pair_scores import PairScores, Scored
    from mpr.labels import _score_files

    table = known.of(params.source)
    owner_N, passage_N = table.owners(), table.columns["passage"]
    looked_N = known.open(params.source) & (table.columns["rank"] <= params.depth)
    scores = _score_files.of(params.scores, Asked({params.source: params.depth}), known, ground)
    value_N = _score_files.required(scores, table, looked_N, ground, f"candidates of '{params.source}' up to the depth")
    ordered = np.flatnonzero(looked_N)
    ordered = ordered[np.lexsort((ordered, -value_N[ordered], owner_N[ordered]))]
    rows, counting_K = known.positives.rows, known.counting
    human_K, passage_K = rows.owners()[counting_K], rows.columns["passage"][counting_K]
    before_Q = np.bincount(human_K, minlength=len(rows))
    grade = _grades(params, owner_N[ordered], passage_N[ordered], before_Q)
    chosen, grade = ordered[~np.isnan(grade)], grade[~np.isnan(grade)]
    graded = Scored(
        np.concatenate([human_K, owner_N[chosen]]),
        np.concatenate([passage_K, passage_N[chosen]]),
        np.concatenate([np.ones(len(human_K)), grade]).astype(np.float32),
    )
    left = known.with_candidates(params.source, table.taken(owner_N[chosen], chosen))
    counts = {
        "relevant": int((grade > 0).sum()),
        "hard": int((grade == params.hard_grade).sum()),
        "semi": int((grade == params.semi_grade).sum()),
    }
    return left.with_scores("grades_QP", PairScores.of(graded)).noted("groups", counts, scores)


def _grades(params: Params, owner_N: Any, passage_N: Any, before_Q: Any) -> Any:
    """Of candidates in the teacher's order, question by question; NaN for those in no group. `before_Q` counts the
    positives that stand before them."""
    import numpy as np

    from mpr.runtime import randomness

    place_N = np.arange(len(owner_N)) - np.searchsorted(owner_N, owner_N) + before_Q[owner_N] + 1
    grade_N = np.where(place_N <= params.relevant, 1.0 / place_N, np.nan)
    bits_N = randomness.bits(params.seed, "group", owner_N, passage_N)
    is_hard_N = (place_N > params.relevant) & (place_N <= params.hard_until)
    for within_N, wanted, grade in (
        (is_hard_N, params.hard, params.hard_grade),
        (place_N > params.hard_until, params.semi, params.semi_grade),
    ):
        some = np.flatnonzero(within_N)
        some = some[np.lexsort((bits_N[some], owner_N[some]))]
        turn = np.arange(len(some)) - np.searchsorted(owner_N[some], owner_N[some])
        grade_N[some[turn < wanted]] = grade
    return grade_N
