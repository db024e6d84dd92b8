"""The band of a row: where one more run of it should land, and whether a run did.

A band is the two-sided prediction interval of a single new run under Student's distribution: mean of n runs, plus and
minus t(0.975, n-1) * s * sqrt(1 + 1/n). It is about runs, not about their mean, so it does not shrink to nothing with
more seeds. Above the band is as wrong as below: it is not this recipe that was run.

Values of runs are fractions, as in their results; bands are in percent, as in recipes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev

from mpr.errors import NumbersError
from mpr.recipe.keys import Band

LEVEL = 0.95
LEAST = 3  # seeds below which there is no band
FEW = 5  # seeds below which it is called wide: t(0.975, 2) is 4.3, with five seeds it is 2.8
WITHIN, ABOVE, BELOW, UNMEASURED = "within", "above", "below", "unmeasured"


def of(means: Sequence[float]) -> Band:
    """The band of runs with these means, in hundredths of a percent, rounded outwards."""
    if len(means) < LEAST or not all(map(math.isfinite, means)):
        what = f"{len(means)} runs give no band" if len(means) < LEAST else "a run has no finite mean"
        raise NumbersError(what, key="expected", fix=f"measure with at least {LEAST} seeds")
    values = [100.0 * value for value in means]
    middle, half = fmean(values), _quantile(len(values) - 1) * stdev(values) * math.sqrt(1 + 1 / len(values))
    # 12 digits first: 51.2 must not become 51.19 because it is stored as 51.1999999999999957
    low, high = round(100 * (middle - half), 10), round(100 * (middle + half), 10)
    return Band(
        mean=round(middle, 2),
        low=max(0.0, math.floor(low) / 100),
        high=min(100.0, math.ceil(high) / 100),
        seeds=len(values),
    )


def verdict(expected: Mapping[str, Band] | None, means: Mapping[str, float | None]) -> dict[str, str]:
    """Measure -> `within`, `above` or `below` its band, or `unmeasured` where there is no band or no mean."""
    bands = expected or {}
    return {name: _verdict(bands.get(name), means.get(name)) for name in {**means, **bands}}


def _verdict(expected: Band | None, mean: float | None) -> str:
    if expected is None or mean is None or not math.isfinite(mean):
        return UNMEASURED
    percent = round(100.0 * mean, 10)
    return BELOW if percent < expected.low else ABOVE if percent > expected.high else WITHIN


def worst(verdicts: Iterable[str]) -> str:
    """One word for several measures or runs: one below outweighs all, then one above; none measured is unmeasured."""
    found = set(verdicts)
    return next((word for word in (BELOW, ABOVE, WITHIN) if word in found), UNMEASURED)


def _quantile(freedom: int) -> float:
    from scipy.special import stdtrit  # a quarter of a second; scipy.stats takes a whole one

    return float(stdtrit(freedom, (1 + LEVEL) / 2))


OVERRIDABLE = ("training.seed", "data.corpus.folder")  # another run of the same recipe, and where its files lie
