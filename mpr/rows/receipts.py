"""Stages of a row and their receipts: what a stage read, what it left, with which code, where, and what it cost.

`<run>/receipts/<stage>.json`, such as `train.json`, or with a plan `train-warmup.json`. A stage is skipped only if its
receipt verifies: it was made from just these inputs by just this code, and every byte of what it left is as it was:
nothing `changed`, no `damage`. `mpr/rows/_stages.py` lists the stages in their order.

Places are relative, `run/model` or `home/wiki-1a2b/passages`, so that a folder can be moved.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mpr import storage
from mpr.errors import StorageError
from mpr.training.run_folder import RECEIPTS

log = logging.getLogger(__name__)
OTHER_CODE = "made by other code"
FILES = "files"  # fact of a receipt: place of a single file -> its SHA-256
_REDO = "remove the file; the stage is then checked or made again"


@dataclass(frozen=True)
class Receipt:
    """Of one stage that was finished."""

    stage: str
    inputs: dict[str, str]
    """What was read -> its digest."""
    outputs: dict[str, str]
    """Place of an artefact -> digest of its manifest."""
    code: str
    """Digest of the program's own text."""
    environment: dict[str, Any]
    cost: dict[str, float | int]
    """Of the attempt that finished."""
    attempts: int = 1
    """How often it was begun; above 1 it was stopped in between, and `cost` is less than the whole."""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Of what was left: the input of the stages after it."""
        return storage.json_digest(self.outputs)


Made = tuple[dict[str, Path], dict[str, Any]]
"""(name -> artefact that was left, facts for the receipt)."""


@dataclass(frozen=True)
class RowStage:
    """One step from a recipe to its scores."""

    name: str
    """Of its receipt: what is done, and in a plan for which of its stages, `train warmup`."""
    reads: Callable[[Mapping[str, Receipt]], dict[str, str]]
    """Digests of its inputs, given the receipts of the stages before it."""
    work: Callable[[], Made]
    """Does what is missing; goes on where a stopped attempt was."""
    precious: Path | None = None
    """The folder that is never thrown away because inputs or code changed: that is refused."""


def digests_of(done: Mapping[str, Receipt], *names: str) -> dict[str, str]:
    """What these stages left, as the input of another."""
    return {name: done[name].digest for name in names}


@dataclass(frozen=True)
class Receipts:
    """The receipts of one run folder."""

    run: Path
    home: Path

    def path(self, stage: str) -> Path:
        return self.run / RECEIPTS / f"{stage.replace(' ', '-')}.json"

    def place(self, artefact: Path) -> str:
        """The name of a folder that does not depend on where run folder and home lie."""
        for name, root in (("run", self.run), ("home", self.home)):
            if artefact.absolute().is_relative_to(root.absolute()):
                return f"{name}/{artefact.absolute().relative_to(root.absolute()).as_posix()}"
        fix = "keep prepared data below --home"
        raise StorageError(
            "is neither in the run folder nor in the home of prepared data", where=str(artefact), fix=fix
        )

    def artefact(self, place: str) -> Path:
        root, _, rest = place.partition("/")
        if root not in ("run", "home") or ".." in Path(rest).parts or Path(rest).is_absolute():
            raise StorageError(f"'{place}' is no place of a run", where=str(self.run), fix="make the run again")
        return (self.run if root == "run" else self.home) / rest

    def read(self, stage: str) -> Receipt | None:
        """None where the stage was never finished, or its receipt is damaged, which is said. One that was edited is
        refused."""
        path = self.path(stage)
        content = _readable(path)
        if content is None:
            return None
        try:
            digest = content.pop("digest")
            receipt = Receipt(**content)
            faithful = path.read_bytes() == self._bytes(receipt) and digest == storage.json_digest(asdict(receipt))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            _say_damaged(path, error)
            return None
        if not faithful:
            raise StorageError("was edited: these are not the bytes that mpr wrote", where=str(path), fix=_REDO)
        return receipt

    def write(self, receipt: Receipt) -> None:
        storage.write_file(self.path(receipt.stage), self._bytes(receipt))
        self.settle(receipt.stage)

    @staticmethod
    def _bytes(receipt: Receipt) -> bytes:
        content = asdict(receipt)
        return _json({**content, "digest": storage.json_digest(content)})

    def settle(self, stage: str) -> None:
        """Removes the count of attempts of a finished stage; a kill after its receipt was written may have left it."""
        if self._begun(stage).exists():
            storage.remove(self._begun(stage))

    def begin(self, stage: str) -> int:
        """Counts an attempt; returns its number."""
        path = self._begun(stage)
        before = (_readable(path) or {}).get("attempts", 0)
        number = 1 + (before if isinstance(before, int) and 0 <= before < 1 << 30 else 0)
        storage.write_file(path, _json({"attempts": number}))
        return number

    def discard(self, stage: str) -> None:
        storage.remove(self.path(stage))

    def _begun(self, stage: str) -> Path:
        return self.path(stage).with_suffix(".begun")

    # Whether it counts

    @staticmethod
    def changed(receipt: Receipt, inputs: Mapping[str, str], code: str) -> str:
        """What a stage would now be made from that it was not; empty if it is the same."""
        names = [name for name in {**inputs, **receipt.inputs} if inputs.get(name) != receipt.inputs.get(name)]
        if names:
            return f"made from other inputs: {', '.join(sorted(names))}"
        return OTHER_CODE if receipt.code != code else ""

    def damage(self, receipt: Receipt) -> dict[str, str]:
        """Place of an artefact -> why it is not as the receipt says; every byte is read."""
        found = {}
        for place, digest in receipt.outputs.items():
            try:
                if storage.verify(self.artefact(place)).digest != digest:
                    found[place] = "is another artefact than the receipt names"
            except StorageError as error:
                found[place] = "; ".join(problem.what for problem in error.problems)
        return found

    def edited(self, receipt: Receipt) -> dict[str, str]:
        """The same of single files that a stage left and nothing but the whole stage could make again."""
        found = {}
        for place, sha256 in receipt.facts.get(FILES, {}).items():
            path = self.artefact(place)
            if not path.is_file():
                found[place] = "is missing"
            elif storage.remembered_sha256(path) != sha256:
                found[place] = "was edited: it is not the file that the receipt names"
        return found


def _readable(path: Path) -> dict[str, Any] | None:
    """What a small file of ours holds; None where it is not there, or is damaged, which is said."""
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        _say_damaged(path, error)
        return None
    return found if isinstance(found, dict) else {}


def _say_damaged(path: Path, error: Exception) -> None:
    log.warning("%s: cannot be read (%s), so it counts for nothing", path, " ".join(str(error).split())[:100])


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
