"""What may become a row of the leaderboard: a run whose recipe, code and scores are all pinned and all verify.

Everything that speaks against a run is said at once. A draft never gets in, whatever else is true of it.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mpr import storage
from mpr.errors import DataError, Problem, Problems
from mpr.evaluation.scores import Scores
from mpr.publishing import board
from mpr.publishing.board import FOLDER
from mpr.recipe import read, reference
from mpr.recipe.keys import Recipe
from mpr.rows.band import OVERRIDABLE
from mpr.rows.result import Result, questions_digest, questions_text
from mpr.runtime import environment

_COMMIT = re.compile(r"[0-9a-f]{40}")
_WHO = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.]{0,39}")
_REPO = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)@(?P<revision>[0-9a-f]{40})")


def add(root: Path, run: Path, *, replace: bool = False, again: str = "", checkpoint: str = "") -> list[Path]:
    """Copies a run's result, and the ids of its questions, into the leaderboard; returns what was written.

    `again`: who ran what is already there, `authors` or a name. `checkpoint`: `owner/name@commit` of the model.
    """
    result = Result.of_run(run)
    path = recipe_of(root, str(result.document["row"]))
    ids, problems = {}, Problems(DataError)
    problems.found.extend(objections(result, path))
    for role in result.document["scores"]:
        ids[role] = _questions(run, role, result, problems)
    problems.stop_if_any()
    target = _target(root, result, again)
    files = {target: result.to_bytes()}
    for found in ids.values():
        files[root / FOLDER / board.question_file(questions_digest(found))] = questions_text(found)
    if checkpoint:
        files[target.parent / "checkpoint.json"] = _checkpoint(checkpoint, result)
    _refuse_another(target, files[target], replace)
    changed = [place for place, data in files.items() if not place.exists() or place.read_bytes() != data]
    for place in changed:
        storage.write_file(place, files[place])
    return changed


def fail(root: Path, recipe: Path, why: str) -> Path:
    """Notes that a row was tried and gave no number, so that it is not tried again in silence."""
    found = read.load(recipe)
    if recipe_of(root, found.name).resolve() != recipe.resolve():
        raise DataError("is not a recipe of this leaderboard", where=str(recipe), fix="name a file below recipes/")
    text = " ".join(why.split())
    if not text.isprintable() or not 10 <= len(text) <= 200 or "/" in text:
        fix = "say in 10 to 200 characters what happened, at which update, on what; no paths"
        raise DataError("is no reason", key="why", fix=fix)
    code = environment.snapshot()["code"].get("commit", "unknown")
    content = {
        "format": 1,
        "row": found.name,
        "why": text,
        "recipe": board.digest_with(found, None),
        "code": code,
    }
    target = root / FOLDER / "results" / found.name / "failed.json"
    storage.write_file(target, board.document(board.signed(content)))
    return target


def recipe_of(root: Path, row: str) -> Path:
    """The file of a row."""
    found = [path for path in reference.recipe_paths(root) if path.stem == row]
    if len(found) != 1:
        what = "is the name of no recipe" if not found else f"is the name of {len(found)} recipes"
        raise DataError(f"'{row}' {what}", key="row", fix="a row is a file below recipes/ with a name of its own")
    return found[0]


def objections(result: Result, path: Path) -> Iterator[Problem]:
    """Everything that keeps a result from being a row."""
    document = result.document
    where = f"{document['row']} {result.name}"
    recipe = read.load(path)
    if document["recipe"]["draft"] is not False or recipe.draft:
        yield Problem("is a draft: it has inputs that nobody has pinned", where, "draft", "pin them, then run again")
    yield from _code(document, where)
    for name, stage in document["stages"].items():
        if stage.get("fallback_blocks", 0):
            what = f"stage {name} fell back to smaller batches {stage['fallback_blocks']} times"
            yield Problem(what, where, "fallback", "run it where memory suffices")
    yield from _recipe(result, recipe, path, where)
    yield from _scores(document, recipe, where)


def _code(document: dict[str, Any], where: str) -> Iterator[Problem]:
    code = document["environment"].get("code") or {}
    if not _COMMIT.fullmatch(str(code.get("commit", ""))):
        yield Problem("was made by code of no known commit", where, "code", "run it from a checkout of the repository")
    elif code.get("dirty") is not False:
        yield Problem("was made by code with uncommitted changes", where, "code", "commit them, then run again")


def _recipe(result: Result, recipe: Recipe, path: Path, where: str) -> Iterator[Problem]:
    keys = [text.partition("=")[0] for text in result.document["recipe"]["overrides"]]
    other = [key for key in keys if key not in OVERRIDABLE]
    if other:
        fix = "write a recipe of its own; only the seed may differ from the file"
        yield Problem(f"was run with --set {', '.join(other)}", where, "overrides", fix)
    elif board.digest_with(recipe, board.seed_of(result)) != result.document["recipe"]["digest"]:
        what = f"was made by another recipe than {path.name} is now"
        yield Problem(what, where, "recipe", "restore the recipe, or run again")


def _scores(document: dict[str, Any], recipe: Recipe, where: str) -> Iterator[Problem]:
    if document["scores"].keys() != recipe.data.evaluate.keys():
        names = f"{', '.join(document['scores'])} instead of {', '.join(recipe.data.evaluate)}"
        yield Problem(f"was evaluated on {names}", where, "scores", "evaluate it on all splits of the recipe")
    for role, scores in document["scores"].items():
        for measure in recipe.evaluation.measures:
            mean = scores["measures"].get(measure, {}).get("mean")
            if not isinstance(mean, int | float) or not math.isfinite(mean) or not 0 <= mean <= 1:
                yield Problem(f"has no {measure} on {role}", where, "scores", "evaluate it by the recipe's measures")


def _questions(run: Path, role: str, result: Result, problems: Problems) -> tuple[str, ...]:
    """The ids of the scores that lie in the run folder, if these are the scores that the result was made of."""
    folder, wanted = run / "scores" / role, result.document["scores"][role]
    found = Scores.open(folder)
    digest = storage.read_manifest(folder).digest
    if digest != wanted["digest"] or questions_digest(found.questions) != wanted["questions"]:
        problems.add("is not what the result was made of", where=str(folder), key=role, fix="make the run again")
    return found.questions


def _target(root: Path, result: Result, again: str) -> Path:
    target = result.path_in(root / FOLDER)
    if not again:
        return target
    if not _WHO.fullmatch(again):
        fix = "give a name of letters, digits, dots and underscores, or 'authors'"
        raise DataError(f"'{again}' is no name", key="again", fix=fix)
    if not target.exists():
        raise DataError(
            "was not measured yet, so it cannot be run again", where=str(target), fix="add it without --again"
        )
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    return target.parent / "again" / f"{again}-{date}" / target.name


def _refuse_another(target: Path, data: bytes, replace: bool) -> None:
    if target.exists() and target.read_bytes() != data and not replace:
        fix = "add it with --again WHO as a repeat, or with --replace if the one that is there is wrong"
        raise DataError("another result of this system and seed is already there", where=str(target), fix=fix)


def _checkpoint(text: str, result: Result) -> bytes:
    found = _REPO.fullmatch(text)
    if found is None:
        raise DataError(
            f"'{text}' is no checkpoint", key="checkpoint", fix="write owner/name@<40 hex digits of the commit>"
        )
    content = {"format": 1, "row": result.document["row"], "seed": result.document["seed"], **found.groupdict()}
    return board.document(board.signed(content))
