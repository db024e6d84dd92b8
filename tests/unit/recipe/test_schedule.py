"""Steps that follow from a recipe: against the drawer that will make them, and numbers from the papers' arithmetic."""

from __future__ import annotations

import math
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mpr.batches.draw import Drawer
from mpr.data.positives import PositiveIndex
from mpr.recipe import schedule
from mpr.recipe.keys import Recipe
from mpr.recipe.schedule import RefreshSchedule
from mpr.storage.ragged import Ragged
from tests import shipped
from tests.conftest import Examined


def with_training(name: str, **training: Any) -> Recipe:
    recipe = shipped.recipes()[name]
    given = {key: value for key, value in (recipe.training | training).items() if value != "absent"}
    return recipe.model_copy(update={"training": given})


@pytest.mark.parametrize(
    "name, per_epoch, total, passages",
    [  # questions / batch, rounded up; times epochs; batch times (positives + 1 negative)
        ("nq_bce_m3", 3_680, 147_200, 64),
        ("trivia_bce_m1", 3_776, 151_033, 32),
        ("squad_bce_m2", None, None, 48),  # of Tevatron's copies the numbers of records are known roughly
        ("webq_nll_m1", None, None, 32),
        ("trec_bce_m3", None, None, 64),
        ("nq_nll_m1_released", 460, 18_400, 256),
        ("trec_nll_m1_paper", None, 800, 256),
        ("squad_nll_m1_released", None, 21_880, 256),
        ("nq_joint_lh_m4_llm", None, None, 512),
        ("msmarco_nll_m1_llm", None, None, 1_024),
        ("mini/scifact_joint_lh_all", 17, 600, None),
        ("quickstart", 32, 160, 160),
    ],
)
def test_numbers_of_known_rows(name: str, per_epoch: int | None, total: int | None, passages: int | None) -> None:
    recipe = shipped.recipes()[name]
    assert schedule.steps_per_epoch(recipe) == per_epoch
    assert schedule.steps(recipe) == total
    assert schedule.updates(recipe) == total
    assert schedule.passages_per_step(recipe) == passages
    assert schedule.questions_per_step(recipe) == recipe.questions_per_step


def test_a_rough_number_of_questions_is_for_predictions_alone() -> None:
    """The released example of the second paper saves once an epoch, every 3,131 steps of 128 questions."""
    recipe = shipped.recipes()["msmarco_nll_m1_llm"]
    assert math.floor(schedule.likely_rows(recipe) / 128) == 3_131  # type: ignore[operator]
    assert schedule.likely_steps(recipe) == 9_394
    assert schedule.steps(recipe) is None
    known = shipped.recipes()["nq_bce_m3"]
    assert schedule.likely_rows(known) == schedule.rows_per_epoch(known) == 58_880
    assert schedule.likely_steps(known) == schedule.steps(known)
    assert schedule.likely_rows(with_training("quickstart")) == 1_000
    assert schedule.likely_rows(shipped.recipes()["trec_bce_m3"]) == 1_120


@pytest.mark.parametrize("epochs", [1, 1.5, 3, 40])
@pytest.mark.parametrize("batch", [1, 7, 16, 128])
def test_steps_are_those_of_the_drawer(batch: int, epochs: float) -> None:
    recipe = with_training("quickstart", max_steps="absent", num_train_epochs=epochs, per_device_train_batch_size=batch)
    nothing = Ragged(np.zeros(1001, dtype=np.int64), {"passage": np.zeros(0, np.int64), "rank": np.zeros(0, np.int32)})
    positives = PositiveIndex.of([[(number, "gold")] for number in range(1_000)])
    drawer = Drawer(recipe.draw, positives, ("gold",), {"bm25": nothing}, 1_000, batch, 0)
    assert schedule.steps(recipe) == drawer.steps(epochs)
    assert schedule.rows_per_epoch(recipe) == drawer.rows_per_epoch


@pytest.mark.parametrize("accumulation", [1, 2, 3, 8])
def test_accumulation(accumulation: int) -> None:
    by_epochs = with_training("nq_bce_m3", gradient_accumulation_steps=accumulation)
    assert schedule.steps(by_epochs) == 147_200
    assert schedule.updates(by_epochs) == math.ceil(147_200 / accumulation)
    by_updates = with_training("quickstart", gradient_accumulation_steps=accumulation)
    assert (schedule.steps(by_updates), schedule.updates(by_updates)) == (160 * accumulation, 160)


def test_groups_are_filled() -> None:
    recipe = shipped.recipes()["nq_joint_lh_m4_llm"]
    assert schedule.positives_per_row(recipe) == 4
    assert [schedule.negatives_per_row(recipe, positives) for positives in (1, 4, 7, 8, 9)] == [7, 4, 1, 0, 0]


def test_all_of_a_source_is_its_depth_or_the_window() -> None:
    recipe = shipped.recipes()["nq_bce_m3"]
    entry = recipe.draw.negatives[0].model_copy(update={"k": None, "all": True})
    for window, depth, expected in ((None, None, None), (7, None, 7), (None, 9, 9), (7, 9, 7)):
        source = SimpleNamespace(as_=entry.from_, depth=depth)
        draw = recipe.draw.model_copy(update={"negatives": (entry.model_copy(update={"window": window}),)})
        changed = recipe.model_copy(update={"draw": draw, "sources": (source,)})
        assert schedule.negatives_per_row(changed, 1) == expected
        assert (schedule.passages_per_step(changed) is None) == (expected is None)


def test_what_nobody_knows_is_not_guessed() -> None:
    recipe = shipped.recipes()["trec_bce_m3"]
    rows = recipe.draw.positives.model_copy(update={"policy": "one_row_per_positive", "m": None, "beyond": None})
    one_each = recipe.model_copy(update={"draw": recipe.draw.model_copy(update={"positives": rows})})
    assert schedule.rows_per_epoch(one_each) is None
    assert schedule.steps(one_each) is None
    assert schedule.positives_per_row(one_each) == 1
    data = recipe.data.model_copy(update={"train": "nowhere"})
    assert schedule.steps(recipe.model_copy(update={"data": data})) is None


def test_missing_and_wrong_training_values(examined: Examined) -> None:
    """Rules call these functions while `training` is incomplete."""
    tried = 0
    for key in ("per_device_train_batch_size", "num_train_epochs", "gradient_accumulation_steps", "max_steps"):
        for value in ("absent", None, "3", 0, -1, 0.5, True, [3], {"a": 1}):
            recipe = with_training("trec_bce_m3", **{key: value})
            for function in (schedule.steps, schedule.updates, schedule.passages_per_step, schedule.steps_per_epoch):
                number = function(recipe)
                assert number is None or number > 0
                tried += 1
    examined(tried, "calls with a wrong value", at_least=140)


# Refreshes: golden timetables, and that what a checkpoint keeps is what its continuation needs.

# every, stale, updates -> versions that are made, the version that each update reads
TIMETABLES = [
    (None, False, 5, [0], [0, 0, 0, 0, 0]),
    (2, False, 6, [0, 2, 4], [0, 0, 2, 2, 4, 4]),
    (2, False, 7, [0, 2, 4, 6], [0, 0, 2, 2, 4, 4, 6]),
    (3, False, 6, [0, 3], [0, 0, 0, 3, 3, 3]),
    (9, False, 6, [0], [0] * 6),
    (2, True, 6, [0, 2], [0, 0, 0, 0, 2, 2]),  # what update 4 could mine is for updates that never come
    (2, True, 7, [0, 2, 4], [0, 0, 0, 0, 2, 2, 4]),
    (9, True, 6, [0], [0] * 6),
    (1, True, 4, [0, 1, 2], [0, 0, 1, 2]),
]  # fmt: skip


@pytest.mark.parametrize("every, stale, updates, made, read", TIMETABLES)
def test_known_timetables(every: int | None, stale: bool, updates: int, made: list[int], read: list[int]) -> None:
    refreshes = RefreshSchedule(every, updates, stale)
    assert refreshes.versions() == [update for update in range(updates) if refreshes.is_due(update)] == made
    assert [refreshes.in_force(update) for update in range(updates)] == read
    assert all(refreshes.in_force(update) == refreshes.in_force(refreshes.end(update) - 1) for update in range(updates))


def test_what_a_continued_run_needs_is_there_and_nothing_else(examined: Examined) -> None:
    """Continued before every update in turn: with the tables that are needed, and those that it makes, it goes on; with
    one of them less it does not."""
    tried = 0
    for every, stale, questions in product((None, 1, 2, 3, 5), (False, True), (1.0, 0.2)):
        refreshes = RefreshSchedule(every, 11, stale, questions)
        for start in range(12):
            needed = refreshes.needed(start)
            assert _goes_on(refreshes, start, needed)
            assert not any(_goes_on(refreshes, start, needed - {version}) for version in needed)
            assert len(needed) <= 2, "a bounded disk"
            tried += len(needed)
    examined(tried, "tables that a run cannot go on without", at_least=150)


def _goes_on(refreshes: RefreshSchedule, start: int, tables: set[int]) -> bool:
    there = set(tables)
    for update in range(start, refreshes.updates):
        if refreshes.is_due(update):
            if refreshes.is_partial(update) and refreshes.before(update) not in there:
                return False
            there.add(update)
        if refreshes.in_force(update) not in there:
            return False
    return True
