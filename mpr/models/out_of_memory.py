"""What to do when a device has too little memory: a refusal that names the key and a value, and changes nothing.

A smaller batch would be another objective, so nobody but the user may choose it. The gradient cache computes the same
gradient in chunks; what it needs is that of one chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mpr.errors import RecipeError
from mpr.recipe import schedule
from mpr.recipe.keys import Cache, Recipe

SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "Unable to allocate")
LEAST_SHARE = 0.1  # of a GPU for the search of every step: below that, smaller steps help more
_ANOTHER = "as another run (--fork NAME, or another folder), since the recipe is part of what a run is"


@contextmanager
def becomes(refusal: Callable[[], RecipeError]) -> Iterator[None]:
    """Turns whatever torch, its CPU allocator or numpy raise when memory runs out into the refusal."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if isinstance(error, MemoryError) or any(sign in str(error) for sign in SIGNS):
            raise refusal() from error
        raise


def in_training(recipe: Recipe, sharded: bool = False) -> RecipeError:
    """The next smaller chunks; where a chunk is one text already, or weights are sharded, what else there is."""
    share = 0.0 if recipe.step_search is None or recipe.refresh is None else recipe.refresh.device_share
    if share > LEAST_SHARE:
        smaller_share = f"--set refresh.device_share={max(share / 2, LEAST_SHARE):g}"
        fix = f"{smaller_share} leaves more of the GPU to training, {_ANOTHER}"
        what = "out of memory in training, beside the search of every step; nothing was changed"
        return RecipeError(what, key="refresh.device_share", fix=fix)
    smaller = None if sharded else _smaller(recipe)
    if smaller is None:
        return _without_chunks(recipe, "" if sharded else " with one text at a time")
    value = f"{{questions: {smaller.questions}, passages: {smaller.passages}}}"
    fix = f"--set 'scale.cache={value}' gives the same gradient in less memory, {_ANOTHER}"
    return RecipeError("out of memory in training; nothing was changed", key="scale.cache", fix=fix)


def in_validation(batch: int) -> RecipeError:
    """Encoding the pool of `validation` in smaller batches gives the same ranks."""
    key = "training.per_device_eval_batch_size"
    fix = f"--set {key}={batch // 2} gives the same measures in less memory, {_ANOTHER}"
    if batch == 1:
        key, fix = "towers.passage_length", "one text is too much for this device: use shorter ones"
    return RecipeError("out of memory in validation; nothing was changed", key=key, fix=fix)


def _smaller(recipe: Recipe) -> Cache | None:
    """Half the chunks; without a cache a quarter of a process's share, as two passes of a half would save little."""
    cache = recipe.scale.cache
    if cache is None:
        questions = int(recipe.training["per_device_train_batch_size"])
        passages = -(-(schedule.passages_per_step(recipe) or questions) // recipe.scale.processes)
        return Cache(questions=max(questions // 4, 1), passages=max(passages // 4, 1))
    if cache.questions == cache.passages == 1:
        return None
    return Cache(questions=max(cache.questions // 2, 1), passages=max(cache.passages // 2, 1))


def _without_chunks(recipe: Recipe, how: str) -> RecipeError:
    what = f"out of memory in training{how}; nothing was changed"
    if not (recipe.training.get("gradient_checkpointing") or recipe.training.get("activation_checkpointing")):
        key, value = "training.gradient_checkpointing", "true"
        why = "computes activations again instead of keeping them: the same gradient"
    elif not (recipe.training.get("bf16") or recipe.training.get("fp16")):
        key, value, why = "training.bf16", "true", "halves activations, where the device has it; another precision"
    else:
        key, value = "towers.passage_length", str(max(recipe.towers.passage_length // 2, 4))
        why = "reads shorter texts: another model, but one that fits"
    return RecipeError(what, key=key, fix=f"--set {key}={value} {why}, {_ANOTHER}")
