"""The label `guard`: GISTEmbed's and Qwen3-Embedding's masks as special cases, and what it never does."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
import torch
from pydantic import ValidationError
from sentence_transformers.sentence_transformer.losses import gist_embed
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch.nn.functional import normalize
from transformers import PreTrainedTokenizerFast

from mpr.labels import guard
from mpr.training import _block
from mpr.training._loss import Seen, Terms
from tests.conftest import Examined
from tests.parity import steps


def _loss(scores: dict[str, torch.Tensor], terms: Terms, positives_QP: torch.Tensor) -> Any:
    """Of a block in which everything that is not positive is negative."""
    question_QD, passage_PD = scores["question"], scores["passage"]
    seen = Seen(
        question_QD, passage_PD, positives_QP, ~positives_QP, slice(0, len(question_QD)),
        targets={name: values for name, values in scores.items() if name == "live_QP"},
    )  # fmt: skip
    return _block.loss_of(seen, {}, terms, 1)


class _Model(torch.nn.Module):
    """What GISTEmbedLoss asks of a model before it encodes."""

    tokenizer, max_seq_length = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0}))), 8


@pytest.mark.parametrize("strategy, margin", [("absolute", 0.0), ("absolute", 0.2), ("relative", 0.3)])
@pytest.mark.parametrize("with_negatives", [False, True])
def test_gist_embed_has_the_same_loss_and_gradient(
    strategy: str, margin: float, with_negatives: bool, examined: Examined
) -> None:
    """sentence-transformers' GISTEmbedLoss on given vectors, without its terms of questions among themselves and of
    passages among themselves, which the guard does not have."""
    random = torch.Generator().manual_seed(5)
    columns = 3 if with_negatives else 2
    leaves = [torch.randn(12, 6, generator=random, dtype=torch.float64, requires_grad=True) for _ in range(columns)]
    guides = [torch.randn(12, 6, generator=random, dtype=torch.float64) for _ in range(columns)]
    student, guide = _Model(), _Model()
    theirs = gist_embed.GISTEmbedLoss(
        student, guide, temperature=0.05, margin_strategy=strategy, margin=margin,  # type: ignore[arg-type]
        contrast_anchors=False, contrast_positives=False,
    )  # fmt: skip
    with mock.patch.object(gist_embed, "embed_columns", lambda model, _: leaves if model is student else guides):
        expected = theirs([{}] * columns, torch.zeros(0))
    expected.backward()
    gradients = [leaf.grad.clone() for leaf in leaves]  # type: ignore[union-attr]
    for leaf in leaves:
        leaf.grad = None

    unit, guided = [normalize(leaf) for leaf in leaves], [normalize(each) for each in guides]
    live_QP = guided[0] @ torch.cat(guided[1:]).T
    given = {"question": unit[0], "passage": torch.cat(unit[1:]), "live_QP": live_QP}
    how = {"absolute": -margin} if strategy == "absolute" else {"share": 1 - margin}
    label = steps.label("guard", by="teacher_live", than="max", **how)
    found = _loss(
        given, Terms([steps.term("nll", temperature=0.05)], [label]), torch.eye(12, 12 * (columns - 1)).bool()
    )
    found.loss.backward()
    assert found.loss.item() == pytest.approx(expected.item(), rel=1e-12)
    for leaf, gradient in zip(leaves, gradients, strict=True):
        torch.testing.assert_close(leaf.grad, gradient, rtol=1e-10, atol=1e-12)
    examined(int(found.parts["cells_guarded"]), "cells that both take out", at_least=10)


def test_the_mask_of_qwen3_embedding(examined: Examined) -> None:
    """2506.05176, section 3: a cell counts unless s_ij > s(q_i, d_i+) + 0.1; of the questions' rows."""
    random = torch.Generator().manual_seed(6)
    question_QD = normalize(torch.randn(10, 4, generator=random, dtype=torch.float64))
    passage_PD = normalize(question_QD + 1.5 * torch.randn(10, 4, generator=random, dtype=torch.float64))
    label = steps.label("guard", by="self", than="min", absolute=0.1)
    found = _loss(
        {"question": question_QD, "passage": passage_PD}, Terms([steps.term("nll", temperature=0.07)], [label]),
        torch.eye(10).bool(),
    )  # fmt: skip
    total, masked = 0.0, 0
    for row in range(10):
        own = float(question_QD[row] @ passage_PD[row])
        rest = [float(question_QD[row] @ passage_PD[column]) for column in range(10) if column != row]
        kept = [score for score in rest if score <= own + 0.1]
        masked += len(rest) - len(kept)
        shares = torch.tensor([own, *kept], dtype=torch.float64).div(0.07).softmax(dim=0)
        total -= float(shares[0].log())
    assert found.loss.item() == pytest.approx(total / 10, rel=1e-12)
    assert int(found.parts["cells_guarded"]) == masked
    examined(masked, "masked cells", at_least=5)


def test_it_only_takes_negatives_and_has_no_gradient() -> None:
    scores = torch.tensor([[0.2, 0.9, 0.5, 0.8], [0.1, 0.2, 0.3, float("nan")]], requires_grad=True)
    positives = torch.tensor([[True, False, False, False], [False, False, False, False]])
    negatives = torch.tensor([[False, True, True, False], [True, True, True, False]])
    params = guard.Params(by="self", than="max", absolute=0.3)
    found = guard.in_step(params, scores, positives, negatives)
    assert found.tolist() == [[False, False, True, False], [True, True, True, False]]  # no positive: nothing to compare
    assert not found.requires_grad
    lost = guard.in_step(params, scores.detach().to(torch.bfloat16), positives, negatives)
    assert lost.tolist() == found.tolist()
    again = guard.in_step(params, scores, positives, found)
    assert torch.equal(again, found)


def test_keys() -> None:
    for more in ({}, {"absolute": 0.1, "share": 0.9}, {"share": 0.0}):
        with pytest.raises(ValidationError):
            guard.Params(by="self", than="min", **more)
