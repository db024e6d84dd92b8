"""The rows of DPR say what its released code does, by formulas written down from its description.

The code divides the gradient of a step by its processes, clips it, and gives it to an AdamW that adds epsilon to the
root of the second moment before anything is corrected for the start. It deals an epoch's questions out to processes in
equal parts, rounded up, and leaves out what is less than a step of a process.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mpr.recipe import schedule
from mpr.recipe.keys import Recipe
from tests import shipped
from tests.conftest import Examined, Parity

PROCESSES, EACH = 8, 16
QUESTIONS = {"nq": 58_880, "trivia": 60_413, "webq": 2_474, "trec": 1_125, "squad": 70_096}
EPOCHS = {"nq": 40, "trivia": 40, "webq": 100, "trec": 100, "squad": 40}
RELEASED = {"max_grad_norm": 2.0, "adam_epsilon": 1e-8}
ROWS = [(questions, kind) for questions in QUESTIONS for kind in ("released", "paper")]


def row(questions: str, kind: str = "released") -> Recipe:
    return shipped.recipes()[f"{questions}_nll_m1_{kind}"]


def test_updates_of_a_run(parity: Parity) -> None:
    apart = []
    for questions, kind in ROWS:
        per_process = math.ceil(QUESTIONS[questions] / PROCESSES)
        apart.append(abs(schedule.updates(row(questions, kind)) - per_process // EACH * EPOCHS[questions]))
    against = "facebookresearch/DPR: ShardedDataIterator"
    parity("updates of a run, rows nll_m1_released and nll_m1_paper", against, len(ROWS), max(apart), 0)


@pytest.mark.parametrize("questions, kind", ROWS)
def test_what_enters_a_step(questions: str, kind: str) -> None:
    towers, draw = row(questions, kind).towers, row(questions, kind).draw
    assert (towers.pair_cut, towers.last_slot, towers.question_apostrophe) == ("longest_first", "sep", "straight")
    assert (draw.block, draw.in_batch, draw.negatives[0].k) == ("as_drawn", True, 1)
    assert (draw.negatives[0].fallback == "random") == (questions in ("nq", "trivia"))


def released_updates(gradients: np.ndarray, rate: float, beta1: float, beta2: float) -> np.ndarray:
    """Of one weight each, without weight decay: update after update, its step by the released code."""
    mean, square, steps = np.zeros(gradients.shape[1]), np.zeros(gradients.shape[1]), []
    for number, exact in enumerate(gradients, 1):
        given = exact / PROCESSES
        given = given * min(1.0, RELEASED["max_grad_norm"] / np.linalg.norm(given))
        mean, square = beta1 * mean + (1 - beta1) * given, beta2 * square + (1 - beta2) * given**2
        factor = rate * math.sqrt(1 - beta2**number) / (1 - beta1**number)
        steps.append(-factor * mean / (np.sqrt(square) + RELEASED["adam_epsilon"]))
    return np.array(steps)


def our_updates(gradients: np.ndarray, training: dict[str, float], *, as_released: bool = False) -> np.ndarray:
    """By torch, from the exact gradient; `as_released` also counts epsilon as the comment of the rows says."""
    weight = torch.nn.Parameter(torch.zeros(gradients.shape[1], dtype=torch.float64))
    beta2 = training["adam_beta2"]
    betas = training["adam_beta1"], beta2
    optimizer = torch.optim.AdamW(
        [weight], lr=training["learning_rate"], betas=betas, eps=training["adam_epsilon"], weight_decay=0.0
    )
    steps = []
    for number, exact in enumerate(gradients, 1):
        before = weight.detach().clone()
        weight.grad = torch.from_numpy(exact.copy())
        torch.nn.utils.clip_grad_norm_([weight], training["max_grad_norm"])
        if as_released:
            optimizer.param_groups[0]["eps"] = training["adam_epsilon"] / math.sqrt(1 - beta2**number)
        optimizer.step()
        steps.append((weight.detach() - before).numpy())
    return np.array(steps)


def test_clipping_and_epsilon_are_those_of_the_divided_gradient(examined: Examined, parity: Parity) -> None:
    """Exactly, with epsilon counted as the comment says it is counted there; as the rows have it, from the time on when
    the second moment is no longer corrected much; and not with the epsilon of the config, which is of another gradient.
    """
    dice, training = np.random.default_rng(5), row("nq").training
    scales = np.repeat([1e1, 1e-4, 1e-6, 1e-7], 6)
    gradients = dice.normal(size=(900, len(scales))) * scales
    gradients[::7] *= 3.0
    assert (np.linalg.norm(gradients, axis=1) > 16).any()
    assert (np.linalg.norm(gradients, axis=1) < 16).any()
    expected = released_updates(gradients, training["learning_rate"], training["adam_beta1"], training["adam_beta2"])
    exact = our_updates(gradients, training, as_released=True)
    assert np.allclose(exact, expected, rtol=2e-6, atol=1e-11)  # torch clips by the norm plus 1e-6

    def size(found: np.ndarray) -> np.ndarray:
        """Mean step of each scale, in the last updates, against the released code's."""
        ratio = np.abs(found[-100:]).mean(axis=0) / np.abs(expected[-100:]).mean(axis=0)
        return ratio.reshape(4, 6).mean(axis=1)

    ours, config = (
        size(our_updates(gradients, training)),
        size(our_updates(gradients, training | {"adam_epsilon": 1e-8})),
    )
    assert (np.abs(ours - 1) < 0.25).all(), ours
    assert config[3] > 1.5, config
    largest = float(np.abs(exact - expected).max()) / training["learning_rate"]
    against = "facebookresearch/DPR: gradient divided by 8 processes, clipping, AdamW"
    parity("updates of weights, epsilon counted as there (in learning rates)", against, exact.size, largest, 1e-5)
    examined(exact.size, f"updates; steps against the released ones {ours.round(2).tolist()}, "
             f"with the epsilon of the config {config.round(2).tolist()}", at_least=20_000)  # fmt: skip


def test_epsilon_counts_as_the_comments_of_the_rows_say() -> None:
    factors = {number: 1 / math.sqrt(1 - 0.999**number) for number in (1, 1_000)}
    assert [round(factors[1]), round(factors[1_000], 1)] == [32, 1.3]
    assert "32 times in the first, 1.3 times in the 1,000th" in " ".join(shipped.text("nq_nll_m1_released").split())
