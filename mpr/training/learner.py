"""What learns: the model as a training starts from it, the loss of its steps, and the folder that it leaves.

A dual encoder starts from `towers.base`, `towers.new`, or the trained model of `start`. That one is taken as it is: the
recipe's `towers` must say what its contract says. Two things may be added to it: each side gets a copy of its own of a
shared encoder, and adapters come on top. Such adapters fit no published base, only this model, so what was trained with
them is kept with the adapters merged into the weights.

Which loss a step has is decided once, by `loss_of`: the trainer knows one object and no kinds of model.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mpr.batches.collate import Collator, PairCollator
from mpr.data.dataset import Dataset
from mpr.errors import RecipeError
from mpr.models import attention, contract, packing, templates, towers, towers_folder
from mpr.models.cross_encoder import CrossEncoder
from mpr.models.kinds import KINDS, AnyModel
from mpr.models.late_interaction import LateInteraction
from mpr.models.lengths import Groups
from mpr.models.towers import DualEncoder
from mpr.recipe import stages
from mpr.recipe.keys import DUAL_ENCODER, PACKED, Recipe
from mpr.search.inference import Model
from mpr.training import _block
from mpr.training._block import Completed, Found
from mpr.training._loss import Terms, learned_of
from mpr.training._negative_cache import NegativeCache, Stream


def built(dataset: Dataset) -> AnyModel:
    """The model of the dataset's recipe, ready to learn."""
    recipe = dataset.recipe
    if recipe.task == DUAL_ENCODER:
        model: AnyModel = towers_of(dataset, recipe.scale.groups)
    else:
        seed = int(recipe.training["seed"])
        model = KINDS[recipe.task].build(recipe.towers, dataset.tokenizer(), seed, recipe.scale.groups)
    attention.use(_transformers(model), recipe.towers.attention)
    if recipe.scale.groups == PACKED:
        packing.prepare(_transformers(model))
    numbers = learned_of(recipe.objective)
    if len(numbers):
        model.learned = numbers  # so that checkpoints, processes and the optimizer know them; no model folder has them
    return model


def _transformers(model: AnyModel) -> list[Any]:
    """Those that learn, and those whose vectors are compared with what learns."""
    if isinstance(model, DualEncoder):
        return [encoder.transformer for encoder in model.encoders()]
    return model.recomputed()


def towers_of(dataset: Dataset, groups: Groups = 1) -> DualEncoder:
    """The towers of the dataset's recipe, ready to learn."""
    recipe, folder = dataset.recipe, dataset.models.start
    settings, tokenizer, seed = recipe.towers, dataset.tokenizer(), int(recipe.training.get("seed", 0))
    if folder is None:
        return towers.build(settings, tokenizer, seed, groups)
    found = contract.read(folder)
    contract.agree(found, settings, templates.digest(tokenizer), f"start {recipe.start}", starting=True)
    bases = (Path(base) if base and Path(base).is_dir() else None for base in (settings.base, settings.passage_base))
    loaded, _, _ = towers_folder.load(folder, *bases)
    passage = loaded.passage
    if found.towers.share and not settings.share:
        passage = copy.deepcopy(loaded.question)
    return towers.learning(settings, loaded.question, passage, seed, groups)


def start_of(dataset: Dataset, groups: Groups = 1) -> DualEncoder:
    """What training begins with, to encode by: as in evaluation, weights that training holds in 16 bits are rounded,
    and computed with in 32."""
    return towers_of(dataset, groups).float()


def untrained(dataset: Dataset) -> Model:
    """The model of the dataset's row as the first stage that led to it found it."""
    head = stages.head_of(dataset.recipe)
    first = Dataset(head, dataset.home, dataset.quiet)
    if head.start is None:
        seed, published = int(head.training.get("seed", 0)), not head.trains
        return Model.untrained(head.towers, first.tokenizer(), seed, published=published)
    return Model.of(start_of(first), first.tokenizer(), contract.base_name(head.start))


@dataclass(frozen=True)
class StepLoss:
    """The loss of a step."""

    forward: Callable[[Any, Mapping[str, Any]], Found]
    """(model, batch) -> the loss of the whole step, with the gradient of this process's part."""
    in_chunks: Callable[..., Found] | None = None
    """With `scale.cache`, forward and backward: (model, batch, autocast=, backward=) -> what was found."""
    cache: NegativeCache | None = None
    """Negatives of earlier steps; they belong to every checkpoint."""
    rates: tuple[tuple[torch.Tensor, float | None], ...] = ()
    """What objectives learn themselves, and how fast; None: as fast as the model."""


def loss_of(
    recipe: Recipe,
    learner: AnyModel,
    collator: Collator | PairCollator,
    completed: Completed | None,
    device: torch.device,
) -> StepLoss:
    """The loss that the recipe's model has; `completed` brings what a collator cannot know."""
    numbers, unit = getattr(learner, "learned", None), recipe.towers.normalize
    terms, wanted = Terms(recipe.objective, recipe.labels, numbers, unit), recipe.scale
    _refuse_wider(recipe, learner)
    rates = tuple((number, recipe.objective[int(name.split("_")[0])].learning_rate)  # type: ignore[attr-defined]
                  for name, number in terms.learned.items())  # fmt: skip
    about: dict[str, Any] = {"terms": terms, "place": collator.place, "completed": completed}
    if isinstance(learner, CrossEncoder):
        return StepLoss(partial(_block.pair_loss, **about), rates=rates)
    if isinstance(learner, LateInteraction):
        return StepLoss(partial(_block.late_interaction_loss, **about), rates=rates)
    if wanted.negative_cache is not None:
        assert isinstance(collator, Collator)
        cache = NegativeCache(wanted.negative_cache, learner.width, device)
        seed, temperature = int(recipe.training["seed"]), terms.first.divisor(learner.width)
        return StepLoss(partial(Stream.of(cache, collator, temperature, seed).loss, terms=terms), cache=cache)
    about["gather"] = wanted.gather
    chunked = None if wanted.cache is None else partial(_block.cached_step, cache=wanted.cache, **about)
    return StepLoss(partial(_block.block_loss, **about), chunked, rates=rates)


def _refuse_wider(recipe: Recipe, learner: AnyModel) -> None:
    """Widths that the vectors of a pretrained encoder do not have: `mpr check` cannot know them."""
    for number, term in enumerate(recipe.objective if isinstance(learner, DualEncoder) else ()):
        widest = max(getattr(term, "widths", None) or [0])
        if widest > learner.width:
            what = f"vectors have {learner.width} numbers, and cannot be cut to {widest}"
            raise RecipeError(what, key=f"objective.{number}.widths", fix=f"use {learner.width} or less")


def write(target: Path, model: AnyModel, dataset: Dataset, receipt: Mapping[str, Any]) -> None:
    """Commits the folder of a trained model."""
    start = dataset.models.start
    if hasattr(model, "learned"):
        numbers: Any = model.learned
        terms = Terms(dataset.recipe.objective, learned=numbers)
        receipt = {**receipt, "learned": {name: float(value) for name, value in terms.watched.items()}}
    if isinstance(model, DualEncoder) and start is not None and contract.read(start).weights != "adapter":
        model.merge_adapters()  # they came on top of a whole model: no base has its weights
    computed = {"attention": ", ".join(sorted({attention.of(each) for each in _transformers(model)}))}
    KINDS[dataset.recipe.task].write(target, model, dataset.tokenizer(), {**receipt, **computed})
