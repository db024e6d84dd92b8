"""Rules about `draw:` and `scale:`: what a policy, a weight or a way to order questions needs, and larger steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mpr import corpora
from mpr.corpora import Split
from mpr.errors import nearest
from mpr.recipe import schedule
from mpr.recipe.keys import Recipe, declared
from mpr.recipe.keys_draw import PAIRED
from mpr.recipe.rules.labels import comes_with_records
from mpr.recipe.strict_yaml import Finding, Path_

PARAMETERS = {  # key -> the weight that it belongs to
    "temperature": "softmax",
    "simans": "simans",
    "laplace": "simans_laplace",
    "rance": "rance",
    "bins": PAIRED,
}
TEACHER = "teacher_QP"
REMEMBERS = ("nll", "joint_lh", "sum_marg_lh", "lse_pair")  # negatives stand in them inside one sum of exponentials


def _train_split(recipe: Recipe) -> Split | None:
    return corpora.of(recipe.data.corpus).splits.get(recipe.data.train)


def positives_fit_policy(recipe: Recipe) -> Iterator[Finding]:
    positives = recipe.draw.positives
    for key in ("m", "beyond"):
        given = getattr(positives, key) is not None
        if given != (positives.policy == "up_to"):
            what = "belongs to policy up_to" if given else "is needed by policy up_to"
            yield ("draw", "positives", key), what, "remove it" if given else "say how many, and what of the rest"
    if positives.m is not None and positives.cap is not None and positives.m > positives.cap:
        yield ("draw", "positives", "m"), f"is more than the cap of {positives.cap}", "raise the cap or lower m"
    if positives.cap is not None and positives.policy == "first":
        yield ("draw", "positives", "cap"), "does nothing with policy first", "remove it"


def something_to_contrast(recipe: Recipe) -> Iterator[Finding]:
    if recipe.scale.negative_cache is not None:
        return
    if not recipe.draw.in_batch and not recipe.draw.negatives:
        yield ("draw", "negatives"), "no negatives at all: none are drawn and in_batch is false", "draw some"
    if recipe.draw.in_batch and schedule.questions_per_step(recipe) == 1 and not recipe.draw.negatives:
        yield ("training", "per_device_train_batch_size"), "one question a step has no in-batch negatives", "raise it"


def negatives_have_sources(recipe: Recipe) -> Iterator[Finding]:
    split = _train_split(recipe)
    names: list[str] = [getattr(source, "as_", source.name) for source in recipe.sources]
    for number, (name, source) in enumerate(zip(names, recipe.sources, strict=True)):
        path: Path_ = ("sources", number, "as")
        if name in names[:number]:
            yield path, f"a second source is called '{name}'", "give it another name"
        elif comes_with_records(source) and split is not None and name not in split.sources:
            known = ", ".join(split.sources) or "none"
            fix = nearest(name, split.sources) or f"lists of that split: {known}"
            yield path, f"split '{recipe.data.train}' has no candidates called '{name}'", fix
    for number, entry in enumerate(recipe.draw.negatives):
        for key, wanted in (("from", entry.from_), ("fallback", entry.fallback)):
            if wanted is not None and wanted not in names:
                fix = nearest(wanted, names) or f"known: {', '.join(names) or 'none'}"
                yield ("draw", "negatives", number, key), f"no source is called '{wanted}'", fix


def fallbacks_fit(recipe: Recipe) -> Iterator[Finding]:
    own = None if recipe.own is None else recipe.own.as_
    for number, entry in enumerate(recipe.draw.negatives):
        path: Path_ = ("draw", "negatives", number, "fallback")
        if entry.fallback is None:
            continue
        if entry.all or recipe.step_search is not None:
            yield path, "whatever there is, is used: no place stays open", "remove it"
        elif entry.fallback == entry.from_:
            yield path, "is the source that has too few already", "name another source, or remove it"
        elif entry.fallback == own:
            what = "is searched by the model under training, which finds enough of its own"
            yield path, what, "draw from it, or name another source"


def block_fits(recipe: Recipe) -> Iterator[Finding]:
    """What cannot have a passage in two columns of a step."""
    if recipe.draw.block == "distinct":
        return
    path: Path_ = ("draw", "block")
    if not recipe.draw.in_batch:
        yield path, "no row sees what others drew (in_batch: false)", "remove it, or set draw.in_batch: true"
    if recipe.scale.negative_cache is not None:
        yield path, "a negative cache remembers a passage once", "remove it, or remove scale.negative_cache"
    if recipe.step_search is not None:
        yield path, "a search in every step finds a passage once", "remove it"


def negatives_fit(recipe: Recipe) -> Iterator[Finding]:
    kept = getattr(recipe.data.corpus, "candidates", None)
    positives = schedule.positives_per_row(recipe) or 1
    for number, entry in enumerate(recipe.draw.negatives):
        path: Path_ = ("draw", "negatives", number)
        if (entry.k is not None) + (entry.group is not None) + entry.all != 1:
            fix = "k: per question; group: positives and negatives; all: every candidate"
            yield (*path, "k"), "give exactly one of k, group and all", fix
        if entry.all and entry.short == "random":
            yield (*path, "short"), "all there are cannot be too few", "write fewer"
        if entry.group is not None and entry.group <= positives:
            yield (*path, "group"), f"{positives} positives leave no room for a negative", "raise it"
        for limit, what in ((entry.window, "the window"), (kept, "the candidates that data.corpus keeps")):
            if entry.k is not None and limit is not None and entry.k > limit:
                yield (*path, "k"), f"is more than {what} of {limit}", "ask for fewer, or widen that"


def weights_fit(recipe: Recipe) -> Iterator[Finding]:
    for number, entry in enumerate(recipe.draw.negatives):
        path: Path_ = ("draw", "negatives", number)
        for key, weight in PARAMETERS.items():
            if (getattr(entry, key) is not None) != (entry.weight == weight):
                yield (*path, key), f"goes with weight {weight}, and only with it", "add or remove it"
        if entry.rance is not None and entry.rance.window % 2 == 0:
            yield (*path, "rance", "window"), "has no middle", "give an odd number of ranks"


def pairs_fit(recipe: Recipe) -> Iterator[Finding]:
    """What is drawn by the margins of a teacher."""
    taught = any(TEACHER in declared(label, "PROVIDES") for label in recipe.labels)
    paired = [number for number, entry in enumerate(recipe.draw.negatives) if entry.weight == PAIRED]
    for number in paired[:1]:
        if not taught:
            what = "margin_bins goes by the scores of a teacher, which no label of this recipe gives"
            yield ("draw", "negatives", number, "weight"), what, "add the label teacher"
    for number in paired[1:]:
        what = "a second entry that draws pairs, where one already decides"
        yield ("draw", "negatives", number, "weight"), what, "raise the k of the first, or use another weight"


def clusters_fit(recipe: Recipe) -> Iterator[Finding]:
    wanted, path = recipe.draw.clusters, ("draw", "clusters")
    if (wanted is not None) != (recipe.draw.questions == "cluster"):
        yield path, "goes with questions: cluster, and only with it", "add or remove it"
    if wanted is None:
        return
    step = schedule.questions_per_step(recipe)
    if step is not None and step % wanted.per_batch:
        what = f"does not divide the {step:,} questions of a step into equal parts"
        yield (*path, "per_batch"), what, "choose a divisor"
    if wanted.per_batch > wanted.k:
        yield (*path, "per_batch"), f"is more than the {wanted.k:,} clusters", "choose fewer"
    split = _train_split(recipe)
    count = split.trainable if split else None
    if count is not None and wanted.k > count:
        yield (*path, "k"), f"is more than the {count:,} questions of the split", "choose fewer"


def batch_fits(recipe: Recipe) -> Iterator[Finding]:
    split, questions = _train_split(recipe), schedule.questions_per_step(recipe)
    count = split.trainable if split and recipe.data.unlabelled is None else None
    if count is not None and questions is not None and questions > count:
        what = f"a step takes {questions:,} questions, the split has {count:,}"
        yield ("training", "per_device_train_batch_size"), what, "lower it"


def negative_cache_fits(recipe: Recipe) -> Iterator[Finding]:
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
