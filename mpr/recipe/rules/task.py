"""Rules about `task:`: what models have no use for that give a pair a score and have no vector of a whole text.

A cross-encoder reads question and passage together. A late-interaction model reads them apart and compares their
tokens, so passages of other rows are there to be scored, as they are for towers.
"""

from __future__ import annotations

from collections.abc import Iterator

from mpr.recipe.keys import Recipe, Towers
from mpr.recipe.model_names import START
from mpr.recipe.rules.training import Finding

DUAL_ENCODER, CROSS_ENCODER, LATE_INTERACTION = "dual_encoder", "cross_encoder", "late_interaction"
SCORERS = {CROSS_ENCODER: "a cross-encoder", LATE_INTERACTION: "a late-interaction model"}
"""Tasks of models that cannot search, as messages call these."""
_NO_VECTORS = "a pair has a score, and no vectors"
_Only = tuple[tuple[str, object, str], ...]
_PAIRS: _Only = (
    ("share", True, "question and passage are read by one transformer"),
    ("pooling", "cls", "the score is read off the first token"),
    ("normalize", False, _NO_VECTORS),
    ("projection", None, _NO_VECTORS),
    ("lora", None, "adapters are put on encoders of vectors only"),
)
_TOKENS: _Only = (
    ("share", True, "questions and passages are read by one encoder"),
    ("pooling", "none", "every token keeps its vector"),
    ("lora", None, "adapters are put on encoders of whole texts only"),
)


def is_cross_encoder(recipe: Recipe) -> bool:
    """Whether the recipe trains one; also of what its model folder is."""
    return recipe.task == CROSS_ENCODER


def is_late_interaction(recipe: Recipe) -> bool:
    """The same of a late-interaction model."""
    return recipe.task == LATE_INTERACTION


def towers_fit_the_task(recipe: Recipe) -> Iterator[Finding]:
    """See `contradictions`."""
    yield from contradictions(recipe.towers, recipe.task)


def contradictions(towers: Towers, task: str) -> Iterator[Finding]:
    """Keys of `towers` that are about another kind of model; also asked where a recipe is not at hand."""
    if task == DUAL_ENCODER and towers.pooling == "none":
        yield ("towers", "pooling"), "vectors of whole texts are compared (task: dual_encoder)", "use cls, mean or last"
    for key, only, why in {CROSS_ENCODER: _PAIRS, LATE_INTERACTION: _TOKENS}.get(task, ()):
        if getattr(towers, key) != only:
            fix = f"set it to {'null' if only is None else str(only).lower()}"
            yield ("towers", key), f"{why} (task: {task})", fix
    if task != CROSS_ENCODER:
        return
    if towers.title == "pair":
        what = "a cross-encoder's pair is the question and the passage (task: cross_encoder)"
        yield ("towers", "title"), what, "use join or none"
    if towers.question_length >= towers.passage_length:
        what = f"is of question and passage together, the question alone may have {towers.question_length} tokens"
        yield ("towers", "passage_length"), what, "raise it, or lower question_length"


def only_own_passages(recipe: Recipe) -> Iterator[Finding]:
    """A cross-encoder has no block of scores beyond the pairs that were drawn."""
    if is_cross_encoder(recipe) and recipe.draw.in_batch:
        what = "a cross-encoder would have to read every passage of the step with every question"
        yield ("draw", "in_batch"), what, "set it to false, and draw negatives"


def nothing_that_needs_vectors(recipe: Recipe) -> Iterator[Finding]:
    """What is about the vectors of whole texts, or about searching with them."""
    if recipe.task not in SCORERS:
        return
    who = SCORERS[recipe.task]
    if recipe.scale.gather:
        yield ("scale", "gather"), f"{who} has no passages to share", "set it to false"
    for key in ("cache", "negative_cache"):
        if getattr(recipe.scale, key) is not None:
            yield ("scale", key), f"{_NO_VECTORS}: there is nothing to remember", "remove it"
    if recipe.refresh is not None:
        yield ("refresh",), f"{who} cannot search", "remove it"
    if recipe.start is not None:
        yield ("start",), f"{who} does not go on from another model", "remove it; in a plan, `start: base`"
    if recipe.validation is not None:
        yield ("validation",), f"is a search among passages, and {who} cannot search", "remove it"
    if recipe.draw.clusters is not None and recipe.draw.clusters.model == START:
        fix = "name a trained model, `stage:<name>` in a plan"
        yield ("draw", "clusters", "model"), f"{who} has no vectors of questions", fix
    for number, term in enumerate(recipe.objective):
        if getattr(term, "view", "query") != "query":
            yield ("objective", number, "view"), f"{who} has no rows of passages", "use view: query"
        if getattr(term, "sqrt_width", False):
            yield ("objective", number, "sqrt_width"), f"{_NO_VECTORS} whose size could count", "set it to false"


CHECKS = (towers_fit_the_task, only_own_passages, nothing_that_needs_vectors)
