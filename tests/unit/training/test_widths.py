"""Losses of vectors that are cut: `objective[].widths`. Whole steps over processes and in chunks: tests/parity."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss, MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from torch.nn import functional

from mpr import catalogue
from mpr.library.multi_positive import MultiPositiveCollator, MultiPositiveLoss
from mpr.training._loss import Seen, Terms, learned_of
from tests.conftest import Examined, Parity
from tests.parity.steps import covering, term
from tests.unit.tiny_models import published, without_dropout
from tests.unit.training.test_loss import random_block

WIDTHS, WEIGHTS = [32, 8, 4], [1.0, 0.5, 0.25]
TEXTS = ["ka lo", "mi ren", "tu vas", "zel or", "ni be", "lo mi"]


def whole_vectors(block: Seen, unit: bool) -> Seen:
    """The relations and targets of a block, with vectors of 32 numbers, of length one or not."""
    dice = torch.Generator().manual_seed(3)
    questions_QD = torch.randn(len(block.positives_QP), 32, generator=dice, dtype=torch.float64)
    passages_PD = torch.randn(block.positives_QP.shape[1], 32, generator=dice, dtype=torch.float64)
    if unit:
        questions_QD, passages_PD = functional.normalize(questions_QD), functional.normalize(passages_PD)
    return replace(block, own_OD=questions_QD, passage_PD=passages_PD, question_QD=questions_QD)


def loss_of(entries: list[Any], block: Seen, unit: bool) -> float:
    terms = Terms(entries, learned=learned_of(entries), unit=unit)
    sums = terms(block)
    return float(terms.total(sums.sum_T, sums.weight_T))


@pytest.mark.parametrize("unit", [True, False])
def test_every_objective_is_the_sum_over_hand_cut_vectors(unit: bool, examined: Examined) -> None:
    block, tried = whole_vectors(random_block(), unit), 0
    for name in catalogue.names("objectives"):
        for entry in covering(name):
            expected = 0.0
            for width, weight in zip(WIDTHS, WEIGHTS, strict=True):
                vectors = [each[:, :width] for each in (block.own_OD, block.passage_PD)]
                if unit:
                    vectors = [each / each.norm(dim=1, keepdim=True) for each in vectors]
                questions_QD, passages_PD = vectors
                cut = replace(block, own_OD=questions_QD, passage_PD=passages_PD, question_QD=questions_QD)
                expected += weight * loss_of([entry], cut, unit=False)
            wanted = entry.model_copy(update={"widths": WIDTHS, "width_weights": WEIGHTS})
            assert loss_of([wanted], block, unit) == pytest.approx(expected, rel=1e-12), entry
            tried += 1
    examined(tried, "objectives with options", at_least=10)


def test_the_log_sees_the_pull_of_whole_vectors_alone() -> None:
    block = whole_vectors(random_block(), unit=True)
    pulls = []
    for widths in (None, [32, 4], [8, 4]):
        terms = Terms([term("lse_pair", widths=widths)], unit=True)
        pulls.append(terms.pull(block, terms(block).weight_T))
    torch.testing.assert_close(pulls[0], pulls[1])
    assert pulls[0].abs().sum() > 0
    assert pulls[2].abs().sum() == 0


def test_each_width_has_a_line_in_the_log() -> None:
    terms = Terms([term("nll"), term("nll", view="positive", widths=[8, 4])])
    assert terms.labels == ("nll", "nll_positive_8", "nll_positive_4")
    assert terms.need_all_questions


def test_one_positive_is_the_matryoshka_loss_of_sentence_transformers(tmp_path: Path, parity: Parity) -> None:
    model, texts = still(tmp_path), [f"{text} vas zel" for text in TEXTS]
    sides = [model.preprocess(each) for each in (TEXTS, texts)]
    vectors = [functional.normalize(model(dict(side))["sentence_embedding"].detach().double()) for side in sides]
    theirs = MatryoshkaLoss(model, MultipleNegativesRankingLoss(model), WIDTHS, WEIGHTS)
    expected = float(theirs([dict(side) for side in sides], None).detach())
    same = torch.eye(len(TEXTS), dtype=torch.bool)
    seen = Seen(vectors[0], vectors[1], same, ~same, slice(0, len(TEXTS)))
    found = loss_of([term("nll", temperature=0.05, widths=WIDTHS, width_weights=WEIGHTS)], seen, unit=True)
    against = "sentence-transformers: MatryoshkaLoss of MultipleNegativesRankingLoss"
    parity("nll with widths", against, 1, abs(found - expected) / expected, 1e-5, "sentence-transformers")


def test_their_wrapper_takes_our_loss_of_several_positives(tmp_path: Path) -> None:
    model = still(tmp_path)
    rows = [{"anchor": text, "positive": f"{text} vas", "positive_1": f"{text} zel", "negative": f"{text} ka ka"}
            for text in TEXTS]  # fmt: skip
    batch = MultiPositiveCollator(model.preprocess)(rows)
    sides = [{name.removeprefix(f"{side}_"): value for name, value in batch.items() if name.startswith(side)}
             for side in ("question", "passage")]  # fmt: skip
    vectors = [model(dict(side))["sentence_embedding"].detach() for side in sides]
    alone, expected = MultiPositiveLoss(model, "lse_pair"), 0.0
    for width, weight in zip(WIDTHS, WEIGHTS, strict=True):
        cut = [functional.normalize(each[:, :width], dim=-1) for each in vectors]
        expected += weight * float(alone.compute_loss_from_embeddings(cut, batch["label"]))
    wrapped = MatryoshkaLoss(model, MultiPositiveLoss(model, "lse_pair"), WIDTHS, WEIGHTS)
    assert float(wrapped([dict(side) for side in sides], batch["label"])) == pytest.approx(expected, rel=1e-5)


def still(folder: Path) -> SentenceTransformer:
    encoder = Transformer(str(without_dropout(published(folder))), max_seq_length=24)
    return SentenceTransformer(modules=[encoder, Pooling(32, "mean")], device="cpu")
