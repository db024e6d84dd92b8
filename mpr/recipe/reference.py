"""The generated pages: recipes/README.md, recipes/schema.json, and the plan of every recipe under tests/golden/plans.

`mpr reference --write` makes them anew, `--check` names those that are not what the code says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mpr import catalogue, storage
from mpr.errors import Problems, StorageError
from mpr.recipe import _schema, plan, read, stages
from mpr.recipe.keys import Recipe
from mpr.recipe.rules import training
from mpr.recipe.strict_yaml import dotted
from mpr.runtime import markdown

NOT_RECIPES = ("accelerate",)  # folders of recipes/ that hold other YAML files
PLANS = Path("tests/golden/plans")
_INTRODUCTION = """\
# Recipes

A recipe is one row of a table, complete in one YAML file: data, encoders, what enters a step, loss, training, search,
evaluation, and the published numbers where they are known. There is no inheritance. A key that changes a result has no
default, so the file reads like the experiment section of a paper; a comment says where each number comes from.

This page is written by `mpr reference --write`.

## Write one

1. Copy the recipe that is nearest: `recipes/quickstart.yaml` runs offline on two cores; the table below lists all.
2. Change it. `mpr check FILE` reports everything that is wrong at once, each with its line and the nearest valid key.
3. `mpr plan FILE` shows steps, memory, hours and disk before anything is downloaded or trained.
4. For a single run, `--set draw.positives.m=2` changes a key without a new file; it is recorded with the result.

YAML 1.2, strictly: spaces for indentation; `true` and `false`; numbers in plain decimal (`1.0e-5`); text that looks
like a number, a date, `no` or `on` stands in quotes. Anchors, aliases, merge keys, tags and repeated keys are refused.

`varies` lists the only keys in which the rows of one table differ; a test compares every pair of rows.
`published` is filled from a source that is named, never from memory; null is unknown.
`expected` is written by the kit from at least three runs. `draft: true` allows inputs that nobody has pinned.

## In an editor

The first line of every recipe points editors that speak yaml-language-server at the schema, which completes keys,
shows their meaning and marks what is wrong:

```yaml
# yaml-language-server: $schema=schema.json
```

In VS Code install the extension "YAML" by Red Hat. From another folder give the path or URL of `recipes/schema.json`.
"""

_PLAN = f"""
### plan

A recipe with a plan is trained in stages, one after the other; the last one's model is the row's. An entry has a
`name`, a `start`, and whatever differs from the recipe above it, which is complete in itself: mappings are merged key
by key, lists and plain values replace.

```yaml
plan:
  - name: warmup
    draw: {{negatives: []}}
    training: {{max_steps: 100}}
  - name: hard # start: previous, where it is not written; base: what the recipe above starts from; or a stage's name
    sources: [{{name: dense, as: hard, model: "stage:warmup", depth: 200, dtype: float32, compute: float32}}]
    draw: {{negatives: [{{from: hard, k: 1, weight: uniform, short: fewer}}]}}
```

Wherever a model is named, `stage:<name>` is that of an earlier stage; `start`, as the model of a source, is what the
stage itself starts from. `--set plan.hard.training.max_steps=10` (or `plan.1.`) changes a key of one stage.
[docs/plans.md](../docs/plans.md) has the rest. What no stage can change:
{", ".join(f"`{dotted(path)}`" for path in stages.FIXED)}."""


def recipe_paths(root: Path) -> list[Path]:
    """Every recipe that ships, in alphabetical order."""
    folder = root / "recipes"
    return sorted(path for path in folder.rglob("*.yaml") if path.relative_to(folder).parts[0] not in NOT_RECIPES)


def pages(root: Path) -> dict[Path, bytes]:
    """Path below `root` -> what should be there."""
    found = {Path("recipes/schema.json"): json.dumps(_schema.recipe_schema(), indent=1, ensure_ascii=False) + "\n"}
    recipes = {path: read.load(path) for path in recipe_paths(root)}
    found[Path("recipes/README.md")] = "\n".join(_readme(root, recipes)) + "\n"
    for path, recipe in recipes.items():
        found[PLANS / path.relative_to(root / "recipes").with_suffix(".txt")] = str(plan.resolve(recipe))
    return {path: text.encode() for path, text in found.items()}


def write(root: Path) -> list[Path]:
    """Writes what differs; returns it."""
    wanted = pages(root)
    changed = [path for path, data in wanted.items() if not _is(root / path, data)]
    for path in changed:
        storage.write_file(root / path, wanted[path])
    return changed


def check(root: Path) -> int:
    """Refuses pages that are missing, differ, or belong to no recipe; returns how many were compared."""
    wanted, problems = pages(root), Problems(StorageError)
    for path, data in wanted.items():
        if not _is(root / path, data):
            problems.add("is not what the code says", where=str(path), fix="run `mpr reference --write` and look at it")
    for path in sorted((root / PLANS).rglob("*.txt")):
        if path.relative_to(root) not in wanted:
            problems.add("is the plan of no recipe", where=str(path.relative_to(root)), fix="delete it")
    problems.stop_if_any()
    return len(wanted)


def _is(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


def _readme(root: Path, recipes: dict[Path, Recipe]) -> Iterator[str]:
    yield _INTRODUCTION
    yield f"## The {len(recipes)} recipes\n"
    yield markdown.table(("recipe", "row", "positives", "objective", "a step"), _rows(root, recipes))
    whole = _schema.recipe_schema()
    yield "\n## Keys\n"
    yield "A key without a default is required.\n"
    yield from _keys(whole, whole)
    yield from _sections(whole, whole, "")
    yield from _training()
    yield _PLAN
    for folder in catalogue.FOLDERS:
        yield from _catalogue(folder, whole)


def _rows(root: Path, recipes: dict[Path, Recipe]) -> Iterator[tuple[str, ...]]:
    for path, recipe in recipes.items():
        paper, name = recipe.paper, path.relative_to(root / "recipes").as_posix()
        row = f"{paper.row}, {paper.dataset} ({paper.arxiv})" if paper else "our own"
        facts = dict(line.split(maxsplit=1) for line in plan.resolve(recipe).lines if line[0] != " ")
        yield f"[{name}]({name})", row, facts["positives"], facts["objective"], facts["step"]


def _keys(place: dict[str, Any], whole: dict[str, Any], without: tuple[str, ...] = ()) -> Iterator[str]:
    """A table of the keys of one mapping."""
    required = place.get("required", ())
    rows = (
        (f"`{name}`", _type(entry, whole), _default(name, entry, required), entry.get("description", ""))
        for name, entry in place["properties"].items()
        if name not in without
    )
    yield markdown.table(("key", "type", "default", "meaning"), rows)


def _default(name: str, entry: dict[str, Any], required: Iterable[str]) -> str:
    return "required" if name in required else f"`{json.dumps(entry.get('default'), ensure_ascii=False)}`"


def _sections(place: dict[str, Any], whole: dict[str, Any], above: str) -> Iterator[str]:
    """The mappings inside a mapping, each with its table; entries of catalogues have sections of their own."""
    for name, entry in place["properties"].items():
        target = _mapping(entry, whole)
        if target is None:
            continue
        path = f"{above}{name}"
        yield f"\n### {path}\n"
        yield f"{target.get('description', '')}\n"
        yield from _keys(target, whole)
        yield from _sections(target, whole, f"{path}.")


def _mapping(entry: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any] | None:
    """The definition an entry refers to, directly, as an item, a value or an alternative; not that of a catalogue."""
    for option in (entry, *entry.get("anyOf", ()), entry.get("items", {}), *_values(entry)):
        name = option.get("$ref", "").rpartition("/")[2]
        if name and _folder(name) is None:
            target: dict[str, Any] = whole["$defs"][name]
            return target
    return None


def _values(entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for option in (entry, *entry.get("anyOf", ())):
        if isinstance(option.get("additionalProperties"), dict):
            yield option["additionalProperties"]


def _folder(definition: str) -> str | None:
    folder = definition.partition("_")[0]
    return folder if folder in catalogue.FOLDERS else None


def _type(entry: dict[str, Any], whole: dict[str, Any]) -> str:
    """What a value must be, in words."""
    if "$ref" in entry or "oneOf" in entry:
        reference = entry.get("$ref") or entry["oneOf"][0]["$ref"]
        folder = _folder(reference.rpartition("/")[2])
        return f"[entry of {folder}](#{folder})" if folder else "mapping"
    if "anyOf" in entry:
        return " or ".join(dict.fromkeys(_type(option, whole) for option in entry["anyOf"]))
    if "enum" in entry or "const" in entry:
        return ", ".join(f"`{word}`" for word in entry.get("enum", [entry.get("const")]))
    kind = entry.get("type")
    if kind == "array":
        least = "one or more: " if entry.get("minItems") else ""
        return f"list of {least}{_type(entry.get('items', {}), whole)}"
    if kind == "object":
        values = entry.get("additionalProperties")
        return f"names to {_type(values, whole)}" if isinstance(values, dict) else "mapping"
    names = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}
    return names.get(str(kind), str(kind)) + _bounds(entry)


def _bounds(entry: dict[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    parts = [f" {sign} {entry[key]}" for key, sign in signs.items() if key in entry]
    if "pattern" in entry:
        parts.append(f" like `{entry['pattern']}`")
    return ",".join(parts)


def _training() -> Iterator[str]:
    yield "\n### training\n"
    yield "transformers' `TrainingArguments` by their own names, each checked for name and type against the installed"
    yield "version. Required, because they change a result:\n"
    required = [(f"`{name}`", why) for name, why in training.REQUIRED.items()]
    required += [(" or ".join(f"`{name}`" for name in names), why) for names, why in training.ONE_OF.items()]
    yield markdown.table(("key", "meaning"), required)
    yield "\nRefused, because mpr sets them:\n"
    yield markdown.table(("key", "why"), ((f"`{name}`", why) for name, why in training.OWNED.items()))


def _catalogue(folder: str, whole: dict[str, Any]) -> Iterator[str]:
    yield f"\n## {folder}\n"
    yield f"Entries are the files of `mpr/{folder}/`; `name` chooses one, the other keys are its own."
    for name in catalogue.names(folder):
        place = whole["$defs"][f"{folder}_{name}"]
        yield f"\n### {folder}: {name}\n"
        yield catalogue.summary(folder, name)
        if len(place["properties"]) > 1:
            yield ""
            yield from _keys(place, whole, without=("name",))
        yield from _sections(place, whole, f"{folder}: {name}.")
