"""The label `margin`: against the definition, NV-Retriever's formula and sentence-transformers' own miner."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from pydantic import ValidationError
from sentence_transformers.util import mine_hard_negatives

from mpr.data.pair_labels import Knowledge
from mpr.data.pair_scores import PairScores, Scored
from mpr.errors import DataError
from mpr.labels import margin
from tests.conftest import Examined
from tests.unit.draws import gold
from tests.unit.labelling import content, knowing, label, listed, random_world, scores_file, stand, tiers

NOWHERE: Any = None  # the ground of a label that does not look at it
MARGINS = ({"absolute": 0.0}, {"absolute": 0.203}, {"share": 0.907}, {"share": 1.0})


def test_by_hand(tmp_path: Path) -> None:
    """Positives score 0.8 and 0.6: limits are 0.5, 0.6 and 0.7 with a margin of 0.1."""
    known = knowing([[(0, "gold"), (1, "gold"), (9, "llm")]], a=[[2, 3, 4, 5, 6]])
    scores = {0: 0.8, 1: 0.6, 2: 0.9, 3: 0.65, 4: 0.55, 5: 0.45, 6: 0.1}
    given = scores_file(tmp_path, {(0, passage): value for passage, value in scores.items()})
    params = {"source": "a", "window": 4, "scores": given, "absolute": 0.1}
    ground = stand(tmp_path, 1, 10)
    stays = {
        than: listed(label("margin", known, ground, **params, than=than).of("a")) for than in ("min", "mean", "max")
    }
    assert stays == {"min": [[5]], "mean": [[4, 5]], "max": [[3, 4, 5]]}  # 6 is behind the window
    found = label("margin", known, ground, **params, than="min")
    assert tiers(found) == [[(0, "gold"), (1, "gold"), (9, "llm"), (2, "grey"), (3, "grey"), (4, "grey")]]
    assert found.counts == {"1 margin": {"stay": 1, "positive": 0, "grey": 3, "without a limit": 0}}
    found = label("margin", known, ground, **params, than="mean", then="positive", tier="cross_encoder", up_to=1)
    assert tiers(found) == [[(0, "gold"), (1, "gold"), (9, "llm"), (2, "cross_encoder"), (3, "grey")]]
    assert listed(label("margin", known, ground, **(params | {"absolute": None}), share=0.75, than="mean").of("a")) == [
        [5]
    ]


def test_every_question_by_the_definition(tmp_path: Path, examined: Examined) -> None:
    looked = 0
    for seed, than, how in itertools.product(range(3), ("min", "mean", "max"), MARGINS):
        folder = tmp_path / f"{seed}{than}{'-'.join(map(str, (*how, *how.values())))}"
        ground, known, scores = random_world(folder, seed)
        params = {"source": "a", "window": 15, "than": than, "scores": scores_file(folder, scores), **how}
        found = label("margin", known, ground, **params, unanchored="ignore")
        for question in range(len(known.of("a"))):
            own = [np.float32(scores[question, passage]) for passage, tier in tiers(known)[question] if tier == "gold"]
            near = listed(known.of("a"))[question][:15]
            if own:
                level = float({"min": min, "max": max, "mean": np.mean}[than](np.array(own, dtype=np.float64)))
                limit = level - how["absolute"] if "absolute" in how else level * how["share"]
                stay = [passage for passage in near if np.float32(scores[question, passage]) <= limit]
            else:
                stay = []
            assert listed(found.of("a"))[question] == stay
            assert {p for p, tier in tiers(found)[question] if tier == "grey"} == set(near) - set(stay)
            assert tiers(found)[question][: len(tiers(known)[question])] == tiers(known)[question]
            looked += len(near)
        again = label("margin", known, ground, **params, unanchored="ignore")
        assert content(again) == content(found)
    examined(looked, "candidates", at_least=3_000)


def test_questions_without_a_limit(tmp_path: Path) -> None:
    known = knowing([gold(0), [(1, "llm")]], a=[[2, 3], [2, 3]])
    ground = stand(tmp_path, 2, 5)
    given = scores_file(tmp_path, {(q, p): 0.1 * p for q in range(2) for p in (0, 2, 3)})
    params = {"source": "a", "window": 9, "than": "max", "absolute": 0.0, "scores": given}
    with pytest.raises(DataError, match=r"1 questions have no positive with a score, the first is q1"):
        label("margin", known, ground, **params)
    assert listed(label("margin", known, ground, **params, unanchored="keep").of("a")) == [[], [2, 3]]
    found = label("margin", known, ground, **params, unanchored="ignore")
    assert listed(found.of("a")) == [[], []]
    assert tiers(found)[1] == [(1, "llm"), (2, "grey"), (3, "grey")]
    with pytest.raises(DataError, match="have no score, the first is passage p4 of question q0"):
        label("margin", knowing([gold(0), gold(0)], a=[[4], [2]]), ground, **params)


def test_scores_of_the_source_itself(tmp_path: Path) -> None:
    """Candidates and proposed positives have the source's scores; the source also scores what it did not propose."""
    known = knowing([gold(0), gold(1)], a=[[2, 3, 4], [2, 3]])
    known.of("a").columns["score"][:] = [9.0, 7.0, 5.0, 4.0, 2.0]
    anchors = PairScores.of(Scored(np.array([0, 1]), np.array([0, 1]), np.array([8.0, 3.0], dtype=np.float32)))
    known = Knowledge(known.positives, known.candidates, known.tiers, anchors={"a": anchors})
    params = {"source": "a", "window": 9, "than": "min", "share": 0.9}
    assert listed(label("margin", known, NOWHERE, **params).of("a")) == [[3, 4], [3]]
    promoted = known.positives.extended(np.array([0]), np.array([4]), 0)  # a label found it among the candidates
    later = Knowledge(promoted, known.candidates, known.tiers, anchors={"a": anchors})
    assert listed(label("margin", later, stand(tmp_path, 2, 5), **params).of("a")) == [[], [3]]


def test_keys_that_contradict() -> None:
    base = {"source": "a", "window": 5, "than": "min"}
    for more, what in (
        ({}, "exactly one of"),
        ({"absolute": 0.1, "share": 0.9}, "exactly one of"),
        ({"absolute": 0.1, "then": "positive"}, "go together"),
        ({"absolute": 0.1, "tier": "llm"}, "go together"),
        ({"absolute": 0.1, "up_to": 2}, "belongs to"),
        ({"absolute": -0.1}, "greater than or equal"),
        ({"share": 1.1}, "less than or equal"),
    ):
        with pytest.raises(ValidationError, match=what):
            margin.Params(**base, **more)


def test_the_perc_pos_of_nv_retriever(tmp_path: Path) -> None:
    """TopK-PercPos (2407.15831, section 3.2): of candidates in rank order, those below 95 % of the positive's score."""
    dice = random.Random(1)
    scores = {(0, passage): dice.random() for passage in range(40)}
    ranked = sorted(range(1, 40), key=lambda passage: -scores[0, passage])
    known = knowing([gold(0)], a=[ranked])
    params = {"window": 40, "than": "min", "share": 0.95, "scores": scores_file(tmp_path, scores)}
    found = label("margin", known, stand(tmp_path, 1, 40), source="a", **params)
    threshold = scores[0, 0] * 0.95
    assert listed(found.of("a"))[0] == [passage for passage in ranked if scores[0, passage] < threshold]
    assert 0 < len(listed(found.of("a"))[0]) < 39


class Listed:
    """A model of sentence-transformers as far as its miner asks: texts are vectors."""

    device, model_card_data, similarity_fn_name = torch.device("cpu"), None, "dot"

    def __init__(self, vectors: dict[str, torch.Tensor]) -> None:
        self.vectors = vectors

    def encode(self, texts: list[str], **options: Any) -> Any:
        return torch.stack([self.vectors[text] for text in texts]).numpy()

    encode_query = encode_document = encode

    def similarity(self, left: Any, right: Any) -> torch.Tensor:
        return torch.as_tensor(left) @ torch.as_tensor(right).T

    def similarity_pairwise(self, left: Any, right: Any) -> torch.Tensor:
        return (torch.as_tensor(left) * torch.as_tensor(right)).sum(dim=1)


@pytest.mark.parametrize("several", [1, 3])
@pytest.mark.parametrize("how", [{"absolute": 0.0}, {"absolute": 0.6}, {"share": 0.9}, {"share": 0.5}])
def test_sentence_transformers_mines_the_same(
    how: dict[str, float], several: int, tmp_path: Path, examined: Examined
) -> None:
    """Its `absolute_margin` and `relative_margin`, with one positive and with several (its least counts)."""
    random_ = torch.Generator().manual_seed(several)
    questions, passages = 8, 40
    vectors = {f"question q{row}": torch.randn(6, generator=random_) for row in range(questions)}
    vectors |= {f"text {row}": torch.randn(6, generator=random_) for row in range(passages)}
    own = [[row * several + number for number in range(several)] for row in range(questions)]
    rows = [(f"question q{q}", f"text {p}") for q in range(questions) for p in own[q]]
    scores = {
        (q, p): float(vectors[f"question q{q}"] @ vectors[f"text {p}"])
        for q in range(questions)
        for p in range(passages)
    }
    ranked = [sorted(set(range(passages)) - set(own[q]), key=lambda p, q=q: -scores[q, p]) for q in range(questions)]  # type: ignore[misc]
    ground = stand(tmp_path, questions, passages)
    known = knowing([gold(*passages_) for passages_ in own], a=ranked)
    params = {"source": "a", "window": passages, "than": "min", "scores": scores_file(tmp_path, scores)}
    found = label("margin", known, ground, **params, **how)
    margins = {
        "absolute_margin": how.get("absolute"),
        "relative_margin": None if "absolute" in how else 1 - how["share"],
    }
    mined = mine_hard_negatives(
        Dataset.from_dict({"anchor": [one for one, _ in rows], "positive": [two for _, two in rows]}),
        Listed(vectors),  # type: ignore[arg-type]
        corpus=[f"text {row}" for row in range(passages)],
        num_negatives=passages - several,
        range_max=passages - several,
        output_format="triplet",
        verbose=False,
        **margins,  # type: ignore[arg-type]
    )
    theirs = [(row["anchor"], row["positive"], row["negative"]) for row in mined]
    ours = [
        (f"question q{question}", f"text {positive}", f"text {passage}")
        for question in range(questions)
        for positive in own[question]
        for passage in listed(found.of("a"))[question]
    ]
    assert sorted(theirs) == sorted(ours)
    examined(len(ours), "pairs of a positive and a negative", at_least=20)
