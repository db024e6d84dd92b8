"""Rules about searches: which index, how far it looks, and a second one."""

from __future__ import annotations

from collections.abc import Iterator

from mpr import corpora
from mpr.errors import nearest
from mpr.recipe import faiss_settings
from mpr.recipe.keys import Recipe
from mpr.recipe.rules.training import Finding
from mpr.recipe.strict_yaml import Path_


def _search_is_known(recipe: Recipe) -> Iterator[Finding]:
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


def _approximate_search_fits(recipe: Recipe) -> Iterator[Finding]:
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


def _feedback_fits(recipe: Recipe) -> Iterator[Finding]:
    wanted = recipe.search.feedback
    if wanted is not None and wanted.documents > recipe.search.depth:
        what = f"is beyond the depth of {recipe.search.depth:,} of the first search"
        yield ("search", "feedback", "documents"), what, "ask for fewer"


CHECKS = (_search_is_known, _approximate_search_fits, _feedback_fits)
