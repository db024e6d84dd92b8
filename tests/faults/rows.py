"""A tiny row that is killed in each of its stages: a program of its own, because it forks.

`python -m tests.faults.rows MODE FOLDER` prints at what it was killed, as JSON: (stage, operation, path).
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from mpr import storage
from mpr.recipe import read
from mpr.rows._stages import Row
from mpr.rows.pipeline import STAGES, Pipeline
from mpr.rows.receipts import Receipts
from mpr.rows.result import Result
from mpr.search import encode, inference  # noqa: F401
from mpr.training import _fit  # noqa: F401  # loaded once, not by each child
from tests.faults.killing import forked, waited
from tests.published import ROOT, smaller
from tests.waiting import let_pass

TIMED = re.compile(
    r"run/((stages/[a-z]+/)?(checkpoints/.*|metrics\.jsonl)|result\.json|receipts/[a-z-]+\.json"
    r"|(vectors/[a-z]+|rankings/[a-z]+|scores/[a-z]+)/manifest\.json)"
    r"|home/data/[^/]+/[a-z0-9-]+-vectors-[0-9a-f]{8}/manifest\.json"
)
"""Files that say how long something took, or name the digest of one that does."""

Moment = tuple[str, int]
"""Of a death: stage, and which of its operations on the disk."""


PLAN = """
plan:
  - {name: first, draw: {negatives: []}}
  - name: second
    sources: [{name: dense, as: hard, model: start, depth: 9, dtype: float32, compute: float32}]
    draw: {negatives: [{from: hard, k: 1, weight: uniform, short: fewer}]}
    training: {max_steps: 3, save_steps: 1}
"""
PLANNED = ("data", "mine-first", "train-first", "mine-second", "train-second", "encode", "search", "evaluate")


@dataclass(frozen=True)
class World:
    """A recipe, its home and its run, all in a folder of their own."""

    folder: Path
    plan: str = ""

    @property
    def stages(self) -> tuple[str, ...]:
        """As their receipts are called."""
        return PLANNED if self.plan else STAGES

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def made(self) -> Result:
        """What `mpr reproduce` does for one system, in this process."""
        path = self.folder / "small.yaml"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            text = smaller((ROOT / "recipes" / "quickstart.yaml").read_text("utf-8"))
            path.write_text(text + self.plan, "utf-8")
        row = Row(read.load(path), path, "trained", self.home, self.run, quiet=True)
        return Pipeline(row).run()

    def facts(self) -> dict[str, str]:
        """Checksum of every file but those that tell times, and of the numbers of the result."""
        document = Result.of_run(self.run).document
        scores = {role: {**found, "digest": None} for role, found in document["scores"].items()}
        found = {"numbers of result.json": storage.json_digest([scores, document["curve"], document["model"]])}
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if path.is_file() and path.suffix != ".lock" and not TIMED.fullmatch(name):
                found[name] = storage.sha256_file(path)
        return found


def counted(act: Callable[[str, int, str, Path], None]) -> Callable[[str, Path], None]:
    """A hook that knows the stage: each notes that it begins before it does anything else."""
    stage, number = "data", 0

    def hook(operation: str, path: Path) -> None:
        nonlocal stage, number
        name = path.name.strip(".").partition(".")[0]
        if operation == "create" and ".begun" in path.name and name != stage:
            stage, number = name, 0
        number += 1
        act(stage, number, operation, path)

    return hook


def unbroken(folder: Path, plan: str = "") -> tuple[World, dict[str, int]]:
    """A row that nobody killed, and how many operations on the disk each stage took."""
    world, log = World(folder, plan), folder.with_suffix(".log")
    log.write_text("")

    def making() -> None:
        seen = log.open("a")
        storage.hook = counted(lambda stage, number, operation, path: print(stage, file=seen))
        world.made()
        seen.close()

    assert waited(forked(making)) == 0
    left = [name for name in world.facts() if "staging" in name or name.endswith(".begun")]
    assert not left, left
    stages = log.read_text().split()
    return world, {stage: stages.count(stage) for stage in world.stages}


def killed(world: World, moment: Moment) -> tuple[str, str, str] | None:
    """Makes a row that dies at this moment; at what it died, or None if it never came to it."""
    log = world.folder.with_suffix(".log")
    log.unlink(missing_ok=True)

    def dying() -> None:
        def act(stage: str, number: int, operation: str, path: Path) -> None:
            if (stage, number) == moment:
                log.write_text(json.dumps([stage, operation, path.name]))
                os.kill(os.getpid(), signal.SIGKILL)

        storage.hook = counted(act)
        world.made()

    status = waited(forked(dying))
    if status == 0:
        return None
    assert status == -signal.SIGKILL, (moment, status)
    stage, operation, name = json.loads(log.read_text())
    return stage, operation, name


def finished(world: World, expected: dict[str, str], after: object) -> None:
    """The same command once more; the result, the receipts and the folder are those of an unbroken run."""
    assert waited(forked(world.made)) == 0, after
    found = world.facts()
    assert found == expected, (after, {name for name in {**found, **expected} if found.get(name) != expected.get(name)})
    receipts = Receipts(world.run, world.home)
    for stage in world.stages:
        receipt = receipts.read(stage)
        assert receipt is not None, (after, stage)
        assert receipts.damage(receipt) == {}, (after, stage)


def in_every_stage(folder: Path, seed: int) -> list[tuple[str, str, str]]:
    """One run that is killed at a drawn moment of each stage, one after the other."""
    first, operations = unbroken(folder / "whole")
    dice, world, found = random.Random(seed), World(folder / f"chain-{seed}"), []
    world.folder.mkdir()
    for stage in STAGES:
        death = killed(world, (stage, dice.randint(1, operations[stage])))
        assert death is not None, f"{stage} was over before"
        found.append(death)
    finished(world, first.facts(), found)
    return found


def of_a_plan(folder: Path) -> list[tuple[str, str, str]]:
    """One run of two stages, killed when the first is over, when the second begins, and twice in it."""
    first, operations = unbroken(folder / "whole", PLAN)
    world, found = World(folder / "chain", PLAN), []
    world.folder.mkdir()
    over, inside = operations["train-first"], operations["train-second"]
    moments = [("train-first", over), ("mine-second", 2), ("train-second", inside // 3), ("train-second", inside // 3)]
    for moment in moments:
        death = killed(world, moment)
        assert death is not None, f"{moment} was over before"
        found.append(death)
    finished(world, first.facts(), found)
    return found


def everywhere(folder: Path, stride: int) -> list[tuple[str, str, str]]:
    """A run of its own for every stride-th operation of every stage."""
    first, operations = unbroken(folder / "whole")
    expected, found = first.facts(), []
    for stage in STAGES:
        for number in range(1, operations[stage] + 1, stride):
            world = World(folder / f"{stage}-{number}")
            world.folder.mkdir()
            death = killed(world, (stage, number))
            assert death is not None, (stage, number)
            finished(world, expected, death)
            found.append(death)
    return found


def at_random_times(folder: Path, trials: int) -> list[tuple[str, str, str]]:
    """Killed from outside after a drawn time, also between operations on the disk, three times before it may end."""
    began = time.monotonic()
    first, _ = unbroken(folder / "whole")
    typical, dice, found = time.monotonic() - began, random.Random(4), []
    for trial in range(trials):
        world = World(folder / f"trial-{trial}")
        world.folder.mkdir()
        for kill in count():
            child = forked(world.made)
            if kill < 3:
                let_pass(dice.uniform(0.05, 0.9) * typical)
                os.kill(child, signal.SIGKILL)
            if waited(child) == 0:
                break
            found.append(("", "at a random time", f"trial {trial}, kill {kill}"))
        finished(world, first.facts(), f"trial {trial}")
    return found


MODES: dict[str, Callable[[Path], Any]] = {
    "stages": lambda folder: [*in_every_stage(_made(folder / "row"), 4), *of_a_plan(_made(folder / "plan"))],
    "often": lambda folder: [death for seed in range(8) for death in in_every_stage(_made(folder / str(seed)), seed)],
    "sweep": lambda folder: everywhere(folder, 7),
    "times": lambda folder: at_random_times(folder, 8),
}


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    json.dump(MODES[sys.argv[1]](Path(sys.argv[2])), sys.stdout)
