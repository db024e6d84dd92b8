"""The kinds of models, by the `task` of a recipe and of a model folder: how each is built, written and loaded.

A dual encoder makes a vector of every text and can search. A cross-encoder and a late-interaction model only score
pairs. Whoever does not care which kind it is goes by this table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from mpr.models import cross_encoder, late_interaction, towers, towers_folder
from mpr.models.cross_encoder import CrossEncoder
from mpr.models.late_interaction import LateInteraction
from mpr.models.towers import DualEncoder
from mpr.recipe.keys import CROSS_ENCODER, DUAL_ENCODER, LATE_INTERACTION

AnyModel: TypeAlias = DualEncoder | CrossEncoder | LateInteraction


@dataclass(frozen=True)
class ModelKind:
    """What can be done with a model of this kind."""

    build: Callable[..., AnyModel]
    """(recipe's towers, tokenizer, seed, groups of similar length) -> the model, ready to learn."""
    write: Callable[..., None]
    """(target, model, tokenizer, receipt): commits a model folder."""
    load: Callable[..., tuple[Any, Any, Any]]
    """(model folder) -> model, tokenizer and contract, every byte verified."""


KINDS = {
    DUAL_ENCODER: ModelKind(towers.build, towers_folder.write, towers_folder.load),
    CROSS_ENCODER: ModelKind(cross_encoder.build, cross_encoder.write, cross_encoder.load),
    LATE_INTERACTION: ModelKind(late_interaction.build, late_interaction.write, late_interaction.load),
}
