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

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mpr.errors import RecipeError, nearest
from mpr.recipe import model_names
from mpr.recipe.keys import Recipe
from mpr.recipe.model_names import SELF, START
from mpr.recipe.strict_yaml import Document, Path_, leaves

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
Add = Callable[[Path_, str, str], None]


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


def row(stages: Sequence[Recipe], entries: Sequence[dict[str, Any]]) -> Recipe:
    """The recipe of a whole row: that of its last stage, with the plan."""
    made = stages[-1].model_copy(update={"plan": tuple(entries)})
    made._stage, made._earlier, made._stages = "", (), tuple(stages)
    return made


def references(recipe: Recipe, keys: Sequence[str] = NAMING) -> Iterator[tuple[Path_, str]]:
    """Every stage that is named as a model under these keys, and where."""
    content = recipe.model_dump(mode="json", by_alias=True, include=set(keys))
    for path, value in leaves(content):
        if isinstance(value, str) and (name := model_names.stage(value)) is not None:
            yield path, name


# Reading


def entries(document: Document, add: Add) -> list[dict[str, Any]]:
    """The entries of a plan that are stages; what is wrong with them as such is complained about."""
    written, found = document.value["plan"], list[dict[str, Any]]()
    if not isinstance(written, list):
        add(("plan",), "must be a list of stages", "write `- name: ...` for each")
        return found
    for number, entry in enumerate(written):
        path: Path_ = ("plan", number)
        if not isinstance(entry, dict):
            add(path, "must be a mapping: a name, and what differs", "write {name: ..., ...}")
            continue
        if what := _bad_name(entry, [other["name"] for other in found]):
            add((*path, "name"), *what)
            continue
        found.append(entry)
        for fixed in FIXED:
            if holds(entry, fixed):
                add((*path, *fixed), "cannot differ from stage to stage", "say it once, above the plan")
        if what := _bad_start(entry.get("start", PREVIOUS), [other["name"] for other in found[:-1]]):
            add((*path, "start"), *what)
    return found


def _bad_name(entry: dict[str, Any], taken: Sequence[str]) -> tuple[str, str] | None:
    name = entry.get("name")
    if name is None:
        return "is missing", "every stage has a name"
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        return f"{str(name)[:40]!a} is no plain name", "use letters, digits, _ and -, a letter first, 64 at most"
    if name in RESERVED:
        return f"'{name}' means something else", "choose another name"
    return (f"a second stage is called '{name}'", "give it another name") if name in taken else None


def _bad_start(start: Any, earlier: Sequence[str]) -> tuple[str, str] | None:
    if start in (PREVIOUS, BASE) or (isinstance(start, str) and (model_names.stage(start) or start) in earlier):
        return None
    if not isinstance(start, str):
        return "must be text", f"write {PREVIOUS}, {BASE} or the name of an earlier stage"
    known, name = (PREVIOUS, BASE, *earlier), model_names.stage(start) or start
    return f"no earlier stage is called '{name}'", nearest(name, known) or f"known: {', '.join(known)}"


def holds(value: Any, path: Path_) -> bool:
    """Whether there are mappings all the way, and something in the last one."""
    for part in path:
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True


def replaces(entry: Any, path: Path_) -> bool:
    """Whether a stage says this key anew, and no part of what stands above stays in it."""
    for part in path:
        if not isinstance(entry, dict) or part not in entry:
            return False
        entry = entry[part]
    return not isinstance(entry, dict)


def numbered(value: Any, parts: Sequence[str]) -> Path_:
    """The way that `--set` writes as `plan.<stage>.<key>` or with numbers, with the numbers of the stages."""
    path: list[str | int] = [int(part) if part.isdigit() else part for part in parts]
    if path[0] == "plan" and len(path) > 1 and isinstance(value, dict) and isinstance(value.get("plan"), list):
        for number, entry in enumerate(value["plan"]):
            if isinstance(entry, dict) and entry.get("name") == path[1]:
                path[1] = number
    return tuple(path)


def inherits(value: Any, path: Path_) -> bool:
    """Whether a stage that does not say this key has a mapping there, from the recipe above."""
    return path[0] == "plan" and len(path) > 2 and path[2] not in OWN and holds(value, path[2:])


class StageDocument(Document):
    """A stage as if it were a file of its own; what is wrong with it is looked for where it was written."""

    def __init__(self, whole: Document, entry: dict[str, Any], before: str) -> None:
        number = next(place for place, other in enumerate(whole.value["plan"]) if other is entry)
        self.whole, self.place = whole, ("plan", number)
        self.top = {key: value for key, value in whole.value.items() if key != "plan"}
        self.entry = {key: value for key, value in entry.items() if key != "name"}
        super().__init__(merged(self.top, self.entry), whole.file, problems=whole.problems)
        start = str(entry.get("start", PREVIOUS))
        start = (before or BASE) if start == PREVIOUS else model_names.stage(start) or start
        if start == BASE:
            self.value["start"] = self.top.get("start")
        else:
            self.value["start"] = model_names.of_stage(start)
            self.entry["start"] = start  # whether it is written or not, it is this stage that says so
        inside = {path[2:] for path in whole.refused if path[:2] == self.place}
        self.refused = inside | {path for path in whole.refused if self.shown(path) == path}

    def where(self, path: Path_) -> str:
        return self.whole.where(self.shown(path))

    def shown(self, path: Path_) -> Path_:
        """The way in the file to what stands there in the merged recipe, or to where it is missing."""
        entry: Any = self.entry
        top: Any = self.top
        for part in path:
            in_entry, in_top = (isinstance(each, dict) and part in each for each in (entry, top))
            if not in_entry:
                return path if in_top else (*self.place, *path)
            if not in_top:
                break
            entry, top = entry[part], top[part]
            if not (isinstance(entry, dict) and isinstance(top, dict)):
                break
        return (*self.place, *path)


def merged(above: Any, own: Any) -> Any:
    """Mappings key by key; of anything else the second."""
    if not (isinstance(above, dict) and isinstance(own, dict)):
        return own
    return {**above, **{key: merged(above.get(key), value) for key, value in own.items()}}
