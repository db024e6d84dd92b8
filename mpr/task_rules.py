"""Rules about `task:`: what a cross-encoder has no use for."""

from __future__ import annotations

from collections.abc import Iterator

from mpr.recipe import Recipe, Towers
from mpr.training_rules import Finding

CROSS_ENCODER = "cross_encoder"
_NO_VECTORS = "a pair has a score, and no vectors"
_ONLY: tuple[tuple[str, object, str], ...] = (
    ("share", True, "question and passage are read by one transformer"),
    ("pooling", "cls", "the score is read off the first token"),
    ("normalize", False, _NO_VECTORS),
    ("projection", None, _NO_VECTORS),
    ("lora", None, "adapters are put on encoders of vectors only"),
)


def is_cross_encoder(recipe: Recipe) -> bool:
    """Whether the recipe trains one; also of what its model folder is."""
    return recipe.task == CROSS_ENCODER


def one_transformer_reads_both(recipe: Recipe) -> Iterator[Finding]:
    """See `contradictions`."""
    if is_cross_encoder(recipe):
        yield from contradictions(recipe.towers)


def contradictions(towers: Towers) -> Iterator[Finding]:
    """Keys of `towers` that are about two encoders and their vectors; also asked where a recipe is not at hand."""
    for key, only, why in _ONLY:
        if getattr(towers, key) != only:
            fix = f"set it to {'null' if only is None else str(only).lower()}"
            yield ("towers", key), f"{why} (task: cross_encoder)", fix
    if towers.title == "pair":
        what = "a cross-encoder's pair is the question and the passage (task: cross_encoder)"
        yield ("towers", "title"), what, "use join or none"
    if towers.question_length >= towers.passage_length:
        what = f"is of question and passage together, the question alone may have {towers.question_length} tokens"
        yield ("towers", "passage_length"), what, "raise it, or lower question_length"


def only_own_passages(recipe: Recipe) -> Iterator[Finding]:
    """There is no block of scores beyond the pairs that were drawn."""
    if not is_cross_encoder(recipe):
        return
    if recipe.draw.in_batch:
        what = "a cross-encoder would have to read every passage of the step with every question"
        yield ("draw", "in_batch"), what, "set it to false, and draw negatives"
    if recipe.scale.gather:
        yield ("scale", "gather"), "a cross-encoder has no passages to share", "set it to false"
    for key in ("cache", "negative_cache"):
        if getattr(recipe.scale, key) is not None:
            yield ("scale", key), f"{_NO_VECTORS}: there is nothing to remember", "remove it"
    if recipe.refresh is not None:
        yield ("refresh",), "a cross-encoder cannot search", "remove it"
    if recipe.start is not None:
        what = "a cross-encoder does not go on from another model"
        yield ("start",), what, "remove it; in a plan, `start: base`"
    if recipe.validation is not None:
        yield ("validation",), "is a search among passages, and a cross-encoder cannot search", "remove it"
    for number, term in enumerate(recipe.objective):
        if getattr(term, "view", "query") != "query":
            yield ("objective", number, "view"), "a cross-encoder has no rows of passages", "use view: query"
        if getattr(term, "sqrt_width", False):
            yield ("objective", number, "sqrt_width"), f"{_NO_VECTORS} whose size could count", "set it to false"


CHECKS = (one_transformer_reads_both, only_own_passages)
