"""The JSON Schema of a recipe, for editors: every key with its type, bounds and meaning.

It says what a single key may be; contradictions between keys are for `mpr check`. Meanings are the strings below the
attributes in the source, read from the syntax tree: pydantic can do that itself, but at every start of `mpr`.
"""

from __future__ import annotations

import ast
import inspect
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from mpr.recipe import _training_arguments, stages
from mpr.recipe._training_arguments import Argument
from mpr.recipe.keys import Recipe
from mpr.recipe.rules import training

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
_TYPES = {"int": "integer", "float": "number", "str": "string", "bool": "boolean", "None": "null"}


def recipe_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of a recipe file."""
    schema = Recipe.model_json_schema(by_alias=True, schema_generator=_Described)
    schema["properties"]["training"] |= training_schema()
    schema["properties"]["plan"]["items"] = _stage(schema)
    head = {"$schema": GenerateJsonSchema.schema_dialect, "title": "mpr recipe"}
    return head | {key: value for key, value in schema.items() if key != "title"}


def _stage(schema: dict[str, Any]) -> dict[str, Any]:
    """An entry of `plan`: no key but its name is required, because what it does not say stands above."""
    own = {
        "name": {"type": "string", "pattern": f"^{stages.NAME}$", "description": "Of the stage, for references."},
        "start": {"type": "string", "description": "`previous`, `base`, or the name of an earlier stage."},
    }
    made = _partial({"properties": schema["properties"]}, schema, ())
    return {"type": "object", **made, "properties": made["properties"] | own, "required": ["name"],
            "additionalProperties": False}  # fmt: skip


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


def training_schema() -> dict[str, Any]:
    """`training:`: the arguments of the installed transformers, without those that mpr sets itself."""
    known = {name: one for name, one in _training_arguments.known().items() if name not in training.OWNED}
    return {
        "$comment": f"arguments of transformers {metadata.version('transformers')}",
        "properties": {name: _argument(argument) for name, argument in known.items()},
        "additionalProperties": False,
        "required": list(training.REQUIRED),
        "allOf": [{"anyOf": [{"required": [name]} for name in names]} for names in training.ONE_OF],
    }


def _argument(argument: Argument) -> dict[str, Any]:
    parts = [part.strip() for part in argument.annotation.split("|")]
    options = [option for part in parts if (option := _option(part, argument)) is not None]
    made = options[0] if len(options) == 1 else {"anyOf": options}
    name = argument.name
    meaning = MEANINGS.get(name, f"transformers.TrainingArguments.{name}")
    return made | _bounds(name) | {"description": meaning}


def _option(part: str, argument: Argument) -> dict[str, Any] | None:
    """Schema of one alternative of an annotation; None for one that YAML cannot express."""
    if part == "str" and argument.words:
        return {"enum": list(argument.words)}
    if part in _TYPES:
        return {"type": _TYPES[part]}
    if part.startswith("list"):
        return {"type": "array"} | ({"items": {"type": "string"}} if part == "list[str]" else {})
    if part.startswith("dict"):
        return {"type": "object"}
    return {"const": False} if part == "Literal[False]" else None


def _bounds(name: str) -> dict[str, Any]:
    bounds: dict[str, Any] = {}
    if name in training.LEAST:
        bounds["minimum"] = training.LEAST[name]
    if name in training.ABOVE_ZERO:
        bounds["exclusiveMinimum"] = 0
    if name in training.BELOW:
        bounds["exclusiveMaximum"] = training.BELOW[name]
    return bounds
