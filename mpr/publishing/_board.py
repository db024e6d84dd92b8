"""The leaderboard: every recipe that ships is a row, with what was committed for it; or anybody's own board.

```
leaderboard/README.md, figures/              written by `mpr leaderboard build`
           /rows.json                        what they were written from (mpr/publishing/board_lock.py)
           /questions/<first 12 of sha256>.txt    ids of the questions that values go over, one a line
           /results/<row>/<system>[-seed<n>].json          the result of a run, as the run left it
                         /again/<who>-<date>/<the same>    of the same run elsewhere: repeated, or reproduced
                         /failed.json                      why there is no result
                         /checkpoint.json                  where the trained model lies
```
Reading verifies: a result, its questions and the recipe must fit together, or nothing is shown.

An own board is such a tree made by `mpr leaderboard add RUN --board FOLDER`: its recipes are those that lay in the run
folders, and drafts are rows that are called drafts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpr.errors import DataError, Problems
from mpr.recipe import plan, reference, stages
from mpr.recipe import read as recipe_file
from mpr.recipe.keys import Recipe
from mpr.rows.result import Result, questions_digest
from mpr.storage import manifest

FOLDER = Path("leaderboard")
AUTHORS = "authors"  # who repeats; anybody else reproduces
_AGAIN = re.compile(r"(?P<who>[A-Za-z0-9][A-Za-z0-9_.-]*)-(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})")
_RESTORE = "restore it from the repository's history, or remove it and add the run anew"


@dataclass(frozen=True)
class Entry:
    """One committed result. `place` is its path below leaderboard/."""

    place: str
    result: Result
    fresh: bool
    """It was made by the recipe as it is now."""
    who: str = ""
    """Who ran it again; empty for the run of the row itself."""
    date: str = ""

    @property
    def system(self) -> str:
        return str(self.result.document["system"])

    @property
    def seed(self) -> int | None:
        seed: int | None = self.result.document["seed"]
        return seed

    def scores(self, role: str) -> dict[str, Any]:
        scores: dict[str, Any] = self.result.document["scores"][role]
        return scores

    def means(self, role: str) -> dict[str, float | None]:
        """Measure -> mean, a fraction."""
        return {name: found["mean"] for name, found in self.scores(role)["measures"].items()}

    def values(self, role: str, measure: str) -> NDArray[np.float64]:
        """Of every question; NaN where the measure is not defined."""
        return np.array(self.scores(role)["values"][measure], dtype=np.float64)


@dataclass(frozen=True)
class BoardRow:
    """One recipe and everything that was measured with it."""

    path: str
    """Of the recipe, below the source tree."""
    recipe: Recipe
    entries: tuple[Entry, ...] = ()
    failed: Mapping[str, Any] | None = None
    checkpoint: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        return self.recipe.name

    @property
    def role(self) -> str:
        """The evaluation that the table shows: the first."""
        return next(iter(self.recipe.data.evaluate))

    def of(self, system: str) -> tuple[Entry, ...]:
        """Its results by seed, those of the recipe as it is; not those of whoever ran it again."""
        found = [entry for entry in self.entries if entry.system == system and entry.fresh and not entry.who]
        return tuple(sorted(found, key=lambda entry: entry.seed or 0))

    @property
    def again(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.who and entry.fresh)

    @property
    def stale(self) -> tuple[Entry, ...]:
        """Results of the row itself that were made by another recipe than the one that is there now."""
        return tuple(entry for entry in self.entries if not entry.fresh)


@dataclass(frozen=True)
class Board:
    """All rows of a source tree."""

    root: Path
    rows: tuple[BoardRow, ...]
    own: bool = False
    """Somebody's own, not that of the repository."""

    @property
    def folder(self) -> Path:
        return self.root / FOLDER

    @cached_property
    def by_name(self) -> dict[str, BoardRow]:
        return {row.name: row for row in self.rows}

    def row(self, name: str) -> BoardRow:
        if name not in self.by_name:
            raise DataError(f"'{name}' is the name of no recipe", key="row", fix="rows are the files of recipes/")
        return self.by_name[name]


def read(root: Path, own: bool = False) -> Board:
    """Every recipe, and every committed result verified; all problems together."""
    problems = Problems(DataError)
    recipes = {path: recipe_file.load(path) for path in reference.recipe_paths(root)}
    seen: dict[str, Path] = {}
    for path, recipe in recipes.items():
        if recipe.name in seen:
            fix = "rename one of them: the file's name is the name of the row"
            problems.add(f"has the name of {seen[recipe.name]}", where=str(path), fix=fix)
        seen[recipe.name] = path
    for folder in sorted((root / FOLDER / "results").glob("*")):
        if folder.name not in seen:
            problems.add("is the result of no recipe", where=str(folder), key=folder.name, fix="remove it")
    problems.stop_if_any()
    rows = tuple(_row(root, path, recipe, problems, own) for path, recipe in recipes.items())
    problems.stop_if_any()
    return Board(root, rows, own)


def digest_with(recipe: Recipe, seed: int | None) -> str:
    """Identity of a recipe that runs with this seed."""
    return plan.digest(recipe if seed is None else stages.seeded(recipe, seed))


def question_file(digest: str) -> Path:
    """Below leaderboard/."""
    return Path("questions") / f"{digest[:12]}.txt"


def document(content: Mapping[str, Any]) -> bytes:
    """The form of our own small files."""
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def signed(content: Mapping[str, Any]) -> dict[str, Any]:
    """With the digest of what it says."""
    return {**content, "digest": manifest.json_digest(dict(content))}


def read_signed(path: Path, fix: str = _RESTORE) -> dict[str, Any]:
    """A small file of ours; one that was edited is refused."""
    try:
        content = json.loads(path.read_bytes())
        found = signed({name: value for name, value in content.items() if name != "digest"})
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"cannot be read: {error}", where=str(path), fix=fix) from error
    if found != content or document(found) != path.read_bytes():
        raise DataError("was edited: its digest does not match what it says", where=str(path), fix=fix)
    return found


def _row(root: Path, path: Path, recipe: Recipe, problems: Problems, own: bool) -> BoardRow:
    folder, entries = root / FOLDER / "results" / recipe.name, []
    notes: dict[str, Any] = {"failed": None, "checkpoint": None}
    for place in files(root, f"results/{recipe.name}"):
        try:
            if place.parent == folder and place.stem in notes and place.suffix == ".json":
                notes[place.stem] = read_signed(place)
            else:
                entries.append(_entry(root, folder, place, recipe, own))
        except DataError as error:
            problems.found.extend(error.problems)
    return BoardRow(path.relative_to(root).as_posix(), recipe, tuple(entries), **notes)


def _entry(root: Path, folder: Path, place: Path, recipe: Recipe, own: bool) -> Entry:
    result, within = Result.read(place), place.relative_to(folder)
    who = date = ""
    if len(within.parts) == 3 and within.parts[0] == "again" and (found := _AGAIN.fullmatch(within.parts[1])):
        who, date = found["who"], found["date"]
    elif len(within.parts) != 1:
        raise DataError("lies where no result belongs", where=str(place), key=recipe.name, fix="remove it")
    document = result.document
    if document["row"] != recipe.name or place.name != f"{result.name}.json":
        what = f"is the result '{result.name}' of row '{document['row']}'"
        raise DataError(what, where=str(place), key=recipe.name, fix=_RESTORE)
    if not own and (recipe.draft or document["recipe"]["draft"] is not False):
        fix = "pin its inputs and run it again, or remove its results"
        raise DataError("is the result of a draft", where=str(place), key=recipe.name, fix=fix)
    for scores in document["scores"].values():
        _verify_questions(root / FOLDER / question_file(scores["questions"]), scores, str(place))
    fresh = digest_with(recipe, seed_of(result)) == document["recipe"]["digest"]
    return Entry(place.relative_to(root / FOLDER).as_posix(), result, fresh, who, date)


def seed_of(result: Result) -> int | None:
    """The seed its recipe ran with; None: that of the file. BM25 draws nothing, yet runs under some seed."""
    named = [text.partition("=") for text in result.document["recipe"]["overrides"]]
    given = [value for key, _, value in named if key == "training.seed" and value.isdigit()]
    seed: int | None = result.document["seed"]
    return int(given[-1]) if seed is None and given else seed


def _verify_questions(path: Path, scores: Mapping[str, Any], where: str) -> None:
    try:
        ids = path.read_bytes().decode("utf-8").split("\n")[:-1]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read: {error}", where=str(path), fix=_RESTORE) from error
    if questions_digest(ids) != scores["questions"]:
        raise DataError("was edited: its checksum is not that of the result", where=str(path), fix=_RESTORE)
    for name, values in scores["values"].items():
        if len(values) != len(ids):
            what = f"{name} has {len(values):,} values for {len(ids):,} questions"
            raise DataError(what, where=where, fix=_RESTORE)


def files(root: Path, below: str = "") -> Iterator[Path]:
    """Everything below leaderboard/, in order; locks and files under construction are not there for readers."""
    for path in sorted((root / FOLDER / below).rglob("*")):
        if not path.is_dir() and not path.name.startswith("."):
            yield path
