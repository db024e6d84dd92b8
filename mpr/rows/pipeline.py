"""A row from its recipe to its result: every stage in turn, each skipped only if its receipt verifies.

A stage that was stopped goes on where it was. One whose receipt does not verify is done again, and the reason is
printed; what it left is removed first. The stages after it read what it makes, so they are done again if that differs.
A trained model is the exception: it is never removed because the recipe or the code changed. That is refused, with what
to do.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mpr import storage
from mpr.errors import Problem, RecipeError, StorageError
from mpr.evaluation.scores import Scores
from mpr.recipe.lock import SUFFIX
from mpr.rows import result
from mpr.rows._stages import Row
from mpr.rows.receipts import OTHER_CODE, Receipt, Receipts, RowStage
from mpr.rows.result import Result
from mpr.runtime import command, environment
from mpr.training import run_folder

RECIPE = "recipe"  # folder with the recipe of the result, under its own name
ABOUT = f"{run_folder.RECEIPTS}/row.json"  # which system of it, with which overrides
STAGES = ("data", "mine", "train", "encode", "search", "evaluate")  # of a row without a plan that trains
NAMES = f"{run_folder.RECEIPTS}/stages.json"  # of the stages of a row that has others, in their order


@dataclass
class Pipeline:
    """Makes one system of a row."""

    row: Row
    say: Callable[[str], object] = lambda line: None
    older_code: bool = False
    """What other code made is kept, and its receipt says which code that was."""

    def run(self) -> Result:
        """Does what is missing, and leaves `result.json`; one process at a time works on a run folder."""
        row, done = self.row, dict[str, Receipt]()
        with storage.working_for(str(row.folder)), storage.lock(row.folder / ".row.lock", storage.patience()):
            began = os.stat(row.folder)
            names = list(self._names)
            if names != list(STAGES):  # for `mpr status`, which has only the folder
                storage.write_file(row.folder / NAMES, (json.dumps(names) + "\n").encode())
            for stage in row.stages():
                try:
                    inputs = stage.reads(done)
                    done[stage.name] = self._kept(stage, inputs) or self._made(stage, inputs)
                except KeyboardInterrupt as stop:
                    kept = ", ".join([*done, f"and of {stage.name} what was committed"])
                    what = f"stopped in '{stage.name}'; kept: {kept.removeprefix('and ')}"
                    raise command.stopped(what, str(row.folder)) from stop
                if not row.folder.exists() or not os.path.samestat(os.stat(row.folder), began):
                    what = f"was moved or replaced during '{stage.name}', so the row lies in two folders"
                    fix = "move the first folder back, without what was written here since, and run again"
                    raise StorageError(what, where=str(row.folder), fix=fix)
            place = row.folder / RECIPE / f"{row.recipe.name}.yaml"
            text = row.recipe.written.encode() or row.recipe.text
            if place.absolute() != row.file.absolute():
                storage.write_file(place, text)
                pins = place.with_suffix(SUFFIX)
                if row.recipe.lock_text:
                    storage.write_file(pins, row.recipe.lock_text)
                elif pins.exists():
                    storage.remove(pins)
            sha256 = hashlib.sha256(text).hexdigest()
            storage.write_file(row.folder / ABOUT, about(row, sha256, written=bool(row.recipe.written)))
            found = concluded(row, done)
            found.write(row.folder)
            storage.remove_stale_locks(row.folder)
            storage.remove_stale_locks(row.dataset.corpus.folder)
            return found

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(stage.name for stage in self.row.stages())

    def _kept(self, stage: RowStage, inputs: Mapping[str, str]) -> Receipt | None:
        """The receipt of a stage if it verifies; otherwise None, and what is not trusted any more is removed."""
        receipts = Receipts(self.row.folder, self.row.home)
        old = receipts.read(stage.name)
        if old is None:
            self._tell(stage, "...")
            return None
        is_there = stage.precious is None or (stage.precious / "model").exists()  # else all of it is made again
        if is_there and (edited := receipts.edited(old)):
            fix = "restore it, or move the run folder away and run again"
            places = {str(receipts.artefact(place)): what for place, what in edited.items()}
            raise StorageError([Problem(what, where, stage.name, fix) for where, what in places.items()])
        changed = receipts.changed(old, inputs, old.code if self.older_code else environment.code_digest())
        why = changed or "; ".join(f"{place}: {what}" for place, what in receipts.damage(old).items())
        if not why:
            receipts.settle(stage.name)
            self._tell(stage, "kept: its receipt verifies")
            return old
        if changed and stage.precious is not None and (stage.precious / "model").exists():
            restore = "keep it with --older-code" if changed == OTHER_CODE else "restore what changed"
            fix = f"{restore}, or make another run beside it with --fork NAME"
            if stage.precious != self.row.folder:  # the stages before it are kept then
                fix += ", or move this folder of the stage away and run again"
            raise RecipeError(f"the trained model was {changed}", where=str(stage.precious), key=stage.name, fix=fix)
        kept = "; what it made is replaced, --fork NAME keeps both" if changed and changed != OTHER_CODE else ""
        self._tell(stage, f"done again: {why}{kept}")
        for place, digest in old.outputs.items():
            artefact, own = receipts.artefact(place), place.startswith("run/")
            if (own and changed) or not _is(artefact, digest, remade=not own):
                storage.remove(artefact)
        receipts.discard(stage.name)
        return None

    def _made(self, stage: RowStage, inputs: dict[str, str]) -> Receipt:
        """Does a stage, and writes its receipt."""
        receipts = Receipts(self.row.folder, self.row.home)
        attempt, meter = receipts.begin(stage.name), environment.Meter()
        artefacts, facts = stage.work()
        receipt = Receipt(
            stage=stage.name,
            inputs=inputs,
            outputs={receipts.place(path): storage.verify(path).digest for path in artefacts.values()},
            code=environment.code_digest(),
            environment=environment.snapshot(),
            cost=meter.cost(),
            attempts=attempt,
            facts=facts,
        )
        receipts.write(receipt)
        self._tell(stage, _duration(float(receipt.cost["seconds"])))
        return receipt

    def _tell(self, stage: RowStage, what: str) -> None:
        width = max(9, *(len(name) for name in self._names))
        self.say(f"{stage.name:<{width}} {what}")


def about(row: Row, sha256: str, *, written: bool) -> bytes:
    """What a run folder says about its row: of which recipe, by the checksum of its text, with which overrides."""
    content: dict[str, Any] = {
        "recipe": row.recipe.name,
        "sha256": sha256,
        "system": row.system,
        "overrides": row.recipe.overrides,
    }
    content |= {"written": True} if written else {}
    return (json.dumps(content, indent=1) + "\n").encode()


def concluded(row: Row, done: Mapping[str, Receipt]) -> Result:
    """The result that receipts and scores of a finished run give."""
    scores = {role: Scores.open(row.folder / "scores" / role) for role in row.recipe.data.evaluate}
    folder = row.trainings[-1].folder if row.trainings else row.folder
    curve = result.curve(folder / "metrics.jsonl")
    return Result.of(row.recipe, row.system, done, scores, curve, done["evaluate"].environment)


def _is(artefact: Path, digest: str, *, remade: bool) -> bool:
    """Whether an artefact is sound, and the one that is meant unless it may have been made again by others."""
    try:
        return storage.verify(artefact).digest == digest or remade
    except StorageError:
        return False


def _duration(seconds: float) -> str:
    return f"{seconds:,.1f} s" if seconds < 600 else time.strftime("%H:%M:%S h", time.gmtime(seconds))


def status(run: Path, home: Path) -> Iterator[str]:
    """How far a run is, stage by stage; nothing is hashed."""
    receipts, path = Receipts(run, home), run / NAMES
    names: tuple[str, ...] = STAGES
    if path.exists():
        try:
            names = tuple(map(str, json.loads(path.read_bytes())))
        except (ValueError, TypeError) as error:
            fix = "run `mpr reproduce` again: it is made anew"
            raise StorageError(f"cannot be read: {error}", where=str(path), fix=fix) from error
    width = max(9, *map(len, names))
    for stage in names:
        receipt = receipts.read(stage)
        if receipt is not None:
            lost = [place for place in receipt.outputs if not receipts.artefact(place).exists()]
            state = f"lost: {', '.join(lost)}" if lost else _duration(float(receipt.cost["seconds"]))
            yield f"{stage:<{width}} {state}"
        else:
            kind, _, of = stage.partition(" ")
            folder = run / run_folder.STAGES / of if of else run
            updates = run_folder.RunFolder(folder).updates() if kind == "train" else []
            yield f"{stage:<{width}} " + (f"at update {updates[-1]:,}" if updates else "not done")
