"""The label `llm`: from a file of verdicts to positives, negatives and grey, by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from mpr.data.candidates import ANSWER_MATCH
from mpr.errors import DataError, RecipeError
from mpr.formats import verdicts
from mpr.formats.verdicts import Verdict
from mpr.storage.ragged import Ragged
from tests.unit.draws import gold
from tests.unit.labelling import knowing, label, listed, stand, tiers

Grades = Mapping[tuple[int, int], int | None]


def verdicts_file(folder: Path, grades: Grades) -> dict[str, Any]:
    lines = [Verdict(f"q{q}", f"p{p}", grade, "said", "judge-1", "small") for (q, p), grade in grades.items()]
    with (folder / "judged.jsonl").open("wb") as file:
        verdicts.write_verdicts(file, lines)
    return {"file": "judged.jsonl"}


def params(folder: Path, grades: Grades, **more: Any) -> dict[str, Any]:
    given = {"source": "a", "window": 5, "answer_matches": False, "relevant": 1, "at_most": None}
    return {**given, "judgements": verdicts_file(folder, grades), **more}


def known() -> Any:
    found = knowing([gold(9), gold()], a=[[1, 2, 3, 4, 5, 6], [1, 7]])
    return replace(found, tiers=("gold", "llm"))


YES_NO: Grades = {(0, 1): 0, (0, 2): 1, (0, 3): None, (0, 4): 1, (0, 5): 0, (1, 1): 1, (1, 7): 0, (0, 9): 0}


def test_yes_or_no(tmp_path: Path) -> None:
    """2 and 4 are promoted, 3 is grey, 6 is beyond the window and stays; a known positive stays one."""
    found = label("llm", known(), stand(tmp_path, 2, 10), **params(tmp_path, YES_NO))
    assert tiers(found) == [[(9, "gold"), (2, "llm"), (4, "llm"), (3, "grey")], [(1, "llm")]]
    assert listed(found.of("a")) == [[1, 5, 6], [7]]
    assert listed(found.of("a"), "rank") == [[1, 5, 6], [2]]
    assert found.counts == {
        "1 llm": {"judged": 7, "promoted": 3, "questions": 2, "grey": 1, "of these unread": 1}
    }  # fmt: skip
    assert len(found.stores["1 llm"]) == len(YES_NO)


def test_at_most(tmp_path: Path) -> None:
    found = label("llm", known(), stand(tmp_path, 2, 10), **params(tmp_path, YES_NO, at_most=1))
    assert tiers(found) == [[(9, "gold"), (2, "llm"), (4, "grey"), (3, "grey")], [(1, "llm")]]


GRADED: Grades = {(0, 1): 2, (0, 2): 1, (0, 3): 3, (0, 4): 0, (0, 5): 2, (1, 1): 1, (1, 7): 0}


def test_grades_best_first_and_what_lies_between_is_grey(tmp_path: Path) -> None:
    ground = stand(tmp_path, 2, 10)
    found = label("llm", known(), ground, **params(tmp_path, GRADED, relevant=2, grade="judged"))
    assert tiers(found) == [[(9, "gold"), (3, "llm"), (1, "llm"), (5, "llm"), (2, "grey")], [(1, "grey")]]
    assert listed(found.positives.rows, "grade") == [[1, 3, 2, 2, 0], [0]]
    assert listed(found.of("a")) == [[4, 6], [7]]
    wide = label(
        "llm", known(), stand(tmp_path / "b", 2, 10), **params(tmp_path / "b", GRADED, relevant=2, irrelevant=1)
    )
    assert listed(wide.of("a")) == [[2, 4, 6], [1, 7]]


def test_answer_matches_are_looked_at_on_demand(tmp_path: Path) -> None:
    """8 and 0 were taken out of the source, 8 because it contains an answer; not relevant, it would stay out."""
    columns = {"passage": np.array([8, 0]), "rank": np.array([2, 3]), "score": np.array([1.0, 1.0])}
    columns["label"] = np.array([ANSWER_MATCH, ANSWER_MATCH + 1], dtype=np.uint8)
    out = {"a": Ragged(np.array([0, 2, 2]), columns)}
    base, ground = replace(known(), removed=out), stand(tmp_path, 2, 10)
    for grade, expected in ((1, [(9, "gold"), (8, "llm")]), (0, [(9, "gold")])):
        grades = {**dict.fromkeys(((0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (1, 1), (1, 7)), 0), (0, 8): grade}
        found = label("llm", base, ground, **params(tmp_path, grades, answer_matches=True))
        assert tiers(found)[0] == expected
        assert listed(found.of("a")) == listed(base.of("a"))
        without = label("llm", base, ground, **params(tmp_path, grades))
        assert tiers(without)[0] == [(9, "gold")]


def test_answer_matches_of_the_data_are_told_anew(tmp_path: Path) -> None:
    """8 and 0 are known by their answers alone; 8 is judged relevant and keeps its place, 0 is not and stays."""
    base = knowing([[(8, "answer_match"), (9, "gold"), (0, "answer_match")], gold()], a=[[1], []])
    base, ground = replace(base, tiers=("gold", "llm")), stand(tmp_path, 2, 10)
    given = params(tmp_path, {(0, 8): 3, (0, 0): 1, (0, 1): 2}, relevant=2, grade="judged")
    found = label("llm", base, ground, **{**given, "answer_matches": True})
    assert tiers(found)[0] == [(8, "llm"), (9, "gold"), (0, "answer_match"), (1, "llm")]
    assert listed(found.positives.rows, "grade")[0] == [3, 1, 1, 2]
    counting = replace(base, tiers=("gold", "llm", "answer_match"))
    assert tiers(label("llm", counting, ground, **{**given, "answer_matches": True}))[0][0] == (8, "answer_match")
    assert tiers(label("llm", base, ground, **given))[0][0] == (8, "answer_match")


def test_refusals(tmp_path: Path) -> None:
    ground = stand(tmp_path, 2, 10)
    some = {pair: grade for pair, grade in YES_NO.items() if pair != (0, 3)}
    with pytest.raises(DataError, match=r"1 of 7 candidates of 'a' up to the window .* the first is passage p3"):
        label("llm", known(), ground, **params(tmp_path, some))
    given = params(tmp_path, YES_NO)
    with pytest.raises(DataError, match=r"labels\.judgements\.file: is not the pinned file"):
        label("llm", known(), ground, **{**given, "judgements": {"file": "judged.jsonl", "sha256": "0" * 64}})
    with pytest.raises(RecipeError, match="no source is called 'b'"):
        label("llm", known(), ground, **{**given, "source": "b"})
    with pytest.raises(DataError, match="is not there"):
        label("llm", known(), ground, **{**given, "judgements": {"file": "gone.jsonl"}})
    with pytest.raises(DataError, match="passage p99 is not in the collection"):
        label("llm", known(), ground, **params(tmp_path, {(0, 99): 1}))
    with pytest.raises(ValidationError, match="must be below"):
        label("llm", known(), ground, **{**given, "irrelevant": 1})
