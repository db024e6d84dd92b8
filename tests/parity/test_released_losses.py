"""Losses of shipped recipes against those of the papers' programs, from formulas written down anew, in 64 bits.

What a row learns from goes all the way that training goes: the recipe's draw, labels and objective. The formulas get a
question's scores of all passages of the step and the places of its own positives; everything else is a negative.

Sources: the released code of arXiv 2602.12727 (WangLanHuaJiaoFen/Multi-Positive-Passages ca47555), whose options have
the names in `RELEASED`; equation 2 of arXiv 2004.04906 and facebookresearch/DPR a31212d; texttron/tevatron dd06310,
whose loss is the cross entropy of a step's grouped passages, each question's first one being right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from mpr.recipe.keys import Recipe
from mpr.recipe.keys_draw import Draw
from tests.conftest import Parity
from tests.parity.blocks import Drawn, apart, drawn, ours, recipe_of, row_by_row
from tests.parity.steps import term

pytestmark = [pytest.mark.usefixtures("one_thread")]

Formula = Callable[[Tensor, list[int]], Tensor]
COLLECTIONS = ("nq", "msmarco", "beir")
CLOSE = 1e-12


def others(scores_P: Tensor, positives: list[int]) -> list[int]:
    return [place for place in range(len(scores_P)) if place not in positives]


def whole(scores_P: Tensor) -> Tensor:
    return scores_P.exp().sum().log()


def joint(scores_P: Tensor, positives: list[int]) -> Tensor:
    return -sum((scores_P[place] - whole(scores_P) for place in positives), torch.zeros(()))


def marginal(scores_P: Tensor, positives: list[int]) -> Tensor:
    return -(scores_P[positives].exp().sum() / scores_P.exp().sum()).log()


def first(scores_P: Tensor, positives: list[int]) -> Tensor:
    return whole(scores_P) - scores_P[positives[0]]


def pairs(which: str, against: str) -> Formula:
    """ln of 1 and e^(s_n - s_p) for every pair of a chosen positive and a chosen negative."""

    def loss(scores_P: Tensor, positives: list[int]) -> Tensor:
        negatives = others(scores_P, positives)
        worth = {place: float(scores_P[place].detach()) for place in range(len(scores_P))}
        if which != "all":
            positives = [{"min": min, "max": max}[which](positives, key=worth.__getitem__)]
        if against == "max":
            negatives = [max(negatives, key=worth.__getitem__)]
        gaps_PN = scores_P[negatives][None] - scores_P[positives][:, None]
        return (1 + gaps_PN.exp().sum()).log()

    return loss


def divided(formula: Formula) -> Formula:
    return lambda scores_P, positives: formula(scores_P, positives) / len(positives)


def lse_pair(positives: str, negatives: str, divide: bool) -> Any:
    return term("lse_pair", positives=positives, negatives=negatives, divide_by_positives=divide)


RELEASED: list[tuple[str, str, str, Any, Formula]] = [
    # of ours, options of the release, recipes, another objective than theirs, formula
    ("loss of the rows nll_m1_llm", "arXiv 2602.12727, released code: single, infonce", "nll_m1", None, first),
    ("loss of the rows rand1_lh_m4_llm", "arXiv 2602.12727, released code: random_one", "rand1_lh_m4", None, first),
    ("loss of the rows joint_lh_m4_llm", "arXiv 2602.12727, released code: multiple, joint_lh", "joint_lh_m4",
     None, joint),
    ("loss of the rows sum_marg_lh_m4_llm", "arXiv 2602.12727, released code: multiple, sum_mar", "sum_marg_lh_m4",
     None, marginal),
    ("loss of the rows lse_pair_m4_llm", "arXiv 2602.12727, released code: multiple, lsep", "lse_pair_m4",
     None, pairs("all", "all")),
    ("joint_lh, reduce: mean", "arXiv 2602.12727, released code: joint_lh, normalize_loss_by_positive", "joint_lh_m4",
     term("joint_lh", copositives="keep", reduce="mean"), divided(joint)),
    ("lse_pair, divide_by_positives", "arXiv 2602.12727, released code: lsep, normalised", "lse_pair_m4",
     lse_pair("all", "all", True), divided(pairs("all", "all"))),
    ("lse_pair, positives: min", "arXiv 2602.12727, released code: lsep, lowest positive", "lse_pair_m4",
     lse_pair("min", "all", False), pairs("min", "all")),
    ("lse_pair, positives: max", "arXiv 2602.12727, released code: lsep, highest positive", "lse_pair_m4",
     lse_pair("max", "all", False), pairs("max", "all")),
    ("lse_pair, negatives: max", "arXiv 2602.12727, released code: lsep, hardest negative", "lse_pair_m4",
     lse_pair("all", "max", False), pairs("all", "max")),
    ("lse_pair, positives: min, negatives: max", "arXiv 2602.12727, released code: lsep, lowest and hardest",
     "lse_pair_m4", lse_pair("min", "max", False), pairs("min", "max")),
    ("lse_pair, positives: min, negatives: max, divide_by_positives",
     "arXiv 2602.12727, released code: lsep, lowest and hardest, normalised", "lse_pair_m4",
     lse_pair("min", "max", True), divided(pairs("min", "max"))),
]  # fmt: skip


def both(recipe: Recipe, step: Drawn, objective: Any, formula: Formula) -> Iterator[Tensor]:
    yield ours(step, recipe.objective if objective is None else [objective], recipe.towers.normalize)
    yield row_by_row(formula, step)


@pytest.mark.parametrize("subject, against, rows, objective, formula", RELEASED)
def test_the_second_paper(
    subject: str, against: str, rows: str, objective: Any, formula: Formula, parity: Parity
) -> None:
    recipes = [recipe_of(f"{name}_{rows}_llm") for name in COLLECTIONS]
    cases = [(recipe, drawn(recipe, seed)) for recipe in recipes for seed in range(6)]
    several = any(len(positives) > 1 for _, step in cases for positives in step.positives)
    assert several == (rows not in ("nll_m1", "rand1_lh_m4"))
    rows_of_steps = [row for _, step in cases for row in zip(step.positives, step.negatives, strict=True)]
    assert all(len(positives) + len(negatives) == 8 for positives, negatives in rows_of_steps)
    largest = max(apart(step, both(recipe, step, objective, formula)) for recipe, step in cases)
    parity(subject, against, len(cases), largest, CLOSE)


def test_dpr(parity: Parity) -> None:
    names = [f"{name}_nll_m1_{kind}" for name in ("nq", "trivia", "webq", "trec", "squad") for kind in
             ("released", "paper")]  # fmt: skip
    cases = [(recipe_of(name), seed) for name in names for seed in range(6)]
    steps = [(recipe, drawn(recipe, seed)) for recipe, seed in cases]
    assert all(len(positives) == len(negatives) == 1 for _, step in steps
               for positives, negatives in zip(step.positives, step.negatives, strict=True))  # fmt: skip
    largest = max(apart(step, both(recipe, step, None, first)) for recipe, step in steps)
    against = "arXiv 2004.04906, equation 2, and facebookresearch/DPR: BiEncoderNllLoss"
    parity("loss of the rows nll_m1_released and nll_m1_paper", against, len(cases), largest, CLOSE)


def test_tevatron(parity: Parity) -> None:
    """Groups of eight; also with its temperature."""
    recipe = recipe_of("msmarco_nll_m1_llm")
    wanted = recipe.draw.model_dump(by_alias=True)
    largest, cases = 0.0, 0
    for temperature in (1.0, 0.02):

        def grouped(scores_P: Tensor, positives: list[int], sharp: float = temperature) -> Tensor:
            assert positives[0] % 8 == 0, "the first of a group"
            return torch.nn.functional.cross_entropy(scores_P / sharp, torch.tensor(positives[0]))

        for seed in range(20):
            step = drawn(recipe, seed, draw=Draw.model_validate(wanted))
            for vectors in step.vectors:  # as long as scores of a trained model
                vectors.data /= math.sqrt(12)
            found = both(recipe, step, term("nll", temperature=temperature), grouped)
            largest, cases = max(largest, apart(step, found)), cases + 1
    parity("nll on groups of passages", "texttron/tevatron: EncoderModel's loss", cases, largest, CLOSE)


def test_the_comparison_can_fail() -> None:
    """Each is another objective than the formula is of."""
    recipe = recipe_of("nq_joint_lh_m4_llm")
    for objective, formula in (
        (term("joint_lh", copositives="mask"), joint),
        (term("joint_lh", reduce="mean"), joint),
        (term("nll"), first),
        (lse_pair("all", "all", False), divided(pairs("all", "all"))),
    ):
        step = drawn(recipe, 3)
        assert apart(step, both(recipe, step, objective, formula)) > 1e-3
