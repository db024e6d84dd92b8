"""The band of one more run: against scipy, by hand, and by counting how often runs fall into it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from mpr.errors import NumbersError
from mpr.recipe.keys import Band
from mpr.rows import band
from tests.conftest import Examined


def test_by_hand() -> None:
    found = band.of([0.50, 0.52, 0.54])  # s = 2, t(0.975, 2) = 4.302653, sqrt(4/3) = 1.154701: half 9.9366
    assert found == Band(mean=52.0, low=42.06, high=61.94, seeds=3)


def test_equals_the_prediction_interval_of_scipy(examined: Examined) -> None:
    dice = np.random.default_rng(5)
    for count in range(3, 13):
        means = dice.uniform(0.3, 0.7, size=count)
        low, high = stats.t.interval(
            0.95, count - 1, 100 * means.mean(), 100 * means.std(ddof=1) * math.sqrt(1 + 1 / count)
        )
        found = band.of(means.tolist())
        assert found.low == pytest.approx(max(low, 0.0), abs=0.01)
        assert found.high == pytest.approx(min(high, 100.0), abs=0.01)
        assert found.low <= max(low, 0.0), "rounded outwards"
        assert found.high >= min(high, 100.0)
    examined(10, "numbers of seeds", at_least=10)


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_one_more_run_is_inside_in_95_of_100_cases(seeds: int, examined: Examined) -> None:
    runs = np.random.default_rng(seeds).normal(0.5, 0.01, size=(3000, seeds + 1))
    inside = sum(_inside(run[:-1].tolist(), float(run[-1])) for run in runs)
    assert 0.935 < inside / len(runs) < 0.965
    examined(len(runs), "rows with one more run", at_least=1000)


def _inside(means: list[float], more: float) -> bool:
    return band.verdict({"top20": band.of(means)}, {"top20": more}) == {"top20": band.WITHIN}


def test_edges() -> None:
    assert band.of([0.99, 1.0, 0.98]).high == 100.0
    assert band.of([0.0, 0.01, 0.02]).low == 0.0
    same = band.of([0.123456] * 3)
    assert (same.low, same.mean, same.high) == (12.34, 12.35, 12.35), "rounded outwards, never inwards"
    even = band.of([0.512] * 3)
    assert (even.low, even.high) == (51.2, 51.2), "51.2 percent is stored as a little less"
    for bad in ([0.5, 0.6], [0.5, 0.6, math.nan]):
        with pytest.raises(NumbersError):
            band.of(bad)


def test_verdicts() -> None:
    expected = {"top20": Band(mean=50, low=48, high=52, seeds=3), "top100": Band(mean=70, low=69, high=71, seeds=3)}
    cases: list[tuple[dict[str, float | None], str, str]] = [
        ({"top20": 0.48, "top100": 0.71}, "within", "within"),
        ({"top20": 0.4799, "top100": 0.71}, "below", "within"),
        ({"top20": 0.50, "top100": 0.7101}, "within", "above"),
        ({"top20": None}, "unmeasured", "unmeasured"),
        ({"top20": math.nan, "top100": 0.70}, "unmeasured", "within"),
    ]
    for means, first, second in cases:
        assert band.verdict(expected, means) == {"top20": first, "top100": second}
    assert band.verdict(None, {"mrr10": 0.3}) == {"mrr10": "unmeasured"}
    assert band.verdict(expected, {"mrr10": 0.3})["mrr10"] == "unmeasured"


def test_worst() -> None:
    assert band.worst(["within", "above", "below"]) == "below"
    assert band.worst(["within", "above", "unmeasured"]) == "above"
    assert band.worst(["within", "unmeasured"]) == "within"
    assert band.worst([]) == "unmeasured"
