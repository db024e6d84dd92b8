"""A row from its recipe to its result: every stage in turn, each skipped only if its receipt verifies.

A stage that was stopped goes on where it was. One whose receipt does not verify is done again, and it is said why: what
it left is taken away first, and with it the receipts of the stages after it lose their ground. A trained model is the
exception. It is never thrown away because the recipe or the code changed: that is refused, with what to do.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mpr import storage
from mpr.errors import RecipeError, StorageError
from mpr.evaluation.scores import Scores
from mpr.rows import result
from mpr.rows._stage import Stage
from mpr.rows.receipts import OTHER_CODE, Receipt, Receipts
from mpr.rows.result import Result
from mpr.rows.stages import Row
from mpr.runtime import environment
from mpr.training import run_folder

RECIPE = "recipe"  # folder with the recipe of the result, under its own name
ABOUT = f"{run_folder.RECEIPTS}/row.json"  # which system of it, with which overrides
STAGES = ("data", "mine", "train", "encode", "search", "evaluate")  # of a row without a plan
NAMES = f"{run_folder.RECEIPTS}/stages.json"  # of the stages of a row that has others, in their order


def _silent(line: str) -> None:
    """Nobody listens."""


@dataclass
class Pipeline:
    """Makes one system of a row."""

    row: Row
    say: Callable[[str], None] = _silent
    older_code: bool = False
    """What other code made is kept, and its receipt says which code that was."""

    @property
    def receipts(self) -> Receipts:
        return Receipts(self.row.folder, self.row.home)

    def run(self) -> Result:
        """Does what is missing, and leaves `result.json`; one process at a time works on a run folder."""
        with storage.lock(self.row.folder / ".row.lock"):
            done: dict[str, Receipt] = {}
            self._tell_stages([stage.name for stage in self.row.stages()])
            for stage in self.row.stages():
                done[stage.name] = self._made(stage, done)
            return self._result(done)

    def _tell_stages(self, names: list[str]) -> None:
        """For `mpr status`, which has only the folder: what there will be, where it is more than every row has."""
        if not set(names) <= set(STAGES):
            storage.write_file(self.row.folder / NAMES, (json.dumps(names) + "\n").encode())

    def _made(self, stage: Stage, done: dict[str, Receipt]) -> Receipt:
        inputs, code, receipts = stage.reads(done), environment.code_digest(), self.receipts
        old = receipts.read(stage.name)
        if old is not None and self.older_code:
            code = old.code
        if old is None:
            self._tell(stage, "not done yet")
            return self._work(stage, inputs)
        changed = receipts.changed(old, inputs, code)
        why = changed or "; ".join(receipts.damage(old))
        if not why:
            receipts.settle(stage.name)
            self._tell(stage, "kept: its receipt verifies")
            return old
        if changed and stage.precious is not None and (stage.precious / "model").exists():
            raise self._precious(stage, stage.precious, changed)
        self._tell(stage, f"done again: {why}")
        self._cleared(stage, old, bool(changed))
        return self._work(stage, inputs)

    def _tell(self, stage: Stage, text: str) -> None:
        self.say(f"{stage.name:<9} {text}")

    def _precious(self, stage: Stage, folder: Path, changed: str) -> RecipeError:
        restore = "keep it with --older-code" if changed == OTHER_CODE else "restore what changed"
        what = "the run folder" if folder == self.row.folder else "this folder of the stage"
        fix = f"{restore}, or move {what} away and run again"
        return RecipeError(f"the trained model was {changed}", where=str(folder), key=stage.name, fix=fix)

    def _cleared(self, stage: Stage, old: Receipt, changed: bool) -> None:
        """Takes away what is not trusted any more, the receipt last."""
        for place, digest in old.outputs.items():
            artefact = self.receipts.artefact(place)
            own = place.startswith("run/")
            if (own and changed) or not _is(artefact, digest, remade=not own):
                storage.remove(artefact)
        self.receipts.discard(stage.name)

    def _work(self, stage: Stage, inputs: dict[str, str]) -> Receipt:
        attempt = self.receipts.begin(stage.name)
        meter = environment.Meter()
        artefacts, facts = stage.work()
        receipt = Receipt(
            stage=stage.name,
            inputs=inputs,
            outputs={self.receipts.place(path): storage.verify(path).digest for path in artefacts.values()},
            code=environment.code_digest(),
            environment=environment.snapshot(),
            cost=meter.cost(),
            attempts=attempt,
            facts=facts,
        )
        self.receipts.write(receipt)
        self._tell(stage, _duration(float(receipt.cost["seconds"])))
        return receipt

    def _result(self, done: dict[str, Receipt]) -> Result:
        row = self.row
        place = row.folder / RECIPE / f"{row.recipe.name}.yaml"
        if place.absolute() != row.file.absolute():
            storage.write_file(place, row.file.read_bytes())
        about = {"recipe": row.recipe.name, "system": row.system, "overrides": row.recipe.overrides}
        storage.write_file(row.folder / ABOUT, (json.dumps(about, indent=1) + "\n").encode())
        found = concluded(row, done)
        found.write(row.folder)
        return found


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


def standing(run: Path, home: Path) -> Iterator[str]:
    """Where a run stands, stage by stage; nothing is hashed."""
    receipts, names = Receipts(run, home), _names(run)
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


def _names(run: Path) -> tuple[str, ...]:
    """The stages that a run has or will have."""
    path = run / NAMES
    if not path.exists():
        return STAGES
    try:
        return tuple(map(str, json.loads(path.read_bytes())))
    except (ValueError, TypeError) as error:
        fix = "run `mpr reproduce` again: it is made anew"
        raise StorageError(f"cannot be read: {error}", where=str(path), fix=fix) from error
