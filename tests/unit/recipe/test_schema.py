"""The JSON Schema that editors use: valid, complete, as wide as the recipes and as strict as the reader."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

import jsonschema
import pytest
from pydantic import BaseModel
from pydantic._internal._docs_extraction import extract_docstrings_from_cls

from mpr import catalogue
from mpr.catalogue import Parameters
from mpr.recipe import _defaults, _training_arguments, reference, strict_yaml
from mpr.recipe.keys import Recipe
from mpr.recipe.rules import training as training_rules
from tests import shipped
from tests.conftest import Examined

SCHEMA = reference.recipe_schema()
FILE = reference.file_schema()
VALIDATOR = jsonschema.Draft202012Validator(FILE)


@cache
def written(name: str) -> Any:
    """A recipe that ships, before anything is made of it."""
    return strict_yaml.parse(shipped.text(name).encode(), name).value


def mappings(place: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Everything in the schema that lists keys."""
    if isinstance(place, dict):
        if isinstance(place.get("properties"), dict):
            yield path, place
        for key, inner in place.items():
            yield from mappings(inner, f"{path}/{key}")
    elif isinstance(place, list):
        for number, inner in enumerate(place):
            yield from mappings(inner, f"{path}/{number}")


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(FILE)
    assert FILE["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    json.dumps(FILE, allow_nan=False)


def test_every_key_has_a_meaning(examined: Examined) -> None:
    count = 0
    for path, place in mappings(FILE):
        if path.endswith("/if/anyOf/1"):
            continue  # a condition
        for name, entry in place["properties"].items():
            assert entry.get("description", "").strip() or "#/then/" in entry["$ref"], f"{path} {name} has no meaning"
            count += 1
        assert place.get("additionalProperties") is False, f"{path} takes any key"
    examined(count, "keys with a meaning", at_least=250)


def models(kind: Any) -> Iterator[type[BaseModel]]:
    """A model and everything that its fields refer to."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
        for field in kind.model_fields.values():
            yield from models(field.annotation)
    else:
        for argument in get_args(kind):
            yield from models(argument)


def test_meanings_are_those_below_the_attributes(examined: Examined) -> None:
    """Against pydantic's own reader of attribute docstrings, which is too slow to be on in every start of mpr."""
    count = 0
    for model in set(models(Recipe)):
        expected: dict[str, str] = {}
        for base in reversed(model.__mro__):
            if issubclass(base, Parameters) and base.__module__.startswith("mpr.") and "_" not in base.__name__:
                expected |= extract_docstrings_from_cls(base, use_inspect=True)
        found = reference.attribute_docs(model)
        assert found == {name: " ".join(text.split()) for name, text in expected.items() if name in model.model_fields}
        count += len(found)
    examined(count, "meanings", at_least=150)


def test_meaning_of_inherited_and_unfolded_attributes() -> None:
    from mpr.corpora.hub import Records, Rows
    from mpr.recipe.keys_draw import Positives

    assert reference.attribute_docs(Records)["repo"] == reference.attribute_docs(Rows)["repo"]
    assert reference.attribute_docs(Records)["tier"] == "Who chose the positives."
    assert "one, a different one each epoch, in turn. `up_to`: at most" in reference.attribute_docs(Positives)["policy"]


@pytest.mark.parametrize("name", shipped.NAMES)
def test_accepts(name: str) -> None:
    VALIDATOR.validate(written(name))


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to every key below the top."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        if isinstance(key, str):
            yield (*path, key)
        yield from places(inner, (*path, key))


FREE = ("evaluate", "values", "expected", "splits")  # mappings whose keys are names of one's own


@pytest.mark.slow
def test_refuses_what_the_reader_refuses(examined: Examined) -> None:
    """Every key of every recipe misspelt, next to a stranger, and with a value of a wrong kind.

    Recipes have much in common: what stands at the same place among the same neighbours is tried once.
    """
    refused, tried = 0, set[str]()
    for name in shipped.NAMES:
        value = written(name)
        for path in places(value):
            around = value
            for part in path[:-1]:
                around = around[part]
            known = json.dumps([path, sorted(around), around[path[-1]]])
            if known in tried or (path[-2:-1] and path[-2] in FREE):
                continue
            tried.add(known)
            for change in ("misspelt", "stranger", "kind"):
                mutant = copy.deepcopy(value)
                place = mutant
                for part in path[:-1]:
                    place = place[part]
                if change == "misspelt":
                    place[f"{path[-1]}x"] = place.pop(path[-1])
                elif change == "stranger":
                    place["stranger"] = 1
                else:
                    place[path[-1]] = {"stranger": [1]}
                assert not VALIDATOR.is_valid(mutant), (name, path, change)
                refused += 1
    examined(refused, "mutants refused", at_least=600)


def test_required_keys(examined: Examined) -> None:
    count = 0
    together = SCHEMA["allOf"][0]["anyOf"][0]["required"]
    for key in (*SCHEMA["required"], *together):
        mutant = {name: value for name, value in written("trec_bce_m3").items() if name != key}
        assert not VALIDATOR.is_valid(mutant)
        count += 1
    for names in (*([name] for name in training_rules.REQUIRED), *training_rules.ONE_OF):
        mutant = copy.deepcopy(written("trec_bce_m3"))
        mutant["training"] = {name: value for name, value in mutant["training"].items() if name not in names}
        assert not VALIDATOR.is_valid(mutant), names
        count += 1
    examined(count, "required keys", at_least=20)


def test_training_has_the_installed_arguments_without_ours(examined: Examined) -> None:
    nothing, training = SCHEMA["properties"]["training"]["anyOf"]
    assert nothing == {"const": "none"}
    assert training["properties"].keys() == _training_arguments.known().keys() - training_rules.OWNED.keys()
    assert training["properties"]["warmup_steps"]["minimum"] == 0
    assert "linear" in training["properties"]["lr_scheduler_type"]["enum"]
    assert training["$comment"].startswith("arguments of transformers ")
    for name in training_rules.OWNED:
        assert name in _training_arguments.known(), f"{name} is refused but does not exist"
    for name in (*training_rules.LEAST, *training_rules.ABOVE_ZERO, *training_rules.BELOW, *reference.MEANINGS):
        assert name in training["properties"], f"{name} does not exist"
    examined(len(training["properties"]), "training arguments", at_least=80)


SHORT = (
    "data: my.jsonl",
    "data: {train: {file: my.jsonl, format: pos_neg}, holdout: 0.1}\nobjective: lse_pair\ndraw: {positives: 3}",
    "data: {train: a.csv, dev: b.csv, test: c.csv, corpus: {file: d.csv, format: columns, columns: {text: t}}}",
    "data: {train: {dataset: org/name@0000000000000000000000000000000000000000, columns: {question: q, positives: p}}}",
    "data: my.jsonl\nsources: [bm25, {name: random, depth: 5}]\nobjective: [nll, {name: bce, bias: 1.0}]\n"
    "draw: {negatives: [{from: bm25}], positives: random1}\nlabels: [known_positives]",
    "data: my.jsonl\ntowers: {new: {layers: 1, width: 64, heads: 2, feed_forward: 128, vocabulary: 600}}\n"
    "training: {max_steps: 3, bf16: true}\nsearch: {depth: 5}\nevaluation: {measures: [top1]}\nscale: {processes: 2}",
    "data: {corpus: {name: local, folder: x, splits: {train: {file: a.jsonl, format: pos_neg}}}}",
)
WRONG = (
    "objective: lse_pair",
    "data: {holdout: 0.1}",
    "data: {train: my.jsonl, tests: t.jsonl}",
    "data: {train: {file: my.jsonl, dataset: a/b}}",
    "data: {train: {format: pos_neg}}",
    "data: {train: my.jsonl, holdout: 2}",
    "data: my.jsonl\nobjective: lse_pare",
    "data: my.jsonl\nobjective: [{temperature: 1.0}]",
    "data: my.jsonl\nsources: [dense]",  # needs a model
    "data: my.jsonl\ndraw: {positives: 0}",
    "data: my.jsonl\ndraw: {negatives: [{k: 1}]}",
    "data: my.jsonl\ntowers: {bace: x}",
    "data: my.jsonl\ntraining: {learning_rat: 0.1}",
    "data: my.jsonl\nepochs: 3",
    "paper: null\ndata: my.jsonl",  # a row of a table is complete
)


def own_pages() -> Iterator[str]:
    """The short recipes that pages show."""
    for page in ("README.md", "docs/own_data.md", "docs/tutorial.md", "docs/formats.md", "docs/library.md"):
        for block in re.findall(r"^```yaml\n(.*?)^```$", (shipped.ROOT / page).read_text("utf-8"), re.M | re.S):
            if block.startswith("data:"):
                yield block


def value(text: str) -> Any:
    return strict_yaml.parse(text.encode(), "my.yaml").value


def test_short_recipes(examined: Examined) -> None:
    texts = (*SHORT, *own_pages())
    for text in texts:
        assert [error.message for error in VALIDATOR.iter_errors(value(text))] == [], text
    for text in WRONG:
        assert not VALIDATOR.is_valid(value(text)), text
    examined(len(texts), "short recipes", at_least=10)


def test_every_word_of_the_schema_is_a_whole_entry(examined: Examined) -> None:
    """By the reader: a name that the schema takes alone is completed by it, any other is not."""
    tried = 0
    for section in ("objective", "labels", "sources"):
        words = FILE["else"]["properties"][section]["anyOf"][0]["enum"]
        for name in catalogue.names("objectives" if section == "objective" else section):
            recipe: dict[str, Any] = {"data": {"train": "train"}, section: [name]}
            _defaults.spelled_out(recipe)
            _defaults.fill(recipe)
            kind = catalogue.params("objectives" if section == "objective" else section, name)
            needed = {key for key, field in kind.model_fields.items() if field.is_required()}
            aliases = {field.alias for field in kind.model_fields.values() if field.alias and field.is_required()}
            lacks = {key for key in needed | aliases if key not in recipe[section][0]} - {"as_"}
            assert (name in words) == (not lacks), (name, lacks)
            tried += 1
    examined(tried, "entries", at_least=20)
