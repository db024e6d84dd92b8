"""The terms of a recipe's objective on the block of a step, and what they add up to.

A term is a loss of its own: an objective, on rows of questions or of positives, with a coefficient. Its numerators and
denominators are summed apart, over rows here and over processes in `mpr/training/_block.py`, and divided only then:
terms may count different things (questions, pairs), and every process must divide by the count of the whole step.

The view `positive` is PAIR's (Ren et al. 2021, arXiv 2108.06027): every row is a positive passage, the target is its
question, against all other questions and all negatives of the block. A question's n positives make n rows, each with
a weight of 1/n, and are no columns of one another's.

A term with `widths` is one term for each of them, on vectors that are cut so (Matryoshka, arXiv 2205.13147).

A term may look at a part of each row (`columns`): what was drawn for the row itself, or the negatives that came for
other rows against the row's own positives. TAS-B (arXiv 2104.06967) has one term of either kind, with two teachers.

Shapes: O own questions of this process, Q questions and P passages of the block, D dimensions, T terms; in the view
`positive` R rows and C = Q + P columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from mpr import catalogue, objectives
from mpr.batches.targets import columns_of
from mpr.errors import RecipeError
from mpr.models.towers import inner_products
from mpr.models.transfer import sent
from mpr.recipe.keys import QUESTIONS, Part
from mpr.training._against import Against
from mpr.training._seen import Seen

ALWAYS = ("width", "learned")  # what an objective may need and every batch has
TARGETS = ("teacher_QP", "live_QP", "lexical_QP", "grades_QP", "ranks_QP")
"""What a batch may hold for objectives that need it."""
_COMMON = ("query", "all", None)  # what the name of a term in logs goes without
Objective = Callable[..., tuple[Tensor, Tensor]]


def learned_of(entries: Sequence[Part]) -> torch.nn.ParameterDict:
    """The numbers of objectives that are learned with the model, by the number of the term and their name."""
    starts = {f"{number}_{name}": start for number, entry in enumerate(entries)
              for name, start in entry.learns.items()}  # type: ignore[attr-defined]  # fmt: skip
    return torch.nn.ParameterDict({name: torch.nn.Parameter(torch.tensor([start])) for name, start in starts.items()})


def targets_of(batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """What a batch holds for objectives that need it."""
    return {name: batch[name] for name in TARGETS if name in batch}


@dataclass(frozen=True)
class Sums:
    """Numerators and denominators of every term, before coefficients."""

    sum_T: Tensor
    weight_T: Tensor


@dataclass(frozen=True)
class Term:
    """An objective with its parameters, the rows that it looks at, and its factor in the sum."""

    name: str
    objective: Objective
    coefficient: float
    view: str
    columns: str = "all"
    learned: Mapping[str, Tensor] = field(default_factory=dict)
    """Its own numbers that are learned."""
    apart: bool = True
    """Whether it is a sum over rows; otherwise every process computes it from all rows, and has its share of it."""
    against: Against | None = None
    """What its rows are compared with besides passages; None: nothing."""
    width: int | None = None
    """Of the vectors that it compares; None: whole ones."""
    unit: bool = False
    """Whether vectors that were cut are scaled to length one."""

    @classmethod
    def each(cls, entry: Part, number: int, learned: Mapping[str, Tensor] | None, unit: bool) -> list[Term]:
        """The terms of an entry: one, or one for each of its widths."""
        whole, widths = cls.of(entry, number, learned), getattr(entry, "widths", None)
        if widths is None:
            return [whole]
        weights = getattr(entry, "width_weights", None) or [1.0] * len(widths)
        return [
            replace(whole, coefficient=whole.coefficient * weight, width=width, unit=unit)
            for width, weight in zip(widths, weights, strict=True)
        ]

    @classmethod
    def of(cls, entry: Part, number: int, learned: Mapping[str, Tensor] | None = None) -> Term:
        coefficient, view = float(getattr(entry, "coefficient", 1.0)), str(getattr(entry, "view", "query"))
        foreign = [target for target in getattr(entry, "needs", ()) if target not in ALWAYS]
        if view == "positive" and foreign:
            what = f"'{entry.name}' needs {', '.join(foreign)}, which is about questions and passages"
            fix = "use `view: query`, or an objective that needs scores alone"
            raise RecipeError(what, key=f"objective.{number}.view", fix=fix)
        own = {name: learned[f"{number}_{name}"] for name in entry.learns} if learned else {}  # type: ignore[attr-defined]
        bound, apart = objectives.bound(entry.name, entry), bool(entry.rows_apart)  # type: ignore[attr-defined]
        return cls(entry.name, bound, coefficient, view, columns_of(entry), own, apart, Against.of(entry))

    def is_whole(self, seen: Seen) -> bool:
        """Whether it compares whole vectors."""
        return self.width is None or self.width == seen.own_OD.shape[1]

    @property
    def asks_questions(self) -> bool:
        return self.against is not None and self.against.needs_questions

    def __call__(self, seen: Seen, scores_OP: Tensor) -> tuple[Tensor, Tensor]:
        """Numerator and denominator over the rows of this process. Scores of whole vectors say nothing of cut ones."""
        if not self.is_whole(seen):
            assert self.width is not None
            seen = seen.narrow(self.width, self.unit)
            scores_OP = seen.scores_OP
        width, learned = seen.own_OD.shape[1], {"learned": self.learned} if self.learned else {}
        if not self.apart:
            rows, part = seen.whole(scores_OP, self.columns)
            sum_Q, weight_Q = self.objective(*rows, width=width, **learned, **seen.targets)
            return part * sum_Q.sum(), part * weight_Q.sum()
        if self.view == "query":
            targets = {name: values_QP[seen.own] for name, values_QP in seen.targets.items()}
            rows = seen.rows(scores_OP, self.columns)
            rows = rows if self.against is None else self.against(seen, rows)
            sum_O, weight_O = self.objective(*rows, width=width, **learned, **targets)
            return sum_O.sum(), weight_O.sum()
        anchors = _Anchors.of(seen, self.against is None or self.against.words != (QUESTIONS,))
        masks = anchors.positives_RC, anchors.negatives_RC
        sum_R, weight_R = self.objective(anchors.scores_RC, *masks, width=width, **learned)
        return (sum_R * anchors.share_R).sum(), (weight_R * anchors.share_R).sum()


class Terms:
    """All terms of a recipe, and the labels that decide in the step which negatives they see."""

    def __init__(
        self,
        entries: Sequence[Part],
        labels: Sequence[Part] = (),
        learned: Mapping[str, Tensor] | None = None,
        unit: bool = False,
    ) -> None:
        """`unit`: the model's vectors have length one, and cut ones get it again."""
        if not entries:
            raise RecipeError("no term", key="objective", fix="name at least one objective")
        self.first: Any = entries[0]
        """The one by whose scale scores are looked at."""
        self.learned = dict(learned or {})
        """Numbers of objectives that are learned: the parameters that `learned_of` made, or others in their place."""
        self.terms = tuple(
            term for number, entry in enumerate(entries) for term in Term.each(entry, number, self.learned, unit)
        )
        files = [(getattr(catalogue.find("labels", label.name), "in_step", None), label) for label in labels]
        self.guards = tuple(partial(in_step, label) for in_step, label in files if in_step is not None)
        self._coefficients: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    @property
    def need_all_questions(self) -> bool:
        """Whether a process needs the vectors of other processes' questions too."""
        return any(term.view == "positive" or not term.apart or term.asks_questions for term in self.terms)

    @property
    def watched(self) -> dict[str, Tensor]:
        """What is learned besides the model, as it is now."""
        found = {}
        for label, term in zip(self.labels, self.terms, strict=True):
            for name, value in term.learned.items():
                shown = (-value).exp() if name == "log_scale" else value
                found[f"{label}_{'temperature' if name == 'log_scale' else name}"] = shown.detach().squeeze().clone()
        return found

    def guarded(self, seen: Seen, everyone: Callable[[Tensor], Tensor]) -> Seen:
        """Without the negatives that a label takes out in the step. Where a term looks at the relations of other
        processes' questions, `everyone` brings what these decided of their own."""
        if not self.guards:
            return seen
        negatives_OP, live_QP = seen.negatives_OP, seen.targets.get("live_QP")
        live_OP = None if live_QP is None else live_QP[seen.own]
        for guard in self.guards:
            negatives_OP = guard(seen.scores_OP, seen.positives_OP, negatives_OP, live_OP)
        if self.need_all_questions and len(negatives_OP) != len(seen.negatives_QP):
            return replace(seen, negatives_QP=everyone(negatives_OP))
        negatives_QP = seen.negatives_QP.clone()
        negatives_QP[seen.own] = negatives_OP
        return replace(seen, negatives_QP=negatives_QP)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """A name for each term in logs; a repeated one is numbered."""
        names = [
            "_".join(str(word) for word in (term.name, term.view, term.columns, term.width) if word not in _COMMON)
            for term in self.terms
        ]
        return tuple(
            name if names.count(name) == 1 else f"{name}_{names[: place + 1].count(name)}"
            for place, name in enumerate(names)
        )

    def __call__(self, seen: Seen, scores_OP: Tensor | None = None) -> Sums:
        """The sums over this process's rows. `scores_OP` stands in for the inner products of the vectors."""
        scores_OP = seen.scores_OP if scores_OP is None else scores_OP
        found = [term(seen, scores_OP) for term in self.terms]
        return Sums(torch.stack([total for total, _ in found]), torch.stack([weight for _, weight in found]))

    def values(self, sums: Sums) -> Tensor:
        """Each term's loss. One that counted nothing in the whole step, for want of positives, is 0."""
        return sums.sum_T / _divisors(sums.weight_T)

    def total(self, sum_T: Tensor, weight_T: Tensor) -> Tensor:
        """The loss, or the part in it of those rows whose numerators are given."""
        return (self._factors(weight_T) * sum_T).sum()

    def pull(self, seen: Seen, weight_T: Tensor) -> Tensor:
        """Gradient of the loss on the scores of this process's questions, by the terms that look at questions and at
        whole vectors."""
        with torch.enable_grad():
            scores_OP = seen.scores_OP.detach().requires_grad_()
            loss = 0.0 * scores_OP.sum()  # so that there is a gradient where no term looks at questions
            for term, factor in zip(self.terms, self._factors(weight_T), strict=True):
                if term.view == "query" and term.is_whole(seen):
                    loss = loss + factor * term(seen, scores_OP)[0]
            return torch.autograd.grad(loss, scores_OP)[0]

    def _factors(self, weight_T: Tensor) -> Tensor:
        kind = weight_T.dtype, weight_T.device
        if kind not in self._coefficients:
            coefficients = torch.tensor([term.coefficient for term in self.terms], dtype=weight_T.dtype)
            self._coefficients[kind] = sent(coefficients, weight_T.device)
        return self._coefficients[kind] / _divisors(weight_T)


def _divisors(weight_T: Tensor) -> Tensor:
    return torch.where(weight_T > 0, weight_T, torch.ones_like(weight_T))


@dataclass(frozen=True)
class _Anchors:
    """The block seen from the positives of own questions: each a row, against all questions and all passages.

    A passage is a negative of the row if it is one of the row's question, and a positive of no question of the block;
    a question is one if the row's passage is its negative.
    """

    scores_RC: Tensor
    positives_RC: Tensor
    negatives_RC: Tensor
    share_R: Tensor

    @classmethod
    def of(cls, seen: Seen, passages: bool = True) -> _Anchors:
        """`passages`: rows are compared with them too, not with questions alone."""
        assert seen.question_QD is not None, "the view `positive` needs the vectors of all questions"
        row_R, column_R = seen.positives_OP.nonzero(as_tuple=True)
        anchor_RD = seen.passage_PD.index_select(0, column_R)
        scores_RC = inner_products(anchor_RD, torch.cat([seen.question_QD, seen.passage_PD]))
        questions = len(seen.positives_QP)
        positives_RC = torch.zeros_like(scores_RC, dtype=torch.bool)
        positives_RC[torch.arange(len(row_R), device=row_R.device), row_R + (seen.own.start or 0)] = True
        negatives_RC = torch.zeros_like(positives_RC)
        negatives_RC[:, :questions] = seen.negatives_QP[:, column_R].T
        if passages:
            negatives_RC[:, questions:] = seen.negatives_OP[row_R] & ~seen.positives_QP.any(dim=0)
        share_R = 1.0 / seen.positives_OP.sum(dim=1)[row_R].to(scores_RC.dtype)
        return cls(scores_RC, positives_RC, negatives_RC, share_R)
