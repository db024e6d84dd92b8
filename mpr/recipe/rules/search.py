"""Rules about searches: for the evaluation, and by the model under training, between steps and in every step."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mpr import corpora
from mpr.errors import nearest
from mpr.recipe import faiss_settings
from mpr.recipe.keys import Recipe
from mpr.recipe.keys_draw import PAIRED
from mpr.recipe.model_names import SELF
from mpr.recipe.strict_yaml import Finding, Path_


def depth_reaches(recipe: Recipe) -> Iterator[Finding]:
    depth = recipe.search.depth
    for number, measure in enumerate(recipe.evaluation.measures):
        cut = int(re.sub("[^0-9]", "", measure))
        if cut > depth:
            what = f"'{measure}' looks at {cut} passages, the search keeps {depth}"
            yield ("evaluation", "measures", number), what, f"set search.depth to {cut} or more"
    size = corpora.of(recipe.data.corpus).size
    if size is not None and depth > size:
        yield ("search", "depth"), f"is beyond the corpus of {size:,} passages", "ask for fewer"


def search_is_known(recipe: Recipe) -> Iterator[Finding]:
    named: list[tuple[Path_, str]] = [(("search", "index"), recipe.search.index)]
    for number, source in enumerate(recipe.sources):
        named.append((("sources", number, "index"), getattr(source, "index", "exact")))
    unknown = [(path, index) for path, index in named if index != "exact" and not _is_factory(index)]
    for path, index in unknown:
        fix = nearest(index, ("exact", "Flat", "HNSW32", "IVF4096,Flat")) or "exact, or a faiss factory string"
        yield path, f"'{index}' is not an index", fix
    index = recipe.search.index
    if not unknown and index != "exact" and recipe.paper is not None:
        yield ("search", "index"), "a published row is measured with exact search", "use exact"


def _is_factory(index: str) -> bool:
    return faiss_settings.FACTORY.fullmatch(index) is not None


def approximate_search_fits(recipe: Recipe) -> Iterator[Finding]:
    wanted, size = recipe.search, corpora.of(recipe.data.corpus).size
    if wanted.index == "exact":
        for key in ("settings", "fetch"):
            if getattr(wanted, key) is not None:
                yield ("search", key), "belongs to a faiss index, exact search looks at everything", "remove it"
        return
    if wanted.settings is not None and _is_factory(wanted.index):
        for what, fix in faiss_settings.problems(wanted.index, wanted.settings):
            yield ("search", "settings"), what, fix
    if wanted.fetch is not None and wanted.fetch < wanted.depth:
        yield ("search", "fetch"), f"is fewer than the depth of {wanted.depth:,}", "raise it, or null: the depth"
    if wanted.fetch is not None and size is not None and wanted.fetch > size:
        yield ("search", "fetch"), f"is beyond the corpus of {size:,} passages", "ask for fewer"


def feedback_fits(recipe: Recipe) -> Iterator[Finding]:
    wanted = recipe.search.feedback
    if wanted is not None and wanted.documents > recipe.search.depth:
        what = f"is beyond the depth of {recipe.search.depth:,} of the first search"
        yield ("search", "feedback", "documents"), what, "ask for fewer"


def refresh_fits(recipe: Recipe) -> Iterator[Finding]:
    own = {number: source for number, source in enumerate(recipe.sources) if getattr(source, "model", None) == SELF}
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


def own_draws_fit(recipe: Recipe) -> Iterator[Finding]:
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


def step_search_fits(recipe: Recipe) -> Iterator[Finding]:
    positives = recipe.draw.positives
    append: Any = ("draw", "positives", "append")
    if recipe.step_search is None:
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
