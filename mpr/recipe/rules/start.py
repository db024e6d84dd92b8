"""Rules about where weights come from: `start`, the stages of a plan, and models that are named by a stage."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mpr.errors import nearest
from mpr.recipe import model_names, stages
from mpr.recipe.keys import Recipe
from mpr.recipe.rules import task, towers
from mpr.recipe.rules.training import Finding

_PINNED = re.compile(r"[^@]+@[0-9a-f]{40}")


def _start_is_pinned(recipe: Recipe) -> Iterator[Finding]:
    start = recipe.start
    if start is None or recipe.draft or model_names.stage(start) is not None:
        return
    if Path(start).is_dir():
        yield ("start",), "is a local folder, which no commit pins", "set draft: true"
    elif not _PINNED.fullmatch(start):
        fix = "say org/name@ and the 40 hex digits of a commit, or set draft: true"
        yield ("start",), "is not pinned to a commit", fix


def _stages_are_earlier(recipe: Recipe) -> Iterator[Finding]:
    """A stage may use the models of those before it, wherever a model is named."""
    known = recipe.earlier
    for path, name in stages.references(recipe):
        if name == recipe.stage:
            yield path, f"'{name}' is this very stage", "name an earlier one, or `self` for the model under training"
        elif name not in known:
            fix = nearest(name, known) or (f"earlier: {', '.join(known)}" if known else "stages belong to a plan")
            yield path, f"no earlier stage is called '{name}'", fix


def _models_of_sources_fit(recipe: Recipe) -> Iterator[Finding]:
    for number, source in enumerate(recipe.sources):
        model = getattr(source, "model", None)
        if model == model_names.START and recipe.start is None:
            what = "this training starts from no model that could search"
            yield ("sources", number, "model"), what, "name a model, or give start"
        here = model == model_names.START or model_names.stage(model) is not None
        if here and getattr(source, "revision", None) is not None:
            yield ("sources", number, "revision"), f"says where a model comes from, '{model}' is here", "remove it"


def _start_agrees(recipe: Recipe) -> Iterator[Finding]:
    """The towers of a stage are those of the stage that it starts from, but for what may be added to them."""
    name = model_names.stage(recipe.start)
    before = None if name is None else recipe.earlier.get(name)
    if before is None:
        return
    for key, trained, asked in towers.unlike(before.towers, recipe.towers, starting=True):
        path = tuple(key.split("."))
        what = f"is {asked} here and {trained} in stage '{name}', which this one starts from"
        yield ("towers", *path), what, "leave it as it is there, or start from elsewhere (start: base)"


def _models_are_of_their_kind(recipe: Recipe) -> Iterator[Finding]:
    """What vectors are wanted of, what reads pairs, and what may teach a step; of stages, whose task is known here."""
    for path, name in stages.references(recipe):
        before = recipe.earlier.get(name)
        if before is None:
            continue
        wanted: tuple[str, ...] = (task.DUAL_ENCODER,)
        fix = "name a stage that trains a dual encoder"
        if path[0] == "labels" and path[-1] == "cross_encoder":
            wanted, fix = (task.CROSS_ENCODER,), "name a stage with task: cross_encoder"
        elif path[0] == "labels":
            wanted, fix = (task.LATE_INTERACTION, *wanted), "name a late-interaction model or a dual encoder"
        if before.task not in wanted:
            what = f"stage '{name}' trains {task.SCORERS.get(before.task, 'a dual encoder')}"
            if path[0] == "labels" and before.task == task.CROSS_ENCODER:
                what += ", which would have to read every passage of a step with every question"
            yield path, what, fix


def _frozen_passages_have_learned(recipe: Recipe) -> Iterator[Finding]:
    """Vectors that stay for the whole training must come from a model that can tell passages apart."""
    if recipe.towers.train == "question" and recipe.towers.new and recipe.start is None and not recipe.draft:
        what = "passages would be encoded by random weights, for good"
        yield ("towers", "train"), what, "start from a trained model (start), or train both"


CHECKS = (
    _start_is_pinned,
    _stages_are_earlier,
    _models_of_sources_fit,
    _start_agrees,
    _models_are_of_their_kind,
    _frozen_passages_have_learned,
)
