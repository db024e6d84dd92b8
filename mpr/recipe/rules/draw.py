"""Rules about what a step learns from: `labels:`, `objective:`, `draw:` and `scale:`.

Who finds positives, what a label gives and which terms look at it; what a policy, a weight or a way to order questions
needs; larger steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mpr import catalogue, corpora
from mpr.corpora import Split
from mpr.errors import nearest
from mpr.recipe import schedule
from mpr.recipe.keys import STEP_SCORES, Recipe, declared
from mpr.recipe.keys_draw import PAIRED
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


LABELLER = "known_positives"  # builds the relation block; every recipe has it once


LISTED = ("grades_QP", "lexical_QP")  # known of candidates and positives, never of other questions' passages


SINGLE_POSITIVE = ("nll", "rand1_lh")


ALWAYS_GIVEN = ("width", "learned")  # targets that training passes to every objective


STEP_SEARCH_GIVES = ("ranks_QP",)  # and those that a search in every step finds


def comes_with_records(source: Any) -> bool:
    """Its candidates stand in the records of the split; every other source is mined."""
    return source.name == "file" and getattr(source, "file", None) is None


def _counts(recipe: Recipe, tier: str) -> bool:
    """Whether a positive of this tier counts; also where the first label is another one, which `labels fit` refuses."""
    return tier in getattr(recipe.known, "tiers", (tier,))


def unlabelled_fits(recipe: Recipe) -> Iterator[Finding]:
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
    finders = {label.name: declared(label, "TIER") for label in recipe.labels if declared(label, "FINDS_POSITIVES")}
    if not finders:
        fix = "add ce_above, llm or answer_match, or set data.unlabelled: null"
        yield path, "no label of this recipe finds positives for questions without any", fix
    elif not set(finders.values()) & set(getattr(recipe.known, "tiers", ())):
        what = f"counts none of {', '.join(map(str, finders.values()))}, so no unlabelled question would be trained on"
        yield ("labels", 0, "tiers"), what, "add one of them"


def augmented_counts(recipe: Recipe) -> Iterator[Finding]:
    if recipe.data.augment is None:
        return
    if not _counts(recipe, "augmented"):
        what = "does not count augmented, the tier of what data.augment brings"
        yield ("labels", 0, "tiers"), what, "add it, or set data.augment: null"
    if recipe.step_search is not None:
        what = "a search in every step would find augmented passages, which are for training alone"
        yield ("data", "augment"), what, "set it to null, or refresh less often"


def llm_counts(recipe: Recipe) -> Iterator[Finding]:
    """What is judged for money and then not counted would only be taken away from the negatives, in silence."""
    for label in recipe.labels:
        finds = declared(label, "TIER") == "llm" and getattr(label, "then", getattr(label, "above", "positive"))
        if finds == "positive" and not _counts(recipe, "llm"):
            yield ("labels", 0, "tiers"), "does not count llm, the tier of what is judged relevant", "add it"


def objective_fits_positives(recipe: Recipe) -> Iterator[Finding]:
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


def objective_is_fed(recipe: Recipe) -> Iterator[Finding]:
    """What an objective needs besides scores must come from a label or a source; their files say what they provide."""
    given = [*ALWAYS_GIVEN, *(() if recipe.step_search is None else STEP_SEARCH_GIVES)]
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


def labels_fit(recipe: Recipe) -> Iterator[Finding]:
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


def labels_have_sources(recipe: Recipe) -> Iterator[Finding]:
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


def grey_is_ignored(recipe: Recipe) -> Iterator[Finding]:
    """What a label knows to be no negative must not become one in the batch."""
    doubtful = getattr(recipe.known, "doubtful", "ignore")
    for label in recipe.labels:
        makes_grey = declared(label, "MAKES_GREY") and getattr(label, "missing", "drop") == "drop"
        if makes_grey and doubtful != "ignore":
            what = f"'{label.name}' finds pairs that are neither positive nor negative, these would be {doubtful}"
            yield ("labels", 0, "doubtful"), what, "set it to ignore"
            return


def labels_follow(recipe: Recipe) -> Iterator[Finding]:
    """A label finds what those before it left."""
    thinned: dict[str, str] = {}
    given: dict[str, str] = {}
    for number, label in enumerate(recipe.labels):
        source = getattr(label, "source", None)
        if label.name == "ce_above":
            if source in thinned:
                what = f"'{thinned[source]}' has taken away what could be promoted"
                yield ("labels", number, "name"), what, "put ce_above before it"
            if not _counts(recipe, "cross_encoder"):
                what = "does not count cross_encoder, the tier of what ce_above promotes"
                yield ("labels", 0, "tiers"), what, "add it, or remove ce_above"
        if label.name in ("ce_below", "groups", "margin") and source is not None:
            thinned[source] = label.name
        for target in declared(label, "PROVIDES") if label.name != LABELLER else ():
            if target in given:
                what = f"gives {target}, which '{given[target]}' gives too"
                yield ("labels", number, "name"), what, "keep one of them"
            given[target] = label.name


def columns_fit(recipe: Recipe) -> Iterator[Finding]:
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


def targets_reach(recipe: Recipe) -> Iterator[Finding]:
    """A term looks only at cells of which its target is known; the rest is seen when a step is drawn."""
    given = {target for label in recipe.labels if label.name != LABELLER for target in declared(label, "PROVIDES")}
    given -= {STEP_SCORES}
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


def step_teacher_is_asked(recipe: Recipe) -> Iterator[Finding]:
    """It costs a forward of the whole step: only for a term or a guard that looks at its scores."""
    label, askers = recipe.step_teacher, (*recipe.objective, *recipe.labels)
    if label is not None and not any(STEP_SCORES in getattr(asker, "needs", ()) for asker in askers):
        what, fix = "scores every step for no term of the objective", "set target: live in a term, or remove the label"
        yield ("labels", recipe.labels.index(label)), what, fix


def whole_steps_fit(recipe: Recipe) -> Iterator[Finding]:
    """An objective that looks at all rows of a step together needs them together."""
    for number, term in enumerate(recipe.objective):
        if getattr(term, "rows_apart", True):
            continue
        path: Path_ = ("objective", number)
        if recipe.scale.processes > 1 and not recipe.scale.gather:
            what = f"'{term.name}' compares all rows of a step, and each process has its own alone"
            yield path, what, "set scale.gather: true, or scale.processes: 1"
        if getattr(term, "view", "query") != "query":
            yield (*path, "view"), f"'{term.name}' looks at rows of questions", "use view: query"
        if recipe.scale.negative_cache is not None:
            what = f"'{term.name}' needs the grade of every negative, remembered ones have none"
            yield path, what, "remove scale.negative_cache"


def guards_fit(recipe: Recipe) -> Iterator[Finding]:
    """What a label needs to decide in the step."""
    for number, label in enumerate(recipe.labels):
        if label.name != "guard":
            continue
        path: Path_ = ("labels", number)
        if STEP_SCORES in getattr(label, "needs", ()) and recipe.step_teacher is None:
            yield (*path, "by"), "no label of this recipe asks a teacher in the step", "add teacher_live, or by: self"
        if recipe.scale.negative_cache is not None:
            what = "negatives of earlier steps enter a loss as one score, of which no part can be ignored"
            yield path, what, "remove scale.negative_cache, or the label"
        if not recipe.draw.negatives and not recipe.draw.in_batch:
            yield path, "there are no negatives in the step", "draw some, or remove the label"


def margins_fit(recipe: Recipe) -> Iterator[Finding]:
    """A label that compares candidates with positives by the source's own scores needs a source that scores both."""
    listed = {getattr(source, "as_", source.name) for source in recipe.sources if comes_with_records(source)}
    for number, label in enumerate(recipe.labels):
        tier = getattr(label, "tier", None)
        if tier is not None and not _counts(recipe, tier):
            what = f"does not count {tier}, the tier of what {label.name} finds"
            yield ("labels", 0, "tiers"), what, "add it, or choose another tier"
        if not declared(label, "LOOKS_AT_POSITIVES") or getattr(label, "scores", None) is not None:
            continue
        if getattr(label, "source", None) in listed:
            what = "came with the records, which have no scores of positives"
            yield ("labels", number, "source"), what, "name `scores`, or a source that is mined"
