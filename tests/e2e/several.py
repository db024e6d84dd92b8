"""`python -m tests.e2e.several FOLDER CASE...` runs cases of training on two processes; prints what happened as JSON.

It is a program of its own because it forks.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # DDP imports it at its first use, which takes seconds
import transformers.trainer  # noqa: F401 - loaded once here instead of in every child
from safetensors.torch import load_file

from mpr import storage
from mpr.batches import collate
from mpr.data import candidates
from mpr.errors import DataError
from mpr.runtime import processes
from mpr.search import encode, vectors
from mpr.search.padding import Constants
from mpr.training import _block
from mpr.training.run_folder import RunFolder
from tests.e2e import collection
from tests.e2e.launched import Ended, start
from tests.e2e.runs import FROZEN, LIVE, OWN, ROOT, TWO, Pause, World, fine
from tests.e2e.shards import sharded
from tests.unit.grounds import lists
from tests.waiting import HANGING, let_pass


def same_weights(world: World) -> dict[str, Any]:
    """One process with batch 2 and two with batch 1 each, without dropout."""
    fine(start(world.folder / "said/one", world.arguments("one", 2, recipe="still"), 1).ended())
    ended = fine(start(world.folder / "said/both", world.arguments("both", 1, *TWO, recipe="still")).ended())
    log = [json.loads(line) for line in (world.folder / "both/metrics.jsonl").read_text("utf-8").splitlines()]
    return {
        **_apart(world, "one", "both", "model/model.safetensors"),
        "logged": sum("loss" in entry for entry in log),
        "trained": ended.said.count("trained:"),
        "shown": ended.said.count("learning rate"),
        "files": sorted(place.name for place in (world.folder / "both").iterdir() if place.name[0] != "."),
    }


def _apart(world: World, one: str, other: str, file: str) -> dict[str, float]:
    """The largest difference of a weight between two runs, and how far the first has come.

    The biases of keys are left out: a softmax over positions does not see them, so their gradient is rounding alone,
    which Adam blows up to the size of any other.
    """
    ones, others = (load_file(world.folder / name / file) for name in (one, other))
    ones = {name: weight for name, weight in ones.items() if not name.endswith("key.bias")}
    before = load_file(world.folder / "encoder/model.safetensors")
    return {
        "difference": max(float((ones[name] - others[name]).abs().max()) for name in ones),
        "moved": max(float((ones[name] - before[name]).abs().max()) for name in ones if name in before),
    }


def searching(world: World) -> dict[str, Any]:
    """The same with a search in every step, over passages that were encoded once by the first process."""
    options = (*FROZEN, *LIVE)
    alone = world.arguments("searching-one", 2, *options, recipe="still")
    fine(start(world.folder / "said/searching-one", alone, 1).ended())
    both = world.arguments("searching-both", 1, *TWO, *options, recipe="still")
    fine(start(world.folder / "said/searching-both", both).ended())
    places = {role: f"model/{role}_0_Transformer/model.safetensors" for role in ("query", "document")}
    return {role: _apart(world, "searching-one", "searching-both", place) for role, place in places.items()}


def refreshing(world: World) -> dict[str, Any]:
    """The same with a model that mines for itself, in shards of a few texts: who encoded which, and what was found."""
    options = (*OWN, "refresh={every: 2}")
    notes = world.folder / "encoded"

    def small(rank: int) -> None:
        add = vectors.Unfinished.add
        encode.Options.plan_constants = Constants(block_tokens=32, least=32)  # type: ignore[assignment]

        def noted(store: Any, number: int, *rest: Any) -> None:
            with notes.with_name(f"encoded-{rank}").open("a") as file:
                print(f"{store.target.name}/{number}", file=file)
            add(store, number, *rest)

        vectors.Unfinished.add = noted  # type: ignore[method-assign]

    alone = world.arguments("refreshing-one", 2, *options, recipe="still")
    fine(start(world.folder / "said/refreshing-one", alone, 1, small).ended())
    notes.with_name("encoded-0").unlink()
    both = world.arguments("refreshing-both", 1, *TWO, *options, recipe="still")
    ended = fine(start(world.folder / "said/refreshing-both", both, 2, small).ended())
    found = {
        name: sorted((world.folder / name / "refresh").iterdir()) for name in ("refreshing-one", "refreshing-both")
    }
    return {
        **_apart(world, "refreshing-one", "refreshing-both", "model/model.safetensors"),
        "encoded": [notes.with_name(f"encoded-{rank}").read_text().split() for rank in range(2)],
        "said": ended.said.count("candidates of 'own' by the weights before update"),
        "tables": {name: {place.name.split("-")[1]: _passages(place) for place in found[name]} for name in found},
    }


def _passages(place: Path) -> list[list[int]]:
    return lists(candidates.CandidateTable(place).negatives)


def noise(world: World) -> dict[str, Any]:
    """What the processes' own dice show first."""
    seen = world.folder / "dice"

    def looking(rank: int) -> None:
        step = _block.block_loss

        def looked(*arguments: Any, **named: Any) -> Any:
            if not (place := seen.with_name(f"dice-{rank}")).exists():
                place.write_text(str(torch.rand(4).tolist()), "utf-8")
            return step(*arguments, **named)

        _block.block_loss = looked

    fine(world.two("noise", before=looking))
    return {"dice": [(world.folder / f"dice-{rank}").read_text("utf-8") for rank in range(2)]}


def killed(world: World) -> dict[str, Any]:
    """Both, then one alone, then the other; then the same command until its end."""
    world.whole()
    arguments = world.arguments("killed", 1, *TWO)
    ends = []
    for number, ranks in enumerate(((0, 1), (1,), (0,))):
        pause = Pause(world.folder / f"pause-killed-{number}")
        running = start(world.folder / "said/killed", arguments, before=pause)
        pause.reached()
        running.signal(signal.SIGKILL, *ranks)
        pause.go()
        ends.append(dataclasses.asdict(running.ended()))
    left = RunFolder(world.folder / "killed").updates()
    fine(start(world.folder / "said/killed", arguments).ended())
    return {"ends": ends, "left": left, "same": world.weights("killed") == world.whole()}


def stopped(world: World) -> dict[str, Any]:
    """SIGTERM to both, and to each alone; then the same command until its end."""
    world.whole()
    found: dict[str, Any] = {"ends": [], "same": []}
    for number, ranks in enumerate(((0, 1), (0,), (1,))):
        arguments, pause = world.arguments(f"stopped-{number}", 1, *TWO), Pause(world.folder / f"pause-{number}")
        running = start(world.folder / f"said/stopped-{number}", arguments, before=pause)
        pause.reached()
        running.signal(signal.SIGTERM, *ranks)
        pause.go()
        updates = RunFolder(world.folder / f"stopped-{number}").updates
        found["ends"].append(dataclasses.asdict(running.ended()) | {"updates": updates()})
        fine(start(world.folder / "said/again", arguments).ended())
        found["same"].append(world.weights(f"stopped-{number}") == world.whole())
    return found


def refused(world: World) -> dict[str, Any]:
    """Each way in which one process cannot go on: exit codes, seconds, and what was said."""
    world.whole()
    ways: dict[str, Callable[[], Ended]] = {
        "a key of the recipe": lambda: world.two("key", "scale.gather=maybe"),
        "too many processes": lambda: world.two("many", "scale.processes=1"),
        "claim refused": lambda: world.two("whole-copy", "training.learning_rate=0.5"),
        "lock held": lambda: _held(world),
        "bad data": lambda: _bad_data(world),
        "data, second process, in the loop": lambda: world.two("second", before=_raising(1, DataError("spoilt draw"))),
        "data, first process, in the loop": lambda: world.two("first", before=_raising(0, DataError("spoilt draw"))),
        "a bug": lambda: world.two("bug", before=_raising(1, ValueError("spoilt draw"))),
        "disk full": lambda: world.two("full", before=_full),
        "not a number": lambda: world.two("nan", before=_spoilt_loss),
        "the other one never looks": lambda: world.two("deaf", before=_deaf),
    }
    os.system(f"cp -r '{world.folder}/whole/.' '{world.folder}/whole-copy'")
    storage.remove(world.folder / "whole-copy/model")
    found = {}
    for name, way in ways.items():
        began = time.monotonic()
        found[name] = dataclasses.asdict(way()) | {"seconds": time.monotonic() - began}  # to be shown, not judged
    return found


def _held(world: World) -> Ended:
    with RunFolder(world.folder / "held").held():
        return start(world.folder / "said/held", [*world.arguments("held", 1, *TWO), "--no-wait"], 2).ended()


def _bad_data(world: World) -> Ended:
    bad = collection.write(world.folder / "bad")
    bad.write_text(world.recipes["dropout"].read_text("utf-8").replace(str(world.folder), str(bad.parent)), "utf-8")
    with (bad.parent / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write("{nonsense\n")
    world.recipes["bad"] = bad
    return start(world.folder / "said/bad", world.arguments("bad-run", 1, *TWO, recipe="bad")).ended()


def _raising(where: int, error: Exception) -> Callable[[int], None]:
    """On one process the third draw raises."""

    def prepare(rank: int) -> None:
        draw = collate.Collator.__call__

        def spoilt(self: Any, numbers: Any) -> Any:
            if rank == where and list(numbers) == [2]:
                raise error
            return draw(self, numbers)

        collate.Collator.__call__ = spoilt  # type: ignore[method-assign]

    return prepare


def _full(rank: int) -> None:
    def hook(operation: str, path: Path) -> None:
        if "checkpoints" in str(path) and operation == "flush":
            raise OSError(errno.ENOSPC, "no space")

    storage.hook = hook


def _spoilt_loss(rank: int) -> None:
    """What one process computes is not a number; the loss is that of the whole step, so both see it."""
    forward = _block.vector_loss

    def spoilt(own_OD: Any, own_ND: Any, *rest: Any, **named: Any) -> Any:
        return forward(own_OD * float("nan") if rank else own_OD, own_ND, *rest, **named)

    _block.vector_loss = spoilt


def _deaf(rank: int) -> None:
    """The first process fails while the second is where no broken connection reaches it, as under NCCL."""
    draw = collate.Collator.__call__

    def stuck(self: Any, numbers: Any) -> Any:
        if list(numbers) == [2]:
            if rank:
                let_pass(10 * HANGING)
            raise DataError("spoilt draw")
        return draw(self, numbers)

    collate.Collator.__call__ = stuck  # type: ignore[method-assign]


def learns(world: World) -> dict[str, Any]:
    """Measures on the development pool before and after 50 updates of a small encoder on a small invented world."""
    sets = (
        "data.corpus.articles=120", "data.corpus.questions=250", "data.corpus.dev_questions=60",
        "data.corpus.test_questions=60", "towers.new.layers=1", "towers.new.width=64", "towers.new.feed_forward=128",
        "towers.new.vocabulary=2000", "towers.passage_length=80",
        "validation={split: dev, questions: 60, candidates: 5}",
        "training.eval_on_start=true", "training.eval_strategy=steps", "training.eval_steps=50",
        "training.max_steps=50", "training.warmup_steps=5", "training.learning_rate=3.0e-3",
        "training.per_device_train_batch_size=16", 'training.save_strategy="no"', "training.logging_steps=10", *TWO,
    )  # fmt: skip
    words: list[object] = [ROOT / "recipes/quickstart.yaml", "--home", world.folder / "home", "--quiet"]
    words += ["--folder", world.folder / "learns", *(word for each in sets for word in ("--set", each))]
    fine(start(world.folder / "said/learns", words).ended())
    lines = (world.folder / "learns/metrics.jsonl").read_text("utf-8").splitlines()
    return {"measured": [entry for entry in map(json.loads, lines) if "eval_mrr" in entry]}


CASES: dict[str, Callable[[World], Any]] = {
    case.__name__: case
    for case in (same_weights, searching, refreshing, noise, killed, stopped, refused, sharded, learns)
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    processes.GRACE = 5.0  # on a busy machine a process that is near may be late
    here = World(Path(sys.argv[1]))
    json.dump({name: CASES[name](here) for name in sys.argv[2:]}, sys.stdout)
