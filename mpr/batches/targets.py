"""What objectives want to know of the cells of a block besides scores, looked up for a whole step.

A number that is not known is NaN. Before a step is computed, every cell that a term will look at must have one: what is
missing is refused here, on the CPU, with the ids of question and passage, where a loss would only become NaN. Which
cells a term looks at is said by its `columns`: all, those that were drawn for the row itself (own), or the row's own
positives and the negatives that came for others.

Shapes: Q rows of the step, P passages of the step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpr.batches.relations import Block, Relations
from mpr.data.pair_labels import Knowledge
from mpr.data.pair_scores import PairScores
from mpr.errors import DataError
from mpr.recipe.keys import OF_OTHERS

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Need:
    """A term of the objective that looks at a target."""

    target: str
    columns: str
    term: int
    highest: float | None = None
    """Values outside of 0 to this one are refused; None: any will do."""


@dataclass(frozen=True)
class Names:
    """Ids of questions and passages, for messages; the stores are opened when one is written."""

    questions: Path
    passages: Path

    def __call__(self, question: int, passage: int) -> str:
        from mpr.data.passages import PassageStore
        from mpr.data.questions import SplitStore

        found = PassageStore(self.passages).ids([passage])[0]
        return f"passage {found} of question {SplitStore(self.questions)[question].id}"


@dataclass(frozen=True)
class Targets:
    """Called with a block and its relations; gives what a batch holds for the terms."""

    needs: tuple[Need, ...] = ()
    stores: Mapping[str, PairScores] = field(default_factory=dict)
    owned: bool = False
    """Whether a term tells what was drawn for the row itself from the rest."""
    ungraded: bool = False
    """Whether grades are those of the positives alone, and a negative has the grade 0."""
    names: Names | None = None

    @classmethod
    def of(cls, objective: Iterable[Any], known: Knowledge, names: Names | None = None) -> Targets:
        """For the terms of a recipe. Where no label grades passages, positives have the grades of the data."""
        terms, stores = list(enumerate(objective)), dict(known.scores)
        ungraded = "grades_QP" not in stores
        if ungraded and any("grades_QP" in getattr(term, "needs", ()) for _, term in terms):
            stores["grades_QP"] = known.positives.grades(known.tiers)
        needs = tuple(
            Need(target, columns_of(term), number, getattr(term, "highest_grade", None))
            for number, term in terms
            for target in getattr(term, "needs", ())
            if target in stores
        )
        wanted = {need.target: stores[need.target] for need in needs}
        return cls(needs, wanted, any(_tells_own(term) for _, term in terms), ungraded, names)

    def __call__(self, block: Block, related: Relations) -> dict[str, NDArray[Any]]:
        found: dict[str, NDArray[Any]] = {"own_QP": related.own_QP} if self.owned else {}
        question_Q1, passage_P = block.question_Q[:, None], block.passage_P
        for target in dict.fromkeys(need.target for need in self.needs):
            value_QP = self.stores[target].lookup(question_Q1, passage_P)
            if target == "grades_QP" and self.ungraded:
                value_QP[np.isnan(value_QP) & related.negatives_QP] = 0.0
            found[target] = value_QP
        for need in self.needs:
            self._refuse_unknown(need, found[need.target], block, related)
        return found

    def _refuse_unknown(self, need: Need, value_QP: NDArray[Any], block: Block, related: Relations) -> None:
        positives_QP, negatives_QP = seen_by(need.columns, related.positives_QP, related.negatives_QP, related.own_QP)
        counted_Q1 = np.any(related.positives_QP, axis=1, keepdims=True)  # other rows count for nothing
        looked_QP: Mask = (positives_QP | negatives_QP) & counted_Q1
        unknown_QP: Mask = looked_QP & np.isnan(value_QP)
        if need.highest is not None and _is_outside(value_QP, looked_QP, need.highest):
            what = f"{need.target} has values outside of 0 to {need.highest:g}, which are no probabilities"
            raise DataError(what, key=f"objective[{need.term}].highest", fix="set it to the greatest grade of the data")
        if not unknown_QP.any():
            return
        row, column = (int(place) for place in np.argwhere(unknown_QP)[0])
        question, passage = int(block.question_Q[row]), int(block.passage_P[column])
        who = f"passage row {passage} of question row {question}" if self.names is None else ""
        who = who or self.names(question, passage)  # type: ignore[misc]
        what = f"{need.target} is not known of {int(unknown_QP.sum()):,} of {int(looked_QP.sum()):,} cells"
        fix = "score these pairs, or let the term look at fewer with `columns: own`"
        raise DataError(f"{what} that the term looks at, the first is {who}", key=f"objective[{need.term}]", fix=fix)


def _is_outside(value_QP: NDArray[Any], looked_QP: Mask, highest: float) -> bool:
    """Whether a cell that a term looks at has a value below 0 or above the highest one."""
    return bool((looked_QP & ((value_QP < 0) | (value_QP > highest))).any())


NOTHING = Targets()


def columns_of(term: Any) -> str:
    """Which cells a term of a recipe looks at."""
    return str(getattr(term, "columns", "all"))


def _tells_own(term: Any) -> bool:
    """Whether a term tells what was drawn for the row itself from the rest."""
    hardness = getattr(term, "hardness", None)
    of_others = OF_OTHERS in (getattr(term, "against", None) or ())
    return columns_of(term) != "all" or of_others or (hardness is not None and hardness.of != "all")


def seen_by(columns: str, positives: Any, negatives: Any, own: Any) -> tuple[Any, Any]:
    """The positives and negatives that a term looks at, of matrices of numpy or torch. With `others` the positives are
    still the row's own: they are what the passages of others are compared with."""
    if columns == "all":
        return positives, negatives
    return positives & own, negatives & (own if columns == "own" else ~own)
