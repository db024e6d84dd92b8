"""Contradictions that no single key shows. Each rule is a function of the recipe; the table is the list of them all.

A rule yields (path of the key to change, what is wrong, how to fix it). `mpr check` runs them all; nothing is
downloaded before they hold. The other files of this folder have the rules of one section of a recipe each; here stand
those about data and about several sections at once, and the table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpr import catalogue, corpora
from mpr.corpora import Split
from mpr.errors import DataError, nearest
from mpr.recipe import model_names, schedule
from mpr.recipe.keys import DESCRIBING, Recipe
from mpr.recipe.rules import draw, labels, refresh, scale, search, start, task, training
from mpr.recipe.rules import questions as question_rules
from mpr.recipe.rules import towers as tower_rules
from mpr.recipe.rules.training import Finding
from mpr.recipe.strict_yaml import Path_

SINGLE_POSITIVE = ("nll", "rand1_lh")
ANSWER_MEASURES = ("top",)
ALWAYS_GIVEN = ("width",)  # targets that training passes to every objective
LIVE_GIVES = ("ranks_QP",)  # and those that a search in every step finds
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class Rule:
    """A name for messages and tests, and the check."""

    name: str
    check: Callable[[Recipe], Iterable[Finding]]


def broken(recipe: Recipe) -> list[Finding]:
    """Everything in the recipe that contradicts something else in it."""
    return [finding for rule in RULES for finding in rule.check(recipe)]


def _train_split(recipe: Recipe) -> Split | None:
    return corpora.of(recipe.data.corpus).splits.get(recipe.data.train)


def _splits_exist(recipe: Recipe) -> Iterator[Finding]:
    offered = corpora.of(recipe.data.corpus)
    named: list[tuple[Path_, str]] = [(("data", "train"), recipe.data.train)]
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


def _names_are_plain(recipe: Recipe) -> Iterator[Finding]:
    """They become names of folders."""
    splits = getattr(recipe.data.corpus, "splits", ())  # of collections that are described in the recipe
    named = [(("data", "evaluate", key), key) for key in recipe.data.evaluate]
    for path, name in [*named, *((("data", "corpus", "splits", key), key) for key in splits)]:
        if not PLAIN.fullmatch(name):
            yield path, f"{name[:40]!a} is no plain name", "use letters, digits, _ . and -, 100 at most"


def _no_training_on_evaluation(recipe: Recipe) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for key, split in recipe.data.evaluate.items():
        if split == recipe.data.train:
            yield ("data", "evaluate", key), f"split '{split}' is also trained on", "evaluate on another split"
        if split in seen:
            yield ("data", "evaluate", key), f"split '{split}' is evaluated twice, also as '{seen[split]}'", "keep one"
        seen[split] = key


def _validation_fits(recipe: Recipe) -> Iterator[Finding]:
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


def _match_fits(recipe: Recipe) -> Iterator[Finding]:
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
        by_answers = measure.startswith(ANSWER_MEASURES)
        if by_answers != (match != "judgements"):
            kind = "answers" if by_answers else "judgements"
            yield ("evaluation", "measures", number), f"'{measure}' needs {kind}", f"evaluation.match is {match}"
        if measure in recipe.evaluation.measures[:number]:
            yield ("evaluation", "measures", number), f"'{measure}' is asked for twice", "keep one"


def _depth_reaches(recipe: Recipe) -> Iterator[Finding]:
    depth = recipe.search.depth
    for number, measure in enumerate(recipe.evaluation.measures):
        cut = int(re.sub("[^0-9]", "", measure))
        if cut > depth:
            what = f"'{measure}' looks at {cut} passages, the search keeps {depth}"
            yield ("evaluation", "measures", number), what, f"set search.depth to {cut} or more"
    size = corpora.of(recipe.data.corpus).size
    if size is not None and depth > size:
        yield ("search", "depth"), f"is beyond the corpus of {size:,} passages", "ask for fewer"


def _positives_fit_policy(recipe: Recipe) -> Iterator[Finding]:
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


def _objective_fits_positives(recipe: Recipe) -> Iterator[Finding]:
    positives = recipe.draw.positives
    several = positives.policy == "all" or (positives.policy == "up_to" and (positives.m or 1) > 1)
    for number, term in enumerate(recipe.objective):
        path: Path_ = ("objective", number, "name")
        if term.name in SINGLE_POSITIVE and several:
            fix = "use joint_lh, sum_marg_lh, lse_pair or bce, or draw one positive a row"
            yield path, f"'{term.name}' takes one positive a row, the draw brings several", fix
        if term.name == "rand1_lh" and positives.policy != "random1":
            yield path, "is the draw policy random1 with nll", "set draw.positives.policy: random1"
        if term in recipe.objective[:number]:
            yield path, "is the same term as before", "keep one, and use its coefficient"


def _objective_is_fed(recipe: Recipe) -> Iterator[Finding]:
    """What an objective needs besides scores must come from a label or a source; their files say what they provide."""
    given = [*ALWAYS_GIVEN, *(() if recipe.step_search is None else LIVE_GIVES)]
    for folder, parts in (("labels", recipe.labels), ("sources", recipe.sources)):
        for part in parts:
            given.extend(getattr(catalogue.find(folder, part.name), "PROVIDES", ()))
    for number, term in enumerate(recipe.objective):
        for target in getattr(term, "needs", ()):
            if target not in given:
                what = f"'{term.name}' needs {target}, which no label or source of this recipe provides"
                yield ("objective", number), what, "choose another objective, or add what provides it"
        if getattr(term, "coefficient", 1.0) <= 0:
            yield ("objective", number, "coefficient"), "must be more than 0", "remove the term"


def _something_to_contrast(recipe: Recipe) -> Iterator[Finding]:
    if recipe.scale.negative_cache is not None:
        return
    if not recipe.draw.in_batch and not recipe.draw.negatives:
        yield ("draw", "negatives"), "no negatives at all: none are drawn and in_batch is false", "draw some"
    if recipe.draw.in_batch and schedule.questions_per_step(recipe) == 1 and not recipe.draw.negatives:
        yield ("training", "per_device_train_batch_size"), "one question a step has no in-batch negatives", "raise it"


def _negatives_have_sources(recipe: Recipe) -> Iterator[Finding]:
    split = _train_split(recipe)
    names: list[str] = [getattr(source, "as_", source.name) for source in recipe.sources]
    for number, (name, source) in enumerate(zip(names, recipe.sources, strict=True)):
        path: Path_ = ("sources", number, "as")
        if name in names[:number]:
            yield path, f"a second source is called '{name}'", "give it another name"
        elif labels.comes_with_records(source) and split is not None and name not in split.sources:
            known = ", ".join(split.sources) or "none"
            fix = nearest(name, split.sources) or f"lists of that split: {known}"
            yield path, f"split '{recipe.data.train}' has no candidates called '{name}'", fix
    for number, entry in enumerate(recipe.draw.negatives):
        if entry.from_ not in names:
            fix = nearest(entry.from_, names) or f"known: {', '.join(names) or 'none'}"
            yield ("draw", "negatives", number, "from"), f"no source is called '{entry.from_}'", fix


def _negatives_fit(recipe: Recipe) -> Iterator[Finding]:
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


def _pinned(recipe: Recipe) -> Iterator[Finding]:
    if recipe.draft:
        return
    towers = recipe.towers
    if towers.base is not None and towers.revision is None:
        yield ("towers", "revision"), "the base is not pinned to a commit", "give its 40 hex digits, or set draft: true"
    if towers.base is not None and Path(towers.base).is_dir():
        yield ("towers", "base"), "is a local folder, which no commit pins", "set draft: true"
    if towers.passage_base is not None and towers.passage_revision is None:
        what = "passage_base is not pinned to a commit"
        yield ("towers", "passage_revision"), what, "give its 40 hex digits, or set draft: true"
    for number, label in enumerate(recipe.labels):
        for key in ("scores", "judgements"):
            named = getattr(label, key, None)
            if named is not None and named.file is not None and named.sha256 is None:
                what = f"the file of {key} is not pinned"
                yield ("labels", number, key, "sha256"), what, "give its checksum, or set draft: true"
        scores = getattr(label, "scores", None)
        if scores is not None and scores.file is None and "not pinned" in scores.pins.values():
            what, fix = "the cross-encoder is not pinned to a commit", "name it org/name@<commit>, or set draft: true"
            yield ("labels", number, "scores", "cross_encoder"), what, fix
        if "not pinned" in [pin for name, pin in getattr(label, "pins", {}).items() if model_names.is_elsewhere(name)]:
            what, fix = "the teacher is not pinned to a commit", "name it org/name@<commit>, or set draft: true"
            if Path(str(getattr(label, "model", ""))).is_dir():
                what, fix = "is a local folder, which no commit pins", "set draft: true"
            yield ("labels", number, "model"), what, fix
    if recipe.data.augment is not None and recipe.data.augment.sha256 is None:
        what = "the file of augmented positives is not pinned"
        yield ("data", "augment", "sha256"), what, "give its checksum, or set draft: true"
    for pin in corpora.of(recipe.data.corpus).pins:
        if pin.sha256 is None and not pin.revision:
            what = f"'{pin.file}' has no checksum or revision that is known to us"
            yield ("data", "corpus"), what, "set draft: true; such a row cannot be published"
            return


def _batch_fits(recipe: Recipe) -> Iterator[Finding]:
    split, questions = _train_split(recipe), schedule.questions_per_step(recipe)
    count = split.trainable if split and recipe.data.unlabelled is None else None
    if count is not None and questions is not None and questions > count:
        what = f"a step takes {questions:,} questions, the split has {count:,}"
        yield ("training", "per_device_train_batch_size"), what, "lower it"


def _paper_is_named(recipe: Recipe) -> Iterator[Finding]:
    if recipe.paper is None:
        for name, value in recipe.published.values.items():
            if value is not None:
                yield ("published", "values", name), "a row of our own has no published number", "fill in paper"
    elif not re.fullmatch(r"[0-9]{4}\.[0-9]{5}", recipe.paper.arxiv):
        yield (
            ("paper", "arxiv"),
            f"'{recipe.paper.arxiv}' is not an arXiv number",
            'four digits, a dot, five: "2508.09534"',
        )


def _varies_exist(recipe: Recipe) -> Iterator[Finding]:
    content = recipe.model_dump(mode="json", by_alias=True)
    for number, key in enumerate(recipe.varies):
        place: Any = content
        for part in key.split("."):
            place = place[part] if isinstance(place, dict) and part in place else _NOTHING
        if place is _NOTHING:
            yield ("varies", number), f"'{key}' is not a key of this recipe", "name keys with dots"
        if key.split(".")[0] in DESCRIBING:
            yield ("varies", number), f"'{key}' describes a row", "name a key that changes a result"
        if key in recipe.varies[:number]:
            yield ("varies", number), f"'{key}' is listed twice", "keep one"


_NOTHING = object()


def _published_fits(recipe: Recipe) -> Iterator[Finding]:
    for name, value in recipe.published.values.items():
        if name not in recipe.evaluation.measures:
            fix = nearest(name, recipe.evaluation.measures) or "add it to evaluation.measures, or remove it"
            yield ("published", "values", name), "is not a measure of this recipe", fix
        if value is not None and not 0 <= value <= 100:
            yield ("published", "values", name), f"{value} is not a percentage", "0 to 100"
        if value is not None and recipe.published.source is None:
            yield ("published", "source"), "a published number needs its source", "say where it was read"


def _bands_fit(recipe: Recipe) -> Iterator[Finding]:
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


RULES = tuple(
    Rule(check.__name__.strip("_").replace("_", " "), check)
    for check in (
        _splits_exist,
        _names_are_plain,
        _no_training_on_evaluation,
        *question_rules.CHECKS,
        _validation_fits,
        _match_fits,
        _depth_reaches,
        *search.CHECKS,
        *refresh.CHECKS,
        _positives_fit_policy,
        _objective_fits_positives,
        _objective_is_fed,
        _something_to_contrast,
        *labels.CHECKS,
        _negatives_have_sources,
        _negatives_fit,
        *draw.CHECKS,
        *task.CHECKS,
        *tower_rules.CHECKS,
        *start.CHECKS,
        *scale.CHECKS,
        _pinned,
        _batch_fits,
        *training.CHECKS,
        _paper_is_named,
        _varies_exist,
        _published_fits,
        _bands_fit,
    )
)
