"""Is a difference between two systems more than chance? Paired tests over questions, intervals over seeds.

`randomisation` asks how often a difference at least as large would come up if, question by question, it were a coin's
toss which system got which value (sign flips, two-sided; Smucker, Allan and Carterette, CIKM 2007). It is exact
wherever that can be computed: for hit rates over up to some 22,000 questions that differ, by convolution, and for any
measure up to `EXACT` of them, by trying every sign. Otherwise it draws `DRAWS` sign vectors from the seed.

`bootstrap` is the percentile interval of the mean difference over resampled questions; `seeds` and `seed_difference`
are Student's and Welch's intervals over training runs. They answer different questions: the first two whether other
questions would turn the result, the last two whether other seeds would.

Shapes: Q questions, D those that differ, S draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpr.errors import NumbersError
from mpr.runtime import randomness

EXACT = 20
DRAWS = 100_000
RESAMPLES = 10_000
FEWEST, FEWEST_DIFFERING = 20, 10  # questions for an interval by bootstrap
_LATTICE = 500_000_000  # additions that an exact distribution may cost: a second
_UNITS = range(1, 13)
_ROUNDING = 1e-9  # sums of the same numbers in another order are equal; relative to the sum of all sizes
_BLOCK = 1 << 22  # random numbers held at once


@dataclass(frozen=True)
class PValue:
    """Two-sided p of a difference, and how it was found."""

    p: float
    method: str


def randomisation(difference_Q: ArrayLike, seed: int = 0, draws: int = DRAWS) -> PValue:
    """Sign-flip test of a mean difference of zero. Questions without a difference do not matter to it."""
    differing_D = _finite(difference_Q)
    differing_D = differing_D[differing_D != 0.0]
    if not len(differing_D):
        return PValue(1.0, "exact: no question differs")
    lattice_D = _on_lattice(np.abs(differing_D))
    if lattice_D is not None:
        observed_multiples = abs(int((np.sign(differing_D).astype(np.int64) * lattice_D).sum()))
        return PValue(_by_convolution(lattice_D, observed_multiples), "exact")
    observed = abs(math.fsum(differing_D)) - _ROUNDING * float(np.abs(differing_D).sum())
    if len(differing_D) <= EXACT:
        sums = np.zeros(1)
        for value in np.abs(differing_D):
            sums = np.concatenate([sums + value, sums - value])
        return PValue(float((np.abs(sums) >= observed).mean()), "exact")
    beyond = _draw_beyond(differing_D, observed, seed, draws)
    return PValue((beyond + 1) / (draws + 1), f"{draws:,} draws, seed {seed}")


def _on_lattice(size_D: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """The sizes as whole multiples of one unit, when they are such and their sum is small enough.

    The unit of a hit rate over seeds is 1 / seeds; the smallest size may be several units.
    """
    for units in _UNITS:
        multiples = size_D * (units / size_D.min())
        whole = np.rint(multiples)
        if np.abs(multiples - whole).max() <= _ROUNDING * units and len(whole) * whole.sum() <= _LATTICE:
            return np.asarray(whole, dtype=np.int64)
    return None


def _by_convolution(multiple_D: NDArray[np.int64], observed: int) -> float:
    """P(|sum of +-multiple| >= observed): the distribution of the sum, one question after the other."""
    total = int(multiple_D.sum())
    chance = np.zeros(2 * total + 1)  # of the sums -total .. total
    chance[total] = 1.0
    reach = 0
    for multiple in multiple_D.tolist():
        before = chance[total - reach : total + reach + 1] / 2
        reach += multiple
        chance[total - reach : total + reach + 1] = 0.0
        chance[total - reach : total + reach + 1 - 2 * multiple] += before
        chance[total - reach + 2 * multiple : total + reach + 1] += before
    if observed == 0:
        return 1.0
    return min(1.0, float(chance[: total - observed + 1].sum() + chance[total + observed :].sum()))


def _draw_beyond(differing_D: NDArray[np.float64], observed: float, seed: int, draws: int) -> int:
    """How many of the drawn sign vectors give a sum of at least the observed size."""
    words = -(-len(differing_D) // 64)
    beyond, block = 0, max(1, _BLOCK // len(differing_D))
    for start in range(0, draws, block):
        draw_S = np.arange(start, min(start + block, draws))
        words_SW = randomness.bits(seed, "sign flips", draw_S[:, None], np.arange(words)[None, :])
        bits_SD = np.unpackbits(words_SW.astype("<u8").view(np.uint8), axis=1, count=len(differing_D))
        sums_S = 2.0 * (bits_SD @ differing_D) - differing_D.sum()
        beyond += int((np.abs(sums_S) >= observed).sum())
    return beyond


def bootstrap(
    difference_Q: ArrayLike, seed: int = 0, level: float = 0.95, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Percentile interval of the mean difference over questions drawn with replacement."""
    differences_Q = _finite(difference_Q)
    count = len(differences_Q)
    means, block = [], max(1, _BLOCK // count)
    for start in range(0, resamples, block):
        draw_S = np.arange(start, min(start + block, resamples))
        share_SQ = randomness.uniform(seed, "bootstrap", draw_S[:, None], np.arange(count)[None, :])
        means.append(differences_Q[(share_SQ * count).astype(np.int64)].mean(axis=1))
    low, high = np.quantile(np.concatenate(means), ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)


def is_too_few(difference_Q: ArrayLike) -> bool:
    """Whether a bootstrap interval cannot be trusted: resampling a few questions that differ says little of others.
    `benchmarks/interval_coverage.py` shows how often it covers."""
    differences_Q = _finite(difference_Q)
    return len(differences_Q) < FEWEST or int((differences_Q != 0.0).sum()) < FEWEST_DIFFERING


def seeds(means: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Student's interval of the mean over training runs; None from a single one."""
    values = _finite(means)
    if len(values) < 2:
        return None
    half = _quantile(level, len(values) - 1) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half


def seed_difference(first: Sequence[float], second: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Welch's interval of (mean of first) - (mean of second); None where a side has a single run."""
    sides = _finite(first), _finite(second)
    if min(len(side) for side in sides) < 2:
        return None
    parts = [float(side.var(ddof=1)) / len(side) for side in sides]
    middle = float(sides[0].mean() - sides[1].mean())
    if sum(parts) == 0.0:
        return middle, middle
    freedom = sum(parts) ** 2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, sides, strict=True))
    half = _quantile(level, freedom) * math.sqrt(sum(parts))
    return middle - half, middle + half


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted for being several (Holm 1979): the chance of one false claim among all of them stays below the level."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for step, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - step) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def _quantile(level: float, freedom: float) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, freedom))


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if not len(array) or not np.isfinite(array).all():
        what = "there are no values" if not len(array) else "a value is not finite"
        raise NumbersError(what, key="significance", fix="test over questions that both systems have a value for")
    return array
