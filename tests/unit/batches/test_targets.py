"""Targets of a block: looked up by id for a whole step; what a term needs and nobody knows is refused by its ids."""

from __future__ import annotations

import pickle
import random
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpr.batches import relations
from mpr.batches.draw import Drawer
from mpr.batches.relations import Block, Relations
from mpr.batches.targets import NOTHING, Names, Targets, seen_by
from mpr.data.pair_labels import Knowledge
from mpr.data.pair_scores import PairScores, Scored
from mpr.data.positives import PositiveIndex
from mpr.data.tokens import PADDING
from mpr.errors import DataError
from tests.conftest import Examined
from tests.parity.steps import term
from tests.unit.draws import config, entry, gold
from tests.unit.labelling import COUNTING, knowing, stand
from tests.unit.policies import policy_of

CAREFUL = policy_of("ignore", "ignore", "ignore", "ignore")
TEACH = {"name": "pairwise", "phi": "square", "target": "teacher"}
Pairs = dict[tuple[int, int], float]


def store(scores: Pairs) -> PairScores:
    question_N, passage_N = np.array(list(scores), dtype=np.int64).reshape(-1, 2).T
    return PairScores.of(Scored(question_N, passage_N, np.array(list(scores.values()), dtype=np.float32)))


def block() -> tuple[Block, Relations]:
    """q4 with its positive 1 and negative 2, q7 with 3 and 5, then padding on both sides; 6 is drawn for both."""
    rows = [np.array(each, dtype=np.int64) for each in ([0, 1], [1, 3], [0, 0, 1, 1], [2, 6, 5, 6])]
    made = Block(np.array([4, 7, PADDING]), np.array([1, 2, 3, 5, 6, PADDING]), *rows)
    index = PositiveIndex.of([gold(1) if question == 4 else gold(3) for question in range(8)])
    hashes = np.arange(9).astype(np.uint64)
    return made, relations.build(made, index, hashes, ("gold",), CAREFUL, in_batch=True)


OWN: Pairs = {(4, 1): 9, (4, 2): 1, (4, 6): 2, (7, 3): 8, (7, 5): 3, (7, 6): 4}
OTHERS: Pairs = {(4, 3): 0.5, (4, 5): 0.25, (7, 1): 0.125, (7, 2): 0.75}


def targets(*terms: dict[str, Any], scores: Pairs, names: Names | None = None) -> Targets:
    known = Knowledge(PositiveIndex.of([]), {}, ("gold",), scores={"teacher_QP": store(scores)})
    return Targets.of([term(**options) for options in terms], known, names)


def test_every_cell_gets_what_is_known_of_it() -> None:
    found = targets(TEACH, scores=OWN | OTHERS)(*block())
    nan = float("nan")
    expected = [[9, 1, 0.5, 0.25, 2, nan], [0.125, 0.75, 8, 3, 4, nan], [nan] * 6]
    assert np.array_equal(found["teacher_QP"], np.array(expected, np.float32), equal_nan=True)
    assert found.keys() == {"teacher_QP"}
    assert NOTHING(*block()) == {}
    assert targets({"name": "nll"}, scores=OWN)(*block()) == {}  # nobody looks at it


def test_own_cells() -> None:
    found = targets({"name": "nll", "columns": "own"}, scores=OWN)(*block())
    assert found.keys() == {"own_QP"}
    assert found["own_QP"].tolist() == [[1, 1, 0, 0, 1, 0], [0, 0, 1, 1, 1, 0], [0] * 6]


def test_only_what_a_term_looks_at_must_be_known(examined: Examined) -> None:
    """Each cell in turn unknown, with each kind of columns: refused exactly if a term of that kind looks at it."""
    count = 0
    for columns, missing in product(("all", "own", "others"), (OWN | OTHERS)):
        scores = {pair: value for pair, value in (OWN | OTHERS).items() if pair != missing}
        looked = {"all": OWN | OTHERS, "own": OWN, "others": OTHERS | {(4, 1): 9, (7, 3): 8}}[columns]
        made = targets({"name": "nll"}, TEACH | {"columns": columns}, scores=scores)
        if missing in looked:
            told = rf"objective\[1\].*: teacher_QP is not known of 1 of {len(looked)} cells that the term looks at"
            with pytest.raises(
                DataError, match=f"{told}, the first is passage row {missing[1]} of question row {missing[0]} "
            ):
                made(*block())
        else:
            made(*block())
        count += 1
    examined(count, "unknown cells", at_least=30)


def test_a_row_without_a_positive_needs_nothing() -> None:
    made, related = block()
    alone = Relations(related.positives_QP & (made.question_Q == 4)[:, None], related.negatives_QP, related.own_QP)
    targets(TEACH, scores={pair: 1.0 for pair in OWN | OTHERS if pair[0] == 4})(made, alone)


def test_messages_have_ids_and_the_whole_goes_to_another_process(tmp_path: Path) -> None:
    stood = stand(tmp_path, 8, 9)
    names = Names(stood.questions.folder, stood.passages.folder)
    made = pickle.loads(pickle.dumps(targets(TEACH | {"columns": "own"}, scores={(4, 1): 1.0}, names=names)))
    with pytest.raises(DataError, match=r"not known of 5 of 6 cells .* the first is passage p2 of question q4"):
        made(*block())


def test_grades_are_those_of_the_data_where_no_label_grades() -> None:
    index = knowing([[] for _ in range(4)] + [gold(1)] + [[]] * 2 + [gold(3)]).positives
    index = PositiveIndex(index.rows)
    index.rows.columns["grade"] = np.array([2.0, 3.0], np.float32)
    graded = {"name": "kl", "target": "grades"}
    found = Targets.of([term(**graded)], Knowledge(index, {}, ("gold",)))(*block())["grades_QP"]
    assert found[:2, :5].tolist() == [[2, 0, 0, 0, 0], [0, 0, 3, 0, 0]]
    label = Knowledge(index, {}, ("gold",), scores={"grades_QP": store(OWN)})
    with pytest.raises(DataError, match="grades_QP is not known of 4 of 10 cells"):
        Targets.of([term(**graded)], label)(*block())
    assert Targets.of([term(**graded, columns="own")], label)(*block())["grades_QP"][0, :2].tolist() == [9, 1]


def test_lookups_of_whole_streams(examined: Examined) -> None:
    """Every drawn candidate has the score of its pair, whatever else is in the step."""
    dice = random.Random(6)
    known = knowing(
        [gold(*dice.sample(range(50), 2)) for _ in range(9)], a=[dice.sample(range(50), 20) for _ in range(9)]
    )
    scores = {(question, passage): dice.random() for question in range(9) for passage in range(50)}
    draw = config({"policy": "all"}, entry("a", "uniform", k=4))
    drawer = Drawer(draw, known.positives, COUNTING, known.candidates, 50, 4, seed=2)
    made = targets(TEACH | {"columns": "own"}, scores=scores)
    count = 0
    for number in range(20):
        step = drawer(number).block
        related = relations.build(
            step, known.positives, np.arange(50).astype(np.uint64), COUNTING, CAREFUL, in_batch=True
        )
        found = made(step, related)
        for row, column in np.argwhere(found["own_QP"]):
            pair = int(step.question_Q[row]), int(step.passage_P[column])
            assert found["teacher_QP"][row, column] == np.float32(scores[pair])
            count += 1
        assert (found["own_QP"].sum(axis=1) == 6).all()
    examined(count, "drawn pairs", at_least=400)


def test_parts_of_a_row() -> None:
    positives, negatives, own = (np.array(bits, bool) for bits in ([1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [1, 0, 1, 0, 1]))
    parts = {columns: seen_by(columns, positives, negatives, own) for columns in ("all", "own", "others")}
    shown = {columns: [part.astype(int).tolist() for part in pair] for columns, pair in parts.items()}
    assert shown == {
        "all": [[1, 1, 0, 0, 0], [0, 0, 1, 1, 0]],
        "own": [[1, 0, 0, 0, 0], [0, 0, 1, 0, 0]],
        "others": [[1, 0, 0, 0, 0], [0, 0, 0, 1, 0]],
    }
