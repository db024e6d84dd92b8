"""sentence-transformers' ranking loss and its evaluator of retrieval, the real ones, on the same vectors as ours."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from torch import Tensor

from mpr.evaluation import evaluate
from mpr.evaluation.evaluate import Rules
from mpr.evaluation.judgements import Judgements
from mpr.evaluation.ranking import Names, Ranking
from mpr.recipe.keys_draw import Draw
from mpr.records import Hit, Judgement
from mpr.search import search
from tests.conftest import Parity
from tests.parity.blocks import Drawn, apart, drawn, ours, recipe_of
from tests.parity.steps import term
from tests.unit.framings import words
from tests.unit.tiny_models import published
from tests.unit.vectors_in_memory import store_of

pytestmark = [pytest.mark.usefixtures("one_thread")]


def both(step: Drawn, negatives: int) -> Iterator[Tensor]:
    yield ours(step, [term("nll", temperature=0.05)], normalize=True)
    places = np.array([[*own, *more] for own, more in zip(step.positives, step.negatives, strict=True)])
    assert places.shape[1] == 1 + negatives
    columns = [step.passage_PD[place] for place in places.T]
    loss = MultipleNegativesRankingLoss(model=torch.nn.Identity())
    yield loss.compute_loss_from_embeddings([step.question_QD, *columns], torch.tensor([]))


def test_ranking_loss(parity: Parity) -> None:
    """With no, one and three hard negatives; a passage that two rows bring is there twice, as it is there."""
    recipe, found = recipe_of("nq_nll_m1_llm"), []
    for negatives in (0, 1, 3):
        wanted = recipe.draw.model_dump(by_alias=True, exclude_unset=True)
        entry = {"from": "negatives", "k": negatives, "weight": "uniform", "short": "fewer"}
        wanted["negatives"] = (entry,) if negatives else ()
        draw = Draw.model_validate(wanted)
        found += [apart(step, both(step, negatives)) for step in (drawn(recipe, seed, draw=draw) for seed in range(30))]
    subject, against = "nll, temperature 0.05, on vectors of length 1", "MultipleNegativesRankingLoss"
    parity(subject, against, len(found), max(found), 1e-12, "sentence-transformers")


CUTS = (1, 3, 5, 10)


def test_evaluator(tmp_path: Path, parity: Parity) -> None:
    """Their encoding, search and measures of a model with random weights, against our search and measures of the same
    vectors. Grades are 0 and 1: their nDCG knows no others."""
    dice = random.Random(4)
    passages = {f"p{number:03}": words(dice, dice.randint(3, 12)) for number in range(150)}
    questions = {f"q{number:02}": words(dice, dice.randint(2, 6)) for number in range(40)}
    right = {name: set(dice.sample(sorted(passages), dice.randint(1, 6))) for name in questions}
    modules = [Transformer(str(published(tmp_path / "base")), max_seq_length=24), Pooling(32, "mean")]
    model = SentenceTransformer(modules=modules, device="cpu")
    evaluator = InformationRetrievalEvaluator(
        questions, passages, right, accuracy_at_k=list(CUTS), precision_recall_at_k=list(CUTS), mrr_at_k=list(CUTS),
        ndcg_at_k=list(CUTS), map_at_k=[100], write_csv=False, score_functions={"dot": lambda a, b: a @ b.T},
    )  # fmt: skip
    theirs = evaluator(model)
    vectors = [model.encode(list(texts.values())) for texts in (questions, passages)]
    top = search.exact(vectors[0], store_of(vectors[1], 2, seed=1), 100, budget_bytes=1 << 28)
    ids = list(passages)
    hits = [
        Hit(question, ids[row], rank, float(score))
        for question, rows, scores in zip(questions, top.rows_QK, top.scores_QK, strict=True)
        for rank, (row, score) in enumerate(zip(rows, scores, strict=True), 1)
    ]
    judged = [Judgement(question, name, 1) for question, found in right.items() for name in sorted(found)]
    names = Names(ids)
    wanted = {f"{ours_}{cut}": f"dot_{name}@{cut}" for ours_, name in
              (("success", "accuracy"), ("recall", "recall"), ("mrr", "mrr"), ("ndcg", "ndcg"))
              for cut in CUTS} | {"map100": "dot_map@100"}  # fmt: skip
    ranking, judgements = Ranking.of_hits(hits, names), Judgements.of(judged, names)
    scores = evaluate.by_judgements(ranking, judgements, names, Rules("run", "test", depth=100), names=list(wanted))
    assert 0.02 < theirs["dot_ndcg@10"] < 0.9
    largest = max(abs(scores.mean(name)[0] - float(theirs[there])) for name, there in wanted.items())
    subject, against = "search and measures of a model, 17 measures", "InformationRetrievalEvaluator"
    parity(subject, against, len(wanted), largest, 1e-12, "sentence-transformers")
