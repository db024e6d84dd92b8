"""The values that a recipe of somebody's own data need not write, and the words that stand for longer entries.

A recipe that has the key `paper`, also `paper: null`, is a row of a table: it is complete, and nothing here touches it.
One without that key is an *own recipe*. What it leaves out stands below; `mpr plan` shows what was taken from here, and
the run folder keeps the recipe with every value written (`written`), so that a run never depends on this file again.

A mapping that an own recipe gives is completed key by key; a list that it gives is taken as it is, but for the keys
that its entries must have. `training` is completed with all of its defaults as soon as it lacks a key that every
recipe must have.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from mpr import catalogue, corpora, objectives
from mpr.errors import MprError
from mpr.recipe import _published_encoders
from mpr.recipe.keys import corpus_of
from mpr.recipe.rules.training import ONE_OF, REQUIRED
from mpr.recipe.strict_yaml import Path_, dotted

BASE = "sentence-transformers/all-MiniLM-L6-v2"
"""The encoder that an own recipe starts from where it names none: small, quick, and seen much text before."""
REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
TEMPERATURE = 0.05  # of normalised vectors; without normalisation 1

DEFAULTS: dict[str, Any] = {
    "varies": [],
    "data": {
        "train": "train",
        "evaluate": {"test": "test"},
        "repair": {
            "without_positives": "refuse",
            "passages_missing": "refuse",
            "positive_as_negative": "drop_negative",
        },
    },
    "towers": {
        "share": True,
        "pooling": "mean",
        "normalize": True,
        "title": "join",
        "question_length": 64,
        "passage_length": 256,
    },
    "sources": [],
    "draw": {"questions": "shuffle", "positives": {}, "negatives": [], "in_batch": True},
    "labels": [{"name": "known_positives"}],
    "objective": "joint_lh",
    "scale": {"processes": 1, "gather": False},
    "training": {
        "seed": 42,
        "num_train_epochs": 3,
        "per_device_train_batch_size": 32,
        "learning_rate": 2e-5,  # of random weights (towers.new) 1e-3
        "lr_scheduler_type": "linear",
        "warmup_steps": 0.1,
        "optim": "adamw_torch",
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "bf16": False,
        "logging_steps": 10,
    },
    "search": {"index": "exact", "depth": 100},
    "evaluation": {"measures": [], "match": ""},
    "published": {"source": None, "values": {}},
}
_POSITIVES = {"policy": "up_to", "m": 4, "beyond": "rotate"}
NEGATIVES = {"k": 1, "weight": "uniform", "short": "fewer"}
_MEASURES = {"judgements": ["ndcg10", "mrr10", "recall100"], "answers": ["top1", "top5", "top20", "top100"]}
_ENTRIES: dict[tuple[str, str], dict[str, Any]] = {
    ("sources", "bm25"): {
        "as": "bm25",
        "depth": 50,
        "k1": 0.9,
        "b": 0.4,
        "title": True,
        "stopwords": "english",
        "stemmer": "english",
    },
    ("sources", "file"): {"as": "negatives"},
    ("sources", "random"): {"as": "random", "depth": 50, "seed": 0},
    ("sources", "dense"): {"as": "dense", "depth": 50, "dtype": "float32", "compute": "float32"},
    ("labels", "known_positives"): {
        "tiers": ["gold", "answer_match"],
        "siblings": "ignore",
        "shared": "ignore",
        "duplicates": "ignore",
        "doubtful": "ignore",
    },
    ("labels", "teacher"): {"missing": "refuse"},
}
_ONE_POSITIVE = ("nll", "rand1_lh")
_PLAIN = re.compile("[A-Za-z][A-Za-z0-9_./-]*")  # text that YAML reads as text, but for these words:
_RESERVED = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")


def is_own(value: Any) -> bool:
    """Whether a file may leave things out. What trains nothing has no use for most of them."""
    return isinstance(value, dict) and "paper" not in value and not _published_encoders.is_meant(value)


def spelled_out(value: dict[str, Any]) -> None:
    """Words become the entries that they stand for: `data: FILE`, `objective: nll`, `sources: [bm25]`, `draw:
    {positives: 3}`."""
    if isinstance(value.get("data"), str):
        value["data"] = {"train": value["data"]}
    for section in ("objective", "sources", "labels"):
        if isinstance(value.get(section), str):
            value[section] = [value[section]]
        if isinstance(value.get(section), list):
            value[section] = [_entry(section, one, value) for one in value[section]]
    draw = value.get("draw")
    if isinstance(draw, dict):
        if type(draw.get("positives")) is int:
            draw["positives"] = {"policy": "up_to", "m": draw["positives"]}
        elif isinstance(draw.get("positives"), str):
            draw["positives"] = {"policy": draw["positives"]}


def _entry(section: str, entry: Any, value: Mapping[str, Any]) -> Any:
    if not isinstance(entry, str):
        return entry
    if section != "objective" or entry not in catalogue.names("objectives"):
        return {"name": entry}
    towers = value.get("towers")
    unit = not isinstance(towers, dict) or towers.get("normalize", True) is True
    return {"name": entry, **objectives.when_named(entry), "temperature": TEMPERATURE if unit else 1.0}


def entry_of(section: str, name: str) -> dict[str, Any]:
    """What stands for keys that an entry of `sources` or `labels` leaves out."""
    return _ENTRIES.get((section, name), {})


def _needed(name: str) -> dict[str, Any]:
    """What an entry of `objective` must have, as somebody means it who gives only the name."""
    if name not in catalogue.names("objectives"):
        return {}
    keys = catalogue.params("objectives", name).model_fields
    return {key: one for key, one in objectives.when_named(name).items() if keys[key].is_required()}


Put = Callable[[dict[str, Any], Path_, Any], None]


def fill(value: dict[str, Any], found: Mapping[Path_, Any] | None = None) -> list[tuple[Path_, Any]]:
    """Completes an own recipe whose words are spelled out; returns what was taken from here, in order.

    `found` are values of sections that were looked up in the user's files; they go before those of this file.
    """
    filled: list[tuple[Path_, Any]] = []

    def put(place: dict[str, Any], path: Path_, default: Any) -> None:
        if path[-1] not in place:
            place[str(path[-1])] = copy.deepcopy(default)
            filled.append((path, place[str(path[-1])]))

    for path, one in (found or {}).items():
        put(value, path, one)
    for section, default in DEFAULTS.items():
        if not isinstance(default, dict):
            if section not in value:
                value[section] = copy.deepcopy(default)
                spelled_out(value)
                filled.append(((section,), value[section]))
            continue
        if section == "data" and section not in value:
            continue  # nothing stands for somebody's data
        mapping = value.setdefault(section, {})
        if not isinstance(mapping, dict):
            continue  # reading refuses it
        for key, one in _FILLERS.get(section, _plain)(value, default).items():
            put(mapping, (section, key), one)
    for section in ("sources", "labels", "objective"):
        for number, entry in enumerate(_entries(value[section])):
            name = str(entry.get("name"))
            for key, one in (_needed(name) if section == "objective" else entry_of(section, name)).items():
                put(entry, (section, number, key), one)
    if isinstance(value["draw"], dict):
        _fill_draw(value["draw"], put)
    return _by_leaf(filled)


def _entries(listed: Any) -> list[dict[str, Any]]:
    return [one if isinstance(one, dict) else {} for one in listed] if isinstance(listed, list) else []


def _fill_draw(draw: dict[str, Any], put: Put) -> None:
    given: Any = draw.get("positives")
    for key in ("m", "beyond") if isinstance(given, dict) and given.get("policy") == "up_to" else ():
        put(given, ("draw", "positives", key), _POSITIVES[key])
    for number, entry in enumerate(_entries(draw.get("negatives"))):
        for key, one in NEGATIVES.items():
            if key != "k" or not {"k", "group", "all"} & set(entry):
                put(entry, ("draw", "negatives", number, key), one)


def _plain(value: Mapping[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    return default


def _towers(value: Mapping[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    towers = value["towers"]
    if "base" in towers or "new" in towers:
        return default
    return {"base": BASE, "revision": REVISION, **default}


def _draw(value: Mapping[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    """Positives that the objective can take, and one negative of every source that the recipe names."""
    terms = [term.get("name") for term in _entries(value.get("objective"))]
    positives = {"policy": "random1"} if any(term in _ONE_POSITIVE for term in terms) else _POSITIVES
    sources = _entries(value.get("sources"))
    named = [entry.get("as", _ENTRIES.get(("sources", str(entry.get("name"))), {}).get("as")) for entry in sources]
    return {**default, "positives": positives, "negatives": [{"from": name, **NEGATIVES} for name in named if name]}


def _training(value: Mapping[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    given, alternatives = value["training"], dict.fromkeys(name for names in ONE_OF for name in names)
    lacks = [name for name in REQUIRED if name not in given]
    lacks += [names[0] for names in ONE_OF if not set(names) & set(given)]
    if not lacks:
        return {}
    present = {name for names in ONE_OF if set(names) & set(given) for name in names}
    found = {key: one for key, one in default.items() if key not in alternatives or key not in present}
    towers = value.get("towers")
    if isinstance(towers, dict) and towers.get("new") is not None:
        found["learning_rate"] = 1e-3
    if given.get("lr_scheduler_type") == "constant":
        found["warmup_steps"] = 0
    return found


def _evaluation(value: Mapping[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    """What the first split that is evaluated can be measured by."""
    match = "judgements"
    try:
        data: Any = value["data"]
        split = corpora.of(corpus_of(data["corpus"])).splits[next(iter(data["evaluate"].values()))]
        match = "judgements" if split.judged else "regex" if split.regex else "string"
    except (MprError, LookupError, TypeError, AttributeError, ValueError, StopIteration):
        pass  # reading says what is wrong with the data
    match = value["evaluation"].get("match", match)
    return {"measures": _MEASURES["judgements" if match == "judgements" else "answers"], "match": match}


_FILLERS: dict[str, Callable[[Mapping[str, Any], dict[str, Any]], dict[str, Any]]] = {
    "towers": _towers,
    "draw": _draw,
    "training": _training,
    "evaluation": _evaluation,
}


def _by_leaf(filled: list[tuple[Path_, Any]]) -> list[tuple[Path_, Any]]:
    """What stands inside something that was taken from here as a whole is not told again."""
    whole = {path for path, _ in filled}
    return [(path, one) for path, one in filled if not any(path[:length] in whole for length in range(1, len(path)))]


def shown(filled: list[tuple[Path_, Any]]) -> list[str]:
    """A line for each section: `training: seed 42, weight_decay 0.01`."""
    sections: dict[str, list[str]] = {}
    for path, one in filled:
        inside = dotted(path[1:]).removeprefix("[").replace("]", "") if len(path) > 1 else ""
        sections.setdefault(str(path[0]), []).append(f"{inside} {flow(one)}".strip())
    return [f"{section}: {', '.join(parts)}" for section, parts in sections.items()]


def flow(value: Any) -> str:
    """A value in YAML's flow style, which JSON is; quotes only where they are needed."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow(key)}: {flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _RESERVED:
        return value
    return json.dumps(value, ensure_ascii=False)


def written(value: Mapping[str, Any], filled: list[tuple[Path_, Any]], version: str) -> str:
    """The recipe with every value, as a file: a row that is complete in itself."""
    taken = {path for path, _ in filled}
    lines = [
        "# The recipe of this run with every value written: a complete row, to keep, copy and change.",
        f"# 'default' marks what its author did not write and mpr {version} put there.",
        "paper: null",
    ]

    def block(mapping: Mapping[str, Any], path: Path_, indent: str) -> None:
        for key, one in mapping.items():
            here: Path_ = (*path, key)
            inside = any(each[: len(here)] == here for each in taken - {here})
            if isinstance(one, dict) and one and here not in taken and (inside or not path):
                lines.append(f"{indent}{flow(key)}:")
                block(one, here, f"{indent}  ")
            else:
                mark = " # default" if here in taken else " # in part default" if inside else ""
                lines.append(f"{indent}{flow(key)}: {flow(one)}{mark}")

    block(value, (), "")
    return "\n".join(lines) + "\n"
