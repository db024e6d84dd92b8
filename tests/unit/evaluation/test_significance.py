"""Tests of significance against scipy, and against probabilities worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from mpr.errors import NumbersError
from mpr.evaluation import significance
from mpr.evaluation.significance import bootstrap, holm, randomisation, seed_difference, seeds
from tests.conftest import Examined


def by_scipy(difference_Q: NDArray[np.float64]) -> float:
    found = stats.permutation_test(
        (difference_Q,), np.mean, permutation_type="samples", n_resamples=10**6, vectorized=True, axis=0
    )
    return float(found.pvalue)


def test_exact_values_equal_scipy(examined: Examined) -> None:
    dice, cases = np.random.default_rng(3), 0
    for count in (2, 3, 5, 7, 8, 11):
        for _ in range(6):
            for values in (
                dice.normal(size=count),
                dice.integers(-1, 2, count).astype(float),  # hit rates
                dice.integers(-3, 4, count) / 3,  # hit rates over three seeds
                dice.choice([2 / 3, -1.0, 0.5, 0.0], count),  # no value is the unit
            ):
                found = randomisation(np.append(values, [0.0, 0.0]))
                assert found.method.startswith("exact")
                sixths = np.rint(6 * values)  # whole numbers, since scipy takes a sum of 1e-17 for one above 0
                exact = sixths if np.allclose(6 * values, sixths) else values
                assert found.p == pytest.approx(by_scipy(exact), abs=1e-12)
                cases += 1
    examined(cases, "samples", at_least=140)


def test_hit_rates_over_thousands_of_questions_are_the_binomial_test(examined: Examined) -> None:
    dice = np.random.default_rng(5)
    for number in range(20):
        win, loss = int(dice.integers(0, 400)), int(dice.integers(0, 400))
        difference_Q = dice.permutation([1.0] * win + [-1.0] * loss + [0.0] * 2_500)
        expected = stats.binomtest(win, win + loss).pvalue
        assert randomisation(difference_Q, seed=number) == (significance.PValue(pytest.approx(expected), "exact"))
    examined(20, "pairs of systems", at_least=20)


def test_by_hand() -> None:
    assert randomisation([1.0] * 5).p == 2 / 32
    assert randomisation([1.0, 1.0, -1.0]).p == 1.0
    assert randomisation([0.5, 0.25, 0.125]).p == 2 / 8
    assert randomisation([0.0, 0.0]) == significance.PValue(1.0, "exact: no question differs")


def test_draws_are_near_the_exact_value_and_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(11).normal(0.3, 1, 18)
    exact = randomisation(values).p
    assert exact == pytest.approx(by_scipy(values), abs=1e-12)
    monkeypatch.setattr(significance, "EXACT", 10)
    drawn = [randomisation(values, seed=seed).p for seed in range(4)]
    assert randomisation(values, seed=2).p == drawn[2]
    assert len(set(drawn)) > 1
    sd = math.sqrt(exact * (1 - exact) / significance.DRAWS)
    assert all(abs(p - exact) < 5 * sd for p in drawn)
    assert randomisation(np.ones(200) + np.arange(200) * math.pi, draws=999).p == 1 / 1_000  # never 0
    monkeypatch.setattr(significance, "_BLOCK", 1 << 10)
    assert randomisation(values, seed=2).p == drawn[2], "blocks are a matter of memory"


def test_bootstrap_is_near_scipy_and_seeded() -> None:
    values = np.random.default_rng(2).normal(0.1, 1.0, 300)
    low, high = bootstrap(values, seed=1)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=1).confidence_interval
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.006)
    assert bootstrap(values, seed=1) == (low, high)
    assert bootstrap(values, seed=2) != (low, high)
    assert bootstrap([0.25] * 9) == (0.25, 0.25)
    wide, narrow = bootstrap(values, level=0.99), bootstrap(values, level=0.5)
    assert wide[0] < low < narrow[0] < narrow[1] < high < wide[1]


def test_intervals_over_seeds_equal_scipy(examined: Examined) -> None:
    dice = np.random.default_rng(4)
    for count in range(2, 12):
        first, second = dice.normal(0.5, 0.02, count), dice.normal(0.48, 0.05, 13 - count)
        theirs = stats.t.interval(0.95, count - 1, loc=first.mean(), scale=stats.sem(first))
        assert seeds(first.tolist()) == pytest.approx(theirs)
        welch = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.9)
        assert seed_difference(first.tolist(), second.tolist(), 0.9) == pytest.approx((welch.low, welch.high))
    examined(20, "intervals", at_least=20)
    assert seeds([0.5]) is None
    assert seed_difference([0.5], [0.4, 0.5]) is None
    assert seed_difference([0.5, 0.5], [0.25, 0.25]) == (0.25, 0.25)
    assert seeds([1.0, 2.0, 3.0]) == pytest.approx((2 - 4.30265273 / math.sqrt(3), 2 + 4.30265273 / math.sqrt(3)))


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_holm_rejects_what_its_steps_reject(examined: Examined) -> None:
    """The step-down procedure as it is stated: stop at the first p above level / (what is left)."""
    dice = np.random.default_rng(9)
    for _ in range(500):
        values = (dice.random(int(dice.integers(1, 8))) ** 3).tolist()
        rejected: set[int] = set()
        for step, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
            if values[place] > 0.05 / (len(values) - step):
                break
            rejected.add(place)
        assert {place for place, p in enumerate(holm(values)) if p <= 0.05} == rejected
    examined(500, "families", at_least=500)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_what_is_no_number_is_refused(values: list[float]) -> None:
    for function in (randomisation, bootstrap, seeds):
        with pytest.raises(NumbersError, match="no values" if not values else "not finite"):
            function(values)
