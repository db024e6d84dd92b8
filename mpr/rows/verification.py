"""`mpr verify RUN`: whether a finished run is still what its receipts and its result say.

Everything that differs is listed with its place. Every byte is read first. Scores are computed anew only from a run
whose bytes are as they were.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from mpr import storage
from mpr.errors import MprError, Problem, StorageError
from mpr.evaluation.scores import Scores
from mpr.recipe import read
from mpr.rows import pipeline, result
from mpr.rows._stages import Row
from mpr.rows.receipts import Receipt, Receipts
from mpr.rows.result import Result
from mpr.training import run_folder

_AGAIN = "run `mpr reproduce` again: it is made anew"
_RESTORE = "restore it, or make the run again in another folder"
_BESIDE = "remove it: no result depends on it any more"


def opened(run: Path, home: Path, quiet: bool = True) -> Row:
    """The row of a finished run folder, from the recipe that lies in it."""
    about = run / pipeline.ABOUT
    if not about.exists():
        raise StorageError("is no finished run of a row", where=str(run), fix="finish it with `mpr reproduce` first")
    try:
        said = json.loads(about.read_bytes())
        file = run / pipeline.RECIPE / f"{Path(said['recipe']).name}.yaml"
        overrides, system = [str(text) for text in said["overrides"]], str(said["system"])
        written = bool(said.get("written"))
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"cannot be read: {error}", where=str(about), fix=_AGAIN) from error
    if system not in result.SYSTEMS:
        raise StorageError(f"names no system of a row: {system[:80]!r}", where=str(about), fix=_AGAIN)
    if not file.exists():
        raise StorageError("the recipe of the run is missing", where=str(file), fix=_AGAIN)
    if said.get("sha256") not in (None, storage.sha256_file(file)):
        raise StorageError("was edited: it is not the recipe of the result", where=str(file), fix=_AGAIN)
    return Row(read.load(file, overrides, written=written), file, system, home, run, quiet)


def beside(row: Row, named: set[Path]) -> Iterator[Path]:
    """What a run left that no receipt names: checkpoints, and stores of its collection such as indices of words."""
    for training in row.trainings:
        folder = run_folder.RunFolder(training.folder)
        yield from map(folder.checkpoint, folder.updates())
    stores = row.dataset.corpus.folder
    for place in sorted(stores.iterdir()) if stores.is_dir() else ():
        if place.is_dir() and not place.name.startswith(".") and place.absolute() not in named:
            yield place


def mismatches(row: Row) -> list[Problem]:
    """Everything that is not as it was when the run was finished."""
    receipts = Receipts(row.folder, row.home)
    done: dict[str, Receipt] = {}
    problems: list[Problem] = []
    for stage in row.stages():
        try:
            receipt = receipts.read(stage.name)
        except MprError as error:
            problems += error.problems
            continue
        if receipt is None:
            problems.append(Problem("was never finished", str(receipts.path(stage.name)), stage.name, _AGAIN))
            continue
        done[stage.name] = receipt
        for place, what in receipts.damage(receipt).items():
            problems.append(Problem(what, str(receipts.artefact(place)), stage.name, _AGAIN))
        for place, what in receipts.edited(receipt).items():
            problems.append(Problem(what, str(receipts.artefact(place)), stage.name, _RESTORE))
    named = {receipts.artefact(place).absolute() for receipt in done.values() for place in receipt.outputs}
    for artefact in beside(row, named):
        try:
            storage.verify(artefact)
        except StorageError as error:
            problems += [Problem(found.what, found.where, found.key, _BESIDE) for found in error.problems]
    if problems:
        return problems
    for stage in row.stages():  # whether each read what the stages before it left
        receipt = done[stage.name]
        if why := receipts.changed(receipt, stage.reads(done), receipt.code):
            problems.append(Problem(why, str(receipts.path(stage.name)), stage.name, _AGAIN))
    for role in row.recipe.data.evaluate:
        folder = row.folder / "scores" / role
        kept = Scores.open(folder)
        if row.scored(role, str(kept.about["run"])).json() != kept.json():
            problems.append(Problem("are not the scores of the ranking", str(folder), "evaluate", _AGAIN))
    try:
        said = Result.of_run(row.folder)
    except MprError as error:
        return [*problems, *error.problems]
    if said.digest != pipeline.concluded(row, done).digest:
        problems.append(Problem("is not what the receipts say", str(row.folder / result.FILE), fix=_AGAIN))
    return problems
