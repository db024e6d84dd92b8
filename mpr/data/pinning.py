"""`mpr pin`: finds what nobody has pinned, and writes what it is into the lock of the recipe (`mpr/recipe/lock.py`).

A file is downloaded, or found in the user's folder, and hashed; a repository on the Hub is asked for its newest commit.
What the recipe or the kit pins already is left alone. What stands in the lock already is compared, and kept.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mpr import corpora, storage
from mpr.corpora import Pin
from mpr.data import _download
from mpr.data._fetcher import Fetcher, is_comparable
from mpr.errors import DataError, Problem, Problems, RecipeError
from mpr.recipe import lock, read, strict_yaml
from mpr.recipe.keys import Recipe
from mpr.recipe.lock import COMMIT, CORPUS_PINS, LockedPin, Place
from mpr.recipe.strict_yaml import Document, dotted

FOLDER = "data.corpus.folder"


@dataclass(frozen=True)
class Found:
    """A pin for the lock, and where the user can look at what it pins."""

    pin: LockedPin
    place: str

    def __str__(self) -> str:
        size = "" if self.pin.bytes is None else f", {self.pin.bytes:,} bytes"
        return f"{self.pin.key}: {self.pin.of}\n    {self.pin.kind} {self.pin.value}{size}\n    {self.place}"


@dataclass
class Pinning:
    """What `mpr pin` did."""

    file: Path
    found: list[Found] = field(default_factory=list)
    kept: tuple[LockedPin, ...] = ()
    """Pins that stood in the lock before."""
    left: list[Problem] = field(default_factory=list)
    """What nothing can pin."""
    is_draft: bool = False
    """The recipe still says so."""


def pin(path: Path, home: Path, overrides: Sequence[str] = (), *, renew: bool = False, quiet: bool = False) -> Pinning:
    """Writes the lock of a recipe; `renew`: whatever an earlier lock says."""
    if other := [text for text in overrides if text.partition("=")[0] != FOLDER]:
        what = f"{other[0]} would make it another recipe than the one beside the lock"
        raise RecipeError(what, where="--set", fix=f"only {FOLDER} may differ; write the rest into a recipe")
    locked = None if renew else lock.beside(path)
    document, drafted = strict_yaml.read(path), [*overrides, "draft=true"]
    right = read.from_document(copy.deepcopy(document), path.stem, drafted, locked)  # everything else must be right
    made = Pinning(path.with_suffix(lock.SUFFIX), kept=() if locked is None else locked.pins)
    made.is_draft = document.value.get("draft") is True
    if right.written:  # a short recipe: what it leaves out has keys to pin too
        document = strict_yaml.parse(right.written.encode(), str(path))
    if locked is not None:
        lock.apply(locked, document)
    made.found, made.left = _of_keys(document, overrides, home, quiet)
    own = tuple(found.pin for found in made.found)
    recipe = read.from_document(_with(document, own), path.stem, drafted)
    made.found += _of_corpus(recipe, home, quiet, made.kept)
    pins = (*made.kept, *(found.pin for found in made.found))
    if pins:
        storage.write_file(made.file, lock.written(pins, path.stem))
        read.load(path, drafted)  # it can be read, and fits
    elif made.file.exists():
        storage.remove(made.file)  # of a time at which there was something to pin
    return made


def _with(document: Document, pins: tuple[LockedPin, ...]) -> Document:
    changed = copy.deepcopy(document)
    lock.apply(lock.Lock(Document(None, ""), pins), changed)
    return changed


# Keys of the recipe: bases and other models, files of labels and sources, files of a local collection


def _of_keys(
    document: Document, overrides: Sequence[str], home: Path, quiet: bool
) -> tuple[list[Found], list[Problem]]:
    given = next((text.partition("=")[2] for text in overrides), None)
    folder = given or document.value["data"]["corpus"].get("folder")
    found, left = list[Found](), list[Problem]()
    problems = Problems(DataError)
    for place in lock.places(document.value):
        if place.value is not None:
            continue
        key = dotted(place.path)
        if place.kind == COMMIT and Path(place.of).is_dir():
            what = f"'{place.of}' is a local folder, which no commit pins"
            left.append(Problem(what, key=key, fix="push it to the Hub and name it"))
        elif place.kind == COMMIT:
            found.append(_of_repository(key, place))
        elif place.url and folder is None:
            path = Fetcher(home, quiet=quiet)(Pin(place.of, place.url))
            found.append(_of_file(key, place.of, path, place.url))
        elif (path := Path(folder or ".") / place.of).is_file():
            found.append(_of_file(key, place.of, path, FOLDER if folder else place.of))
        else:
            problems.add("is not there", where=str(path.absolute()), key=key, fix="bring it, then pin it")
    problems.stop_if_any()
    return found, left


def _of_file(key: str, name: str, path: Path, origin: str, place: str = "") -> Found:
    size = path.stat().st_size
    content: dict[str, Any] = {"sha256": storage.remembered_sha256(path), "bytes": size, "from": origin}
    made = LockedPin(key=key, of=name, **content)
    return Found(made, place or str(path.absolute()))


def _of_repository(key: str, place: Place, name: str = "") -> Found:
    """`name`: what the collection calls it."""
    is_data = place.path[:2] == CORPUS_PINS[:2]
    address = f"{_download.hub()}/{'datasets/' if is_data else ''}{place.of}"
    content: dict[str, Any] = {"commit": _newest(place.of, is_data, key), "from": address}
    made = LockedPin(key=key, of=name or place.of, **content)
    return Found(made, address)


def _newest(repository: str, is_data: bool, key: str) -> str:
    """The commit that its main branch is at."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    broken: Any = HfHubHTTPError.__mro__[1]  # what the client raises when a connection breaks
    try:
        api = HfApi()
        info = api.dataset_info(repository) if is_data else api.model_info(repository)
    except (OSError, RuntimeError, ValueError, broken) as error:
        what = f"its newest commit cannot be read from the Hub: {next(iter(str(error).strip().splitlines()), '')}"
        raise DataError(what, where=repository, key=key, fix="check the name, the network and HF_TOKEN") from error
    return str(info.sha)


# Files and data sets of the collection


def _of_corpus(recipe: Recipe, home: Path, quiet: bool, kept: tuple[LockedPin, ...]) -> list[Found]:
    """What the splits of this recipe are read from, as far as nobody has pinned it or it cannot be compared."""
    folder = getattr(recipe.data.corpus, "folder", None)
    fetcher = Fetcher(home, None if folder is None else Path(folder), quiet=quiet)
    found, key = list[Found](), dotted(CORPUS_PINS)
    for pin in corpora.of(recipe.data.corpus).needed(recipe.splits):
        path = fetcher.found(pin)
        if path is None and pin.repo and not pin.is_pinned:
            found.append(_of_repository(key, Place((*CORPUS_PINS, pin.file), pin.repo, COMMIT, None), pin.file))
            continue
        if pin.is_pinned and (path is None or is_comparable(pin, path)):
            if path is not None and any(pin.file == one.of for one in kept):
                fetcher(pin)  # a file that is not what the lock says is refused here already
            continue
        whole = path or fetcher(pin)
        name = pin.file if path is None or folder is None else path.relative_to(folder).as_posix()
        offered = _download.addresses(pin) or (_download.addresses(pin.archive) if pin.archive is not None else ())
        origin = FOLDER if path is not None or not offered else offered[0]
        found.append(_of_file(key, name, whole, origin, f"{whole.absolute()}, from {origin}"))
    return found
