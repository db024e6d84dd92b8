"""The generated pages: recipes/README.md, recipes/schema.json, and the plan of every recipe under tests/golden/plans.

`mpr reference --write` makes them anew, `--check` names those that are not what the code says.

The JSON Schema is for editors: every key with its type, bounds and meaning. It says what a single key may be;
contradictions between keys are for `mpr check`. Meanings are the strings below the attributes in the source, read from
the syntax tree: pydantic can do that itself, but at every start of `mpr`.
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from mpr import catalogue, storage
from mpr.errors import Problems, StorageError
from mpr.recipe import _own_schema, _published_encoders, _training_arguments, plan, read, stages
from mpr.recipe._training_arguments import Argument
from mpr.recipe.keys import Recipe
from mpr.recipe.rules import training
from mpr.recipe.strict_yaml import dotted
from mpr.runtime import markdown

NOT_RECIPES = ("accelerate", "options")  # launch files, and examples of single options: no rows of a table
PLANS = Path("tests/golden/plans")
_INTRODUCTION = """\
# Recipes

A recipe is one row of a table, complete in one YAML file: data, encoders, what enters a step, loss, training, search,
evaluation, and the published numbers where they are known. There is no inheritance. A key that changes a result has no
default, so the file reads like the experiment section of a paper; a comment says where each number comes from.

For your own data a recipe can be five lines: without the key `paper` it may leave out everything that has a sensible
default. `mpr init my.yaml --data FILE` writes one; see [docs/own_data.md](../docs/own_data.md).

This page is written by `mpr reference --write`.

## Write one

1. Copy the recipe that is nearest: `recipes/quickstart.yaml` runs offline on two cores; the end of this page lists all.
2. Change it. `mpr check FILE` reports everything that is wrong at once, each with its line and the nearest valid key.
3. `mpr plan FILE` shows steps, memory, hours and disk before anything is downloaded or trained.
4. For a single run, `--set draw.positives.m=2` changes a key without a new file; it is recorded with the result.

YAML 1.2, strictly: spaces for indentation; `true` and `false`; numbers in plain decimal (`1.0e-5`); text that looks
like a number, a date, `no` or `on` stands in quotes. Anchors, aliases, merge keys, tags and repeated keys are refused.

`varies` lists the only keys in which the rows of one table differ; a test compares every pair of rows.
`published` is filled from a source that is named, never from memory; null is unknown.
`training: none` measures encoders that others published: see `checkpoints/` and
[docs/checkpoints.md](../docs/checkpoints.md). Such a recipe has no key that is about training.
`expected` is written by the kit from at least three runs. `draft: true` allows inputs that nobody has pinned.

## In an editor

The first line of every recipe points editors that speak yaml-language-server at the schema, which completes keys,
shows their meaning and marks what is wrong, in complete recipes and in short ones (`mpr init` writes the line):

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

MEANINGS = {  # of the training arguments that recipes commonly have
    "seed": "Every draw, and every weight that is not pretrained, follows from it.",
    "num_train_epochs": "How often every row is drawn.",
    "max_steps": "Number of updates, instead of num_train_epochs.",
    "per_device_train_batch_size": "Questions of a step on each process.",
    "gradient_accumulation_steps": "Steps of one update; in-batch negatives do not grow with it (scale.cache).",
    "learning_rate": "Its peak.",
    "lr_scheduler_type": "Course of the learning rate after warm-up.",
    "warmup_steps": "Updates until the peak of the learning rate; below 1 a share of all updates.",
    "optim": "Optimizer; adamw_torch without weight decay is Adam.",
    "weight_decay": "Decoupled weight decay.",
    "adam_beta1": "Decay of Adam's first moment.",
    "adam_beta2": "Decay of Adam's second moment.",
    "adam_epsilon": "Added to Adam's denominator.",
    "max_grad_norm": "Gradients are clipped to this norm; 0: never. mpr's gradient is that of the whole step.",
    "fp16": "Matrix products in 16-bit floats with loss scaling.",
    "bf16": "Matrix products in bfloat16.",
    "gradient_checkpointing": "Recompute activations in the backward pass: less memory, a third more time.",
    "dataloader_num_workers": "Processes that put batches together; changes no result.",
    "logging_steps": "Updates between two lines of the log.",
    "save_steps": "Updates between two checkpoints.",
    "report_to": "Trackers, such as tensorboard or trackio.",
    "use_cpu": "Stay on the CPU even where there is a GPU.",
}


_NOTHING = ("nothing is trained", "-", "-")
_TYPES = {"int": "integer", "float": "number", "str": "string", "bool": "boolean", "None": "null"}


def recipe_paths(root: Path) -> list[Path]:
    """Every recipe that ships, in alphabetical order."""
    folder = root / "recipes"
    return sorted(path for path in folder.rglob("*.yaml") if path.relative_to(folder).parts[0] not in NOT_RECIPES)


def pages(root: Path) -> dict[Path, bytes]:
    """Path below `root` -> what should be there."""
    found = {Path("recipes/schema.json"): json.dumps(file_schema(), indent=1, ensure_ascii=False) + "\n"}
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
    whole = recipe_schema()
    yield _INTRODUCTION
    yield "## Keys\n"
    yield "A key without a default is required; with `training: none`, keys about training are left out.\n"
    yield from _keys(whole, whole)
    yield from _sections(whole, whole, "")
    yield from _training()
    yield _PLAN
    for folder in catalogue.FOLDERS:
        yield from _catalogue(folder, whole)
    yield f"\n## The {len(recipes)} recipes\n"
    yield from _shipped(root, recipes)


def _shipped(root: Path, recipes: dict[Path, Recipe]) -> Iterator[str]:
    """A table of the recipes."""
    rows = []
    for path, recipe in recipes.items():
        paper, name = recipe.paper, path.relative_to(root / "recipes").as_posix()
        row = "our own" if recipe.trains else "published encoders"
        if paper is not None:
            row = f"{paper.row}, {paper.dataset} ({paper.arxiv})"
        facts = dict(line.split(maxsplit=1) for line in plan.resolve(recipe).lines if line[0] != " ")
        step = [facts.get(fact, "-") for fact in ("positives", "objective", "step")] if recipe.trains else _NOTHING
        rows.append((f"[{name}]({name})", row, *step))
    yield markdown.table(("recipe", "row", "positives", "objective", "a step"), rows)


def _keys(place: dict[str, Any], whole: dict[str, Any], without: tuple[str, ...] = ()) -> Iterator[str]:
    """A table of the keys of one mapping."""
    required = [*place.get("required", ())]
    for rule in place.get("allOf", ()):
        required += rule["anyOf"][0].get("required", ())  # unless nothing is trained
    rows = (
        (
            f"`{name}`",
            _type(entry, whole),
            "required" if name in required else f"`{json.dumps(entry.get('default'), ensure_ascii=False)}`",
            entry.get("description", ""),
        )
        for name, entry in place["properties"].items()
        if name not in without
    )
    yield markdown.table(("key", "type", "default", "meaning"), rows)


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
    options = (entry, *entry.get("anyOf", ()))
    values = [option["additionalProperties"] for option in options if option.get("additionalProperties")]
    for option in (*options, entry.get("items", {}), *values):
        name = option.get("$ref", "").rpartition("/")[2]
        if name and _folder(name) is None:
            target: dict[str, Any] = whole["$defs"][name]
            return target
    return None


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
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f" {sign} {entry[key]}" for key, sign in signs.items() if key in entry]
    if "pattern" in entry:
        bounds.append(f" like `{entry['pattern']}`")
    return names.get(str(kind), str(kind)) + ",".join(bounds)


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


def file_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of a recipe file: a complete one, or without the key `paper` a short one."""
    whole = recipe_schema()
    shared = {name: whole.pop(name) for name in ("$schema", "title", "$defs")}
    untrained = {"required": ["training"], "properties": {"training": {"const": _published_encoders.NONE}}}
    return {
        **shared,
        "type": "object",
        "if": {"anyOf": [{"required": ["paper"]}, untrained]},
        "then": whole,
        "else": _own_schema.own_recipe(whole | shared, "#/then"),
    }


def recipe_schema() -> dict[str, Any]:
    """That of a complete recipe, also of one that trains nothing."""
    schema = Recipe.model_json_schema(by_alias=True, schema_generator=_Described)
    known = {name: one for name, one in _training_arguments.known().items() if name not in training.OWNED}
    arguments = {
        "type": "object",
        "$comment": f"arguments of transformers {metadata.version('transformers')}",
        "properties": {name: _argument(argument) for name, argument in known.items()},
        "additionalProperties": False,
        "required": list(training.REQUIRED),
        "allOf": [{"anyOf": [{"required": [name]} for name in names]} for names in training.ONE_OF],
    }
    described = schema["properties"]["training"]["description"]
    schema["properties"]["training"] = {
        "anyOf": [{"const": _published_encoders.NONE}, arguments],
        "description": described,
    }
    _all_or_none(schema, ("sources", "draw", "labels", "objective", "scale"))
    _all_or_none(schema["$defs"]["Data"], tuple(_published_encoders.UNREAD_OF_DATA))
    own = {
        "name": {"type": "string", "pattern": f"^{stages.NAME}$", "description": "Of the stage, for references."},
        "start": {"type": "string", "description": "`previous`, `base`, or the name of an earlier stage."},
    }
    entry = _partial({"properties": schema["properties"]}, schema, ())
    schema["properties"]["plan"]["items"] = {
        "type": "object",
        **entry,
        "properties": entry["properties"] | own,
        "required": ["name"],  # what a stage does not say stands above
        "additionalProperties": False,
    }
    head = {"$schema": GenerateJsonSchema.schema_dialect, "title": "mpr recipe"}
    return head | {key: value for key, value in schema.items() if key != "title"}


def _all_or_none(place: dict[str, Any], names: tuple[str, ...]) -> None:
    """Keys about training: a recipe has every one of them, or trains nothing and has none."""
    place["required"] = [name for name in place["required"] if name not in names]
    absent = {"not": {"anyOf": [{"required": [name]} for name in names]}}
    place["allOf"] = [{"anyOf": [{"required": list(names)}, absent]}]


def _partial(entry: dict[str, Any], schema: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """The same value with parts of mappings left out; lists stay whole, because they replace."""
    if "$ref" in entry:
        beside = {name: value for name, value in entry.items() if name != "$ref"}
        return _partial(schema["$defs"][entry["$ref"].rpartition("/")[2]], schema, path) | beside
    if "anyOf" in entry:
        return {**entry, "anyOf": [_partial(option, schema, path) for option in entry["anyOf"]]}
    if "properties" not in entry:
        return entry
    loose = {name: value for name, value in entry.items() if name not in ("required", "allOf")}
    parts = {name: part for name, part in entry["properties"].items() if (*path, name) not in stages.FIXED}
    return loose | {"properties": {name: _partial(part, schema, (*path, name)) for name, part in parts.items()}}


class _Described(GenerateJsonSchema):
    """Adds the meaning of every key, leaves out titles that only repeat its name, and puts a part's `name` first."""

    def model_schema(self, schema: Any) -> dict[str, Any]:
        made: dict[str, Any] = super().model_schema(schema)
        made.pop("title", None)
        cls = schema["cls"]
        meanings = {cls.model_fields[name].alias or name: text for name, text in attribute_docs(cls).items()}
        properties: dict[str, Any] = made["properties"]
        for name, entry in properties.items():
            entry.pop("title", None)
            if name in meanings:
                entry["description"] = meanings[name]
        if "name" in properties:
            made["properties"] = {"name": properties["name"], **properties}
        return made


@cache
def attribute_docs(cls: type[Any]) -> dict[str, str]:
    """Attribute -> the string that stands below it, of a class and what it inherits from."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        module = inspect.getmodule(base)
        if module is not None and module.__name__.split(".")[0] == "mpr":
            found |= _docs_in(Path(str(module.__file__)), base.__name__)
    return {name: text for name, text in found.items() if name in cls.model_fields}


@cache
def _docs_in(file: Path, name: str) -> dict[str, str]:
    found = {}
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            for item, following in zip(node.body, node.body[1:], strict=False):
                is_text = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
                if is_text and isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                    found[item.target.id] = " ".join(str(following.value.value).split())  # type: ignore[attr-defined]
    return found


def _argument(argument: Argument) -> dict[str, Any]:
    """Schema of one argument of transformers, without alternatives that YAML cannot express."""
    name, options = argument.name, list[dict[str, Any]]()
    for part in argument.annotation.split("|"):
        match part.strip():
            case "str" if argument.words:
                options.append({"enum": list(argument.words)})
            case "int" | "float" | "str" | "bool" | "None" as kind:
                options.append({"type": _TYPES[kind]})
            case "list[str]":
                options.append({"type": "array", "items": {"type": "string"}})
            case "Literal[False]":
                options.append({"const": False})
            case other if other.startswith(("list", "dict")):
                options.append({"type": "array" if other.startswith("list") else "object"})
    made = options[0] if len(options) == 1 else {"anyOf": options}
    if name in training.LEAST:
        made = made | {"minimum": training.LEAST[name]}
    if name in training.ABOVE_ZERO:
        made = made | {"exclusiveMinimum": 0}
    if name in training.BELOW:
        made = made | {"exclusiveMaximum": training.BELOW[name]}
    return made | {"description": MEANINGS.get(name, f"transformers.TrainingArguments.{name}")}
