"""Labels that give an objective its targets: stored scores of a teacher, grades in groups, BM25 scores."""

from __future__ import annotations

import json
import pickle
import random
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpr.data.pair_labels import Knowledge
from mpr.data.pair_scores import pairs_of
from mpr.errors import DataError, RecipeError
from mpr.search import bm25
from mpr.search.bm25 import Analysis, Settings
from tests.conftest import Examined
from tests.unit.draws import gold
from tests.unit.labelling import (
    knowing,
    label,
    listed,
    scores_file,
    stand,
    tiers,
)

NOWHERE: Any = None  # the ground of a label that does not look at it


# ---- teacher


def test_teacher_drops_or_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    known = knowing([[(0, "gold"), (5, "gold")], [(0, "gold"), (6, "llm")]], a=[[1, 2, 3], [4]], b=[[], [3, 2]])
    scores = {(0, 0): 9.0, (0, 1): 2.0, (0, 2): 3.0, (0, 3): 3.0, (1, 0): 8.0, (1, 2): 1.0, (1, 3): 0.5}
    stood, file = stand(tmp_path, 2, 10), scores_file(tmp_path, scores)
    found = label("teacher", known, stood, scores=file, missing="drop")
    assert (listed(found.of("a")), listed(found.of("b"))) == ([[1, 2, 3], []], [[], [3, 2]])
    assert tiers(found) == [[(0, "gold"), (5, "grey")], [(0, "gold"), (6, "llm")]]
    assert found.counts == {"1 teacher": {"candidates dropped": 1, "positives dropped": 1}}
    assert found.scores["teacher_QP"].lookup([0, 1, 1], [0, 2, 4]).tolist()[:2] == [9.0, 1.0]
    best = label("teacher", known, stood, scores=file, missing="drop", keep_best=1)
    assert (listed(best.of("a")), listed(best.of("b"))) == ([[2], []], [[], [2]])  # of equal ones the better ranked
    with pytest.raises(
        DataError, match="1 of 4 candidates of 'a' have no score, the first is passage p4 of question q1"
    ):
        label("teacher", known, stood, scores=file, missing="refuse")
    less = known.with_candidates("a", known.of("a").kept(np.array([True, True, True, False])))
    with pytest.raises(DataError, match="1 of 3 positives have no score, the first is passage p5 of question q0"):
        label("teacher", less, stood, scores=file, missing="refuse")
    with pytest.raises(RecipeError, match="two labels give teacher_QP"):
        label("teacher", found, stood, scores=file, missing="drop")


def test_scores_of_the_training_records_are_found_by_text(tmp_path: Path) -> None:
    """Passages have ids of their own in the corpus; the records know them by what they say."""
    stood = stand(tmp_path, 2, 6)
    rows = [
        {"id": "q0", "query": "a", "pos": ["text 0"], "neg": ["text  2", "text 1"], "neg_scores": [1, -2]},
        {"id": "q1", "query": "b", "pos": ["text 3"], "pos_scores": [4.5]},
    ]
    rows[0]["pos_scores"] = [9]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    known = knowing([gold(0), gold(3)], a=[[2, 1], []])
    asked = {"scores": {"file": file.name, "format": "pos_neg"}, "missing": "refuse"}
    found = label("teacher", known, stood, **asked)
    assert found.scores["teacher_QP"].lookup([0, 0, 0, 1], [0, 2, 1, 3]).tolist() == [9.0, 1.0, -2.0, 4.5]
    columns = {"question": "query", "positives": "pos", "id": "id", "positive_scores": "pos_scores"}
    mapped = {"scores": {"file": file.name, "format": "columns", "columns": columns}, "missing": "drop"}
    assert label("teacher", known, stood, **mapped).counts["1 teacher"]["candidates dropped"] == 2
    file.write_text(json.dumps({**rows[1], "pos": ["no such text"]}) + "\n", "utf-8")
    with pytest.raises(DataError, match="is not in the collection"):
        label("teacher", known, stood, **asked)


# ---- groups


def _grades(known: Knowledge, question: int) -> dict[int, float]:
    scores = known.scores["grades_QP"]
    owner_N, passage_N = pairs_of(scores.keys)
    mine = owner_N == question
    return dict(zip(passage_N[mine].tolist(), scores.values[mine].tolist(), strict=True))


def test_groups_of_the_three_stages(tmp_path: Path, examined: Examined) -> None:
    """The numbers of pairs of CL-DRD's stages, 291, 345 and 435 for thirty passages, one of them the known positive."""
    dice = random.Random(4)
    known = knowing([gold(200), gold(200)], a=[dice.sample(range(200), 200) for _ in range(2)])
    scores = {(question, passage): dice.random() for question in range(2) for passage in range(200)}
    stood, file = stand(tmp_path, 2, 201), scores_file(tmp_path, scores)
    sizes = {5: (12, 13, 291), 10: (10, 10, 345), 30: (0, 0, 435)}
    stages: list[list[dict[int, float]]] = []
    for relevant, (hard, semi, pairs) in sizes.items():
        params = {"source": "a", "scores": file, "depth": 200, "relevant": relevant, "hard": hard, "semi": semi}
        found = label("groups", known, stood, **params, hard_until=50, seed=7)
        stages.append([_grades(found, question) for question in range(2)])
        for question, grades in enumerate(stages[-1]):
            assert len(grades) == 30
            assert sum(one != other for one, other in combinations(grades.values(), 2)) == pairs
            order = sorted(range(200), key=lambda passage: -scores[question, passage])
            expected = {200: 1.0, **{p: float(np.float32(1 / (n + 2))) for n, p in enumerate(order[: relevant - 1])}}
            assert {passage: grade for passage, grade in grades.items() if grade > 0} == expected
            for grade, count, among in ((-0.25, hard, order[relevant - 1 : 49]), (-0.5, semi, order[49:])):
                drawn = {passage for passage, value in grades.items() if value == grade}
                assert len(drawn) == count
                assert drawn <= set(among)
            kept = listed(found.of("a"))[question]
            assert kept == sorted(kept, key=lambda passage: -scores[question, passage])  # the teacher's order
            assert {*kept, 200} == grades.keys()
    compared = 0
    for (early, late), question in product(combinations(stages, 2), range(2)):
        for one, other in combinations(early[question].keys() & late[question].keys(), 2):
            sign = np.sign(early[question][one] - early[question][other])
            assert sign in (0, np.sign(late[question][one] - late[question][other]))
            compared += 1
    assert set(stages[0][0]) != set(_grades(label("groups", known, stood, source="a", scores=file, depth=200,
                                                  relevant=5, hard=12, semi=13, hard_until=50, seed=8), 0))  # fmt: skip
    examined(compared, "pairs of passages in two stages, whose order was only refined", at_least=300)


def test_known_positives_share_the_first_place(tmp_path: Path) -> None:
    known = knowing([[(8, "gold"), (9, "gold"), (7, "llm")], gold()], a=[[1, 2, 7, 3, 4], [1, 2, 3, 4, 5]])
    scores = {(q, p): p / 10 for q in range(2) for p in range(10)}
    params = {"source": "a", "depth": 4, "relevant": 3, "hard": 1, "semi": 9, "hard_until": 4, "seed": 1}
    found = label("groups", known, stand(tmp_path, 2, 10), **params, scores=scores_file(tmp_path, scores))
    third = float(np.float32(1 / 3))
    assert _grades(found, 0) == {8: 1.0, 9: 1.0, 3: third, 2: -0.25, 1: -0.5}  # 7 is known, 4 is beyond the depth
    assert _grades(found, 1) == {4: 1.0, 3: 0.5, 2: third, 1: -0.25}
    assert found.counts == {"1 groups": {"relevant": 4, "hard": 2, "semi": 1}}


# ---- bm25_score

BM25 = {"k1": 0.9, "b": 0.4, "title": False, "stopwords": "none", "stemmer": "none"}


def test_lexical_scores_are_those_of_the_index(tmp_path: Path, examined: Examined) -> None:
    dice = random.Random(2)
    words = ["question", *(f"q{row}" for row in range(9)), *(f"w{n}" for n in range(30))]
    texts = [" ".join(dice.choices(words, k=dice.randrange(3, 20))) for _ in range(80)]
    stood = stand(tmp_path, 8, 80, texts)
    known = knowing(
        [gold(*dice.sample(range(80), 2)) for _ in range(8)],
        a=[dice.sample(range(80), 30) for _ in range(8)],
        b=[dice.sample(range(80), 5) for _ in range(8)],
    )
    plain = label("bm25_score", known, stood, **BM25, normalise="none").scores["lexical_QP"]
    halved = label("bm25_score", known, stood, **BM25, normalise="question_length").scores["lexical_QP"]
    index = bm25.beside(stood.passages, Settings(0.9, 0.4, False, Analysis("none", "none")), stood.bar)
    owner_N, passage_N = pairs_of(plain.keys)
    assert np.array_equal(plain.keys, known.pairs())
    for question in range(8):
        mine = owner_N == question
        expected = index.scores(stood.questions[question].text)[passage_N[mine]]
        np.testing.assert_allclose(plain.values[mine], expected, rtol=1e-6)
        np.testing.assert_allclose(halved.values[mine], expected / 2, rtol=1e-6)  # `question q3` has two words
    assert np.count_nonzero(plain.values) > 50
    examined(len(plain), "pairs", at_least=200)


def test_lexical_scores_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stood, known = stand(tmp_path, 2, 9), knowing([gold(0), gold(1)], a=[[2], [3]])
    first = label("bm25_score", known, stood, **BM25, normalise="none").scores["lexical_QP"]
    monkeypatch.setattr(bm25, "beside", None)
    again = label("bm25_score", known, stood, **BM25, normalise="none").scores["lexical_QP"]
    assert again.folder == first.folder
    other = knowing([gold(0), gold(1)], a=[[2], [4]])
    with pytest.raises(TypeError):  # other pairs are other scores
        label("bm25_score", other, stood, **BM25, normalise="none")


def test_pairs_that_nobody_proposed_are_computed_when_they_are_asked_for(tmp_path: Path, examined: Examined) -> None:
    """As the index says, also by a process that got the scores sent; padding and strangers stay unknown."""
    dice = random.Random(3)
    words = ["question", *(f"q{row}" for row in range(4))]
    stood = stand(tmp_path, 4, 30, [" ".join(dice.choices(words, k=5)) for _ in range(30)])
    known = knowing([gold(0)] * 4, a=[[1, 2]] * 4)
    stored = label("bm25_score", known, stood, **BM25, normalise="question_length").scores["lexical_QP"]
    given = label("bm25_score", known, stood, **BM25, normalise="question_length", others="computed")
    question_Q1, passage_P = np.arange(-1, 4)[:, None], np.arange(-1, 30)
    index = bm25.beside(stood.passages, Settings(0.9, 0.4, False, Analysis("none", "none")), stood.bar)
    for scores in (given.scores["lexical_QP"], pickle.loads(pickle.dumps(given.scores["lexical_QP"]))):
        found_QP = scores.lookup(question_Q1, passage_P)
        for row in range(4):
            expected = index.scores(stood.questions[row].text) / 2
            np.testing.assert_allclose(found_QP[row + 1, 1:], expected, rtol=1e-6)
        assert np.isnan(found_QP[0]).all()
        assert np.isnan(found_QP[:, 0]).all()
    examined(int(np.isnan(stored.lookup(question_Q1[1:], passage_P[1:])).sum()), "pairs not stored", at_least=100)
