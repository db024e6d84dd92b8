"""bce: the three readings, computed without cancellation."""

from itertools import product
from math import exp, log

import pytest
import torch

from mpr import objectives
from mpr.errors import MprError, RecipeError

VARIANTS = [
    {"scaling": scaling, "reduce": reduce, **more}
    for scaling, reduce, more in product(
        ("probability", "softmax", "none"),
        ("query_sum", "pair_mean"),
        ({}, {"temperature": 0.5, "positive_weight": 3.0}, {"sqrt_width": True, "temperature": 2.0}),
    )
] + [{"scaling": "none", "bias": -1.5, "temperature": 0.5}]


def reference(row, options):
    divisor = options.get("temperature", 1.0) * (3.0 if options.get("sqrt_width") else 1.0)  # the width is 9
    scores = [cell.score / divisor for cell in row]
    gain = 0.0
    for place, (cell, score) in enumerate(zip(row, scores, strict=True)):
        others = sum(exp(other) for at, other in enumerate(scores) if at != place)
        share = exp(score) / (exp(score) + others)
        if options["scaling"] == "probability":
            yes, no = share, others / (exp(score) + others)
        else:
            logit = share if options["scaling"] == "softmax" else score + options.get("bias", 0.0)
            yes = 1 / (1 + exp(-logit))
            no = 1 / (1 + exp(logit))
        gain += options.get("positive_weight", 1.0) * log(yes) if cell.kind == "+" else log(no)
    return -gain, float(len(row)) if options.get("reduce") == "pair_mean" else 1.0


def test_equals_the_written_out_formula(agree):
    agree("bce", VARIANTS, reference, shares=5)


def _probability(scores, positives):
    scores_QP = torch.tensor([scores], requires_grad=True)
    positives_QP = torch.tensor([positives])
    sum_Q, _ = objectives.load("bce", scaling="probability")(scores_QP, positives_QP, ~positives_QP)
    sum_Q.sum().backward()
    return sum_Q.item(), scores_QP.grad[0].tolist()


def test_a_negative_that_takes_the_whole_softmax_costs_its_lead_and_not_infinity():
    """-ln z_p = 60 and -ln(1 - z_n) = 60: in float32, z_n is 1 and 1 - z_n is 0."""
    loss, gradient = _probability([0.0, 60.0], [True, False])
    assert loss == pytest.approx(120.0, rel=1e-6)
    assert gradient == pytest.approx([-2.0, 2.0], rel=1e-6)


def test_a_tiny_share_keeps_its_digits():
    """-ln z_p - ln(1 - z_n) with z_n = e^-30 / (1 + e^-30) is 2 ln(1 + e^-30)."""
    loss, _ = _probability([0.0, -30.0], [True, False])
    assert loss == pytest.approx(2 * exp(-30), rel=1e-5)


def test_two_equal_leaders_split_the_softmax():
    """Shares one half each: -ln(1/2) for the positive and for the negative."""
    loss, gradient = _probability([5.0, 5.0], [True, False])
    assert loss == pytest.approx(2 * log(2), rel=1e-6)
    assert gradient == pytest.approx([-1.0, 1.0], rel=1e-6)


def test_refusals():
    for scaling in ("probability", "softmax"):
        with pytest.raises(RecipeError, match="bias does nothing"):
            objectives.load("bce", scaling=scaling, bias=1.0)
    with pytest.raises(RecipeError, match="scaling"):
        objectives.load("bce")
    mask_QP = torch.tensor([[True, False]])
    with pytest.raises(MprError, match="needs width"):
        objectives.load("bce", scaling="none", sqrt_width=True)(torch.zeros(1, 2), mask_QP, ~mask_QP)


def test_graded_targets_are_torchs_loss_with_logits():
    """torch's own binary cross-entropy with soft targets, over the pairs of a row."""
    generator = torch.Generator().manual_seed(3)
    scores_QP = 2 * torch.randn(4, 7, generator=generator, dtype=torch.float64)
    grades_QP = torch.randint(0, 4, (4, 7), generator=generator).double()
    positives_QP = grades_QP > 0
    loss = objectives.load("bce", scaling="none", target="grades", highest=3.0, temperature=0.5, bias=-1.0)
    sum_Q, _ = loss(scores_QP, positives_QP, ~positives_QP, grades_QP=grades_QP)
    cells_QP = torch.nn.functional.binary_cross_entropy_with_logits(
        scores_QP / 0.5 - 1.0, grades_QP / 3.0, reduction="none"
    )
    torch.testing.assert_close(sum_Q, cells_QP.sum(dim=1))


def test_what_is_learned_starts_at_the_constants_and_has_their_gradient():
    """By finite differences of the constants themselves."""
    generator = torch.Generator().manual_seed(4)
    scores_QP = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    positives_QP = torch.rand(3, 5, generator=generator) < 0.4
    options = {"scaling": "none", "temperature": 0.5, "bias": -1.0}

    def value(**more):
        loss = objectives.load("bce", **(options | more))
        return loss(scores_QP, positives_QP, ~positives_QP)[0].sum().item()

    learned = {
        "log_scale": torch.tensor([log(2.0)], dtype=torch.float64, requires_grad=True),
        "bias": torch.tensor([-1.0], dtype=torch.float64, requires_grad=True),
    }
    loss = objectives.load("bce", **options, learn="both")
    total = loss(scores_QP, positives_QP, ~positives_QP, learned=learned)[0].sum()
    total.backward()
    assert total.item() == pytest.approx(value(), rel=1e-12)
    step = 1e-6
    by_bias = (value(bias=-1.0 + step) - value(bias=-1.0 - step)) / (2 * step)
    by_scale = (value(temperature=exp(-log(2.0) - step)) - value(temperature=exp(-log(2.0) + step))) / (2 * step)
    assert learned["bias"].grad.item() == pytest.approx(by_bias, rel=1e-6)
    assert learned["log_scale"].grad.item() == pytest.approx(by_scale, rel=1e-6)
    with pytest.raises(RecipeError, match="needs learned"):
        loss(scores_QP, positives_QP, ~positives_QP, learned={"bias": learned["bias"]})


def test_keys_of_learning_that_do_nothing_are_refused():
    for options, what in (
        ({"scaling": "softmax", "learn": "bias"}, "go with"),
        ({"scaling": "probability", "target": "grades"}, "go with"),
        ({"scaling": "none", "highest": 3.0}, "does nothing"),
        ({"scaling": "none", "learning_rate": 0.1}, "does nothing"),
    ):
        with pytest.raises(RecipeError, match=what):
            objectives.load("bce", **options)
