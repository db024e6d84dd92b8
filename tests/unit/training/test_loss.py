"""Terms of an objective: published values, hand-computed blocks, views, denominators, precision."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mpr import catalogue
from mpr.errors import RecipeError
from mpr.models.towers import inner_products
from mpr.training._loss import Seen, Sums, Terms
from tests.conftest import Examined
from tests.parity.steps import settled as covering
from tests.parity.steps import term

SCORES = [2.0, 1.0, 0.5, 1.5, -1.0]
PUBLISHED = {  # fixture of two positives among five passages; values to six decimals, computed from the formulas
    0.809742: [{"name": "nll"}, [True, False, False, False, False]],
    1.309742: [{"name": "joint_lh", "reduce": "mean"}, None],
    0.925991: [{"name": "joint_lh", "copositives": "mask", "reduce": "mean"}, None],
    0.496480: [{"name": "sum_marg_lh"}, None],
    1.451622: [{"name": "lse_pair"}, None],
    0.685788: [{"name": "bce", "scaling": "none", "reduce": "pair_mean"}, None],
    0.383193: [{"name": "pairwise", "phi": "logistic"}, None],
    0.500000: [{"name": "pairwise", "phi": "hinge", "reduce": "sum_over_columns"}, None],
    0.616594: [{"name": "kl", "target": "labels"}, None],
}  # fmt: skip


def seen(scores_QP: Tensor, positives_QP: Tensor, negatives_QP: Tensor | None = None, **targets: Tensor) -> Seen:
    """A block with these scores: questions are unit vectors, passages have a score on each axis."""
    negatives_QP = ~positives_QP if negatives_QP is None else negatives_QP
    questions_QD = torch.eye(len(scores_QP), dtype=scores_QP.dtype)
    own = slice(0, len(scores_QP))
    return Seen(questions_QD, scores_QP.T.clone(), positives_QP, negatives_QP, own, questions_QD, targets)


def random_block(rows: int = 4, columns: int = 9, seed: int = 1, dtype: torch.dtype = torch.float64) -> Seen:
    dice = torch.Generator().manual_seed(seed)
    scores_QP = torch.randn(rows, columns, generator=dice, dtype=torch.float64).to(dtype)
    kinds_QP = torch.randint(0, 4, (rows, columns), generator=dice)
    kinds_QP[:, 0], kinds_QP[:, 1] = 0, 1  # a positive and a negative in every row
    extra = {
        "teacher_QP": torch.randn(rows, columns, generator=dice),
        "lexical_QP": torch.randn(rows, columns, generator=dice),
        "grades_QP": (kinds_QP == 0).double() * (1 + kinds_QP.roll(1, 1) % 2),
        "ranks_QP": torch.rand(rows, columns, generator=dice).argsort(dim=1),
        "live_QP": torch.randn(rows, columns, generator=dice),
    }
    return seen(scores_QP, kinds_QP == 0, kinds_QP == 1, **extra)


def loss_of(entries: list[Any], block: Seen) -> Tensor:
    terms = Terms(entries)
    sums = terms(block)
    return terms.total(sums.sum_T, sums.weight_T.detach())


def test_published_values(examined: Examined) -> None:
    for value, (options, positives) in PUBLISHED.items():
        positives_QP = torch.tensor([positives or [True, True, False, False, False]])
        block = seen(torch.tensor([SCORES]), positives_QP)
        assert loss_of([term(**options)], block).item() == pytest.approx(value, abs=1e-6), options
    examined(len(PUBLISHED), "values", at_least=9)


def test_coefficients_add_up(examined: Examined) -> None:
    """Every objective beside every other, each divided by its own count."""
    block, tried = random_block(), 0
    names = catalogue.names("objectives")
    alone = {name: float(loss_of([covering(name)[0]], block)) for name in names}
    for one, other in itertools.combinations(names, 2):
        entries = [covering(one)[0].model_copy(update={"coefficient": 0.7}), covering(other)[0]]
        assert float(loss_of(entries, block)) == pytest.approx(0.7 * alone[one] + alone[other], rel=1e-12)
        tried += 1
    examined(tried, "pairs of objectives", at_least=36)


def test_denominators_stay_apart() -> None:
    """Questions for one term, pairs for the other: halves of a block add up to the whole only if both are kept."""
    block = random_block(rows=6)
    terms = Terms([term("nll"), term("pairwise", phi="logistic", coefficient=0.5)])
    whole = terms(block)
    halves = []
    for own in (slice(0, 2), slice(2, 6)):
        part = Seen(block.own_OD[own], block.passage_PD, block.positives_QP, block.negatives_QP, own)
        halves.append(terms(part))
    torch.testing.assert_close(whole.sum_T, sum(half.sum_T for half in halves))
    torch.testing.assert_close(whole.weight_T, sum(half.weight_T for half in halves))
    assert whole.weight_T[0] == 6
    assert whole.weight_T[1] == (block.positives_QP.sum(1) * block.negatives_QP.sum(1)).sum() > 6
    mean_of_means = sum(terms.total(half.sum_T, half.weight_T) for half in halves) / 2
    assert abs(mean_of_means - terms.total(whole.sum_T, whole.weight_T)) > 1e-3


# ---- the view of the positives


def _pair_loss(scores: list[float]) -> float:
    """-ln of the first one's share."""
    return -scores[0] + math.log(sum(map(math.exp, scores)))


def test_passage_view_by_hand() -> None:
    """Two questions, three positives (two of the first), two hard negatives, everything else in the batch a negative.

    Anchor p0 of q0: its question against q1 and both hard negatives; p1, its co-positive, and p2, a positive of q1,
    are no columns. p0 and p1 weigh one half each.
    """
    question_QD = torch.tensor([[1.0, 0.5], [-0.3, 0.8]], dtype=torch.float64)
    passage_PD = torch.tensor([[0.9, 0.1], [0.4, 1.2], [-0.5, 0.7], [0.2, -0.6], [1.1, 0.3]], dtype=torch.float64)
    positives_QP = torch.tensor([[True, True, False, False, False], [False, False, True, False, False]])
    block = Seen(question_QD, passage_PD, positives_QP, ~positives_QP, slice(0, 2), question_QD)

    def product(anchor: int, *others: Tensor) -> float:
        return _pair_loss([float(passage_PD[anchor] @ other) for other in others])

    (q0, q1), (_, _, _, n0, n1) = question_QD, passage_PD
    expected = (product(0, q0, q1, n0, n1) + product(1, q0, q1, n0, n1)) / 2 + product(2, q1, q0, n0, n1)
    assert float(loss_of([term("nll", view="positive")], block)) == pytest.approx(expected / 2, rel=1e-12)

    alone_QP = torch.tensor([[False, False, False, True, False], [False, False, False, False, True]])
    block = Seen(question_QD, passage_PD, positives_QP, alone_QP, slice(0, 2), question_QD)  # no in-batch negatives
    expected = (product(0, q0, n0) + product(1, q0, n0)) / 2 + product(2, q1, n1)
    assert float(loss_of([term("nll", view="positive")], block)) == pytest.approx(expected / 2, rel=1e-12)


def test_both_views_agree_where_questions_are_their_passages() -> None:
    """Orthonormal vectors, every question its own positive, no further negatives: the two losses are mirror images."""
    vectors_QD = torch.eye(5, dtype=torch.float64)
    positives_QP = torch.eye(5, dtype=torch.bool)
    block = Seen(vectors_QD, vectors_QD, positives_QP, ~positives_QP, slice(0, 5), vectors_QD)
    by_question, by_passage = (loss_of([term("nll", view=view)], block) for view in ("query", "positive"))
    assert float(by_question) == pytest.approx(float(by_passage), rel=1e-12)
    assert float(by_passage) == pytest.approx(_pair_loss([1.0, 0.0, 0.0, 0.0, 0.0]), rel=1e-12)


def test_passage_view_pushes_negatives_away_from_positives() -> None:
    """And the view of the questions never multiplies two passages, whatever the coefficient."""
    question_QD = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    passage_PD = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64, requires_grad=True)
    positives_QP = torch.tensor([[True, False]])
    block = Seen(question_QD, passage_PD, positives_QP, ~positives_QP, slice(0, 1), question_QD)
    loss_of([term("nll", view="positive")], block).backward()
    assert passage_PD.grad is not None
    assert passage_PD.grad[1, 1] > 0  # descent lowers the negative's part along the positive
    passage_PD.grad = None
    loss_of([term("nll")], block).backward()
    assert passage_PD.grad[1, 1] == 0 != passage_PD.grad[1, 0]


def test_passage_view_takes_scores_alone() -> None:
    for options in ({"name": "kl", "target": "teacher"}, {"name": "pairwise", "phi": "square", "target": "lexical"}):
        with pytest.raises(RecipeError, match=r"objective\.1\.view.*needs \w+_QP, which is about questions"):
            Terms([term("nll"), term(**options, view="positive")])
    assert Terms([term("bce", scaling="none", sqrt_width=True, view="positive")]).need_all_questions


def test_rows_without_positives_in_the_passage_view() -> None:
    block = random_block()
    none = Seen(block.own_OD, block.passage_PD, block.positives_QP & False, block.negatives_QP, block.own, block.own_OD)
    terms = Terms([covering(name)[0].model_copy(update={"view": "positive"}) for name in ("nll", "lse_pair", "bce")])
    sums = terms(none)
    assert sums.sum_T.tolist() == sums.weight_T.tolist() == [0, 0, 0]


# ---- parts of the rows


def test_both_terms_of_tasb_by_hand(examined: Examined) -> None:
    """Own pairs against a stored teacher, and the mean over i and j of both in-batch halves, as the paper writes it.

    Three questions with a positive and a negative each. The diagonal, a question with its own passages, is in neither.
    """
    dice = torch.Generator().manual_seed(3)
    questions = 3
    scores_QP, teacher_QP = torch.randn(2, questions, 2 * questions, generator=dice, dtype=torch.float64)
    positives_QP = torch.zeros_like(scores_QP, dtype=torch.bool)
    positives_QP[range(questions), range(questions)] = True
    own_QP = positives_QP | positives_QP.roll(questions, dims=1)
    part = dataclasses.replace(seen(scores_QP, positives_QP, teacher_QP=teacher_QP), own_QP=own_QP)
    square = {"name": "pairwise", "phi": "square", "target": "teacher"}
    found = loss_of([term(**square, columns="own"), term(**square, columns="others", coefficient=0.75)], part)

    s, c = scores_QP, teacher_QP
    pair = sum((s[i, i] - s[i, 3 + i] - c[i, i] + c[i, 3 + i]) ** 2 for i in range(questions)) / questions
    halves = [
        sum((s[i, i] - s[i, k + j] - c[i, i] + c[i, k + j]) ** 2 for i, j in itertools.permutations(range(3), 2)) / 6
        for k in (0, 3)
    ]
    assert float(found) == pytest.approx(float(pair + 0.75 * sum(halves) / 2), rel=1e-12)
    moved = dataclasses.replace(part, targets={"teacher_QP": teacher_QP + torch.tensor([[5.0], [-3.0], [100.0]])})
    for columns in ("own", "others", "all"):
        entry = term(**square, columns=columns)
        assert float(loss_of([entry], moved)) == pytest.approx(float(loss_of([entry], part)), rel=1e-12)
        same = dataclasses.replace(part, targets={"teacher_QP": scores_QP})
        assert float(loss_of([entry], same)) == 0
    examined(len(halves) + 1, "sums written out", at_least=3)


def test_a_part_of_a_row_is_the_row_without_the_rest(examined: Examined) -> None:
    """Every objective on a part equals the same objective on a block in which the rest is ignored; gradients too."""
    block, tried = random_block(rows=5), 0
    own_QP = torch.rand(block.positives_QP.shape, generator=torch.Generator().manual_seed(8)) < 0.5
    own_QP[:, :2] = True
    for name, columns in itertools.product(catalogue.names("objectives"), ("own", "others")):
        for entry in covering(name):
            leaves = [block.own_OD.clone().requires_grad_() for _ in range(2)]
            whole = dataclasses.replace(block, own_OD=leaves[0], own_QP=own_QP)
            apart = own_QP if columns == "own" else ~own_QP
            rest = dataclasses.replace(
                block,
                own_OD=leaves[1],
                positives_QP=block.positives_QP & own_QP,
                negatives_QP=block.negatives_QP & apart,
            )
            losses = loss_of([entry.model_copy(update={"columns": columns})], whole), loss_of([entry], rest)
            assert losses[0] == losses[1]
            for loss in losses:
                loss.backward()
            assert torch.equal(leaves[0].grad, leaves[1].grad)
            tried += 1
    examined(tried, "objectives with their options on parts of rows", at_least=60)


def test_terms_on_parts_have_names_of_their_own() -> None:
    entries = [term("nll", columns=columns) for columns in ("own", "others", "all")] + [term("nll", view="positive")]
    assert Terms(entries).labels == ("nll_own", "nll_others", "nll", "nll_positive")


# ---- what every term owes


def test_a_step_without_positives_is_zero_and_harmless(examined: Examined) -> None:
    block, tried = random_block(), 0
    for name in catalogue.names("objectives"):
        for entry in covering(name):
            questions_QD = block.own_OD.clone().requires_grad_()
            passages_PD = block.passage_PD.clone().requires_grad_()
            positives_QP = torch.zeros_like(block.positives_QP)
            empty = Seen(questions_QD, passages_PD, positives_QP, block.negatives_QP, block.own, targets=block.targets)
            loss = loss_of([entry], empty)
            loss.backward()
            assert loss == 0
            assert (questions_QD.grad == 0).all()
            assert (passages_PD.grad == 0).all()
            tried += 1
    examined(tried, "objectives with their options", at_least=30)


def test_scores_are_exact_whatever_the_encoder_computes_in() -> None:
    dice = torch.Generator().manual_seed(0)
    left, right = (torch.randn(count, 64, generator=dice) for count in (5, 7))
    exact = left.double() @ right.double().T
    for kind in (torch.float32, torch.bfloat16, torch.float16):
        with torch.autocast("cpu", torch.bfloat16):
            found = inner_products(left.to(kind), right.to(kind))
        assert found.dtype == torch.float32
        expected = left.to(kind).double() @ right.to(kind).double().T
        assert (found - expected).abs().max() < 1e-5
    with torch.autocast("cpu", torch.bfloat16):
        assert (left @ right.T - exact).abs().max() > 1e-2, "what autocast would have done"
    assert inner_products(left.double(), right).dtype == torch.float64


def test_the_loss_is_in_32_bits_under_autocast() -> None:
    block = random_block(dtype=torch.float32)
    expected = loss_of([term("lse_pair")], block)
    fresh = Seen(block.own_OD, block.passage_PD, block.positives_QP, block.negatives_QP, block.own)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss_of([term("lse_pair")], fresh)
    assert found.dtype == torch.float32
    assert found == expected


def test_pull_is_the_gradient_on_the_scores(examined: Examined) -> None:
    """By finite differences of the loss."""
    block = random_block(rows=3, columns=5)
    entries = [term("joint_lh"), term("pairwise", phi="logistic", coefficient=0.3)]
    terms = Terms(entries)
    weight_T = terms(block).weight_T
    pull_QP = terms.pull(block, weight_T)
    step, tried = 1e-6, 0
    for row, column in itertools.product(range(3), range(5)):
        moved = []
        for sign in (1, -1):
            scores_QP = block.scores_OP.clone()
            scores_QP[row, column] += sign * step
            moved.append(float(loss_of(entries, seen(scores_QP, block.positives_QP, block.negatives_QP))))
        assert (moved[0] - moved[1]) / (2 * step) == pytest.approx(float(pull_QP[row, column]), abs=1e-8)
        tried += 1
    examined(tried, "scores")
    with torch.no_grad():
        assert torch.equal(terms.pull(block, weight_T), pull_QP)
    only_passages = Terms([term("nll", view="positive")])
    assert (only_passages.pull(block, weight_T[:1]) == 0).all()


def test_names_of_terms() -> None:
    nll = term("nll")
    assert Terms([nll]).labels == ("nll",)
    entries = [nll, term("nll", view="positive"), term("kl", target="labels"), term("kl", target="teacher")]
    assert Terms(entries).labels == ("nll", "nll_positive", "kl_1", "kl_2")
    sums = Sums(torch.tensor([6.0, 3.0, 0.0, 4.0]), torch.tensor([2.0, 3.0, 0.0, 1.0]))
    assert Terms(entries).values(sums).tolist() == [3.0, 1.0, 0.0, 4.0]


def test_parameters_reach_the_objective() -> None:
    block = random_block()
    cold, warm = (float(loss_of([term("nll", temperature=value)], block)) for value in (0.5, 2.0))
    assert cold != warm
    scaled = seen(block.scores_OP / 0.5, block.positives_QP, block.negatives_QP)
    assert float(loss_of([term("nll")], scaled)) == pytest.approx(cold, rel=1e-12)
    wide = float(loss_of([term("bce", scaling="none", sqrt_width=True)], block))
    assert wide == pytest.approx(float(loss_of([term("bce", scaling="none", temperature=2.0)], block)))  # width 4


def test_an_empty_objective_is_refused() -> None:
    with pytest.raises(RecipeError, match="no term"):
        Terms([])
