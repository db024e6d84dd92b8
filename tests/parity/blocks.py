"""Steps as shipped recipes draw and relate them, with random vectors, for losses that somebody else wrote.

The other side gets what those programs get: the vectors of a step one question after the other, and which columns are
the question's own. It has no matrix of relations, and nothing of mpr/objectives or mpr/training.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mpr.batches import relations
from mpr.batches.draw import Drawer
from mpr.data.positives import PositiveIndex
from mpr.recipe import read
from mpr.recipe.keys import Recipe
from mpr.recipe.keys_draw import Draw
from mpr.training._loss import Seen, Terms
from tests import shipped
from tests.parity.steps import gradient, relative_difference
from tests.unit.draws import ragged

QUESTIONS, PASSAGES, WIDTH = 24, 70, 12


@cache
def recipe_of(name: str) -> Recipe:
    """A shipped recipe; not all of them are read for a few."""
    return read.load(shipped.ROOT / "recipes" / f"{name}.yaml")


@dataclass(frozen=True)
class Drawn:
    """A step: vectors that take a gradient, the columns that each row brought, positives first, and the relations."""

    vectors: torch.nn.ParameterList
    positives: list[list[int]]
    negatives: list[list[int]]
    related: relations.Relations

    @property
    def question_QD(self) -> Tensor:
        return self.vectors[0]

    @property
    def passage_PD(self) -> Tensor:
        return self.vectors[1]


def drawn(recipe: Recipe, seed: int, rows: int = 8, draw: Draw | None = None) -> Drawn:
    """Of a small world of its own: questions share positives, and have one to six of them."""
    draw, dice = draw or recipe.draw, random.Random(seed)
    known = [dice.sample(range(PASSAGES // 2), dice.randint(1, 6)) for _ in range(QUESTIONS)]
    lists = [dice.sample(sorted(set(range(PASSAGES)) - set(mine)), 14) for mine in known]
    index = PositiveIndex.of([[(passage, recipe.tiers[0]) for passage in mine] for mine in known])
    sources = {str(name) for entry in draw.negatives for name in (entry.from_, entry.fallback) if name}
    drawer = Drawer(draw, index, recipe.tiers, dict.fromkeys(sources, ragged(lists)), PASSAGES, rows, seed)
    block = drawer(seed % 5).block
    hashes = (np.arange(PASSAGES) % (PASSAGES - 8)).astype(np.uint64)  # the last eight are copies of the first
    related = relations.build(block, index, hashes, recipe.tiers, recipe.known, in_batch=draw.in_batch)
    assert block.drawer_P is not None, "every row has columns of its own"
    positives, negatives = [], []
    for row in range(rows):
        columns = np.flatnonzero(block.drawer_P == row).tolist()
        count = int((block.positive_row_N == row).sum())
        assert block.passage_P[columns[:count]].tolist() == block.positive_N[block.positive_row_N == row].tolist()
        positives.append(columns[:count])
        negatives.append(columns[count:])
    numbers = torch.Generator().manual_seed(seed)
    sizes = (rows, len(block.passage_P))
    made = [torch.randn(size, WIDTH, generator=numbers, dtype=torch.float64) for size in sizes]
    return Drawn(torch.nn.ParameterList(map(torch.nn.Parameter, made)), positives, negatives, related)


def ours(step: Drawn, objective: Sequence[Any], normalize: bool = False) -> Tensor:
    """The loss of a step as training computes it."""
    question_QD, passage_PD = (
        torch.nn.functional.normalize(one, dim=1) if normalize else one for one in (step.question_QD, step.passage_PD)
    )
    related = step.related
    seen = Seen(
        own_OD=question_QD,
        passage_PD=passage_PD,
        positives_QP=torch.from_numpy(related.positives_QP),
        negatives_QP=torch.from_numpy(related.negatives_QP),
        own=slice(0, len(question_QD)),
        question_QD=question_QD,
        own_QP=torch.from_numpy(related.own_QP),
    )
    terms = Terms(objective)
    sums = terms(seen)
    return terms.total(sums.sum_T, sums.weight_T)


def apart(step: Drawn, losses: Iterator[Tensor]) -> float:
    """The larger of the differences of two losses and of their gradients on all vectors of the step, both against the
    size of what they are differences of."""
    values, gradients = [], []
    for loss in losses:
        step.vectors.zero_grad()
        loss.backward()
        values.append(loss.detach())
        gradients.append(gradient(step.vectors))
    one, other = values
    assert torch.isfinite(one)
    assert gradients[1].abs().max() > 1e-6, "there is something to learn"
    return max(float((one - other).abs() / other.abs()), relative_difference(*gradients))


def row_by_row(formula: Callable[[Tensor, list[int]], Tensor], step: Drawn) -> Tensor:
    """Mean over questions of a formula that gets a question's scores of all columns, and its own positives' places."""
    rows = [
        formula(step.passage_PD.mv(question_D), positives)
        for question_D, positives in zip(step.question_QD, step.positives, strict=True)
    ]
    return sum(rows, torch.zeros((), dtype=torch.float64)) / len(rows)
