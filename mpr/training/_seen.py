"""What a process sees of the block of a step, for the terms of the objective.

Shapes: O own questions of this process, Q questions and P passages of the block, D dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from mpr.batches.targets import seen_by
from mpr.models.towers import cut, inner_products


@dataclass(frozen=True)
class Seen:
    """What a process sees of a block: its own questions (the rows `own`) and all passages. Of the other questions it
    has the relations, and the vectors only where a term asks for them."""

    own_OD: Tensor
    passage_PD: Tensor
    positives_QP: Tensor
    negatives_QP: Tensor
    own: slice
    question_QD: Tensor | None = None
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    own_QP: Tensor | None = None
    """Which cells were drawn for the row itself, where a term tells them from the rest."""
    given_OP: Tensor | None = None
    """Scores that no two vectors made: of a cross-encoder, or of tokens. There are no vectors then, but of size 0."""
    remembered_O: Tensor | None = None
    """One more negative of every own question, as a score: all passages of a negative cache; NaN: none of them."""

    @cached_property
    def scores_OP(self) -> Tensor:
        return inner_products(self.own_OD, self.passage_PD) if self.given_OP is None else self.given_OP

    @property
    def positives_OP(self) -> Tensor:
        return self.positives_QP[self.own]

    @property
    def negatives_OP(self) -> Tensor:
        return self.negatives_QP[self.own]

    def narrow(self, width: int, unit: bool) -> Seen:
        """The same with vectors cut to their first `width` numbers."""
        assert self.given_OP is None, "scores that no vectors made cannot be cut"
        assert self.remembered_O is None, "a negative cache remembers whole vectors"
        questions_QD = None if self.question_QD is None else cut(self.question_QD, width, unit)
        own_OD, passage_PD = cut(self.own_OD, width, unit), cut(self.passage_PD, width, unit)
        return replace(self, own_OD=own_OD, passage_PD=passage_PD, question_QD=questions_QD)

    def rows(self, scores_OP: Tensor, columns: str = "all") -> tuple[Tensor, Tensor, Tensor]:
        """Scores, positives and negatives of the own questions, what is remembered being a last column."""
        if columns != "all":
            assert self.own_QP is not None, "the batch does not tell what was drawn for the row itself"
            own_OP = self.own_QP[self.own]
            return scores_OP, *seen_by(columns, self.positives_OP, self.negatives_OP, own_OP)
        if self.remembered_O is None:
            return scores_OP, self.positives_OP, self.negatives_OP
        there_O1 = ~self.remembered_O.isnan()[:, None]
        score_O1 = self.remembered_O.to(scores_OP.dtype)[:, None].masked_fill(~there_O1, 0.0)
        return (
            torch.cat([scores_OP, score_O1], dim=1),
            torch.cat([self.positives_OP, torch.zeros_like(there_O1)], dim=1),
            torch.cat([self.negatives_OP, there_O1], dim=1),
        )

    def whole(self, scores_OP: Tensor, columns: str) -> tuple[tuple[Tensor, Tensor, Tensor], float]:
        """The same of all questions, with `scores_OP` for the own ones; and which part of them these are."""
        masks, questions = (self.positives_QP, self.negatives_QP), len(self.positives_QP)
        if columns != "all":
            masks = seen_by(columns, *masks, self.own_QP)
        if questions == len(scores_OP):
            return (scores_OP, *masks), 1.0
        assert self.question_QD is not None, "such a term needs the vectors of all questions"
        scores_QP = inner_products(self.question_QD, self.passage_PD)
        scores_QP = torch.cat([scores_QP[: self.own.start], scores_OP, scores_QP[self.own.stop :]])
        return (scores_QP, *masks), len(scores_OP) / questions
