"""What a task builds and what it leaves: the model that learns, as it starts, and the folder of what it has become."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpr.data.dataset import Dataset
from mpr.models.kinds import KINDS, AnyModel
from mpr.models.towers import DualEncoder
from mpr.recipe.keys import DUAL_ENCODER
from mpr.training import starts

Learner = AnyModel


def built(dataset: Dataset) -> Learner:
    """The model of the dataset's recipe, ready to learn."""
    recipe = dataset.recipe
    if recipe.task == DUAL_ENCODER:
        return starts.built(dataset, recipe.scale.groups)
    seed = int(recipe.training["seed"])
    return KINDS[recipe.task].build(recipe.towers, dataset.tokenizer(), seed, recipe.scale.groups)


def write(target: Path, model: Learner, dataset: Dataset, receipt: Mapping[str, Any]) -> None:
    """Commits the folder of a trained model."""
    if isinstance(model, DualEncoder):
        model = starts.without_adapters_of_its_own(dataset, model)
    KINDS[dataset.recipe.task].write(target, model, dataset.tokenizer(), receipt)
