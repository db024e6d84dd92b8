"""The negative cache: exact values, the mean of its gradient, what is drawn and what is forgotten."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mpr.recipe.keys import NegativeCache as Settings
from mpr.runtime.processes import Place
from mpr.training import _block as scale
from mpr.training._loss import Seen, Terms
from mpr.training._negative_cache import EMPTY, NegativeCache, Stream, drawn
from tests.conftest import Examined
from tests.parity import steps
from tests.parity.steps import Towers, gradient, term

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
ENTRIES = (
    term("nll"),
    term("joint_lh"),
    term("joint_lh", copositives="mask", temperature=0.5),
    term("sum_marg_lh", temperature=2.0),
    term("lse_pair"),
)


def rows_of(entry: Any, scores: Tensor, positives: Tensor, remembered: Tensor | None = None) -> tuple[Tensor, Seen]:
    """The loss of one row of scores; what is not positive is negative."""
    question_OD = torch.ones(1, 1, dtype=scores.dtype)
    block = Seen(question_OD, scores[:, None], positives[None], ~positives[None], slice(0, 1), remembered_O=remembered)
    terms = Terms([entry])
    sums = terms(block, scores[None])
    return terms.total(sums.sum_T, sums.weight_T.detach()), block


def single(entry: Any, positives: Tensor) -> Tensor:
    """nll takes the first positive alone."""
    return positives & (torch.arange(len(positives)) < (1 if entry.name == "nll" else len(positives)))


# ---- value and coefficients


def test_published_coefficients() -> None:
    """What a loss makes of a change of A, with two positives and three negatives; computed from the formulas."""
    for name, expected in {"lse_pair": 0.765810, "sum_marg_lh": 0.391331}.items():
        scores, positives = torch.tensor([2.0, 1.0], dtype=torch.float64), torch.tensor([True, True])
        remembered = torch.tensor([0.5, 1.5, -1.0], dtype=torch.float64).logsumexp(dim=0)[None].requires_grad_()
        loss, _ = rows_of(term(name), scores, positives, remembered)
        assert float(torch.autograd.grad(loss, remembered)[0]) == pytest.approx(expected, abs=5e-7)


def test_one_score_stands_for_all(examined: Examined) -> None:
    dice, worst, count = torch.Generator().manual_seed(3), 0.0, 0
    for entry in ENTRIES:
        for _ in range(20):
            scores = 4 * torch.randn(9, generator=dice, dtype=torch.float64)
            positives = single(entry, torch.arange(9) < 3)
            if entry.name == "nll":
                scores, positives = scores[[0, *range(3, 9)]], positives[[0, *range(3, 9)]]
            kept, temperature = len(scores) - 4, getattr(entry, "temperature", 1.0)
            whole, _ = rows_of(entry, scores, positives)
            remembered = temperature * (scores[kept:] / temperature).logsumexp(dim=0)
            part, _ = rows_of(entry, scores[:kept], positives[:kept], remembered[None])
            worst, count = max(worst, float(abs(whole - part))), count + 1
    assert worst < 1e-12
    examined(count, "losses", at_least=100)


def test_nothing_remembered_changes_nothing() -> None:
    scores, positives = torch.tensor([2.0, 1.0, 0.5]), torch.tensor([True, True, False])
    without, _ = rows_of(term("lse_pair"), scores, positives)
    remembered = torch.tensor([float("nan")], requires_grad=True)
    empty, _ = rows_of(term("lse_pair"), scores, positives, remembered)
    assert float(without) == float(empty.detach())
    assert float(torch.autograd.grad(empty, remembered)[0]) == 0.0


# ---- the gradient


def stream_of(collator: Any, model: Towers, rows: list[int], entry: Any) -> Stream:
    """A cache that holds fresh vectors of these passages, in double precision."""
    cache = NegativeCache(Settings(size=len(rows), policy="lru"), steps.WIDTH, CPU)
    cache.vector_CD = cache.vector_CD.double()
    texts = lambda row_N: collator.passages.tokens(row_N.numpy())  # noqa: E731
    with torch.no_grad():
        cache.add(torch.tensor(rows), model(passage=texts(torch.tensor(rows)))[1])
    return Stream(cache, collator.known_among, texts, getattr(entry, "temperature", 1.0), 1)


def expected_gradient(entry: Any, collator: Any, batch: dict[str, Any], rows: list[int]) -> tuple[Tensor, float]:
    """The mean over all that could be drawn for one question, each with its probability."""
    total, weights = 0.0 * gradient_of(Towers()), 0.0
    for place in range(len(rows)):
        model = Towers()
        stream = stream_of(collator, model, rows, entry)
        probabilities = choices(stream, model, batch)
        if probabilities[place] == 0.0:
            continue
        middle = float(probabilities[:place].sum() + probabilities[place] / 2)
        stream._uniform = lambda draw, rows_R, middle=middle: torch.tensor([middle]).double()  # type: ignore[method-assign]
        found = stream.loss(model, batch, Terms([entry]))
        found.loss.backward()
        total, weights = total + probabilities[place] * gradient(model), weights + float(probabilities[place])
    return total, weights


def gradient_of(model: Towers) -> Tensor:
    return torch.zeros(sum(parameter.numel() for parameter in model.parameters()), dtype=torch.float64)


def choices(stream: Stream, model: Towers, batch: dict[str, Any]) -> Tensor:
    """Softmax over the cached passages that may be drawn, computed here."""
    with torch.no_grad():
        scores_C = stream.cache.vector_CD @ model(question=batch["question"])[0][0]
    allowed_C = stream._allowed(batch)[0][0]
    return (scores_C / stream.temperature).masked_fill(~allowed_C, float("-inf")).softmax(dim=0)


def one_question(collator: Any) -> dict[str, Any]:
    batch: dict[str, Any] = collator([0])
    keep = batch["positives_QP"].any(dim=0) | batch["negatives_QP"].any(dim=0)
    assert bool(keep.all())
    return batch


def full_gradient(entry: Any, collator: Any, batch: dict[str, Any], rows: list[int]) -> Tensor:
    """The plain step over the passages of the batch and the cached negatives together."""
    model = Towers()
    allowed_C = stream_of(collator, model, rows, entry)._allowed(batch)[0][0]
    more = torch.tensor(rows)[allowed_C]
    passage_P = torch.cat([batch["passage_ids"], more])
    side = collator.passages.tokens(passage_P.numpy())
    wide = {
        **batch,
        "passage": side,
        "passage_ids": passage_P,
        "positives_QP": torch.cat([batch["positives_QP"], torch.zeros(1, len(more), dtype=torch.bool)], dim=1),
        "negatives_QP": torch.cat([batch["negatives_QP"], torch.ones(1, len(more), dtype=torch.bool)], dim=1),
    }
    scale.block_loss(model, wide, Terms([entry]), Place(), gather=True).loss.backward()
    return gradient(model)


def relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_mean_gradient_is_that_of_all(entry: Any, examined: Examined) -> None:
    collator = steps.collator(rows=1)
    batch = one_question(collator)
    if entry.name == "nll":
        first_P = torch.arange(batch["positives_QP"].shape[1]) == int(batch["positives_QP"][0].int().argmax())
        batch["positives_QP"] = batch["positives_QP"] & first_P
    rows = list(range(0, steps.PASSAGES, 3))
    mean, weights = expected_gradient(entry, collator, batch, rows)
    assert weights == pytest.approx(1.0, abs=1e-12)
    assert relative(mean, full_gradient(entry, collator, batch, rows)) < 1e-12
    examined(len(rows), "passages remembered", at_least=10)


def test_it_would_be_wrong_for_bce() -> None:
    """Why the rule refuses it: a loss with a factor of its own for each negative has another gradient."""
    entry, collator = term("bce", scaling="none", reduce="pair_mean"), steps.collator(rows=1)
    batch, rows = one_question(collator), list(range(0, steps.PASSAGES, 3))
    mean, _ = expected_gradient(entry, collator, batch, rows)
    assert relative(mean, full_gradient(entry, collator, batch, rows)) > 0.1


def test_a_stale_cache_is_biased(examined: Examined) -> None:
    """The older the vectors the larger the error, and it is told."""
    entry, collator = term("lse_pair"), steps.collator(rows=1)
    batch, rows, told = one_question(collator), list(range(0, steps.PASSAGES, 3)), []
    for noise in (0.0, 0.1, 0.5):
        model = Towers()
        stream = stream_of(collator, model, rows, entry)
        dice = torch.Generator().manual_seed(1)
        stream.cache.vector_CD += noise * torch.randn(stream.cache.vector_CD.shape, generator=dice).double()
        told.append(float(stream.loss(model, batch, Terms([entry])).watched["cache_staleness"]))
    assert told[0] < 1e-20
    assert told[0] < told[1] < told[2]
    examined(len(told), "ages", at_least=3)


# ---- what is drawn


def test_draws_follow_the_softmax(examined: Examined) -> None:
    scores = torch.tensor([2.0, float("-inf"), 1.0, 60.0, 61.0, 59.0, float("-inf")]).double()
    uniform = (torch.arange(4_000).double() + 0.5) / 4_000
    found = torch.bincount(drawn(scores.expand(4_000, 7), uniform), minlength=7) / 4_000
    assert torch.allclose(found.double(), scores.softmax(dim=0), atol=5e-4)
    edges = drawn(scores.expand(2, 7), torch.tensor([0.0, 1.0]).double())
    assert edges.tolist() == [0, 5]
    examined(4_000, "draws", at_least=4_000)


def test_known_positives_are_never_drawn_and_no_negative_counts_twice(examined: Examined) -> None:
    collator, cells = steps.collator(rows=5), 0
    for number in range(6):
        batch = collator([number])
        stream = stream_of(collator, Towers(), list(range(steps.PASSAGES)), term("nll"))
        stream.cache.row_C[::7] = EMPTY
        allowed_OC, surely = stream._allowed(batch)
        assert surely is None or torch.equal(surely, allowed_OC.any(dim=1).nonzero()[:, 0])
        for place, question in enumerate(batch["question_ids"].tolist()):
            known = collator.drawer.positives.known(np.array([question]))[1].tolist()
            texts = {int(collator.text_hashes[passage]) for passage in known}
            column = {row: p for p, row in enumerate(batch["passage_ids"].tolist())}
            for slot, row in enumerate(stream.cache.row_C.tolist()):
                there = row in column and bool(batch["negatives_QP"][place, column[row]])
                wanted = row != EMPTY and int(collator.text_hashes[row]) not in texts and not there
                assert bool(allowed_OC[place, slot]) == wanted
                cells += 1
    examined(cells, "questions and places", at_least=900)


def test_what_is_drawn_depends_on_seed_and_draw_alone() -> None:
    collator = steps.collator(rows=5)
    stream = stream_of(collator, Towers(), [1, 2, 3], term("nll"))
    rows = torch.arange(5)
    assert torch.equal(stream._uniform(4, rows), stream._uniform(4, rows))
    assert not torch.equal(stream._uniform(4, rows), stream._uniform(5, rows))
    assert math.isclose(float(stream._uniform(4, rows[2:3])), float(stream._uniform(4, rows)[2]))


# ---- what is kept


def kept(policy: Any) -> list[set[int]]:
    """Four passages come two by two into four places; one is made anew; then two more come."""
    cache = NegativeCache(Settings(size=4, policy=policy), 2, CPU)
    seen = []
    for rows in ([10, 11], [12, 13]):
        cache.add(torch.tensor(rows), torch.ones(2, 2))
        seen.append(set(cache.row_C.tolist()))
    cache.refresh(cache.places(torch.tensor([10])), torch.full((1, 2), 5.0))
    cache.add(torch.tensor([14, 12]), torch.full((2, 2), 7.0))
    seen.append(set(cache.row_C.tolist()))
    assert cache.vector_CD[cache.places(torch.tensor([12]))[0]].tolist() == [7.0, 7.0]
    assert cache.places(torch.tensor([99, EMPTY])).tolist() == [EMPTY, EMPTY]
    return seen


def test_the_oldest_goes_first() -> None:
    assert kept("lru") == [{EMPTY, 10, 11}, {10, 11, 12, 13}, {10, 12, 13, 14}]
    assert kept("fifo") == [{EMPTY, 10, 11}, {10, 11, 12, 13}, {11, 12, 13, 14}]


def test_more_than_it_can_hold() -> None:
    cache = NegativeCache(Settings(size=2, policy="lru"), 2, CPU)
    cache.add(torch.tensor([1, 2, 3]), torch.ones(3, 2))
    assert set(cache.row_C.tolist()) == {1, 2}


def test_a_state_is_restored() -> None:
    one, other = (NegativeCache(Settings(size=3, policy="lru"), 2, CPU) for _ in range(2))
    one.add(torch.tensor([4, 5]), torch.rand(2, 2))
    other.restore({name: tensor.clone() for name, tensor in one.state().items()})
    assert all(torch.equal(other.state()[name], tensor) for name, tensor in one.state().items())
