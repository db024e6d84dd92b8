"""The JSON Schema of a recipe without the key `paper`: what has a default may be left out, and there are short forms.

It is made from the schema of a complete recipe, so a key is described once.
"""

from __future__ import annotations

from typing import Any

from mpr import objectives
from mpr.recipe import _defaults, _own_data

Schema = dict[str, Any]
_FILE = {"type": "string", "minLength": 1, "description": "A file, or a folder that `datasets` saved."}
_DATASET = {"type": "string", "description": "Instead of a file: a data set of the Hub, `org/name@<commit>`."}
_PARTS = {
    "train": "Questions and positives to learn from: a file, or a mapping with `file` or `dataset`.",
    "dev": "A split for `validation`.",
    "test": "A split to measure with; without it `holdout` of the questions.",
    "corpus": "Passages to search; without it all texts that occur.",
}
_MORE = {
    "holdout": {
        "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "default": _own_data.HOLDOUT,
        "description": "Share of the training questions that is held out as `test`.",
    },
    "holdout_seed": {"type": "integer", "default": 0, "description": "Another seed holds out other questions."},
    "folder": {"type": "string", "description": "The folder of the files."},
}  # fmt: skip


def own_recipe(whole: Schema, place: str) -> Schema:
    """The mapping. `place` is where the complete recipe stands in the document, so that what is the same is named."""
    properties: Schema = {}
    for name, entry in whole["properties"].items():
        made = _with_defaults(entry, _defaults.DEFAULTS.get(name), whole)
        properties[name] = {"$ref": f"{place}/properties/{name}"} if made is entry else made
    del properties["paper"]
    for section in ("sources", "labels", "objective"):
        properties[section] = _catalogue(section, whole["properties"][section], whole)
    _, properties["training"] = whole["properties"]["training"]["anyOf"]
    properties["training"] = {
        **_with_defaults(properties["training"], _defaults.DEFAULTS["training"], whole),
        "description": whole["properties"]["training"]["description"],
    }
    properties["draw"]["properties"] |= _draw(whole)
    properties["data"] = _data(properties["data"], whole)
    about = "A recipe of your own: without the key `paper`, all but `data` may be left out."
    return {
        "type": "object",
        "description": about,
        "properties": properties,
        "required": ["data"],
        "additionalProperties": False,
    }


def _with_defaults(entry: Schema, default: Any, whole: Schema) -> Schema:
    """A mapping of which the keys that have a default may be left out, also in mappings inside."""
    if not isinstance(default, dict):
        return entry
    if "$ref" in entry:
        target = _named(entry, whole)
        made = _with_defaults(target, default, whole)
        return entry if made is target else made | {name: value for name, value in entry.items() if name != "$ref"}
    if "properties" not in entry or not set(default) & set(entry.get("required", ())):
        return entry
    properties = {name: _with_defaults(part, default.get(name), whole) for name, part in entry["properties"].items()}
    made = {name: value for name, value in entry.items() if name != "allOf"}
    required = [name for name in entry.get("required", ()) if name not in default]
    return made | {"properties": properties, "required": required}


def _named(entry: Schema, whole: Schema) -> Schema:
    found: Schema = whole["$defs"][entry["$ref"].rpartition("/")[2]]
    return found


def _catalogue(section: str, entry: Schema, whole: Schema) -> Schema:
    """A name, or a list of names and of mappings."""
    entries, names = list[Schema](), list[str]()
    for option in entry["items"]["oneOf"]:
        name = _named(option, whole)["properties"]["name"]["const"]
        meant = objectives.when_named(name) if section == "objective" else _defaults.entry_of(section, name)
        made = _with_defaults(option, meant, whole)
        entries.append(made)
        if (_named(option, whole) if made is option else made)["required"] == ["name"]:
            names.append(name)
    words = {"enum": names}
    listed = {"type": "array", "items": {"anyOf": [words, {"oneOf": entries}]}}
    return {"description": entry["description"], "anyOf": [words, listed]}


def _draw(whole: Schema) -> Schema:
    """Short forms of the positives of a step, and what entries of negatives may leave out."""
    keys = whole["$defs"]["Draw"]["properties"]
    policies = whole["$defs"]["Positives"]["properties"]["policy"]["enum"]
    number = {"type": "integer", "minimum": 1}
    negatives = _with_defaults(keys["negatives"]["items"], _defaults.NEGATIVES, whole)
    return {
        "positives": {
            "description": keys["positives"]["description"],
            "anyOf": [number, {"enum": policies}, {"$ref": "#/$defs/Positives"}],
        },
        "negatives": {**keys["negatives"], "items": negatives},
    }


def _data(entry: Schema, whole: Schema) -> Schema:
    """A file; or files and data sets by what they are for; or a collection, as in a complete recipe."""
    parts = {name: _part("Questions", "Records", whole) for name in _own_data.SPLITS}
    parts["corpus"] = _part("Corpus", "Rows", whole)
    collection = {name: value for name, value in entry["properties"]["corpus"].items() if name != "description"}
    named = {
        name: {"description": about, "anyOf": [_FILE, parts[name], *([collection] if name == "corpus" else ())]}
        for name, about in _PARTS.items()
    }
    mapping = {
        **entry,
        "properties": {**entry["properties"], **named, **_MORE},
        "required": [],
        "anyOf": [{"required": ["train"]}, {"required": ["corpus"]}],
    }
    about = mapping.pop("description")
    return {"description": about, "anyOf": [_FILE, mapping]}


def _part(file: str, dataset: str, whole: Schema) -> Schema:
    """Keys of a file and of a data set, all of which may be left out but the one that names it."""
    keys = whole["$defs"][dataset]["properties"] | whole["$defs"][file]["properties"]
    keys = {name: entry for name, entry in keys.items() if name != "repo"}
    return {
        "type": "object",
        "properties": {**keys, "file": _FILE, "dataset": _DATASET},
        "oneOf": [{"required": ["file"]}, {"required": ["dataset"]}],
        "additionalProperties": False,
    }
