"""The arguments read from the source of transformers are those of the class itself."""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import Any

import pytest
from transformers import TrainingArguments

from mpr.recipe import _training_arguments
from mpr.recipe._training_arguments import Argument
from tests.conftest import Examined

FIELDS = {field.name: field for field in dataclasses.fields(TrainingArguments) if field.init}
SAMPLES = {"int": [3], "float": [0.5, 3], "str": ["x"], "bool": [True, False], "None": [None], "dict": [{"a": 1}]}
NEVER = {"int": ["3", 0.5, True, [1]], "float": ["0.5", True], "bool": [1, "true"], "str": [1, ["x"]]}


def kinds(argument: Argument) -> list[str]:
    return [part.strip().split("[")[0] for part in argument.annotation.split("|")]


def test_names_are_those_of_the_class(examined: Examined) -> None:
    assert list(_training_arguments.known()) == list(FIELDS)
    examined(len(FIELDS), "arguments", at_least=100)


def test_annotations_are_those_of_the_class(examined: Examined) -> None:
    """The annotation as written means the type that Python gives the field."""
    module = __import__("transformers.training_args", fromlist=["TrainingArguments"])
    for name, field in FIELDS.items():
        written = _training_arguments.known()[name].annotation
        evaluated = eval(written, vars(module))
        real = eval(field.type, vars(module)) if isinstance(field.type, str) else field.type
        assert str(evaluated) == str(real), name
    examined(len(FIELDS), "annotations", at_least=100)


def test_words_are_the_members_of_the_enumerations(examined: Examined) -> None:
    module = __import__("transformers.training_args", fromlist=["TrainingArguments"])
    found = 0
    for argument in _training_arguments.known().values():
        classes = [vars(module).get(kind) for kind in kinds(argument)]
        enumerations = [kind for kind in classes if isinstance(kind, type) and issubclass(kind, Enum)]
        expected = tuple(member.value for kind in enumerations[:1] for member in kind)
        assert argument.words == expected, argument.name
        found += bool(expected)
    examined(found, "enumerations", at_least=5)


def test_every_type_takes_its_own_and_refuses_others(examined: Examined) -> None:
    taken = refused = 0
    for argument in _training_arguments.known().values():
        allowed = kinds(argument)
        for kind, values in SAMPLES.items():
            for value in values:
                fits = kind in allowed or (kind == "int" and "float" in allowed)
                value = argument.words[0] if fits and kind == "str" and argument.words else value
                literal = value is False and "Literal" in allowed
                fits = fits or (kind == "float" and value == 3 and "int" in allowed) or literal
                assert (argument.problem(value) == ("", "")) == fits, (argument.name, value)
                taken, refused = taken + fits, refused + (not fits)
        if len(allowed) == 1:
            for value in NEVER.get(allowed[0], ()):
                assert argument.problem(value)[0], (argument.name, value)
                refused += 1
    examined(taken, "values taken", at_least=200)
    examined(refused, "values refused", at_least=400)


def test_defaults_fit(examined: Examined) -> None:
    """What the class itself would use is never called wrong."""
    count = 0
    for name, field in FIELDS.items():
        made: Any = field.default if field.default is not dataclasses.MISSING else field.default_factory()
        value = made.value if isinstance(made, Enum) else made
        assert _training_arguments.known()[name].problem(value) == ("", ""), (name, value)
        count += 1
    examined(count, "defaults", at_least=100)


@pytest.mark.parametrize(
    "name, value, what, fix",
    [
        ("learning_rate", "1e-5", "must be a number, not '1e-5'", "remove the quotes"),
        ("fp16", "no", "must be true or false, not 'no'", "YAML 1.2 knows only true and false, without quotes"),
        ("optim", "adamw_trch", "'adamw_trch' is not a known value", "did you mean 'adamw_torch'?"),
        ("run_name", 12, "must be text, not 12", "put it in quotes"),
        ("seed", None, "must be a whole number, not null", ""),
        ("seed", {"a": 1}, "must be a whole number, not a mapping", ""),
        ("label_names", ["a", 1], "must be a list of text, not a list", ""),
        ("report_to", 3, "must be text or a list of text, not 3", "put it in quotes"),
    ],
)
def test_messages(name: str, value: Any, what: str, fix: str) -> None:
    found = _training_arguments.known()[name].problem(value)
    assert found[0] == what
    assert found[1].startswith(fix)
