"""What rows are compared with besides passages, and harder negatives, beside other people's losses.

Whole steps of several positives, over processes and in chunks, against a loop: tests/parity/test_processes.py.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from torch import Tensor
from torch.nn import functional

from mpr import catalogue, objectives
from mpr.training._loss import Seen, Terms, learned_of
from tests.conftest import Examined, Parity
from tests.parity.steps import term
from tests.unit.tiny_models import published, without_dropout

ROWS, SIZE = 6, 32
MADE_OF_SCORES = ("width", "learned")
WORDS = ["ka", "lo", "mi", "ren", "tu", "vas", "zel", "or", "ni", "be"]
FORWARD, BACKWARD, QQ, DD = "query_to_doc", "doc_to_query", "query_to_query", "doc_to_doc"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SentenceTransformer:
    encoder = Transformer(str(without_dropout(published(tmp_path_factory.mktemp("still")))), max_seq_length=24)
    return SentenceTransformer(modules=[encoder, Pooling(32, "mean")], device="cpu")


def texts(model: SentenceTransformer, columns: int) -> list[dict[str, Any]]:
    """Columns of a batch: questions, positives, and for a third column a hard negative of each."""
    made = [[" ".join(WORDS[(row * (3 + column) + place) % 10] for place in range(2 + column)) for row in range(ROWS)]
            for column in range(columns)]  # fmt: skip
    return [dict(model.preprocess(column)) for column in made]


def ours(vectors: list[Tensor], entries: list[Any]) -> float:
    """One positive a row; a third column are negatives drawn for their row, and negatives of the others."""
    question_QD, passages = vectors[0], vectors[1:]
    passage_PD, same = torch.cat(passages), torch.eye(len(question_QD), dtype=torch.bool)
    positives_QP = torch.cat([same, *(torch.zeros_like(same) for _ in passages[1:])], dim=1)
    own_QP = torch.cat([same for _ in passages], dim=1)
    rows = slice(0, len(question_QD))
    seen = Seen(question_QD, passage_PD, positives_QP, ~positives_QP, rows, question_QD, own_QP=own_QP)
    terms = Terms(entries)
    sums = terms(seen)
    return float(terms.total(sums.sum_T, sums.weight_T))


CASES: dict[str, tuple[int, dict[str, Any], list[dict[str, Any]]]] = {  # columns, theirs, ours
    "questions": (2, {"directions": (FORWARD, QQ)}, [{"against": ["passages", "questions"]}]),
    "passages of others": (2, {"directions": (FORWARD, DD)}, [{"against": ["passages", "copassages_of_others"]}]),
    "with hard negatives": (
        3, {"directions": (FORWARD, QQ, DD)}, [{"against": ["passages", "questions", "copassages_of_others"]}],
    ),
    "both ways": (
        2, {"directions": (FORWARD, BACKWARD), "partition_mode": "per_direction"},
        [{"coefficient": 0.5}, {"coefficient": 0.5, "view": "positive", "against": ["questions"]}],
    ),
    "harder drawn ones": (
        3, {"hardness_mode": "hard_negatives", "hardness_strength": 5.0},
        [{"hardness": {"strength": 5.0, "of": "drawn"}}],
    ),
    "harder others": (
        3, {"hardness_mode": "in_batch_negatives", "hardness_strength": 9.0},
        [{"hardness": {"strength": 9.0, "of": "others"}}],
    ),
    "all harder": (
        3, {"hardness_mode": "all_negatives", "hardness_strength": 2.0}, [{"hardness": {"strength": 2.0, "of": "all"}}],
    ),
}  # fmt: skip


def test_one_positive_is_the_loss_of_sentence_transformers(model: SentenceTransformer, parity: Parity) -> None:
    worst = 0.0
    for name, (columns, options, entries) in CASES.items():
        features = texts(model, columns)
        expected = float(
            MultipleNegativesRankingLoss(model, **options)([dict(each) for each in features], None).detach()
        )
        vectors = [functional.normalize(model(dict(each))["sentence_embedding"].detach().double()) for each in features]
        found = ours(vectors, [term("nll", temperature=0.05, **entry) for entry in entries])
        plain = ours(vectors, [term("nll", temperature=0.05)])
        assert abs(found - plain) > 1e-4, f"{name} changes nothing here, so it proves nothing"
        worst = max(worst, abs(found - expected) / expected)
    against = "sentence-transformers: MultipleNegativesRankingLoss with directions and hardness"
    parity("nll with against and hardness", against, len(CASES), worst, 1e-5, "sentence-transformers")


def test_one_positive_is_the_softmax_of_ms_swift(parity: Parity) -> None:
    """Written down from what its INFONCE_INCLUDE_QQ and INFONCE_INCLUDE_DD do (modelscope/ms-swift,
    swift/loss/embedding.py at 1343fd1b): one softmax over passages, other questions, and what the
    positive itself is compared with."""
    dice, worst = torch.Generator().manual_seed(2), 0.0
    for columns in (2, 3):
        vectors = [
            functional.normalize(torch.randn(ROWS, SIZE, generator=dice, dtype=torch.float64)) for _ in range(columns)
        ]
        question_QD, passage_PD = vectors[0], torch.cat(vectors[1:])
        expected = 0.0
        for row in range(ROWS):
            logits = [question_QD[row] @ passage_PD[row]]
            logits += [question_QD[row] @ passage_PD[p] for p in range(len(passage_PD)) if p != row]
            logits += [question_QD[row] @ question_QD[other] for other in range(ROWS) if other != row]
            logits += [passage_PD[row] @ passage_PD[p] for p in range(len(passage_PD)) if p != row]
            expected += float(-torch.stack(logits).div(0.1).log_softmax(0)[0]) / ROWS
        found = ours(vectors, [term("nll", temperature=0.1, against=["passages", "questions", "copassages"])])
        worst = max(worst, abs(found - expected) / expected)
    parity(
        "nll against passages, questions, copassages", "modelscope/ms-swift: InfoNCE with QQ and DD", 2, worst, 1e-12
    )


def test_every_objective_of_scores_has_them(examined: Examined) -> None:
    """Two positives a row: more columns or harder negatives change every one, and it stays finite far out."""
    dice = torch.Generator().manual_seed(4)
    question_QD = torch.randn(4, 8, generator=dice, dtype=torch.float64)
    passage_PD = torch.randn(12, 8, generator=dice, dtype=torch.float64)
    row_Q, column_P = torch.arange(4)[:, None], torch.arange(12)[None]
    positives_QP = (column_P // 2 == row_Q) & (column_P < 8)
    own_QP = positives_QP | (column_P - 8 == row_Q)
    tried = 0
    for name in catalogue.names("objectives"):
        entry = term(name, **objectives.when_named(name))
        if set(getattr(entry, "needs", ())) - set(MADE_OF_SCORES):
            continue
        for more in ({"against": ["passages", "questions"]}, {"against": ["passages", "copassages"]},
                     {"hardness": term("nll", hardness={"strength": 3.0, "of": "all"}).hardness}):  # fmt: skip
            found = []
            for scale in (1.0, 1e2):
                for each in (entry, entry.model_copy(update=more)):
                    questions, passages = question_QD * scale, (passage_PD * scale).requires_grad_()
                    own = slice(0, 4)
                    seen = Seen(questions, passages, positives_QP, ~positives_QP, own, questions, own_QP=own_QP)
                    terms = Terms([each], learned=learned_of([each]))
                    sums = terms(seen)
                    loss = terms.total(sums.sum_T, sums.weight_T.detach())
                    (gradient_PD,) = torch.autograd.grad(loss, passages)
                    assert torch.isfinite(loss)
                    assert torch.isfinite(gradient_PD).all()
                    found.append(float(loss.detach()))
            assert found[0] != found[1], (name, more)
            tried += 1
    examined(tried, "objectives with something more", at_least=15)
