"""Rules about `labels:`, and about terms of the objective that look at what labels give or at a part of each row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mpr import catalogue
from mpr.recipe.keys import Recipe
from mpr.recipe.rules.training import Finding

LABELLER = "known_positives"  # builds the relation block; every recipe has it once
LIVE = "live_QP"  # known of every cell, in the step
LISTED = ("grades_QP", "lexical_QP")  # known of candidates and positives, never of other questions' passages


def comes_with_records(source: Any) -> bool:
    """Its candidates stand in the records of the split; every other source is mined."""
    return source.name == "file" and getattr(source, "file", None) is None


def scorers(recipe: Recipe) -> list[str]:
    """Cross-encoders that labels run, each once."""
    scores = (getattr(label, "scores", None) for label in recipe.labels)
    return list(dict.fromkeys(str(one.cross_encoder) for one in scores if one is not None and one.cross_encoder))


def live_teacher(recipe: Recipe) -> Any:
    """The label whose model is asked in every step; None: there is none."""
    return next((label for label in recipe.labels if LIVE in _says(label, "PROVIDES")), None)


def _says(label: Any, constant: str) -> Any:
    """What the file of a label declares; nothing where it does not."""
    return getattr(catalogue.find("labels", label.name), constant, ())


def _labels_fit(recipe: Recipe) -> Iterator[Finding]:
    names = [label.name for label in recipe.labels]
    if names.count(LABELLER) != 1:
        yield ("labels",), f"must have {LABELLER} exactly once", "it builds the relation block"
    elif names[0] != LABELLER:
        yield ("labels", 0, "name"), f"{LABELLER} comes first", "move it to the front"
    for number, label in enumerate(recipe.labels):
        tiers = getattr(label, "tiers", ())
        for place, tier in enumerate(tiers):
            if tier in tiers[:place]:
                yield ("labels", number, "tiers", place), f"'{tier}' is listed twice", "keep one"
        if label in recipe.labels[:number]:
            yield ("labels", number, "name"), "is the same label as before", "keep one"


def _labels_have_sources(recipe: Recipe) -> Iterator[Finding]:
    before = [source for source in recipe.sources if source is not recipe.own]  # labels judge before training
    names = {getattr(source, "as_", source.name): comes_with_records(source) for source in before}
    for number, label in enumerate(recipe.labels):
        source = getattr(label, "source", None)
        if source is None:
            continue
        is_mined = label.name == "answer_match"  # it reads what mining took out
        known = [name for name, comes in names.items() if not (is_mined and comes)]
        if source not in known:
            kind, which = ("mined source", "mined") if is_mined else ("source", "known")
            fix = f"{which}: {', '.join(known) or 'none'}"
            yield ("labels", number, "source"), f"no {kind} is called '{source}'", fix


def _grey_is_ignored(recipe: Recipe) -> Iterator[Finding]:
    """What a label knows to be no negative must not become one in the batch."""
    doubtful = getattr(recipe.labels[0], "doubtful", "ignore")
    for label in recipe.labels:
        makes_grey = _says(label, "MAKES_GREY") and getattr(label, "missing", "drop") == "drop"
        if makes_grey and doubtful != "ignore":
            what = f"'{label.name}' finds pairs that are neither positive nor negative, these would be {doubtful}"
            yield ("labels", 0, "doubtful"), what, "set it to ignore"
            return


def _labels_follow(recipe: Recipe) -> Iterator[Finding]:
    """A label finds what those before it left."""
    thinned: dict[str, str] = {}
    given: dict[str, str] = {}
    for number, label in enumerate(recipe.labels):
        source = getattr(label, "source", None)
        if label.name == "ce_above":
            if source in thinned:
                what = f"'{thinned[source]}' has taken away what could be promoted"
                yield ("labels", number, "name"), what, "put ce_above before it"
            if "cross_encoder" not in getattr(recipe.labels[0], "tiers", ("cross_encoder",)):
                what = "does not count cross_encoder, the tier of what ce_above promotes"
                yield ("labels", 0, "tiers"), what, "add it, or remove ce_above"
        if label.name in ("ce_below", "groups") and source is not None:
            thinned[source] = label.name
        for target in _says(label, "PROVIDES") if label.name != LABELLER else ():
            if target in given:
                what = f"gives {target}, which '{given[target]}' gives too"
                yield ("labels", number, "name"), what, "keep one of them"
            given[target] = label.name


def _columns_fit(recipe: Recipe) -> Iterator[Finding]:
    for number, term in enumerate(recipe.objective):
        columns, path = getattr(term, "columns", "all"), ("objective", number, "columns")
        if columns == "all":
            continue
        if getattr(term, "view", "query") != "query":
            yield path, "belongs to rows of questions", "use view: query, or columns: all"
        if columns == "others" and not recipe.draw.in_batch:
            yield path, "passages of other rows are no negatives without in-batch negatives", "set draw.in_batch: true"
        if columns == "own" and not recipe.draw.negatives:
            yield path, "no negatives are drawn for the row itself", "draw some, or use columns: others"
        if recipe.scale.negative_cache is not None:
            yield path, "remembered passages were drawn for no row of the step", "remove scale.negative_cache"


def _targets_reach(recipe: Recipe) -> Iterator[Finding]:
    """A term looks only at cells of which its target is known; the rest is seen when a step is drawn."""
    given = {target for label in recipe.labels if label.name != LABELLER for target in _says(label, "PROVIDES")}
    given -= {LIVE}
    filled = any(entry.short == "random" and (entry.k or entry.group) for entry in recipe.draw.negatives)
    given -= {"lexical_QP"} if any(getattr(label, "others", "") == "computed" for label in recipe.labels) else set()
    for number, term in enumerate(recipe.objective):
        columns = getattr(term, "columns", "all")
        for target in set(getattr(term, "needs", ())) & given:
            if columns != "own" and recipe.draw.in_batch and target in LISTED:
                what = f"{target} is known of a question's own candidates and positives only"
                yield ("objective", number), what, "set columns: own, or draw.in_batch: false"
            if target in LISTED and recipe.own is not None:
                what = f"{target} is known before training, not of what the model finds in it"
                yield ("objective", number), what, "mine with a trained model, by its folder"
            if filled:
                what = f"{target} is not known of the random passages that fill up (draw.negatives, short: random)"
                yield ("objective", number), what, "set short: fewer"


def _live_teacher_is_asked(recipe: Recipe) -> Iterator[Finding]:
    """It costs a forward of the whole step: only for a term that looks at its scores."""
    label = live_teacher(recipe)
    if label is not None and not any(LIVE in getattr(term, "needs", ()) for term in recipe.objective):
        what, fix = "scores every step for no term of the objective", "set target: live in a term, or remove the label"
        yield ("labels", recipe.labels.index(label)), what, fix


CHECKS = (
    _labels_fit,
    _labels_have_sources,
    _grey_is_ignored,
    _labels_follow,
    _columns_fit,
    _targets_reach,
    _live_teacher_is_asked,
)
