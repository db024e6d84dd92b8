"""Runs of the real trainer on the collection written by hand, forked so that they can be killed.

`python -m tests.faults.training MODE FOLDER` prints what it tried as JSON. It is a program of its own because it forks:
libraries are loaded once, with one thread each, and every run is a child.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import Any

from mpr import storage
from mpr.errors import StorageError
from mpr.recipe import read
from mpr.recipe.keys import Recipe
from mpr.storage.manifest import sha256_file
from mpr.training import _fit  # noqa: F401  # seconds of imports, that each child would do again
from mpr.training.launch import Launch, run
from mpr.training.run_folder import RunFolder
from tests.e2e import collection
from tests.faults.killing import forked, killer, waited
from tests.waiting import let_pass, until

STEPS, EVERY = 4, 2
OPTIONS = (
    "data.overlap=allow",
    f"training.max_steps={STEPS}",
    "training.save_strategy=steps",
    f"training.save_steps={EVERY}",
    "training.logging_steps=1",
    "draw.negatives[0].short=random",
)
OWN = (
    "sources=[{name: dense, as: own, model: self, depth: 6, dtype: float32, compute: float32}]",
    "draw.negatives=[{from: own, k: 2, weight: uniform, short: random}]",
    "refresh={every: 2, questions: 0.5}",
)  # candidates that the model under training finds anew before the third update
LIMIT = 500


def recipe(folder: Path) -> Path:
    """A recipe for STEPS updates; its encoder has dropout, its positives rotate, its negatives are drawn at random."""
    path = collection.write(folder)
    path.write_text(path.read_text("utf-8").replace("  num_train_epochs: 1\n", f"  max_steps: {STEPS}\n"), "utf-8")
    read.load(path)  # what its first use builds is built here, not in each child
    return path


def launch(path: Path, folder: Path, *options: str, fork: str | None = None) -> tuple[Recipe, Launch]:
    return read.load(path, (*OPTIONS, *options)), Launch(path.parent / "home", folder, fork, quiet=True)


def weights(folder: Path) -> str:
    """Digest of the trained weights."""
    return sha256_file(folder / "model" / "model.safetensors")


def killed_at_random(folder: Path, trials: int) -> list[int]:
    """Kills each run again and again after a random time until it completes; returns the kills of each trial."""
    path, dice = recipe(folder), random.Random(20)
    assert waited(forked(lambda: run(*launch(path, folder / "whole")))) == 0  # prepares the data too
    began, expected = time.monotonic(), weights(folder / "whole")
    assert waited(forked(lambda: run(*launch(path, folder / "again")))) == 0
    typical = time.monotonic() - began
    assert weights(folder / "again") == expected
    kills = []
    for trial in range(trials):
        target, count = folder / f"trial-{trial}", 0
        while True:
            child = forked(lambda target=target: run(*launch(path, target)))
            if count == 0:  # once for certain between the first checkpoint and the end
                until(lambda target=target: RunFolder(target).updates())
            elif count < 3:
                let_pass(dice.uniform(0.1, 0.9) * typical)
            if count < 3:
                os.kill(child, signal.SIGKILL)
            status = waited(child)
            if status == 0:
                break
            assert status == -signal.SIGKILL, status
            count += 1
        assert weights(target) == expected, f"trial {trial} after {count} kills"
        kills.append(count)
    return kills


def killed_while_saving(folder: Path, stride: int = 1) -> list[str]:
    """Dies at the n-th operation on the disk, for every (stride-th) n; the same command then gives the same weights."""
    path, log, found = recipe(folder), folder / "log", []
    assert waited(forked(lambda: run(*launch(path, folder / "whole")))) == 0
    expected = weights(folder / "whole")
    for number in range(1, LIMIT, stride):
        target = folder / f"at-{number}"

        def dying(number: int = number, target: Path = target) -> None:
            storage.hook = killer(number, log)
            run(*launch(path, target))

        status = waited(forked(dying))
        if status == 0:
            return found
        assert status == -signal.SIGKILL, status
        found.append(log.read_text())
        assert waited(forked(lambda target=target: run(*launch(path, target)))) == 0, f"operation {number}: {found[-1]}"
        assert weights(target) == expected, f"operation {number}: {found[-1]}"
        debris = [str(place) for place in target.rglob("*staging*")]
        assert not debris, debris
    raise AssertionError(f"no run completed within {LIMIT} operations")


def killed_in_a_refresh(folder: Path, numbers: Iterable[int]) -> list[str]:
    """Dies at the n-th operation on the disk in the folder of a refresh; the same command then leaves the same."""
    path, log, found = recipe(folder), folder / "log", []
    assert waited(forked(lambda: run(*launch(path, folder / "whole", *OWN)))) == 0
    expected = left(folder / "whole")
    for number in numbers:
        target = folder / f"at-{number}"

        def dying(number: int = number, target: Path = target) -> None:
            count = 0

            def hook(operation: str, place: Path) -> None:
                nonlocal count
                count += "/refresh/" in str(place)
                if count == number:
                    log.write_text(f"{operation} {place.relative_to(target.resolve())}")
                    os.kill(os.getpid(), signal.SIGKILL)

            storage.hook = hook
            run(*launch(path, target, *OWN))

        status = waited(forked(dying))
        if status == 0:
            return found
        assert status == -signal.SIGKILL, status
        found.append(log.read_text())
        assert waited(forked(lambda target=target: run(*launch(path, target, *OWN)))) == 0, f"{number}: {found[-1]}"
        assert left(target) == expected, f"operation {number}: {found[-1]}"
    return found


def without_room(folder: Path) -> list[str]:
    """A file of a checkpoint that may not grow to its size, each of them in turn; then the same command with room."""
    path, log, found = recipe(folder), folder / "log", []
    assert waited(forked(lambda: run(*launch(path, folder / "whole")))) == 0
    expected = weights(folder / "whole")
    sizes = {file.stat().st_size for file in RunFolder(folder / "whole").checkpoint(EVERY).rglob("*") if file.is_file()}
    for limit in (200 * 512, max(sizes) - 512):  # inside the weights, inside what the optimiser keeps
        target = folder / f"limit-{limit}"

        def limited(limit: int = limit, target: Path = target) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))  # writes fail with EFBIG
            try:
                run(*launch(path, target))
            except StorageError as error:
                log.write_text(str(error))
                os._exit(4)

        assert waited(forked(limited)) == 4, f"limit {limit}"
        found.append(log.read_text())
        assert not [*RunFolder(target).updates(), *target.rglob("*.staging")], f"limit {limit}"
        assert waited(forked(lambda target=target: run(*launch(path, target)))) == 0, f"limit {limit}"
        assert weights(target) == expected, f"limit {limit}"
    return found


def left(folder: Path) -> tuple[str, dict[str, str]]:
    """Digest of the trained weights, and of every file that refreshes left."""
    places = (place for place in (folder / "refresh").rglob("*") if place.is_file())
    return weights(folder), {str(place.relative_to(folder)): sha256_file(place) for place in places}


def same_bits(folder: Path) -> list[str]:
    """Settings that must not change a bit of the result."""
    path, found, digests = recipe(folder), [], set()
    grid = [
        (),
        ("training.dataloader_num_workers=2",),
        ("training.dataloader_num_workers=2", "training.dataloader_prefetch_factor=4"),
        ("training.logging_steps=3",),
        ("training.save_steps=1",),
        ('training.save_strategy="no"',),
    ]
    for number, options in enumerate(grid):
        target = folder / f"grid-{number}"
        assert waited(forked(lambda target=target, options=options: run(*launch(path, target, *options)))) == 0
        digests.add(weights(target))
        found.append(" ".join(options) or "as it is")
    assert len(digests) == 1, digests
    return found


MODES: dict[str, Callable[[Path], Any]] = {
    "random": lambda folder: killed_at_random(folder, 2),
    "often": lambda folder: killed_at_random(folder, 25),
    "some": lambda folder: killed_while_saving(folder, 9),
    "saving": killed_while_saving,
    "bits": same_bits,
    "room": without_room,
    "refresh": lambda folder: killed_in_a_refresh(folder, (220,)),
    "refreshes": lambda folder: killed_in_a_refresh(folder, count(1, 5)),
}

if __name__ == "__main__":
    json.dump(MODES[sys.argv[1]](Path(sys.argv[2])), sys.stdout)
