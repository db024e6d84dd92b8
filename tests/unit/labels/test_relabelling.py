"""The labels `rlhn` and `arhn` over files of verdicts, and how the answers of their prompts are read."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from mpr.errors import DataError
from mpr.formats import verdicts
from mpr.writing import prompts
from tests.conftest import Examined
from tests.unit.draws import gold
from tests.unit.labelling import content, knowing, label, listed, stand, tiers
from tests.unit.labels.test_llm import verdicts_file


def _given(folder: Path, grades: dict[tuple[int, int], int | None]) -> dict[str, Any]:
    return {"source": "a", "window": 9, "judgements": verdicts_file(folder, grades)}


def test_relabelling_by_hand(tmp_path: Path) -> None:
    known = knowing([gold(0), gold(1), gold(2)], a=[[3, 4, 5, 6], [3, 4], [3, 4]])
    grades = {(0, 3): 1, (0, 4): 2, (0, 5): 0, (0, 6): None, (1, 3): 0, (1, 4): 0, (2, 3): 2, (2, 4): 2}
    params, ground = _given(tmp_path, grades), stand(tmp_path, 3, 8)
    found = label("rlhn", known, ground, **params, then="positive", drop_above=2, grade="judged")
    assert tiers(found) == [
        [(0, "gold"), (4, "llm"), (3, "llm"), (6, "grey")],
        [(1, "gold")],
        [(2, "gold"), (3, "llm"), (4, "llm")],
    ]
    assert listed(found.positives.rows, "grade")[0] == [1, 2, 1, 0]
    assert listed(found.of("a")) == [[5], [3, 4], []]
    assert found.counts["1 rlhn"] == {
        "judged": 8, "false negatives": 4, "relabelled": 4, "unread": 1, "questions dropped": 0
    }  # fmt: skip
    found = label("rlhn", known, ground, **params, then="ignore", relevant=2)
    assert tiers(found)[0] == [(0, "gold"), (4, "grey"), (6, "grey")]
    assert listed(found.of("a")) == [[3, 5], [3, 4], []]
    found = label("rlhn", known, ground, **params, then="drop_question")
    assert listed(found.of("a")) == [[], [3, 4], []]
    assert {tier for _, tier in tiers(found)[0]} == {tier for _, tier in tiers(found)[2]} == {"grey"}
    assert not found.positives.counting(found.tiers).lengths()[[0, 2]].any()  # nothing is drawn for them
    found = label("rlhn", known, ground, **params, then="positive", drop_above=1)
    assert tiers(found)[1] == [(1, "gold")]
    assert {tier for _, tier in tiers(found)[0] + tiers(found)[2]} == {"grey"}
    with pytest.raises(DataError, match="have no score, the first is passage p7 of question q0"):
        label("rlhn", knowing([gold(0)], a=[[7]]), ground, **params, then="ignore")


def test_an_order_by_hand(tmp_path: Path) -> None:
    """Two positives, 0 at the third and 1 at the fifth place of six: 2 and 3 are above both, 4 above the lower one."""
    known = knowing([gold(0, 1)], a=[[2, 3, 4, 5, 6, 7]])
    grades = {(0, 2): 6, (0, 3): 5, (0, 0): 4, (0, 4): 3, (0, 1): 2, (0, 5): 1, (0, 6): 0, (0, 7): 0}
    params, ground = _given(tmp_path, grades), stand(tmp_path, 1, 8)
    found = label("arhn", known, ground, **params)
    assert tiers(found) == [[(0, "gold"), (1, "gold"), (2, "llm"), (3, "llm"), (4, "grey"), (5, "grey")]]
    assert listed(found.of("a")) == [[6, 7]]
    assert found.counts["1 arhn"] == {"judged": 6, "above": 2, "below with an answer": 2, "unread": 0}
    found = label("arhn", known, ground, **params, than="min", below="negative")
    assert tiers(found) == [[(0, "gold"), (1, "gold"), (2, "llm"), (3, "llm"), (4, "llm")]]
    assert listed(found.of("a")) == [[5, 6, 7]]
    found = label("arhn", known, ground, **params, above="ignore", below="negative")
    assert tiers(found) == [[(0, "gold"), (1, "gold"), (2, "grey"), (3, "grey")]]


def test_an_order_that_says_nothing_makes_grey(tmp_path: Path) -> None:
    """An unread answer; and a question whose positives are not in the order."""
    known = knowing([gold(0), gold(1)], a=[[2, 3], [2, 3]])
    grades: dict[tuple[int, int], int | None] = {
        (0, 0): None,
        (0, 2): None,
        (0, 3): None,
        (1, 1): 0,
        (1, 2): 2,
        (1, 3): 0,
    }
    found = label("arhn", known, stand(tmp_path, 2, 5), **_given(tmp_path, grades))
    assert listed(found.of("a")) == [[], []]
    assert tiers(found) == [[(0, "gold"), (2, "grey"), (3, "grey")], [(1, "gold"), (2, "grey"), (3, "grey")]]
    assert found.counts["1 arhn"]["unread"] == 4


def test_both_by_the_definition(tmp_path: Path, examined: Examined) -> None:
    looked = 0
    for seed in range(6):
        dice, folder = random.Random(seed), tmp_path / f"{seed}"
        folder.mkdir()
        own = [dice.sample(range(8), dice.randrange(1, 4)) for _ in range(10)]
        near = [dice.sample(range(8, 30), dice.randrange(12)) for _ in range(10)]
        known, ground = knowing([gold(*some) for some in own], a=near), stand(folder, 10, 30)
        order = [dice.sample([*own[q], *near[q]], dice.randrange(1, len(own[q]) + len(near[q]) + 1)) for q in range(10)]
        places = {
            (q, p): len(order[q]) - order[q].index(p) if p in order[q] else 0
            for q in range(10)
            for p in (*own[q], *near[q])
        }
        params = _given(folder, dict(places)) | {"window": 99}
        found = label("arhn", known, ground, **params, than="max")
        for q in range(10):
            level = max(places[q, p] for p in own[q])
            looked += len(near[q])
            if level == 0:  # no positive is in the order: nothing is known of the candidates
                assert tiers(found)[q][len(own[q]) :] == [(p, "grey") for p in near[q]]
                assert listed(found.of("a"))[q] == []
                continue
            above = sorted((p for p in near[q] if places[q, p] > level), key=lambda p, q=q: -places[q, p])  # type: ignore[misc]
            below = [p for p in near[q] if 0 < places[q, p] < level]
            assert tiers(found)[q][len(own[q]) :] == [(p, "llm") for p in above] + [(p, "grey") for p in below]
            assert listed(found.of("a"))[q] == [p for p in near[q] if places[q, p] == 0]
        assert content(label("arhn", known, ground, **params)) == content(found)
        graded = label("rlhn", known, ground, **params, then="positive", drop_above=None, relevant=2)
        for q in range(10):
            new = {p for p, tier in tiers(graded)[q] if tier == "llm"}
            assert new == {p for p in near[q] if places[q, p] >= 2} == set(near[q]) - set(listed(graded.of("a"))[q])
    examined(looked, "candidates", at_least=200)


@pytest.mark.parametrize(
    "answer, grades",
    [
        ("Better: 2\nWorse: 1, 3", [1, 2, 1, 0]),
        ("I read them.\n**Better:** none\n**Worse:** [4]", [0, 0, 0, 1]),
        ("<think>Better: 1\nWorse: 2</think>Better: 2 and 3\nWorse: none.", [0, 2, 2, 0]),
        ("better:\nworse: Doc 1; Doc 2", [1, 1, 0, 0]),
        ("Better: 1\nWorse: none\nNo, wait.\nBetter: 2\nWorse: 1", [1, 2, 0, 0]),
        ("Better: 2", None),
        ("Better: 5\nWorse: none", None),
        ("Better: the second\nWorse: none", None),
        ("yes", None),
    ],
)  # fmt: skip
def test_answers_of_relabelling(answer: str, grades: list[int] | None) -> None:
    assert prompts.relabelled(answer, 4) == grades


@pytest.mark.parametrize(
    "answer, grades",
    [
        ("Order: 4 > 1 > 2", [2, 1, 0, 3]),
        ("All of them lack it.\nOrder: none", [0, 0, 0, 0]),
        ("order: [3] > [1]", [1, 0, 2, 0]),
        ("Order: 2 > 2 > 1", [1, 2, 0, 0]),
        ("Order: 0 > 1", None),
        ("4 > 1", None),
        ("Order: 1 because it is short", None),
    ],
)
def test_answers_of_ordering(answer: str, grades: list[int] | None) -> None:
    assert prompts.order(answer, 4) == grades


def test_verdicts_of_another_prompt_are_refused(tmp_path: Path) -> None:
    line = verdicts.Verdict("q0", "p1", 2, "said", "judge-order-1", "small")
    with (tmp_path / "judged.jsonl").open("wb") as file:
        verdicts.write_verdicts(file, [line])
    known, ground = knowing([gold(0)], a=[[1]]), stand(tmp_path, 1, 3)
    given = {"source": "a", "window": 9, "judgements": {"file": "judged.jsonl"}}
    with pytest.raises(DataError, match="by the prompt judge-order-1, whose grades mean something else to `rlhn`"):
        label("rlhn", known, ground, **given, then="ignore")
    label("arhn", known, ground, **given)


def test_a_dropped_question_has_nothing_left_to_promote(tmp_path: Path) -> None:
    known = knowing([gold(0), gold(1)], a=[[2, 3], [2, 3]], b=[[4], [4]])
    grades: dict[tuple[int, int], int | None] = {(0, 2): 1, (0, 3): 0, (1, 2): 0, (1, 3): 0}
    found = label("rlhn", known, stand(tmp_path, 2, 6), **_given(tmp_path, grades), then="drop_question")
    assert [listed(found.of(name)) for name in "ab"] == [[[], [2, 3]], [[], [4]]]
