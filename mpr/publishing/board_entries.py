"""What goes into the leaderboard and comes out of it: runs, notes of failures, links to models, bands of recipes.

A run becomes a row only if its recipe, code and scores are all pinned and all verify; everything that speaks against it
is said at once. A draft never gets in, whatever else is true of it. `expect` writes the `expected` block of a recipe,
and not one other byte of it. `checkpoint_of` finds the model that a row published.
"""

from __future__ import annotations

import datetime
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpr import storage
from mpr.errors import DataError, Problem, Problems, RecipeError, excerpt, nearest
from mpr.evaluation.scores import Scores
from mpr.publishing import _board
from mpr.publishing._board import FOLDER
from mpr.publishing._secret_scan import Scan
from mpr.publishing.board_lock import LOCK
from mpr.recipe import lock as recipe_lock
from mpr.recipe import read, reference, strict_yaml
from mpr.recipe.keys import Band, Recipe
from mpr.rows import band
from mpr.rows.band import OVERRIDABLE
from mpr.rows.pipeline import RECIPE
from mpr.rows.result import Result, questions_digest, questions_text
from mpr.runtime import environment

_COMMIT = re.compile(r"[0-9a-f]{40}")
_WHO = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.]{0,39}")
_REPO = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)@(?P<revision>[0-9a-f]{40})", re.ASCII)
_LINK = "checkpoint.json"
# The key's own line and the indented lines under it; comments at the margin are somebody's.
_EXPECTED = re.compile(r"^expected:[^\n]*\n?(?:[ \t]+\S[^\n]*\n?)*", re.MULTILINE)
_BUILD = "undo the edit, or look at it and run `mpr leaderboard build`"


def add(
    root: Path, run: Path, *, replace: bool = False, again: str = "", checkpoint: str = "", own: bool = False
) -> list[Path]:
    """Copies a run's result, and the ids of its questions, into the leaderboard; returns what was written.

    `again`: who ran what is already there, `authors` or a name. `checkpoint`: `owner/name@commit` of the model.
    `own`: onto a board of one's own, with the recipe that lies in the run folder; drafts and code of no commit too.
    """
    result = Result.of_run(run)
    row = str(result.document["row"])
    path = run / RECIPE / f"{row}.yaml" if own else _recipe_of(root, row)
    problems = Problems(DataError, list(objections(result, path, own=own)))
    questions = [_questions(run, role, result, problems) for role in result.document["scores"]]
    problems.stop_if_any()
    target = result.path_in(root / FOLDER)
    if again:
        target = _target_of_repeat(target, again)
    files = {target: result.to_bytes()}
    if own:
        files[root / "recipes" / path.name] = path.read_bytes()
    for ids in questions:
        files[root / FOLDER / _board.question_file(questions_digest(ids))] = questions_text(ids)
    if checkpoint:
        link = _REPO.fullmatch(checkpoint)
        if link is None:
            fix = "write owner/name@<40 hex digits of the commit>"
            raise DataError(f"'{checkpoint}' is no checkpoint", key="checkpoint", fix=fix)
        content = {"format": 1, "row": result.document["row"], "seed": result.document["seed"], **link.groupdict()}
        files[target.parent / _LINK] = _board.document(_board.signed(content))
    kept = root / "recipes" / path.name
    if own and kept.exists() and kept.read_bytes() != files[kept] and not replace:
        fix = "give the changed recipe a name of its own, or add it with --replace: older results are then called stale"
        raise DataError("another recipe of this name is already there", where=str(kept), fix=fix)
    if target.exists() and target.read_bytes() != files[target] and not replace:
        fix = "add it with --again WHO as a repeat, or with --replace if the one that is there is wrong"
        raise DataError("another result of this system and seed is already there", where=str(target), fix=fix)
    _refuse_secrets(files)
    changed = [place for place, data in files.items() if not place.exists() or place.read_bytes() != data]
    for place in changed:
        storage.write_file(place, files[place])
    return changed


def _refuse_secrets(files: Mapping[Path, bytes]) -> None:
    """A leaderboard is made to be seen; where a run was made is in none of its files."""
    scan, problems = Scan.here(), Problems(DataError)
    for place, data in files.items():
        for what in scan.kinds(io.BytesIO(data), describes=False):
            if " path of " not in what:
                fix = "remove it from the recipe or the overrides, and make the run again"
                problems.add(f"would hold {what}; nothing was written", where=str(place), fix=fix)
    problems.stop_if_any()


def fail(root: Path, recipe: Path, why: str) -> Path:
    """Notes that a row was tried and gave no number, so that it is not tried again in silence."""
    found = read.load(recipe)
    if _recipe_of(root, found.name).resolve() != recipe.resolve():
        raise DataError("is not a recipe of this leaderboard", where=str(recipe), fix="name a file below recipes/")
    text = " ".join(why.split())
    if not text.isprintable() or not 10 <= len(text) <= 200 or "/" in text:
        fix = "say in 10 to 200 characters what happened, at which update, on what; no paths"
        raise DataError("is no reason", key="why", fix=fix)
    code = environment.snapshot()["code"].get("commit", "unknown")
    content = {"format": 1, "row": found.name, "why": text, "recipe": _board.digest_with(found, None), "code": code}
    target = root / FOLDER / "results" / found.name / "failed.json"
    storage.write_file(target, _board.document(_board.signed(content)))
    return target


def objections(result: Result, path: Path, *, own: bool = False) -> Iterator[Problem]:
    """Everything that keeps a result from being a row. `path`: the recipe's file as it is now."""
    document, recipe = result.document, read.load(path)
    where = f"{document['row']} {result.name}"
    if not own:
        yield from _unpublishable(document, recipe, where)
    for name, stage in document["stages"].items():
        if stage.get("fallback_blocks", 0):
            what = f"stage {name} fell back to smaller batches {stage['fallback_blocks']} times"
            yield Problem(what, where, "fallback", "run it where memory suffices")
    keys = [text.partition("=")[0] for text in document["recipe"]["overrides"]]
    if other := [key for key in keys if key not in OVERRIDABLE]:
        fix = "write a recipe of its own; only the seed may differ from the file"
        yield Problem(f"was run with --set {', '.join(other)}", where, "overrides", fix)
    elif _board.digest_with(recipe, _board.seed_of(result)) != document["recipe"]["digest"]:
        what = f"was made by another recipe than {path.name} is now"
        yield Problem(what, where, "recipe", "restore the recipe, or run again")
    if document["scores"].keys() != recipe.data.evaluate.keys():
        names = f"{', '.join(document['scores'])} instead of {', '.join(recipe.data.evaluate)}"
        yield Problem(f"was evaluated on {names}", where, "scores", "evaluate it on all splits of the recipe")
    for role, scores in document["scores"].items():
        for measure in recipe.evaluation.measures:
            mean = scores["measures"].get(measure, {}).get("mean")
            if not isinstance(mean, int | float) or not math.isfinite(mean) or not 0 <= mean <= 1:
                yield Problem(f"has no {measure} on {role}", where, "scores", "evaluate it by the recipe's measures")


def _unpublishable(document: Mapping[str, Any], recipe: Recipe, where: str) -> Iterator[Problem]:
    """What nobody else could make again; a board of one's own calls it by its name instead."""
    board = "or put it on a board of your own with --board FOLDER"
    if document["recipe"]["draft"] is not False or recipe.draft:
        fix = f"pin them, then run again, {board}"
        yield Problem("is a draft: it has inputs that nobody has pinned", where, "draft", fix)
    code = document["environment"].get("code") or {}
    if not _COMMIT.fullmatch(str(code.get("commit", ""))):
        fix = f"run it from a checkout of the repository, {board}"
        yield Problem("was made by code of no known commit", where, "code", fix)
    elif code.get("dirty") is not False:
        yield Problem("was made by code with uncommitted changes", where, "code", "commit them, then run again")


def _questions(run: Path, role: str, result: Result, problems: Problems) -> tuple[str, ...]:
    """The ids of the scores that lie in the run folder, if these are the scores that the result was made of."""
    folder, wanted = run / "scores" / role, result.document["scores"][role]
    found = Scores.open(folder)
    digest = storage.read_manifest(folder).digest
    if digest != wanted["digest"] or questions_digest(found.questions) != wanted["questions"]:
        problems.add("is not what the result was made of", where=str(folder), key=role, fix="make the run again")
    return found.questions


def _target_of_repeat(target: Path, who: str) -> Path:
    if not _WHO.fullmatch(who):
        fix = "give a name of letters, digits, dots and underscores, or 'authors'"
        raise DataError(f"'{who}' is no name", key="again", fix=fix)
    if not target.exists():
        what = "was not measured yet, so it cannot be run again"
        raise DataError(what, where=str(target), fix="add it without --again")
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    return target.parent / "again" / f"{who}-{date}" / target.name


def _recipe_of(root: Path, row: str) -> Path:
    """The file of a row."""
    found = [path for path in reference.recipe_paths(root) if path.stem == row]
    if len(found) != 1:
        what = "is the name of no recipe" if not found else f"is the name of {len(found)} recipes"
        raise DataError(
            f"'{row}' {what}",
            key="row",
            fix="a row is a file below recipes/ with a name of its own; for your own rows: --board FOLDER",
        )
    return found[0]


# The band of a recipe


def expect(root: Path, path: Path) -> dict[str, Band]:
    """Writes the band of one more run into a recipe, from the seeds in the leaderboard; returns it."""
    row = _board.read(root).row(read.load(path).name)
    measured = bands([entry.result for entry in row.of("trained")], row.role)
    expected = {name: measured[name] for name in row.recipe.evaluation.measures}
    write_expected(path, expected)
    return expected


def bands(results: Sequence[Result], role: str) -> dict[str, Band]:
    """Measure -> band of these runs, which are of one recipe and differ in their seeds."""
    seeds = {result.document["seed"] for result in results}
    if len(seeds) != len(results) or len(results) < band.LEAST:
        what = f"{len(seeds)} seeds are measured, a band needs {band.LEAST}"
        raise DataError(what, key="expected", fix="run `mpr reproduce` with more seeds and add them to the leaderboard")
    measured = [result.document["scores"][role]["measures"] for result in results]
    return {name: band.of([measures[name]["mean"] for measures in measured]) for name in measured[0]}


def expected_block(expected: Mapping[str, Band]) -> str:
    """The YAML of the key, with a word on how far to trust it."""
    seeds = next(iter(expected.values())).seeds
    wide = f"; fewer than {band.FEW}, so it is wide" if seeds < band.FEW else ""
    lines = [f"expected: # 95 % band of one more run, from {seeds} seeds{wide} (mpr leaderboard expect)"]
    for name, found in expected.items():
        lines.append(f"  {name}: {{mean: {found.mean}, low: {found.low}, high: {found.high}, seeds: {found.seeds}}}")
    return "\n".join(lines) + "\n"


def with_expected(text: str, expected: Mapping[str, Band]) -> str:
    """The text of a recipe with another `expected` and no other change."""
    new = expected_block(expected)
    found = _EXPECTED.search(text)
    if found is None:
        return text + ("" if text.endswith("\n") else "\n") + new
    return text[: found.start()] + new + text[found.end() :]


def write_expected(path: Path, expected: Mapping[str, Band]) -> None:
    """Replaces the block in the file, if the file then says what it said and the bands."""
    name, text = read.load(path).name, Path(path).read_bytes().decode("utf-8")
    made = with_expected(text, expected)
    document = strict_yaml.parse(made.encode(), str(path))
    again = read.from_document(document, name, locked=recipe_lock.beside(path))
    if again.expected != dict(expected) or _others(document) != _others(strict_yaml.parse(text.encode(), str(path))):
        what = "its `expected` block could not be replaced without changing something else"
        raise RecipeError(what, where=str(path), key="expected", fix="write `expected: null` on a line of its own")
    storage.write_file(path, made.encode("utf-8"))


def _others(document: strict_yaml.Document) -> dict[str, Any]:
    return {key: value for key, value in document.value.items() if key != "expected"}


# The model of a row


@dataclass(frozen=True)
class RowCheckpoint:
    """Where the model of a row lies, and which model that is."""

    repo: str
    revision: str
    model: str
    """Digest of the model whose scores are on the leaderboard."""


def checkpoint_of(root: Path, name: str) -> RowCheckpoint:
    """The published model of that row; a row without one is refused.

    A link counts only as the leaderboard was built with it: one that was edited, or added without a build, leads
    nowhere. So what a name stands for is what everybody can read on the page.
    """
    lock = root / FOLDER / LOCK
    if not lock.is_file():
        what = "there is no leaderboard here to look a row up in"
        raise DataError(what, where=str(lock), key="NAME", fix="say --root with the source tree, or owner/name")
    rows: Mapping[str, Any] = _board.read_signed(lock)["rows"]
    if name not in rows:
        hint = nearest(name, rows) or "a Hub repository is owner/name"
        raise RecipeError(f"{excerpt(name)} is neither a row of the leaderboard nor a repository", key="NAME", fix=hint)
    place = root / FOLDER / "results" / name / _LINK
    if not place.is_file():
        fix = f"make the model with `mpr reproduce {rows[name]['recipe']['path']}`"
        raise DataError(f"row '{name}' has no published checkpoint", where=str(place.parent), key="NAME", fix=fix)
    _refuse_unbuilt(root, place, rows[name]["files"])
    link = _board.read_signed(place)
    result = place.with_name(f"trained-seed{link['seed']}.json")
    _refuse_unbuilt(root, result, rows[name]["files"])
    if link["row"] != name or not _REPO.fullmatch(f"{link['repo']}@{link['revision']}"):
        raise DataError("is no link to a model of this row", where=str(place), key=name, fix=_BUILD)
    return RowCheckpoint(link["repo"], link["revision"], str(Result.read(result).document["model"]["digest"]))


def _refuse_unbuilt(root: Path, path: Path, built: Mapping[str, str]) -> None:
    place = path.relative_to(root / FOLDER).as_posix()
    if place not in built:
        raise DataError("is no part of the leaderboard as it was built", where=str(path), fix=_BUILD)
    if not path.is_file() or storage.sha256_file(path) != built[place]:
        raise DataError("is not what the leaderboard was built from", where=str(path), fix=_BUILD)
