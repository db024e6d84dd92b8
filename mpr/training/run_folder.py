"""The folder of one training run: what it was started with, its checkpoints, its lock.

```
runs/<recipe>-seed<n>/run.json          recipe, overrides, data, code: what a resume must not contradict
                     /checkpoints/<n>/  committed after update n; the newest complete one is continued
                     /metrics.jsonl     every logged number
                     /model/            the result: towers, tokenizer, contract
                     /receipts/         of every stage, when the whole row is made (mpr/rows/receipts.py)
                     /stages/<name>/    with a plan: each stage's run.json, checkpoints, metrics and model
```

With a plan `model` is a copy of the last stage's, so that later commands need not know of stages.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mpr import __version__, storage
from mpr.errors import Problem, RecipeError, StorageError, excerpt
from mpr.models import contract
from mpr.recipe.keys import DESCRIBING
from mpr.recipe.strict_yaml import dotted, leaves

CHECKPOINT = "checkpoint"
RECEIPTS = "receipts"  # of the stages of a row; those before training are there before the run is
STAGES = "stages"  # of a plan
_IDENTITY = "run.json"
_FORK = re.compile(r"[\w.-]{1,50}")


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run and the rules for continuing it."""

    folder: Path

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def identity(self) -> Path:
        return self.folder / _IDENTITY

    @contextmanager
    def held(self) -> Iterator[None]:
        """For one process group at a time."""
        with storage.lock(self.folder / ".run.lock", storage.patience()):
            yield

    def refuse_without_plan(self) -> None:
        """Stages are not trained into the folder of a run that had none."""
        path = self.identity
        if path.exists():
            what = "is the run of a recipe without a plan, this one has stages"
            raise StorageError(what, where=str(self.folder), fix="start another run with --fork NAME")

    def claim(self, identity: Mapping[str, Any]) -> None:
        """Starts the run, or refuses to continue one that was started with anything else, naming each difference."""
        path = self.identity
        if not path.exists():
            others = (child.name for child in self.folder.iterdir()) if self.folder.exists() else ()
            if any(name[0] != "." and name != RECEIPTS for name in others):
                fix = "choose another folder with --run"
                raise StorageError("holds files but is no run of mpr", where=str(self.folder), fix=fix)
            storage.write_file(path, (json.dumps(identity, indent=1, sort_keys=True) + "\n").encode())
            return
        started = _read(path)
        changes = differences(started, identity)
        if changes:
            fix = "restore what it was, and it goes on; or start another run beside it with --fork NAME"
            found = [Problem(change, str(path)) for change in changes]
            raise RecipeError([*found[:-1], replace(found[-1], fix=fix)])

    def progress(self) -> dict[str, Any]:
        """What the run was started with, by checksum, and how far it is: processes compare it."""
        return {"run": storage.sha256_file(self.identity), "updates": self.updates()}

    def updates(self) -> list[int]:
        """Numbers of the updates after which a checkpoint was committed, in order."""
        if not self.checkpoints.exists():
            return []
        return sorted(int(path.name) for path in self.checkpoints.iterdir() if path.name.isdigit())

    def checkpoint(self, update: int) -> Path:
        return self.checkpoints / str(update)

    def newest(self) -> Path | None:
        """The newest checkpoint, every byte verified; a damaged one is refused and the one before it offered."""
        updates = self.updates()
        if not updates:
            return None
        path = self.checkpoint(updates[-1])
        try:
            storage.verify(path, CHECKPOINT)
        except StorageError as error:
            sound = next((number for number in reversed(updates[:-1]) if self._is_sound(number)), None)
            other = f"delete {path} to continue from update {sound}" if sound else f"delete {path} to start over"
            raise StorageError(
                [Problem(found.what, found.where, found.key, other) for found in error.problems]
            ) from error
        return path

    def _is_sound(self, update: int) -> bool:
        try:
            storage.verify(self.checkpoint(update), CHECKPOINT)
        except StorageError:
            return False
        return True


def name(recipe: Any, system: str, fork: str | None = None) -> str:
    """Of the folder of a system of a recipe, below `runs/`. BM25 and published encoders know no seed. `fork`: of
    another run beside it."""
    if fork is not None and not _FORK.fullmatch(fork):
        what, fix = f"{excerpt(fork)} cannot be a part of the name of a folder", "use letters, digits, _ . and -"
        raise RecipeError(what, key="--fork", fix=fix)
    parts = [recipe.name]
    if system not in ("bm25", "published"):
        recipe.must_train()
        parts.append(f"seed{recipe.training['seed']}")
    parts += [] if system == "trained" else [system]
    return "-".join([*parts, *([fork] if fork is not None else [])])


def of_stage(run: Path, recipe: Any) -> Path:
    """Where a recipe is trained in the folder of its row: there, or in a folder of the stage of a plan."""
    return run / STAGES / recipe.stage if recipe.stage else run


def models(run: Path, recipe: Any) -> dict[str, Path]:
    """Of the stages before this one: name -> model folder, which may not be there yet."""
    return {name: run / STAGES / name / "model" for name in recipe.earlier}


def identity(recipe: Any, data: Mapping[str, str], world: int) -> dict[str, Any]:
    """What a run is: the same identity, seed included, must give the same result."""
    content = recipe.model_dump(mode="json", by_alias=True, exclude=set(DESCRIBING))
    return {"recipe": content, "data": dict(data), "processes": world, "mpr": __version__}


def differences(started: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """One line for each key that changed: `recipe.draw.positives.m: 2 -> 3`."""
    before, after = dict(leaves(dict(started))), dict(leaves(json.loads(json.dumps(now))))
    changed = [path for path in {**before, **after} if before.get(path, "absent") != after.get(path, "absent")]
    return [f"{dotted(path)}: {before.get(path, 'absent')!r} -> {after.get(path, 'absent')!r}" for path in changed]


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except ValueError as error:
        raise StorageError(f"cannot be read: {error}", where=str(path), fix="start another run with --run") from error
    return found


def publish_last_stage(run: Path, stage: Any) -> Path:
    """The model of the last stage of a plan, copied to where every run has its model; one of before makes room."""
    source, target = of_stage(run, stage) / "model", run / "model"
    manifest = storage.verify(source, contract.KIND)
    if target.exists() and storage.read_manifest(target).digest != manifest.digest:
        storage.remove(target)
    if not target.exists():
        with storage.stage(target, contract.KIND, manifest.receipt) as staging:
            for name in manifest.files:
                with open(source / name, "rb") as file, staging.open(name) as copy:
                    shutil.copyfileobj(file, copy)
    return target
