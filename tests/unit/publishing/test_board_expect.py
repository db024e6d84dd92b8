"""Writing `expected` into a recipe: the block changes and not one other byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpr.errors import DataError, RecipeError
from mpr.publishing import board_entries
from mpr.recipe import read
from mpr.recipe.keys import Band
from mpr.rows import band
from mpr.rows.result import Result
from tests import boards, shipped
from tests.conftest import Examined

BANDS = {"top20": Band(mean=51.2, low=48.0, high=54.4, seeds=3), "top100": Band(mean=70, low=69, high=71, seeds=3)}
LINES = (
    "expected: # 95 % band of one more run, from 3 seeds; fewer than 5, so it is wide (mpr leaderboard expect)\n"
    "  top20: {mean: 51.2, low: 48.0, high: 54.4, seeds: 3}\n"
    "  top100: {mean: 70.0, low: 69.0, high: 71.0, seeds: 3}\n"
)


def test_every_shipped_recipe_keeps_every_other_byte(tmp_path: Path, examined: Examined) -> None:
    names = [name for name in shipped.NAMES if not shipped.is_checkpoint(name)]
    for name in names:
        text, recipe = shipped.text(name), shipped.recipes()[name]
        bands = dict.fromkeys(recipe.evaluation.measures, BANDS["top20"])
        made = board_entries.with_expected(text, bands)
        at = text.index("expected:")
        if recipe.expected is None:
            old = text[at:].partition("\n")[0] + "\n"
            assert made == text[:at] + board_entries.expected_block(bands) + text[at:].removeprefix(old)
        assert board_entries.with_expected(made, bands) == made, "twice is once"
        path = tmp_path / f"{recipe.name}.yaml"
        path.write_text(made, encoding="utf-8")
        assert read.load(path).model_dump() == recipe.model_copy(update={"expected": bands}).model_dump()
    examined(len(names), "recipes", at_least=40)


@pytest.mark.parametrize("name", ["quickstart", "mini/trec_lead3_after_dpr", "systems/rocketqa"])
def test_writing(name: str, tmp_path: Path) -> None:
    path = boards.recipe(tmp_path, "row", name)
    every = dict.fromkeys(read.load(path).evaluation.measures, BANDS["top20"])
    board_entries.write_expected(path, every)
    assert path.read_bytes() == board_entries.with_expected(shipped.text(name), every).encode()


@pytest.mark.parametrize(
    "before, after",
    [
        ("a: 1\nexpected: null # until measured\nb: 2\n", f"a: 1\n{LINES}b: 2\n"),
        ("a: 1\nexpected: null", f"a: 1\n{LINES}"),
        ("a: 1", f"a: 1\n{LINES}"),
        (f"a: 1\n{LINES}# of somebody\nb: 2\n", f"a: 1\n{LINES}# of somebody\nb: 2\n"),
        ("expected:\n  top20:\n    mean: 1\n    low: 1\n\nb: 2\n", f"{LINES}\nb: 2\n"),
        ("a: 1\r\nexpected: null\r\nb: 2\r\n", f"a: 1\r\n{LINES}b: 2\r\n"),
        ("unexpected: 1\n  expected: 2\n", f"unexpected: 1\n  expected: 2\n{LINES}"),
    ],
)
def test_block(before: str, after: str) -> None:
    assert board_entries.with_expected(before, BANDS) == after


def test_more_seeds_are_not_called_wide() -> None:
    assert "wide" not in board_entries.expected_block({"top20": Band(mean=51.2, low=48.0, high=54.4, seeds=5)})


def test_a_file_that_would_say_something_else_is_left_alone(tmp_path: Path) -> None:
    quoted = shipped.text("quickstart").replace("expected: null", '"expected": null')
    inside = shipped.text("quickstart").replace("source: null,", 'source: "a text\nexpected: by nobody\n\n  here",')
    path = tmp_path / "quickstart.yaml"
    for text in (quoted, inside):
        path.write_text(text)
        assert read.load(path).expected is None
        with pytest.raises(RecipeError):
            board_entries.write_expected(path, BANDS)
        assert path.read_text() == text


def test_bands_of_results(tmp_path: Path) -> None:
    path = boards.recipe(tmp_path, "row", "quickstart")
    results = [Result.of_run(boards.run(tmp_path / str(seed), path, "trained", seed, 0.5)) for seed in boards.SEEDS]
    found = board_entries.bands(results, "test")
    assert set(found) == {"top1", "top5", "top20", "top100"}
    means = [result.document["scores"]["test"]["measures"]["top20"]["mean"] for result in results]
    assert found["top20"] == band.of(means)
    assert len(set(means)) == 3
    for few in (results[:2], [*results[:2], results[0]]):
        with pytest.raises(DataError, match="a band needs 3"):
            board_entries.bands(few, "test")
