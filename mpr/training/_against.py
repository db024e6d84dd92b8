"""What a row of a term is compared with besides passages, and negatives that weigh more: `against` and `hardness`.

Every objective of scores takes them, because they only add columns of negatives, or change scores, before it is asked.

* `questions`: other questions of the step. One is ignored if it shares a positive with the row's question, or if a
  positive of either is no negative of the other; so is one without a positive.
* `copassages`: the row's positives against its negative passages. With several positives the score of a column is the
  mean over the row's positives, so each counts 1/m. `copassages_of_others`: without what was drawn for the row itself.
* Hardness adds strength * score, as a constant, to a negative's score divided by the temperature.

Shapes: O own questions, Q questions and P passages of the block, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mpr.models.towers import inner_products
from mpr.recipe.keys import COPASSAGES, OF_OTHERS, QUESTIONS
from mpr.training._seen import Seen

Rows = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Against:
    """Of one term."""

    words: tuple[str, ...]
    hardness: Any
    """Its strength, and of which negatives; None: scores stay as they are."""
    divisor: Callable[[int], float]
    """What its objective divides scores by."""

    @classmethod
    def of(cls, entry: Any) -> Against | None:
        """None: its rows are as they always are."""
        words, hardness = getattr(entry, "against", None), getattr(entry, "hardness", None)
        return None if words is None and hardness is None else cls(tuple(words or ()), hardness, entry.divisor)

    @property
    def needs_questions(self) -> bool:
        return QUESTIONS in self.words

    def __call__(self, seen: Seen, rows: Rows) -> Rows:
        """The rows of own questions, with what they are compared with besides."""
        scores_OP, positives_OP, negatives_OP = rows
        if self.hardness is not None:
            factor = self.hardness.strength * self.divisor(seen.own_OD.shape[1])
            harder_OP = scores_OP + factor * scores_OP.detach()
            scores_OP = torch.where(_chosen(seen, negatives_OP, self.hardness.of), harder_OP, scores_OP)
        more = []
        if QUESTIONS in self.words:
            more.append(_questions(seen))
        if COPASSAGES in self.words or OF_OTHERS in self.words:
            more.append(_copassages(seen, OF_OTHERS in self.words))
        if not more:
            return scores_OP, positives_OP, negatives_OP
        scores = torch.cat([scores_OP, *(scores for scores, _ in more)], dim=1)
        nobody = [torch.zeros_like(negatives) for _, negatives in more]
        return (
            scores,
            torch.cat([positives_OP, *nobody], dim=1),
            torch.cat([negatives_OP, *(negatives for _, negatives in more)], dim=1),
        )


def _chosen(seen: Seen, negatives_OP: Tensor, of: str) -> Tensor:
    if of == "all":
        return negatives_OP
    own_OP = _drawn(seen)
    return negatives_OP & (own_OP if of == "drawn" else ~own_OP)


def _drawn(seen: Seen) -> Tensor:
    assert seen.own_QP is not None, "the batch does not tell what was drawn for the row itself"
    return seen.own_QP[seen.own]


def _questions(seen: Seen) -> tuple[Tensor, Tensor]:
    """Scores of own questions with all questions of the block, and which of them are negatives."""
    assert seen.question_QD is not None, "such a term needs the vectors of all questions"
    kind = seen.own_OD.dtype
    positives_QP, not_negatives_QP = seen.positives_QP.to(kind), (~seen.negatives_QP).to(kind)
    own = seen.own
    ours_OQ = positives_QP[own] @ not_negatives_QP.T  # positives of the row that are no negatives of the other one
    theirs_OQ = not_negatives_QP[own] @ positives_QP.T
    real_Q = seen.positives_QP.any(dim=1)
    negatives_OQ = (ours_OQ == 0) & (theirs_OQ == 0) & real_Q
    return inner_products(seen.own_OD, seen.question_QD), negatives_OQ & real_Q[own, None]


def _copassages(seen: Seen, of_others: bool) -> tuple[Tensor, Tensor]:
    """Mean score of a row's positives with every passage of the block, and which of them are negatives."""
    share_OP = seen.positives_OP.to(seen.passage_PD.dtype)
    share_OP = share_OP / share_OP.sum(dim=1, keepdim=True).clamp(min=1.0)
    negatives_OP = seen.negatives_OP & ~_drawn(seen) if of_others else seen.negatives_OP
    return inner_products(share_OP @ seen.passage_PD, seen.passage_PD), negatives_OP
