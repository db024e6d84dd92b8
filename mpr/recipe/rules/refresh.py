"""Rules about candidates that the model under training finds, between steps and in every step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mpr.recipe.keys import Recipe
from mpr.recipe.keys_draw import PAIRED
from mpr.recipe.model_names import SELF
from mpr.recipe.rules.training import Finding


def _refresh_fits(recipe: Recipe) -> Iterator[Finding]:
    own = {number: source for number, source in enumerate(recipe.sources) if _is_own(source)}
    for number in list(own)[1:]:
        yield ("sources", number, "model"), "a second search by the model under training", "keep one"
    for number, source in own.items():
        for key in ("revision", "base", "passage_base"):
            if getattr(source, key) is not None:
                yield ("sources", number, key), f"says where a model comes from, `{SELF}` is here", "remove it"
        for key in ("dtype", "compute") if recipe.towers.train == "question" else ():
            if getattr(source, key) != getattr(recipe.encoding, key):
                what = f"passages are encoded once, as {getattr(recipe.encoding, key)}"
                yield ("sources", number, key), what, f"write the same here and in encoding.{key}"
    if recipe.refresh is None:
        return
    if not own:
        yield ("refresh",), "there is nothing to search anew", f"add a source with `model: {SELF}`"
    if recipe.refresh.every == 1:
        if recipe.towers.train != "question":
            what = "a search in every step needs passage vectors that stay"
            yield ("refresh", "every"), what, "set towers.train: question, or raise it"
        for key, only in (("questions", 1.0), ("stale", False)):
            if getattr(recipe.refresh, key) != only:
                yield ("refresh", key), "does nothing where every step searches for its own questions", "remove it"


def _own_draws_fit(recipe: Recipe) -> Iterator[Finding]:
    """Weights that go by more than the candidates, where these come in training."""
    for number, entry in enumerate(recipe.draw.negatives):
        is_own = recipe.own is not None and entry.from_ == recipe.own.as_
        path: Any = ("draw", "negatives", number, "weight")
        if entry.weight == PAIRED and is_own:
            what = "margin_bins goes by what a teacher scored before training, not by what the model finds in it"
            yield path, what, "use another weight, or mine with a trained model, by its folder"
        if entry.weight == "rance" and not is_own:
            what = (
                "rance goes by where the model under training finds what is relevant, this source does not search by it"
            )
            yield path, what, f"draw from a source with `model: {SELF}`"
        if entry.weight == "rance" and is_own and recipe.validation is None:
            yield path, "rance goes by where a search finds the positives of validation questions", "add validation"


def _is_own(source: Any) -> bool:
    return getattr(source, "model", None) == SELF


def _live_search_fits(recipe: Recipe) -> Iterator[Finding]:
    live, positives = recipe.step_search, recipe.draw.positives
    append: Any = ("draw", "positives", "append")
    if live is None:
        if positives.append is not None:
            yield append, "belongs to a search in every step", "remove it, or add refresh: {every: 1}"
        for number, source in enumerate(recipe.sources):
            if getattr(source, "index", "exact") != "exact":
                yield ("sources", number, "index"), "belongs to a search in every step", "use exact"
        return
    if positives.append is None:
        yield append, "is needed by a search in every step", "say what becomes of positives that it misses"
    if positives.policy != "all":
        yield ("draw", "positives", "policy"), "a search may find any positive", "use all, with a cap if need be"
    yield from _live_negatives_fit(recipe)


def _live_negatives_fit(recipe: Recipe) -> Iterator[Finding]:
    name, path = recipe.step_search.as_, ("draw", "negatives")
    for number, entry in enumerate(recipe.draw.negatives):
        if entry.from_ != name or number:
            what = f"negatives come from the search of the step, '{name}', alone"
            yield (*path, number, "from"), what, f"draw from '{name}' once"
        for key, only in (("weight", "top"), ("short", "fewer")):
            if getattr(entry, key) != only:
                yield (*path, number, key), "a step takes the best of what it finds", f"use {only}"
        for key in ("window", "group"):
            if getattr(entry, key) is not None:
                yield (*path, number, key), "a step takes the best of what it finds", "use k or all"
    if not recipe.draw.negatives:
        yield path, "what every step finds is not used", f"draw from '{name}'"


CHECKS = (_refresh_fits, _own_draws_fit, _live_search_fits)
