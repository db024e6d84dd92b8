"""Log-weights against values from the papers' formulas, and against slow readings of what their docstrings say."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from mpr.batches import choice
from tests.conftest import Examined

SCORES = np.array([2.0, 1.0, 0.5, 1.5, -1.0])  # the fixture of the systems' golden values: two positives in front
GRID = np.linspace(0.0, 90.0, 100)


def shares(log_weights: Any) -> np.ndarray[Any, Any]:
    """Probabilities of one draw."""
    powers = np.exp(np.asarray(log_weights) - np.max(log_weights))
    return np.asarray(powers / powers.sum())


@pytest.mark.parametrize(
    "anchor, expected", [(2.0, [0.2665, 0.7244, 0.0091]), (SCORES[:2].mean(), [0.3675, 0.6059, 0.0266])]
)
def test_simans_of_the_fixture(anchor: float, expected: list[float]) -> None:
    """a .5, b 0, by hand: exp(-.5 (s - anchor)^2) of .5, 1.5 and -1, scaled to sum to 1."""
    assert shares(choice.simans(SCORES[2:], anchor, 0.5, 0.0)) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("b, mode", [(0.0, 80.0), (1.0, 80.91), (-1.0, 79.09)])
def test_the_likeliest_score_is_anchor_plus_b(b: float, mode: float) -> None:
    """On a grid of 100 points around 80; with the sign of the published code the last two would change places."""
    assert GRID[np.argmax(choice.simans(GRID, 80.0, 0.5, b))] == pytest.approx(mode, abs=0.01)
    assert GRID[np.argmax(choice.simans_laplace(GRID, 80.0, 3.0))] == pytest.approx(80.0)


def test_no_underflow_where_every_exponential_is_zero() -> None:
    """Candidates 60 to 90 below the positive: in plain numbers all weights are 0, and only differences count."""
    far = np.array([70.0, 50.0, 30.0])
    found = choice.simans(far, 140.0, 0.5, 0.0)
    assert not np.exp(found).any()
    assert np.isfinite(found).all()
    assert shares(found)[0] == 1.0
    near = np.array([80.0, 80.5])
    assert shares(choice.simans(near, 140.0, 0.01, 0.0)) == pytest.approx(shares([-36.0, -35.4025]))


def test_simans_without_sharpness_weighs_all_alike_and_a_sharp_one_takes_the_nearest() -> None:
    assert not choice.simans(GRID, 33.0, 0.0, 5.0).any()
    assert shares(choice.simans(GRID, 33.0, 1e4, 0.0)).max() == pytest.approx(1.0)
    assert GRID[np.argmax(choice.simans(GRID, 33.0, 1e4, 0.0))] == GRID[np.argmin(np.abs(GRID - 33.0))]
    assert shares(choice.softmax(np.log([0.5, 0.3, 0.2]) * 7, 7.0)) == pytest.approx([0.5, 0.3, 0.2])


# ---- rance


def slow_rance(share: list[float], c: float, window: int, degree: int) -> np.ndarray[Any, Any]:
    """Weights, not their logarithms, one rank after the other, the polynomial by normal least squares in 64 bits."""
    gain = [(1 - one) / math.log(place + c) for place, one in enumerate(share)]
    half = window // 2
    centres = range(half, len(share) - half)
    means = {centre: sum(gain[centre - half : centre + half + 1]) / window for centre in centres}
    scaled = np.array([(centre - half) / (len(means) - 1) * 2 - 1 for centre in centres])
    powers = np.stack([scaled**power for power in range(degree + 1)], axis=1)
    factors = np.linalg.lstsq(powers, np.array(list(means.values())), rcond=None)[0]
    fitted = dict(zip(centres, powers @ factors, strict=True))
    found = [fitted[min(max(place, centres[0]), centres[-1])] - min(means.values()) for place in range(len(share))]
    return np.maximum(found, 0.0)


def decaying(length: float) -> list[float]:
    return [0.9 * math.exp(-place / length) for place in range(200)]


def test_rance_by_another_hand(examined: Examined) -> None:
    count = 0
    for share in ([0.0] * 200, decaying(10), decaying(40), decaying(80), [0.3, 0.1, 0.2, 0.05] * 20):
        for c, window, degree in ((2.0, 9, 4), (2.0, 5, 2), (1.5, 1, 3)):
            found = np.exp(choice.rance(share, c, window, degree))
            assert found == pytest.approx(slow_rance(share, c, window, degree), abs=1e-9)
            count += len(found)
    examined(count, "weights of ranks", at_least=2_500)


def test_rance_of_a_run_that_finds_nothing_falls_with_the_rank() -> None:
    """As reported of the reference: the first rank is the likeliest, about 15 times as likely as the last."""
    found = np.exp(choice.rance([0.0] * 200, 2.0, 9, 4))
    assert np.argmax(found) == 0
    assert found[0] / found[-1] == pytest.approx(15, abs=1.0)


def test_rance_of_a_good_run_goes_deep() -> None:
    """As reported of the reference, for a decay from .9 that is not told: the likeliest rank is 91 of 200. Ours: 40."""
    assert np.argmax(choice.rance(decaying(40), 2.0, 9, 4)) == 91


def test_rance_cuts_off_what_is_below_nothing() -> None:
    """5 to 24 of 200 are reported of the reference, which keeps them negative. Here they are never drawn."""
    nothing = [int(np.isneginf(choice.rance(share, 2.0, 9, 4)).sum()) for share in ([0.0] * 200, decaying(30))]
    assert nothing == [24, 5]


@pytest.mark.parametrize("share", [0.25, 0.9])
def test_rance_of_a_constant_share_is_that_of_none(share: float) -> None:
    """(1 - share) is a factor of every weight."""
    none, some = (np.exp(choice.rance([each] * 200, 2.0, 9, 4)) for each in (0.0, share))
    assert some == pytest.approx(none * (1 - share), abs=1e-12)


def test_rance_weighs_all_alike_where_nothing_is_left() -> None:
    assert not choice.rance([1.0] * 50, 2.0, 9, 4).any()


# ---- margins


def test_every_bin_of_margins_is_as_likely(examined: Examined) -> None:
    """Against bins counted one pair at a time, for owners of any size."""
    dice, count = np.random.default_rng(5), 0
    sizes = [1, 2, 3, 40, 100, 7]
    owner_N = np.repeat(np.arange(len(sizes)), sizes)
    margin_N = dice.normal(size=len(owner_N))
    found = np.exp(choice.margin_bins(margin_N, owner_N, 10))
    for owner in range(len(sizes)):
        own = margin_N[owner_N == owner]
        low, high = own.min(), own.max()
        width = (high - low) / 10 or 1.0
        bins = [min(int((one - low) / width), 9) for one in own]
        sizes_of = Counter(bins)
        assert found[owner_N == owner] == pytest.approx([1 / sizes_of[place] for place in bins])
        assert found[owner_N == owner].sum() == pytest.approx(len(sizes_of))
        count += len(own)
    examined(count, "pairs", at_least=150)


def test_a_constant_on_the_margins_of_an_owner_changes_nothing_and_equal_margins_share_a_bin() -> None:
    margin_N, owner_N = np.array([1.0, 2.0, 5.0, 3.0, 3.0]), np.array([0, 0, 0, 1, 1])
    found = choice.margin_bins(margin_N, owner_N, 4)
    assert np.array_equal(found, choice.margin_bins(margin_N + np.array([8.0] * 3 + [-4.0] * 2), owner_N, 4))
    assert found[3:] == pytest.approx([-math.log(2)] * 2)
    assert choice.margin_bins(margin_N, owner_N, 1) == pytest.approx([-math.log(3)] * 3 + [-math.log(2)] * 2)
    assert len(choice.margin_bins(margin_N[:0], owner_N[:0], 4)) == 0
