"""A label pass that is killed at its n-th operation on the disk: a program of its own, because it forks.

`python -m tests.faults.scoring FOLDER STRIDE` prints what was tried as JSON: (operation, chunks scored afterwards).
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

from mpr import storage
from mpr.data.pair_labels import Knowledge
from mpr.labels import _score_models
from mpr.sources import Ground
from tests.faults.killing import forked, killer, waited
from tests.unit.scorers import ALL, scorer, split

LIMIT, CHUNK = 1_000, 3
Stand = tuple[Ground, Knowledge]


def sums(store: Path) -> dict[str, str]:
    return {path.name: storage.sha256_file(path) for path in sorted(store.iterdir())}


def scored(stand: Stand, model: Path) -> Path:
    """The store of all scores, made where it is not there yet."""
    ground, known = stand
    found = _score_models.scores_of(str(model), ALL, known, ground, chunk=CHUNK).folder
    assert found is not None
    return found


def killed_at(number: int, stand: Stand, model: Path, log: Path) -> int:
    """Exit status of a pass that dies at its n-th operation on the disk."""

    def dying() -> None:
        storage.hook = killer(number, log)
        scored(stand, model)

    return waited(forked(dying))


def continued(stand: Stand, model: Path, expected: dict[str, str]) -> int:
    """Runs the same again; fails if the bytes differ or anything else is left. How many chunks it scored."""
    begun, real = list[int](), _score_models.Scoring._scored

    def counted(self: Any, first: int, last: int) -> Any:
        begun.append(first)
        return real(self, first, last)

    _score_models.Scoring._scored = counted  # type: ignore[method-assign]
    store = scored(stand, model)
    _score_models.Scoring._scored = real  # type: ignore[method-assign]
    assert sums(store) == expected
    left = [path.name for path in store.parent.iterdir() if "-parts" in path.name or "staging" in path.name]
    assert not left, left
    return len(begun)


def killed_everywhere(folder: Path, stride: int) -> list[tuple[str, int]]:
    """(operation, chunks scored by the continuation) for every stride-th operation on the disk."""
    found, log, model = [], folder / "log", scorer(folder / "scorer")
    expected = sums(scored(placed(folder / "whole"), model))
    for number in range(1, LIMIT, stride):
        stand = placed(folder / f"at-{number}")
        status = killed_at(number, stand, model, log)
        if status == 0:
            return found
        assert status == -signal.SIGKILL, status
        found.append((log.read_text(), continued(stand, model, expected)))
    raise AssertionError(f"no pass completed within {LIMIT} operations")


def placed(folder: Path) -> Stand:
    folder.mkdir()
    return split(folder)


if __name__ == "__main__":
    json.dump(killed_everywhere(Path(sys.argv[1]), int(sys.argv[2])), sys.stdout)
