"""What a task builds and what it leaves: the model that learns, as it starts, and the folder of what it has become."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from mpr.data.dataset import Dataset
from mpr.models import cross_encoder, cross_encoder_folder, late_interaction, late_interaction_folder, towers_folder
from mpr.models.cross_encoder import CrossEncoder
from mpr.models.late_interaction import LateInteraction
from mpr.models.towers import Towers
from mpr.training import starts

Learner: TypeAlias = Towers | CrossEncoder | LateInteraction


def built(dataset: Dataset) -> Learner:
    """The model of the dataset's recipe, ready to learn."""
    recipe = dataset.recipe
    about: Any = recipe.towers, dataset.tokenizer(), int(recipe.training["seed"]), recipe.scale.groups
    if recipe.is_cross_encoder:
        return cross_encoder.build(*about)
    if recipe.is_late_interaction:
        return late_interaction.build(*about)
    return starts.built(dataset, recipe.scale.groups)


def write(target: Path, model: Learner, dataset: Dataset, receipt: Mapping[str, Any]) -> None:
    """Commits the folder of a trained model."""
    tokenizer = dataset.tokenizer()
    if isinstance(model, CrossEncoder):
        cross_encoder_folder.write(target, model, tokenizer, receipt)
    elif isinstance(model, LateInteraction):
        late_interaction_folder.write(target, model, tokenizer, receipt)
    else:
        towers_folder.write(target, starts.without_adapters_of_its_own(dataset, model), tokenizer, receipt)
