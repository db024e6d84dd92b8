"""Training systems that are one another, once a value is changed: read off the committed recipes, computed where losses
are compared. Equivalences of whole runs stand with their axis: no refresh is static mining (tests/e2e/test_refresh.py),
`simans` with a = 0 is `uniform`, and one cluster or one bin is none (tests/unit/batches/test_draw_weights.py and
test_row_order.py), a remembered score stands for all (tests/unit/training/test_negative_cache.py).

Shapes: Q questions, P passages.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mpr import objectives
from mpr.recipe import read, stages
from mpr.recipe._keys_objective import TERM
from mpr.recipe.keys import Recipe
from mpr.training._loss import Seen, Terms
from tests.conftest import Examined

FOLDER = Path(__file__).parents[2] / "recipes" / "systems"
OWN = ("name", *TERM)  # keys of an entry that are no parameters of the objective


def stage(system: str, name: str = "") -> Recipe:
    return stages.stage_of(read.load(FOLDER / f"{system}.yaml"), name or None)


def block(questions: int = 7, passages: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, positives and negatives; every row has some of either, and some cells are neither."""
    dice = torch.Generator().manual_seed(5)
    scores_QP = torch.randn(questions, passages, generator=dice, dtype=torch.float64)
    kind_QP = torch.randint(0, 4, (questions, passages), generator=dice)
    kind_QP[:, 0], kind_QP[:, 1] = 0, 3
    return scores_QP.requires_grad_(), kind_QP == 0, kind_QP >= 2


def loss(entry: Any, scores_QP: Tensor, positives_QP: Tensor, negatives_QP: Tensor, **targets: Tensor) -> Tensor:
    params = entry.model_dump(exclude=set(OWN)) if not isinstance(entry, dict) else entry
    name = entry.name if not isinstance(entry, dict) else params.pop("name")
    sum_Q, weight_Q = objectives.load(name, **params)(scores_QP, positives_QP, negatives_QP, **targets)
    return sum_Q.sum() / weight_Q.sum()


def gradient(value: Tensor, scores_QP: Tensor) -> Tensor:
    return torch.autograd.grad(value, scores_QP)[0]


def test_coder_is_joint_lh(examined: Examined) -> None:
    """With 0/1 labels: the same gradient, the loss differs by a constant."""
    scores_QP, *masks = block()
    coder = loss(stage("coder", "coder").objective[0], scores_QP, *masks)
    joint = loss({"name": "joint_lh", "reduce": "mean", "copositives": "keep"}, scores_QP, *masks)
    difference = (gradient(coder, scores_QP) - gradient(joint, scores_QP)).abs().max().item()
    assert difference < 1e-12
    constant = torch.log(masks[0].sum(1).double()).mean()
    assert float((joint - coder).detach()) == pytest.approx(float(constant), abs=1e-12)
    examined(scores_QP.numel(), f"cells, largest difference {difference:.0e}", at_least=80)


def test_cl_drd_with_two_grades_is_adore(examined: Examined) -> None:
    """One row whose list is in the order of the scores, so that its ranks are the places."""
    scores_QP, positives_QP, negatives_QP = (one[:1] for one in block())
    seen_QP = positives_QP | negatives_QP
    order_QP = torch.where(seen_QP, scores_QP, -torch.inf).argsort(dim=1, descending=True, stable=True)
    ranks_QP = torch.zeros_like(order_QP).scatter(1, order_QP, torch.arange(1, order_QP.shape[1] + 1)[None])
    ranks_QP = torch.where(seen_QP, ranks_QP, 0)
    grades_QP = positives_QP.double()
    graded = loss(stage("cl_drd", "K5").objective[0], scores_QP, positives_QP, negatives_QP, grades_QP=grades_QP)
    adore = loss(stage("star_adore", "adore").objective[0], scores_QP, positives_QP, negatives_QP, ranks_QP=ranks_QP)
    assert float(graded.detach()) == pytest.approx(float(adore.detach()), abs=1e-12)
    examined(int(positives_QP.sum() * negatives_QP.sum()), "pairs", at_least=8)


def test_star_without_hard_negatives_is_ranknet_in_the_batch(examined: Examined) -> None:
    scores_QP, positives_QP, negatives_QP = block()
    gaps = [
        scores_QP[row, one] - scores_QP[row, other]
        for row in range(len(scores_QP))
        for one in positives_QP[row].nonzero()
        for other in negatives_QP[row].nonzero()
    ]
    expected = torch.nn.functional.softplus(-torch.stack(gaps)).mean()
    found = loss(stage("star_adore", "star").objective[0], scores_QP, positives_QP, negatives_QP)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), abs=1e-12)
    examined(len(gaps), "pairs", at_least=50)


def test_pair_in_the_view_of_the_question_is_rocketqa_and_dpr() -> None:
    """What PAIR's second stage trains with, and its first one with alpha 0."""
    assert stage("pair", "finetune").objective == stage("rocketqa", "M2").objective == stage("dpr").objective
    both = stage("pair", "pretrain").objective
    assert [getattr(term, "view", "") for term in both] == ["query", "positive"]
    assert [term.model_dump(exclude={"coefficient", "view"}) for term in both] == [
        term.model_dump(exclude={"coefficient", "view"}) for term in stage("dpr").objective * 2
    ]


def test_a_step_of_tas_b(examined: Examined) -> None:
    """The terms of the recipe on two rows, a positive and a negative each, against numbers from the paper's formula in
    the released code's normalisation: 5 for own pairs, 17 and 2 for the two halves of the second teacher."""
    scores_QP = torch.tensor([[5.0, 2.0, 1.0, 3.0], [4.0, 6.0, 2.0, 1.0]], dtype=torch.float64)
    live_QP = torch.tensor([[9.0, 3.0, 2.0, 5.0], [1.0, 8.0, 4.0, 2.0]], dtype=torch.float64)
    nan = float("nan")  # the first teacher scored own pairs alone
    teacher_QP = torch.tensor([[9.0, nan, 2.0, nan], [nan, 8.0, nan, 2.0]], dtype=torch.float64)
    positives_QP = torch.eye(2, 4).bool()
    own_QP = positives_QP | positives_QP.roll(2, dims=1)
    terms = Terms(stage("tas_b", "tas").objective)
    targets = {"teacher_QP": teacher_QP, "live_QP": live_QP}
    masks = positives_QP, ~positives_QP
    nothing = torch.zeros(2, 0), torch.zeros(4, 0)
    seen = Seen(*nothing, *masks, slice(0, 2), targets=targets, own_QP=own_QP, given_OP=scores_QP)
    sums = terms(seen)
    assert terms.values(sums).tolist() == [5.0, (17.0 + 2.0) / 2]
    assert terms.total(sums.sum_T, sums.weight_T).item() == 5.0 + 0.75 * 9.5
    examined(int(sums.weight_T.sum()), "pairs", at_least=6)


def test_ltre_with_weights_of_ranks_is_adore(examined: Examined) -> None:
    """Nothing but the weight of a pair parts what they train by."""
    ltre, adore = stage("ltre", "ltre"), stage("star_adore", "adore")
    weighted = ltre.objective[0].model_copy(update={"weight": "drr", "ranks": "given", "cut": 200})
    assert weighted == adore.objective[0]
    same = ("sources", "draw", "refresh", "labels")
    for key in same:
        assert getattr(ltre, key) == getattr(adore, key), key
    examined(len(same), "axes", at_least=4)


def test_gradcache_is_its_host() -> None:
    """Of the recipe nothing is left but the size of the chunks; that the gradient is the same, see test_scale.py."""
    hosts = [stage(name).model_dump(exclude={"paper", "published", "scale"}) for name in ("gradcache", "dpr")]
    assert hosts[0]["training"].pop("per_device_train_batch_size") == hosts[1]["training"].pop(
        "per_device_train_batch_size"
    )
    assert hosts[0] == hosts[1]
    assert stage("gradcache").scale.cache is not None
