"""Rules about candidates that the model under training finds, and about the search in every step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mpr.recipe import Recipe
from mpr.training_rules import Finding

SELF = "self"  # as the model of a source: the one under training


def _refresh_fits(recipe: Recipe) -> Iterator[Finding]:
    own = {number: source for number, source in enumerate(recipe.sources) if _is_own(source)}
    if recipe.refresh is None:
        for number in own:
            yield ("sources", number, "model"), "the model under training needs a time to search", "add refresh"
        return
    if not own:
        yield ("refresh",), "there is nothing to search anew", f"add a source with `model: {SELF}`"
    for number in list(own)[1:]:
        yield ("sources", number, "model"), "a second search by the model under training", "keep one"
    for number, source in own.items():
        for key in ("revision", "base", "passage_base"):
            if getattr(source, key) is not None:
                yield ("sources", number, key), f"says where a model comes from, `{SELF}` is here", "remove it"
    if recipe.refresh.every > 1:
        yield ("refresh", "every"), "a search between steps is not there yet", "set 1, with towers.train: question"
    elif recipe.towers.train != "question":
        what = "a search in every step needs passage vectors that stay"
        yield ("refresh", "every"), what, "set towers.train: question, or raise it"
    if recipe.refresh.every == 1:
        for key, only in (("questions", 1.0), ("stale", False)):
            if getattr(recipe.refresh, key) != only:
                yield ("refresh", key), "does nothing where every step searches for its own questions", "remove it"


def _is_own(source: Any) -> bool:
    return getattr(source, "model", None) == SELF


def _live_search_fits(recipe: Recipe) -> Iterator[Finding]:
    live, positives = recipe.live, recipe.draw.positives
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
    number = recipe.sources.index(live)
    for key in ("dtype", "compute"):
        if getattr(live, key) != getattr(recipe.encoding, key):
            what = f"passages are encoded once, as {getattr(recipe.encoding, key)}"
            yield ("sources", number, key), what, f"write the same here and in encoding.{key}"
    yield from _live_negatives_fit(recipe)


def _live_negatives_fit(recipe: Recipe) -> Iterator[Finding]:
    name, path = recipe.live.as_, ("draw", "negatives")
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


CHECKS = (_refresh_fits, _live_search_fits)
