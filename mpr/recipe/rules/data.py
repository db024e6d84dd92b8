"""Rules about `data:`, `validation:`, `search:` and `evaluation:`, about pins, and about the numbers of a row; and
about the searches by the model under training, between steps and in every step."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from mpr import corpora
from mpr.errors import DataError, nearest
from mpr.recipe import faiss_settings, model_names
from mpr.recipe.keys import DESCRIBING, Recipe
from mpr.recipe.keys_draw import PAIRED
from mpr.recipe.model_names import SELF
from mpr.recipe.strict_yaml import Finding, Path_, holds

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def splits_exist(recipe: Recipe) -> Iterator[Finding]:
    offered = corpora.of(recipe.data.corpus)
    named: list[tuple[Path_, str]] = [(("data", "train"), recipe.data.train)] if recipe.trains else []
    named += [(("data", "evaluate", key), split) for key, split in recipe.data.evaluate.items()]
    for path, split in named:
        try:
            offered.split(split)
        except DataError as error:
            yield path, error.problems[0].what, error.problems[0].fix
    if recipe.data.train in offered.splits and not offered.splits[recipe.data.train].trains:
        yield (
            ("data", "train"),
            f"split '{recipe.data.train}' lists no positives to train on",
            "choose a training split",
        )


def names_are_plain(recipe: Recipe) -> Iterator[Finding]:
    """They become names of folders."""
    splits = getattr(recipe.data.corpus, "splits", ())  # of collections that are described in the recipe
    named = [(("data", "evaluate", key), key) for key in recipe.data.evaluate]
    for path, name in [*named, *((("data", "corpus", "splits", key), key) for key in splits)]:
        if not PLAIN.fullmatch(name):
            yield path, f"{name[:40]!r} is no plain name", "use letters, digits, _ . and -, 100 at most"


def no_training_on_evaluation(recipe: Recipe) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for key, split in recipe.data.evaluate.items():
        if split == recipe.data.train:
            yield ("data", "evaluate", key), f"split '{split}' is also trained on", "evaluate on another split"
        if split in seen:
            yield ("data", "evaluate", key), f"split '{split}' is evaluated twice, also as '{seen[split]}'", "keep one"
        seen[split] = key


def validation_fits(recipe: Recipe) -> Iterator[Finding]:
    wanted, strategy = recipe.validation, recipe.training.get("eval_strategy", "no")
    if wanted is None:
        if strategy != "no":
            yield ("training", "eval_strategy"), "there is nothing to evaluate during training", "add validation"
        return
    if strategy == "no":
        yield ("validation",), "does nothing without training.eval_strategy", "set that to steps or epoch"
    offered, path = corpora.of(recipe.data.corpus), ("validation", "split")
    if wanted.split not in offered.splits:
        fix = nearest(wanted.split, offered.splits) or f"known: {', '.join(offered.splits)}"
        yield path, f"no split '{wanted.split}' in this collection", fix
    elif not offered.splits[wanted.split].trains:
        yield path, f"split '{wanted.split}' lists no positives to rank", "choose a split that could be trained on"
    if wanted.split == recipe.data.train:
        yield path, f"split '{wanted.split}' is also trained on", "hold questions out"
    if wanted.split in recipe.data.evaluate.values():
        yield path, f"split '{wanted.split}' is also evaluated", "choosing a checkpoint on the test is training on it"


def match_fits(recipe: Recipe) -> Iterator[Finding]:
    splits = corpora.of(recipe.data.corpus).splits
    match = recipe.evaluation.match
    for key, name in recipe.data.evaluate.items():
        if name not in splits:
            continue
        split = splits[name]
        wanted = "judgements" if split.judged else "regex" if split.regex else "string"
        if match != wanted:
            yield ("evaluation", "match"), f"'{match}' does not fit split '{name}' ({key})", f"use {wanted}"
    for number, measure in enumerate(recipe.evaluation.measures):
        by_answers = measure.startswith("top")
        if by_answers != (match != "judgements"):
            kind = "answers" if by_answers else "judgements"
            yield ("evaluation", "measures", number), f"'{measure}' needs {kind}", f"evaluation.match is {match}"
        if measure in recipe.evaluation.measures[:number]:
            yield ("evaluation", "measures", number), f"'{measure}' is asked for twice", "keep one"


def corpus_pins_fit(recipe: Recipe) -> Iterator[Finding]:
    """What the recipe pins of its collection: files that it has, and as which nobody else knows another one."""
    given: dict[str, str] = getattr(recipe.data.corpus, "pins", {})
    if not given:
        return
    offered = corpora.of(recipe.data.corpus)
    known = {name: pin for pin in (*offered.pins, *offered.read_for(offered.splits)) for name in corpora.spellings(pin)}
    for name in given:
        path: Path_ = ("data", "corpus", "pins", name)
        if name not in known:
            fix = nearest(name, known) or "a name is that of a line `pin` of `mpr plan`"
            yield path, f"'{name}' is no file of this collection", fix
        elif (seen := offered.given(known[name])) is known[name]:
            what = f"mpr knows '{name}' to be another file: {seen.known} ({seen.source})"
            yield path, what, "remove it: what mpr knows is checked by itself"


def pinned(recipe: Recipe) -> Iterator[Finding]:
    if recipe.draft:
        return
    towers = recipe.towers
    if towers.base is not None and towers.revision is None:
        yield (
            ("towers", "revision"),
            "the base is not pinned to a commit",
            "give its 40 hex digits, or `mpr pin RECIPE`, or set draft: true",
        )
    if towers.base is not None and os.path.isdir(towers.base):
        yield ("towers", "base"), "is a local folder, which no commit pins", "set draft: true"
    if towers.passage_base is not None and towers.passage_revision is None:
        what = "passage_base is not pinned to a commit"
        yield ("towers", "passage_revision"), what, "give its 40 hex digits, or `mpr pin RECIPE`, or set draft: true"
    for number, source in enumerate(recipe.sources):
        if getattr(source, "file", None) is not None and "not pinned" in source.pins.values():  # type: ignore[attr-defined]
            what, fix = "the file of candidates is not pinned", "give its checksum, or set draft: true"
            yield ("sources", number, "sha256"), what, fix
    for number, label in enumerate(recipe.labels):
        for key in ("scores", "judgements"):
            named = getattr(label, key, None)
            if named is not None and named.file is not None and "not pinned" in named.pins.values():
                what = f"the file of {key} is not pinned"
                yield (
                    ("labels", number, key, "sha256"),
                    what,
                    "give its checksum, or `mpr pin RECIPE`, or set draft: true",
                )
        scores = getattr(label, "scores", None)
        if scores is not None and scores.file is None and "not pinned" in scores.pins.values():
            what, fix = (
                "the cross-encoder is not pinned to a commit",
                "say org/name@<commit>, or `mpr pin RECIPE`, or set draft: true",
            )
            yield ("labels", number, "scores", "cross_encoder"), what, fix
        if "not pinned" in [pin for name, pin in getattr(label, "pins", {}).items() if model_names.is_elsewhere(name)]:
            what, fix = (
                "the teacher is not pinned to a commit",
                "say org/name@<commit>, or `mpr pin RECIPE`, or set draft: true",
            )
            if os.path.isdir(str(getattr(label, "model", ""))):
                what, fix = "is a local folder, which no commit pins", "set draft: true"
            yield ("labels", number, "model"), what, fix
    if recipe.data.augment is not None and recipe.data.augment.sha256 is None:
        what = "the file of augmented positives is not pinned"
        yield ("data", "augment", "sha256"), what, "give its checksum, or `mpr pin RECIPE`, or set draft: true"
    for pin in corpora.of(recipe.data.corpus).needed(recipe.splits):
        if not pin.is_pinned:
            what = f"'{pin.file}' has no checksum or revision that is known to us"
            fix = "`mpr pin RECIPE` finds it; or set draft: true, and the row cannot be published"
            yield ("data", "corpus"), what, fix
            return


def paper_is_named(recipe: Recipe) -> Iterator[Finding]:
    if recipe.paper is None and recipe.trains:
        for name, value in recipe.published.values.items():
            if value is not None:
                yield ("published", "values", name), "a row of our own has no published number", "fill in paper"
    elif recipe.paper is not None and not re.fullmatch(r"[0-9]{4}\.[0-9]{5}", recipe.paper.arxiv):
        yield (
            ("paper", "arxiv"),
            f"'{recipe.paper.arxiv}' is not an arXiv number",
            'four digits, a dot, five: "2508.09534"',
        )


def varies_exist(recipe: Recipe) -> Iterator[Finding]:
    content = recipe.model_dump(mode="json", by_alias=True)
    for number, key in enumerate(recipe.varies):
        if not holds(content, tuple(key.split("."))):
            yield ("varies", number), f"'{key}' is not a key of this recipe", "name keys with dots"
        if key.split(".")[0] in DESCRIBING:
            yield ("varies", number), f"'{key}' describes a row", "name a key that changes a result"
        if key in recipe.varies[:number]:
            yield ("varies", number), f"'{key}' is listed twice", "keep one"


def published_fits(recipe: Recipe) -> Iterator[Finding]:
    known = list(recipe.evaluation.measures)
    known += [f"{role}.{measure}" for role in list(recipe.data.evaluate)[1:] for measure in known]
    for name, value in recipe.published.values.items():
        if name not in known:
            fix = nearest(name, known) or "add it to evaluation.measures, or remove it"
            yield ("published", "values", name), "is not a measure of this recipe", fix
        if value is not None and not 0 <= value <= 100:
            yield ("published", "values", name), f"{value} is not a percentage", "0 to 100"
        if value is not None and recipe.published.source is None:
            yield ("published", "source"), "a published number needs its source", "say where it was read"
    is_judged = not recipe.trains and any(value is not None for value in recipe.published.values.values())
    if is_judged and recipe.published.tolerance is None:
        what = "is missing: the values of published encoders are compared with those that were published"
        yield ("published", "tolerance"), what, "say how many percentage points a value may be away"
    if not is_judged and recipe.published.tolerance is not None:
        what = "nothing is compared with a published value by it"
        yield ("published", "tolerance"), what, "remove it: it needs training: none, and a value"


def bands_fit(recipe: Recipe) -> Iterator[Finding]:
    """All measures have a band or none has: no measure that a run would fail by can be left out."""
    if recipe.expected is None:
        return
    for name, band in recipe.expected.items():
        if name not in recipe.evaluation.measures:
            yield ("expected", name), "is not a measure of this recipe", "add it or remove it"
        if not 0 <= band.low <= band.mean <= band.high <= 100:
            yield ("expected", name), "must be 0 <= low <= mean <= high <= 100", "the kit writes it; restore it"
    if missing := [name for name in recipe.evaluation.measures if name not in recipe.expected]:
        fix = "`mpr leaderboard expect` writes a band of every measure; null: there is none"
        yield ("expected",), f"has no band of {', '.join(missing)}", fix


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
