"""A new run against the band of its recipe: measured runs, shown to the bands of their own row and of others."""

from __future__ import annotations

from pathlib import Path

from mpr.recipe import read
from mpr.recipe.keys import Recipe
from mpr.rows import band
from mpr.rows.reproduction import Reproduction
from mpr.rows.result import Result
from tests import shipped
from tests.conftest import Examined

RESULTS = shipped.ROOT / "leaderboard" / "results"
BANDED = [name for name, recipe in shipped.recipes().items() if recipe.expected is not None]


def measured(row: str) -> list[Result]:
    return [Result.read(path) for path in sorted((RESULTS / row).glob("trained-seed*.json"))]


def judged(recipe: Recipe, runs: list[Result]) -> Reproduction:
    return Reproduction(recipe, {"trained": runs}, {"trained": [Path(run.name) for run in runs]})


def said(made: Reproduction) -> list[str]:
    return list(made._verdicts(next(iter(made.recipe.data.evaluate))))


def test_bands_are_those_of_the_committed_results(examined: Examined) -> None:
    """Computed anew from what lies there; the runs that made a band are all within it."""
    tried = 0
    for name in BANDED:
        recipe, runs = shipped.recipes()[name], measured(name.rpartition("/")[2])
        assert recipe.expected is not None
        role = next(iter(recipe.data.evaluate))
        for measure, found in recipe.expected.items():
            means = [run.document["scores"][role]["measures"][measure]["mean"] for run in runs]
            assert found == band.of(means), (name, measure)
        words = [line.split(":")[1].split()[1] for line in said(judged(recipe, runs))]
        assert words == ["within"] * len(runs), name
        assert list(judged(recipe, runs).outside()) == []
        tried += len(runs)
    examined(tried, f"measured runs within the bands of {len(BANDED)} rows", at_least=60)


def test_a_run_of_another_recipe_is_above_or_below(examined: Examined) -> None:
    """NLL over one positive is no run of JointLH over four, and the other way round; both directions are refused."""
    one, four = "mini/world_nll_m1", "mini/world_joint_lh_m4"
    tried = 0
    for own, other, word in ((four, "world_nll_m1", "below"), (one, "world_joint_lh_m4", "above")):
        made = judged(shipped.recipes()[own], measured(other))
        for run, line in zip(measured(other), said(made), strict=True):
            assert line.startswith(f"band: {run.name} {word}: "), line
        problems = list(made.outside())
        assert {problem.where for problem in problems} == {run.name for run in measured(other)}
        assert "ndcg10" in {problem.key for problem in problems}
        for problem in problems:
            bounds = (shipped.recipes()[own].expected or {})[problem.key]
            assert f" is {word} the band of the recipe, {bounds.low} to {bounds.high}" in problem.what
        tried += len(problems)
    examined(tried, "measures of runs outside a band", at_least=6)


def test_another_recipe_is_not_judged_and_another_seed_is() -> None:
    path = shipped.ROOT / "recipes" / "mini" / "world_joint_lh_m4.yaml"
    runs = measured("world_nll_m1")
    changed = judged(read.load(path, ["training.max_steps=9"]), runs)
    assert said(changed) == ["band: not judged, it is of the recipe without --set training.max_steps"]
    assert list(changed.outside()) == []
    assert list(judged(read.load(path, ["training.seed=7"]), runs).outside())


def test_a_row_without_a_band_says_so() -> None:
    without = shipped.recipes()["mini/world_joint_lh_m8"].model_copy(update={"expected": None})
    made = judged(without, measured("world_joint_lh_m8"))
    assert said(made) == ["band: unmeasured (`mpr leaderboard expect` writes it from three seeds or more)"]
    assert list(made.outside()) == []
