"""Rules about questions that nobody labelled, and about positives that a program found, judged or wrote."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mpr import catalogue, corpora
from mpr.errors import nearest
from mpr.recipe.keys import Recipe
from mpr.recipe.rules.training import Finding

FINDS = "FINDS_POSITIVES"


def _says(name: str, constant: str) -> Any:
    """What the file of a label declares; None where it does not."""
    return getattr(catalogue.find("labels", name), constant, None)


def _unlabelled_fits(recipe: Recipe) -> Iterator[Finding]:
    name = recipe.data.unlabelled
    if name is None:
        return
    offered, path = corpora.of(recipe.data.corpus).splits, ("data", "unlabelled")
    if name not in offered:
        fix = nearest(name, offered) or f"known: {', '.join(offered)}"
        yield path, f"no split '{name}' in this collection", fix
    if name == recipe.data.train:
        yield path, f"split '{name}' is trained on with its labels", "name another split, or null"
    if name in recipe.data.evaluate.values():
        yield path, f"split '{name}' is also evaluated", "training on the questions of a test is training on it"
    if recipe.validation is not None and name == recipe.validation.split:
        yield path, f"split '{name}' is also validated on", "hold questions out"
    finders = {label.name: _says(label.name, "TIER") for label in recipe.labels if _says(label.name, FINDS)}
    counted = getattr(recipe.labels[0], "tiers", ())
    if not finders:
        fix = "add ce_above, llm or answer_match, or set data.unlabelled: null"
        yield path, "no label of this recipe finds positives for questions without any", fix
    elif not set(finders.values()) & set(counted):
        what = f"counts none of {', '.join(map(str, finders.values()))}, so no unlabelled question would be trained on"
        yield ("labels", 0, "tiers"), what, "add one of them"


def _llm_counts(recipe: Recipe) -> Iterator[Finding]:
    """What is judged for money and then not counted would only be taken away from the negatives, in silence."""
    for label in recipe.labels:
        if label.name == "llm" and "llm" not in getattr(recipe.labels[0], "tiers", ("llm",)):
            yield ("labels", 0, "tiers"), "does not count llm, the tier of what is judged relevant", "add it"


def _augmented_counts(recipe: Recipe) -> Iterator[Finding]:
    if recipe.data.augment is None:
        return
    if "augmented" not in getattr(recipe.labels[0], "tiers", ("augmented",)):
        what = "does not count augmented, the tier of what data.augment brings"
        yield ("labels", 0, "tiers"), what, "add it, or set data.augment: null"
    if recipe.step_search is not None:
        what = "a search in every step would find augmented passages, which are for training alone"
        yield ("data", "augment"), what, "set it to null, or refresh less often"


CHECKS = (_unlabelled_fits, _augmented_counts, _llm_counts)
