"""Reads a recipe file: strict YAML, typed keys, `--set` overrides, rules; every error at once, each with its line.

A recipe without the key `paper` may be short: `_defaults` and `_own_data` write it out before anything is checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from mpr import __version__
from mpr.errors import Problem, Problems, RecipeError, excerpt, nearest
from mpr.recipe import _defaults, _own_data, _published_encoders, _training_arguments, lock, rules, strict_yaml
from mpr.recipe._stage_document import StageDocument, stages_in
from mpr.recipe.keys import Recipe
from mpr.recipe.lock import Lock
from mpr.recipe.stages import OWN
from mpr.recipe.strict_yaml import Document, Path_, dotted, holds
from mpr.records import text_problem

_HELP = "see recipes/README.md"
_PLACE = re.compile("[0-9]{1,9}")  # of an item in a list
_WORDS = {
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
}


def load(path: Path, overrides: Sequence[str] = (), *, written: bool = False) -> Recipe:
    """The recipe in this file with its lock, if it has one, or a RecipeError that lists everything wrong with it.

    `written`: it is a `Recipe.written`, which these overrides are a part of.
    """
    document, name, locked = strict_yaml.read(Path(path)), Path(path).stem, lock.beside(path)
    if not written:
        return from_document(document, name, overrides, locked)
    recipe = from_document(document, name, (), locked)
    recipe._overrides = tuple(overrides)
    return recipe


def again(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """The same file, as it was when `recipe` was read, with other overrides."""
    return kept(recipe.name, recipe.text, recipe.lock_text, overrides)


def kept(name: str, text: bytes, lock_text: bytes, overrides: Sequence[str]) -> Recipe:
    """The recipe of a file that is not looked at again, from its text and that of its lock when it was read."""
    locked = lock.parse(lock_text, f"{name}{lock.SUFFIX}") if lock_text else None
    return from_document(strict_yaml.parse(text, name), name, overrides, locked)


def from_document(document: Document, name: str, overrides: Sequence[str] = (), locked: Lock | None = None) -> Recipe:
    """The same for a document already parsed. Every stage of a plan is a recipe; what stands above them has types."""
    own = _defaults.is_own(document.value)
    if own:
        _defaults.spelled_out(document.value)
    for override in overrides:
        _override(document, override, own)
    recipe, pinned = _recipe(document, name, overrides, own, locked)
    for one in {id(each): each for each in (recipe, *recipe.stages)}.values():
        one._pinned, one._lock_text = pinned, b"" if locked is None else locked.document.data
    return recipe


def _recipe(
    document: Document, name: str, overrides: Sequence[str], own: bool, locked: Lock | None
) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe, and what its lock pins."""
    found = _Findings(document)
    if not isinstance(document.value, dict):
        found.add((), "must be a mapping of keys", _HELP)
        found.stop_if_any()
    if not own:
        pinned = () if locked is None else lock.apply(locked, document)
        return _read(document, found, name, tuple(overrides)), pinned
    _defaults.spelled_out(document.value)
    found.own, before = True, set(found.places)
    follows, seen = _own_data.written_out(document, found.add)
    if any(place[:1] == ("data",) for place in found.places - before):
        found.places.add(("data",))  # what is wrong with it is said in the words of its short form
    pinned = () if locked is None else lock.apply(locked, document)
    if pinned:
        follows.pop(("draft",), None)  # what the lock leaves out is refused as in any other recipe
    filled = _defaults.fill(document.value, follows)
    recipe = _read(document, found, name, tuple(overrides))
    if filled or seen:
        recipe._defaults = tuple(_defaults.shown([*seen, *filled]))
        recipe._written = _defaults.written(document.value, filled, __version__)
    return recipe, pinned


def _read(document: Document, found: _Findings, name: str, overrides: tuple[str, ...]) -> Recipe:
    if document.value.get("plan") and not _published_encoders.is_meant(document.value):
        _check_training(document, found)
        _typed(document, found)
        stages = _stages(document, found, name, overrides)
        found.stop_if_any()
        recipe = stages[-1].model_copy(update={"plan": tuple(document.value["plan"])})
        recipe._stage, recipe._earlier, recipe._stages, recipe._text = "", (), tuple(stages), document.data
        return recipe
    made = _checked(document, found, name, overrides)
    found.stop_if_any()
    assert made is not None
    made._text = document.data
    return made


def _override(document: Document, text: str, own: bool) -> None:
    """`--set draw.positives.m=2`: the key must have a place in the file; its value is read like the file's own. What an
    own recipe leaves out has its place all the same."""
    key, equals, value = text.partition("=")
    if problem := text_problem(text):
        raise RecipeError(f"{excerpt(text)} {problem}", where="--set", fix="type it in UTF-8")
    if not equals:
        raise RecipeError(f"'{text}' is not key=value", where="--set", fix="write for example --set draw.positives.m=2")
    parts = key.replace("[", ".").replace("]", "").split(".")
    path: list[str | int] = [int(part) if _PLACE.fullmatch(part) else part for part in parts]
    place = document.value
    if path[0] == "plan" and len(path) > 1 and isinstance(place, dict) and isinstance(place.get("plan"), list):
        for number, entry in enumerate(place["plan"]):  # `plan.<stage>.<key>`
            if isinstance(entry, dict) and entry.get("name") == path[1]:
                path[1] = number
    for depth, part in enumerate(path):
        last = depth == len(path) - 1
        if not last and isinstance(place, dict) and part not in place and path[0] == "plan" and depth >= 2:
            inherited = tuple(path[2 : depth + 1])
            if inherited[0] not in OWN and holds(document.value, inherited):
                place[part] = {}  # a stage that differs in nothing of it so far
        if (
            own
            and not last
            and isinstance(place, dict)
            and part not in place
            and part in [*_keys_at(tuple(path[:depth]))]
        ):
            place[part] = {}
        is_item = isinstance(place, list) and isinstance(part, int) and part < len(place)
        is_key = isinstance(place, dict) and isinstance(part, str) and (last or part in place)
        if not is_item and not is_key:
            options = [str(option) for option in place] if isinstance(place, dict) else []
            options += _keys_at(tuple(path[:depth])) if own else []
            what = f"'{dotted(tuple(path[: depth + 1]))}' is not in the recipe"
            raise RecipeError(what, where="--set", key=key[:80], fix=nearest(str(part), options) or _HELP)
        if not last:
            place = place[part]
    place[path[-1]] = strict_yaml.scalar(value)
    document.replaced[tuple(path)] = "--set"
    document.refused.discard(tuple(path))


class _Findings:
    """What is wrong with a document, at most one finding for a place: the first says most."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems = Problems(RecipeError, list(document.problems.found))
        self.places: set[Path_] = set(document.refused)
        self.own = False  # whether it may leave things out

    def add(self, path: Path_, what: str, fix: str) -> None:
        if any(path[:length] in self.places for length in range(1, len(path) + 1)):
            return
        self.places.add(path)
        shown = self.document.shown(path)
        self.problems.add(what, where=self.document.where(path), key=dotted(shown), fix=fix)

    def stop_if_any(self) -> None:
        """Raises in the order of the file."""

        def line(problem: Problem) -> int:
            number = problem.where.rpartition(":")[2]
            return int(number) if number.isdigit() else 0

        self.problems.found.sort(key=line)
        self.problems.stop_if_any()


def _stages(document: Document, found: _Findings, name: str, overrides: tuple[str, ...]) -> list[Recipe]:
    """Every stage of a plan, checked as a recipe. What is wrong with several, from above the plan, is said once."""
    earlier: list[tuple[str, Recipe | None]] = []
    wrong: dict[Problem, list[str]] = {}
    for stage, number in stages_in(document.value["plan"], found.add).items():
        own = StageDocument(document, number, earlier[-1][0] if earlier else "")
        of_stage = _Findings(own)
        of_stage.problems = Problems(RecipeError)  # what the YAML itself does wrong is said of the whole
        of_stage.places |= own.refused_above(found.places)
        made = _checked(own, of_stage, name, overrides, stage, tuple(earlier))
        for problem in of_stage.problems.found:
            wrong.setdefault(problem, []).append(stage)
        earlier.append((stage, None if of_stage.problems.found else made))
    for problem, names in wrong.items():
        if not len(names) == len(earlier) > 1:  # of all stages none is named
            what = f"stage{'s' if len(names) > 1 else ''} {', '.join(names)}: {problem.what}"
            problem = replace(problem, what=what)
        found.problems.found.append(problem)
    return [made for _, made in earlier if made is not None]


def _checked(
    document: Document,
    found: _Findings,
    name: str,
    overrides: tuple[str, ...],
    stage: str = "",
    earlier: tuple[tuple[str, Recipe | None], ...] = (),
) -> Recipe | None:
    """The recipe by its types and its rules; None where it has no type, or is not what its file says."""
    valid = _check_training(document, found)
    if _published_encoders.is_meant(document.value):
        for path, what, fix in _published_encoders.refused(document.value):
            found.add(path, what, fix)
    recipe = _typed(document, found)
    if recipe is None:
        return None
    recipe._name, recipe._overrides, recipe._stage, recipe._earlier = name, overrides, stage, earlier
    recipe._trains = not _published_encoders.is_meant(document.value)
    if not found.document.problems.found:
        checked = recipe if valid is None else recipe.model_copy(update={"training": valid})
        for path, what, fix in rules.broken(checked):
            found.add(path, what, fix)
    return recipe


def _check_training(document: Document, found: _Findings) -> dict[str, Any] | None:
    """`training:` takes exactly the names and types of TrainingArguments. Returns those that are right."""
    given = document.value.get("training")
    if not isinstance(given, dict):
        return None
    if not given:
        found.add(("training",), "is empty", "write its arguments, or `training: none` where nothing is trained")
    known = _training_arguments.known()
    valid = {}
    for name, value in given.items():
        path = ("training", name)
        if name not in known:
            fix = f"{nearest(name, known)} these are the arguments of transformers.TrainingArguments".strip()
            found.add(path, "unknown key", fix)
            continue
        what, fix = known[name].problem(value)
        if what:
            found.add(path, what, fix)
        else:
            valid[name] = value
    return valid


def _typed(document: Document, found: _Findings) -> Recipe | None:
    """The recipe without its rules; None when a key is missing, unknown or of the wrong type."""
    content = document.value
    if _published_encoders.is_meant(content):
        content = _published_encoders.filled(content)
    try:
        return Recipe.model_validate_json(json.dumps(content))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            path, tags = _in_file(document, detail["loc"])
            if detail["type"] == "too_short" and detail["input"]:
                continue  # a list whose entries were refused is not too short as well
            if detail["type"] == "value_error" and _touches(path, document.refused):
                continue  # nor is what a refused value, which stands as null, does to the keys around it
            where, what, fix = _finding(detail, path, tags)
            found.add(where, what, f"it has no default; {_HELP}" if found.own and detail["type"] == "missing" else fix)
    return None


def _touches(path: Path_, refused: Iterable[Path_]) -> bool:
    """Whether a refused place is within a path, whose last part may be the name of an entry of a catalogue."""
    return any(place[: len(path)] == path or place[: len(path) - 1] == path[:-1] for place in refused)


def _finding(detail: Any, path: Path_, tags: dict[Path_, str]) -> tuple[Path_, str, str]:
    """One of pydantic's errors in our words: where, what, how to fix it."""
    kind, context, given = detail["type"], detail.get("ctx", {}), detail.get("input")
    if kind == "missing":
        return path, "is missing", f"every key that changes a result must be written; {_HELP}"
    if kind == "extra_forbidden":
        return path, "unknown key", nearest(str(path[-1]), _keys_at(path[:-1], tags)) or _HELP
    if kind in ("union_tag_invalid", "literal_error"):
        listed = str(context.get("expected_tags") or context["expected"]).replace(" or ", ",")
        options = [word.strip(" '") for word in listed.split(",")]
        word = given.get("name") if isinstance(given, dict) else given
        path = (*path, "name") if kind == "union_tag_invalid" else path
        return path, f"{word!r} is not one of {', '.join(options)}", nearest(str(word), options)
    if kind == "union_tag_not_found":
        return path, "must name what it is", "write {name: ...}"
    if kind in _WORDS:
        what = f"{_WORDS[kind]}, not {_training_arguments.kind_of(given)}"
        return path, what, _training_arguments.hint(given, kind == "string_type")
    what = str(detail["msg"]).removeprefix("Value error, ")
    what = what.replace("Input should be", "must be").replace("String should match", "must match")
    return path, what if isinstance(given, dict | list) else f"{what}, not {given!r}", ""


def _in_file(document: Document, location: Sequence[str | int]) -> tuple[Path_, dict[Path_, str]]:
    """The location without the tags that pydantic inserts where an entry is one of several kinds."""
    path: list[str | int] = []
    tags: dict[Path_, str] = {}
    place = document.value
    for number, part in enumerate(location):
        is_tag = isinstance(place, dict) and place.get("name") == part and part not in place
        if is_tag and number < len(location) - 1:
            tags[tuple(path)] = str(part)
            continue
        path.append(part)
        is_key = isinstance(place, dict) and part in place
        is_item = isinstance(place, list) and isinstance(part, int) and part < len(place)
        place = place[part] if is_key or is_item else None
    return tuple(path), tags


def _keys_at(path: Path_, tags: Mapping[Path_, str] = MappingProxyType({})) -> Iterable[str]:
    """The keys that may stand at this place, from the JSON Schema of a recipe."""
    schema = _schema()
    place: Any = _resolved(schema, schema, tags.get(()))
    for depth, part in enumerate(path, start=1):
        names = place.get("additionalProperties")  # a mapping of names that the file chooses
        other = names if isinstance(names, dict) else {}
        place = place.get("items", {}) if isinstance(part, int) else place.get("properties", {}).get(part, other)
        place = _resolved(place, schema, tags.get(path[:depth]))
    keys: Iterable[str] = place.get("properties", {})
    return keys


@cache
def _schema() -> Any:
    return Recipe.model_json_schema(by_alias=True)


def _resolved(place: Any, schema: Any, tag: str | None) -> Any:
    """Follows references, the chosen kind of a union, and what is not null of an optional key."""
    for _ in range(8):
        if "$ref" in place:
            place = schema["$defs"][place["$ref"].rsplit("/", 1)[1]]
        elif "oneOf" in place and tag:
            place = {"$ref": place["discriminator"]["mapping"][tag]}
        elif "anyOf" in place:
            place = next(option for option in place["anyOf"] if option.get("type") != "null")
        else:
            break
    return place
