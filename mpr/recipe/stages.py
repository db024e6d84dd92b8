"""A plan: the stages of a row, each an ordinary recipe that is written as what differs from the recipe above it.

```yaml
plan:
  - {name: warmup, training: {max_steps: 100}}
  - name: star                      # start: previous, where nothing is said; base: what the recipe above starts from
    sources: [{name: dense, as: hard, model: "stage:warmup", ...}]
```

Mappings are merged key by key; lists and plain values replace. Nothing else is inherited: the recipe above the plan is
complete, and a stage's recipe depends on no other stage, so that a change of one leaves the others what they are. The
last stage's model is the row's, and the row is searched and evaluated by the last stage's recipe.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mpr.errors import RecipeError, nearest
from mpr.recipe import model_names
from mpr.recipe.keys import Recipe
from mpr.recipe.model_names import SELF, START
from mpr.recipe.strict_yaml import Path_, leaves

PREVIOUS, BASE = "previous", "base"
OWN = ("name", "start")  # keys of an entry that are no keys of a recipe, or mean more than that
RESERVED = (PREVIOUS, BASE, START, SELF)
FIXED: tuple[Path_, ...] = (
    ("plan",), ("paper",), ("varies",), ("draft",), ("data", "corpus"), ("data", "evaluate"), ("training", "seed"),
    ("search",), ("evaluation",), ("published",), ("expected",),
)  # fmt: skip
"""What belongs to the row: what is measured, how, and under which seed."""
NAMING = ("start", "sources", "labels", "draw", "objective", "refresh")  # the keys in which a model may be named
NAME = "[A-Za-z][A-Za-z0-9_-]{0,63}"  # no dots: `--set plan.<name>.<key>`


def is_last(row: Recipe, stage: Recipe) -> bool:
    """Whether the model of this stage of a plan is the row's."""
    return bool(row.plan) and stage.stage == row.stages[-1].stage


def stage_of(row: Recipe, name: str | None) -> Recipe:
    """The stage of that name; without one the row itself, which then must have no plan."""
    stages = {stage.stage: stage for stage in row.stages}
    known = f"stages: {', '.join(stages)}"
    if name is None:
        if row.plan:
            raise RecipeError("the recipe has a plan, and only one stage can be meant", key="--stage", fix=known)
        return row
    if not row.plan:
        raise RecipeError("the recipe has no plan", key="--stage", fix="leave it out")
    if name not in stages:
        raise RecipeError(f"no stage is called '{name}'", key="--stage", fix=nearest(name, stages) or known)
    return stages[name]


def head_of(recipe: Recipe) -> Recipe:
    """The stage whose start is where the row's model comes from: back from the last one, from start to start."""
    known = {stage.stage: stage for stage in recipe.stages}
    found = recipe.stages[-1]
    while (name := model_names.stage(found.start)) is not None:
        found = known[name]
    return found


def seeded(recipe: Recipe, seed: int) -> Recipe:
    """The same row with another seed, in every stage."""
    made = recipe.model_copy(update={"training": {**recipe.training, "seed": seed}})
    made._stages = tuple(seeded(stage, seed) for stage in recipe._stages)
    return made


def references(recipe: Recipe, keys: Sequence[str] = NAMING) -> Iterator[tuple[Path_, str]]:
    """Every stage that is named as a model under these keys, and where."""
    content = recipe.model_dump(mode="json", by_alias=True, include=set(keys))
    for path, value in leaves(content):
        if isinstance(value, str) and (name := model_names.stage(value)) is not None:
            yield path, name
