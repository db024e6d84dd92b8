"""The towers that a training starts from: those of `towers.base` or `towers.new`, or the trained model of `start`.

A model is taken as it is: the recipe's `towers` must say what its contract says. Two things may be added to it: each
side gets a copy of its own of a shared encoder, and adapters come on top. Such adapters fit no published base, only
this model, so what was trained with them is kept with the adapters merged into the weights.
"""

from __future__ import annotations

import copy
from pathlib import Path

from mpr.data.dataset import Dataset
from mpr.models import contract, templates, towers, towers_folder
from mpr.models.towers import DualEncoder
from mpr.recipe import stages
from mpr.search.inference import Model


def built(dataset: Dataset, groups: int = 1) -> DualEncoder:
    """The towers of the dataset's recipe, ready to learn."""
    recipe, folder = dataset.recipe, dataset.models.start
    settings, tokenizer, seed = recipe.towers, dataset.tokenizer(), int(recipe.training["seed"])
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


def untrained(dataset: Dataset) -> Model:
    """The model of the dataset's row as the first stage that led to it found it."""
    head = stages.head_of(dataset.recipe)
    first = Dataset(head, dataset.home, dataset.quiet)
    if head.start is None:
        return Model.untrained(head.towers, first.tokenizer(), int(head.training["seed"]))
    return Model.of(built(first), first.tokenizer(), contract.base_name(head.start))


def without_adapters_of_its_own(dataset: Dataset, trained: DualEncoder) -> DualEncoder:
    """The same towers; adapters that came on top of a whole model are merged, because no base has its weights."""
    if dataset.models.start is not None and contract.read(dataset.models.start).weights != "adapter":
        trained.merge_adapters()
    return trained
