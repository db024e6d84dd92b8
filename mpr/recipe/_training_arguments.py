"""What transformers' `TrainingArguments` accepts, read from the installed source without importing it.

Importing the class costs seconds and pulls in torch; a recipe must be checked in a fraction of one. The class body is
plain annotated assignments, so its names, types and the members of its enumerations can be read from the syntax tree.
A test compares the result with `dataclasses.fields(TrainingArguments)` of the same installation.
"""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from mpr.errors import MprError, nearest

_PLAIN = {"int": (int,), "float": (float, int), "str": (str,), "bool": (bool,), "None": (type(None),)}
_SHOWN = {"int": "a whole number", "float": "a number", "str": "text", "bool": "true or false", "None": "null"}


@dataclass(frozen=True)
class Argument:
    """One field: its annotation as written, and the words it accepts when it is an enumeration."""

    name: str
    annotation: str
    words: tuple[str, ...] = ()

    def problem(self, value: Any) -> tuple[str, str]:
        """(what is wrong, how to fix it) of a value from a recipe; two empty strings when it fits."""
        parts = [part.strip() for part in self.annotation.split("|")]
        if any(_fits(part, value) for part in parts):
            if self.words and isinstance(value, str) and value not in self.words:
                return f"'{value}' is not a known value", f"{nearest(value, self.words)} known: {', '.join(self.words)}"
            return "", ""
        expected = " or ".join(_shown(part) for part in parts if part != "None" or len(parts) == 1)
        return f"must be {expected}, not {kind_of(value)}", hint(value, "str" in parts)


@cache
def known() -> dict[str, Argument]:
    """Every argument of the installed transformers, by name."""
    folder = _transformers_folder()
    trees = [ast.parse((folder / name).read_text("utf-8")) for name in ("training_args.py", "trainer_utils.py")]
    words = {node.name: _members(node) for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)}
    for node in trees[0].body:
        if isinstance(node, ast.ClassDef) and node.name == "TrainingArguments":
            return {argument.name: argument for argument in _arguments(node, words)}
    version = metadata.version("transformers")
    raise MprError(f"transformers {version} has no class TrainingArguments where it used to be")


def _transformers_folder() -> Path:
    spec = importlib.util.find_spec("transformers")
    if spec is None or not spec.submodule_search_locations:
        raise MprError("transformers is not installed", fix="install mpr with its dependencies: see README.md")
    return Path(spec.submodule_search_locations[0])


def _arguments(node: ast.ClassDef, words: dict[str, tuple[str, ...]]) -> list[Argument]:
    found = []
    for item in node.body:
        if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
            continue
        if isinstance(item.value, ast.Call) and any(
            key.arg == "init" and isinstance(key.value, ast.Constant) and key.value.value is False
            for key in item.value.keywords
        ):
            continue  # computed by the class itself, not accepted by its constructor
        annotation = ast.unparse(item.annotation)
        enumerations = [words[part.strip()] for part in annotation.split("|") if words.get(part.strip())]
        found.append(Argument(item.target.id, annotation, enumerations[0] if enumerations else ()))
    return found


def _members(node: ast.ClassDef) -> tuple[str, ...]:
    """Values of an enumeration of strings; empty for any other class."""
    if not any(ast.unparse(base).endswith("Enum") for base in node.bases):
        return ()
    constants = (item.value for item in node.body if isinstance(item, ast.Assign))
    return tuple(item.value for item in constants if isinstance(item, ast.Constant) and isinstance(item.value, str))


def _fits(part: str, value: Any) -> bool:
    if part in _PLAIN:
        return isinstance(value, _PLAIN[part]) and not (isinstance(value, bool) and part in ("int", "float"))
    if part.startswith("list"):
        return isinstance(value, list) and (part != "list[str]" or all(isinstance(item, str) for item in value))
    if part.startswith("dict"):
        return isinstance(value, dict)
    return part == "Literal[False]" and value is False


def _shown(part: str) -> str:
    if part.startswith(("list", "dict")):
        return "a list of text" if part == "list[str]" else "a list" if part.startswith("list") else "a mapping"
    return _SHOWN.get(part, part)


def kind_of(value: Any) -> str:
    """How a value of a recipe is called in a message."""
    shown = {"dict": "a mapping", "list": "a list", "NoneType": "null"}
    return shown.get(type(value).__name__, f"{value!r}")


def hint(value: Any, text_fits: bool) -> str:
    """What probably happened when a value has the wrong type; `text_fits`: the key takes text."""
    if isinstance(value, str) and value.lower() in ("yes", "no", "on", "off", "true", "false"):
        return "YAML 1.2 knows only true and false, without quotes"
    if isinstance(value, str) and _is_number(value):
        return "remove the quotes"
    return "put it in quotes" if text_fits and isinstance(value, (int, float)) else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
