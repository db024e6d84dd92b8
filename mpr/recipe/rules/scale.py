"""Rules about what makes the block of scores larger."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mpr.recipe.keys import Recipe
from mpr.recipe.rules.training import Finding

REMEMBERS = ("nll", "joint_lh", "sum_marg_lh", "lse_pair")  # negatives stand in them inside one sum of exponentials


def _negative_cache_fits(recipe: Recipe) -> Iterator[Finding]:
    if recipe.scale.negative_cache is None:
        return
    path = ("scale", "negative_cache")
    for number, term in enumerate(recipe.objective):
        if term.name not in REMEMBERS:
            what = f"remembered negatives enter a loss as one sum, '{term.name}' looks at each of them"
            yield ("objective", number, "name"), what, f"use {', '.join(REMEMBERS)}, or remove scale.negative_cache"
        elif getattr(term, "view", "query") != "query":
            yield ("objective", number, "view"), "remembered passages have no rows of their own", "use view: query"
    terms: Any = recipe.objective
    if len({term.divisor(1) for term in terms}) > 1:
        yield ("objective",), "with scale.negative_cache all terms need one temperature", "set the same in each"
    if recipe.scale.cache is not None:
        yield path, "does not go with scale.cache", "remove one of the two"
    if recipe.scale.processes > 1:
        yield path, "is kept by one process", "set scale.processes: 1"
    if recipe.towers.train == "question":
        yield path, "is of passages that are encoded in training", "set towers.train: both, or remove it"


CHECKS = (_negative_cache_fits,)
