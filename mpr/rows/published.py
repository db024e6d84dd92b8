"""The verdict on published encoders: whether our value is the one that was published.

`exact`: the same in hundredths of a percent, which is how values are published. `within`: no further away than the
tolerance that the recipe states. `off`: further away; then some part of the chain is not as its publisher had it.
`unknown`: no published value is known to us. Further above is as wrong as further below.

Values of runs are fractions, as in their results; published values and tolerances are in percent, as in recipes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mpr.recipe.keys import Recipe

EXACT, WITHIN, OFF, UNKNOWN = "exact", "within", "off", "unknown"


def values(recipe: Recipe, role: str) -> dict[str, float]:
    """The published values of an evaluation, in percent."""
    return recipe.published.of(role, next(iter(recipe.data.evaluate)))


def verdicts(recipe: Recipe, role: str, means: Mapping[str, float | None]) -> dict[str, str]:
    """Measure of the recipe -> verdict on the mean of a run."""
    known = values(recipe, role)
    return {
        name: _verdict(known.get(name), means.get(name), recipe.published.tolerance)
        for name in recipe.evaluation.measures
    }


def _verdict(wanted: float | None, mean: float | None, tolerance: float | None) -> str:
    if wanted is None or mean is None or tolerance is None:
        return UNKNOWN
    away = abs(round(100.0 * mean - wanted, 10))
    if round(100.0 * mean, 2) == round(wanted, 2):
        return EXACT
    return WITHIN if away <= tolerance else OFF


def worst(found: Iterable[str]) -> str:
    """One word for several measures: those without a published value say nothing where another has one."""
    words = set(found)
    return next((word for word in (OFF, WITHIN, EXACT) if word in words), UNKNOWN)
