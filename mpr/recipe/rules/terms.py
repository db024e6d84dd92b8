"""Rules about what every term of `objective:` may have: what a row is compared with, and vectors that are cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mpr.recipe.keys import COPASSAGES, DUAL_ENCODER, OF_OTHERS, QUESTIONS, SCORERS, Recipe
from mpr.recipe.strict_yaml import Finding, Path_

_MADE_OF_SCORES = ("width", "learned")  # needs of objectives that say nothing of questions and passages


def against_fits(recipe: Recipe) -> Iterator[Finding]:
    """`objective[].against` and `hardness`."""
    for number, term in enumerate(recipe.objective):
        against, hardness = getattr(term, "against", None), getattr(term, "hardness", None)
        path: Path_ = ("objective", number, "against" if against is not None else "hardness")
        if against is None and hardness is None:
            continue
        if recipe.task != DUAL_ENCODER:
            yield path, f"compares vectors of whole texts, and {SCORERS[recipe.task]} makes none", "remove it"
        if recipe.scale.negative_cache is not None:
            yield path, "a negative cache keeps no relations", "remove it, or remove scale.negative_cache"
        of_positives = getattr(term, "view", "query") == "positive"
        if hardness is not None:
            yield from _hardness(recipe, number)
        if against is None:
            continue
        if len(set(against)) < len(against):
            yield path, "names something twice", "keep one"
        needed = QUESTIONS if of_positives else "passages"
        if needed not in against:
            yield path, f"has no {needed}, among which the target of a row is", f"add {needed}"
        if of_positives and {"passages", OF_OTHERS} & set(against):
            fix = f"{QUESTIONS}, or {QUESTIONS} and {COPASSAGES}"
            yield path, "the rows are positives (view: positive)", fix
        if {COPASSAGES, OF_OTHERS} <= set(against):
            yield path, f"{COPASSAGES} has all of {OF_OTHERS}", "keep one"
        if of_positives or against == ["passages"]:
            continue
        if foreign := [need for need in getattr(term, "needs", ()) if need not in _MADE_OF_SCORES]:
            what = f"'{term.name}' needs {', '.join(foreign)}, which is about questions and passages"
            yield path, what, "use an objective that needs scores alone"
        if {QUESTIONS, OF_OTHERS} & set(against) and not recipe.draw.in_batch:
            yield path, "no row sees what others drew (draw.in_batch: false)", "set draw.in_batch: true"
        if QUESTIONS in against and getattr(recipe.known, "siblings", "ignore") == "negative":
            what = "a question in two rows would be its own negative (siblings: negative)"
            yield path, what, "set siblings: ignore in known_positives"


def _hardness(recipe: Recipe, number: int) -> Iterator[Finding]:
    term: Any = recipe.objective[number]
    path: Path_ = ("objective", number, "hardness")
    if getattr(term, "view", "query") == "positive":
        yield path, "is about passages that questions are compared with", "use view: query"
    if not term.rows_apart:
        yield path, f"'{term.name}' compares whole rows with their grades", "remove it, or use another objective"
    if term.hardness.of == "drawn" and not recipe.draw.negatives:
        yield path, "no negatives are drawn for the row itself", "draw some, or use of: others"
    if term.hardness.of == "others" and not recipe.draw.in_batch:
        yield path, "no row sees what others drew (draw.in_batch: false)", "set draw.in_batch: true, or use of: drawn"


def widths_fit(recipe: Recipe) -> Iterator[Finding]:
    """Vectors that are cut: `objective[].widths` and `encoding.width`."""
    known = recipe.towers.projection or (recipe.towers.new.width if recipe.towers.new is not None else None)
    for number, term in enumerate(recipe.objective if recipe.trains else ()):
        path: Path_ = ("objective", number, "widths")
        widths, weights = getattr(term, "widths", None), getattr(term, "width_weights", None)
        if widths is None:
            if weights is not None:
                yield ("objective", number, "width_weights"), "belong to `widths`", "write both, or none"
            continue
        if recipe.task != DUAL_ENCODER:
            yield path, f"vectors of whole texts are cut, and {SCORERS[recipe.task]} makes none", "remove it"
        if not widths or list(widths) != sorted(set(widths), reverse=True):
            yield path, "must go from wide to narrow, each once", "write the whole width first: [256, 64]"
        if weights is not None and len(weights) != len(widths):
            yield (*path[:2], "width_weights"), f"has {len(weights)} factors for {len(widths)} widths", "write as many"
        if widths and known is not None and max(widths) > known:
            yield path, f"vectors have {known} numbers, and cannot be cut to {max(widths)}", f"use {known} or less"
        if recipe.scale.negative_cache is not None:
            yield path, "a negative cache remembers whole vectors", "remove it, or remove scale.negative_cache"
    if recipe.encoding.width is None:
        return
    if recipe.task != DUAL_ENCODER:
        what = f"vectors of whole texts are cut, and {SCORERS[recipe.task]} makes none"
        yield ("encoding", "width"), what, "remove it"
    elif known is not None and recipe.encoding.width > known:
        what = f"vectors have {known} numbers, and cannot be cut to {recipe.encoding.width}"
        yield ("encoding", "width"), what, f"use {known} or less, or null"
