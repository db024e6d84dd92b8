"""The lock of a recipe: `my.lock` beside `my.yaml`, in which its maker pins what neither the recipe nor the kit does.

```yaml
format: 1
pins:
  - {key: towers.revision, of: "google-bert/bert-base-uncased", commit: "86b5...", from: "https://huggingface.co/..."}
  - {key: "data.corpus.passages.sha256", of: "passages.tsv", sha256: "ab12...", bytes: 1234, from: data.corpus.folder}
  - {key: data.corpus.pins, of: "annotation.jsonl", sha256: "cd34...", bytes: 567, from: data.corpus.folder}
```

`mpr pin` writes it, `read.load` applies it: every pin becomes the value of its key, as if it stood in the recipe. One
that does not belong to the recipe as it is now is refused, so that a lock never pins another thing than it was made
for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from mpr.catalogue import Parameters
from mpr.errors import Problems, RecipeError
from mpr.recipe import strict_yaml
from mpr.recipe.keys_towers import Commit
from mpr.recipe.strict_yaml import Document, Path_, dotted

SUFFIX = ".lock"
CORPUS_PINS: Path_ = ("data", "corpus", "pins")
COMMIT, SHA256 = "commit", "sha256"
_SECTIONS = ("data", "towers", "start", "sources", "labels", "draw", "plan")
_BESIDE = {  # the key that pins -> the keys beside it that may name what it pins, and what it holds
    "revision": (("base", "repo"), COMMIT),
    "passage_revision": (("passage_base",), COMMIT),
    "sha256": (("file",), SHA256),
    "judgements_sha256": (("judgements",), SHA256),
}
_MODELS = ("start", "model", "cross_encoder")  # keys that hold a name and its commit in one: org/name@<commit>
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[0-9a-f]{40})?", re.ASCII)
_HEAD = """# What the maker of {name}.yaml used, where neither the recipe nor mpr says it (written by `mpr pin`).
# A file that differs from it is refused. Do not edit: `mpr pin {name}.yaml --renew` writes it anew.
format: 1
pins:
"""


class LockedPin(Parameters):
    """One input: the key of the recipe that pins it, what it is, where it came from."""

    key: Annotated[str, Field(min_length=1)]
    of: Annotated[str, Field(min_length=1)]
    commit: Commit | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    bytes: Annotated[int, Field(ge=0)] | None = None
    from_: Annotated[str, Field(alias="from", min_length=1)]

    @model_validator(mode="after")
    def _one(self) -> LockedPin:
        if (self.commit is None) == (self.sha256 is None):
            raise ValueError("give exactly one of commit and sha256")
        return self

    @property
    def kind(self) -> str:
        return COMMIT if self.sha256 is None else SHA256

    @property
    def value(self) -> str:
        return str(self.sha256 or self.commit)


class _Lock(Parameters):
    format: Literal[1]
    pins: tuple[LockedPin, ...]


@dataclass(frozen=True)
class Lock:
    """The pins of a lock file, and the lines on which they stand."""

    document: Document
    pins: tuple[LockedPin, ...]


@dataclass(frozen=True)
class Place:
    """A key of a recipe that pins something."""

    path: Path_
    of: str
    """What it pins: a repository, a folder or a file."""
    kind: str
    value: str | None
    """None: it is not pinned."""
    url: str = ""
    """Where the recipe has a file from; empty: it does not say."""


def beside(recipe: Path) -> Lock | None:
    """The lock of a recipe file; None: it has none."""
    path = Path(recipe).with_suffix(SUFFIX)
    return read(path) if path.is_file() else None


def read(path: Path) -> Lock:
    """A lock file, strictly."""
    return _read(strict_yaml.read(path))


def parse(data: bytes, file: str) -> Lock:
    """The same for bytes already in memory."""
    return _read(strict_yaml.parse(data, file))


def _read(document: Document) -> Lock:
    problems = Problems(RecipeError, list(document.problems.found))
    problems.stop_if_any()
    try:
        found = _Lock.model_validate_json(json.dumps(document.value))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            place = document.where(tuple(detail["loc"]))
            what = str(detail["msg"]).removeprefix("Value error, ")
            problems.add(what, where=place, key=dotted(detail["loc"]), fix="`mpr pin RECIPE --renew` writes it anew")
    problems.stop_if_any()
    return Lock(document, found.pins)


def written(pins: Iterable[LockedPin], name: str) -> bytes:
    """The text of the lock of the recipe of that name."""
    lines = []
    for pin in sorted(pins, key=lambda pin: (pin.key, pin.of)):
        content = pin.model_dump(mode="json", by_alias=True, exclude_none=True)
        lines.append("  - {" + ", ".join(f"{key}: {json.dumps(value)}" for key, value in content.items()) + "}\n")
    return (_HEAD.format(name=name) + "".join(lines)).encode()


def places(recipe: Any) -> Iterator[Place]:
    """Every key of the plain value of a recipe file that pins something, or could."""
    if isinstance(recipe, dict):
        yield from _places({key: value for key, value in recipe.items() if key in _SECTIONS}, ())


def _places(value: Any, path: Path_) -> Iterator[Place]:
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _places(item, (*path, number))
    if not isinstance(value, dict):
        return
    for key, (names, kind) in _BESIDE.items():
        of = next((value[name] for name in names if isinstance(value.get(name), str)), None)
        if of is not None and (kind == COMMIT or value.get(key) or not value.get("md5")):
            yield Place((*path, key), of, kind, value.get(key), str(value.get("url") or ""))
    for key, item in value.items():
        if key in _MODELS and isinstance(item, str) and _REPOSITORY.fullmatch(item):
            name, _, commit = item.partition("@")
            yield Place((*path, key), name, COMMIT, commit or None)
        yield from _places(item, (*path, key))


def apply(lock: Lock, document: Document) -> tuple[str, ...]:
    """Writes the pins of a lock into a recipe that was parsed; returns what they pin."""
    problems = Problems(RecipeError)
    known = {dotted(place.path): place for place in places(document.value)}
    for number, pin in enumerate(lock.pins):
        path, place = CORPUS_PINS, known.get(pin.key)
        if pin.key == dotted(CORPUS_PINS):
            by_name = _corpus(document)
            place = Place((*path, pin.of), pin.of, pin.kind, by_name.get(pin.of) if by_name is not None else None)
            place = None if by_name is None else place
        where, fix = lock.document.where(("pins", number)), "the recipe was changed: `mpr pin RECIPE --renew`"
        if place is None or place.kind != pin.kind:
            problems.add(f"pins '{pin.of}' by a key that the recipe does not have", where=where, key=pin.key, fix=fix)
        elif place.of != pin.of:
            problems.add(f"pins '{pin.of}', and the recipe names '{place.of}'", where=where, key=pin.key, fix=fix)
        elif place.value not in (None, pin.value):
            what = f"pins '{pin.of}' to {pin.value[:16]}..., and the recipe to {str(place.value)[:16]}..."
            problems.add(what, where=where, key=pin.key, fix=fix)
        else:
            _set(document, place, pin.value, where)
    problems.stop_if_any()
    return tuple(pin.of for pin in lock.pins)


def _corpus(document: Document) -> dict[str, Any] | None:
    """`data.corpus.pins` of a recipe, made where it is not there; None where nothing can be there."""
    place: Any = document.value
    for key in CORPUS_PINS[:-1]:
        place = place.get(key) if isinstance(place, dict) else None
    found = place.setdefault(CORPUS_PINS[-1], {}) if isinstance(place, dict) else None
    return found if isinstance(found, dict) else None


def _set(document: Document, place: Place, value: str, where: str) -> None:
    holder = document.value
    for part in place.path[:-1]:
        holder = holder[part]
    is_model = place.path[-1] in _MODELS and place.path[:-1] != CORPUS_PINS
    holder[place.path[-1]] = f"{place.of}@{value}" if is_model else value
    document.replaced[place.path] = where
    document.refused.discard(place.path)
