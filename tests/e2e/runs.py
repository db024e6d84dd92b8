"""What the cases of several processes share: a folder with recipes, the runs in it, and a place where runs pause."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mpr.batches import collate
from mpr.recipe import read
from mpr.storage.manifest import sha256_file
from tests.e2e import collection
from tests.e2e.launched import Ended, start
from tests.unit import tiny_models
from tests.waiting import until

ROOT = Path(__file__).parents[2]
UPDATES = 6
OPTIONS = (
    "training.save_strategy=steps", "training.save_steps=2", "training.logging_steps=1",
    f"training.max_steps={UPDATES}", "draw.negatives[0].short=random",
)  # fmt: skip
TWO = ("scale.processes=2", "scale.gather=true")
FROZEN = ("towers.share=false", "towers.train=question")
SELF = "sources=[{{name: dense, as: self, model: self, depth: 6, dtype: float32, compute: float32, index: {index}}}]"
LIVE = (
    SELF.format(index="exact"),
    "draw.negatives=[{from: self, all: true, weight: top, short: fewer}]",
    "draw.positives={policy: all, append: if_none_retrieved}",
    "draw.in_batch=false",
    "refresh={every: 1}",
    "objective=[{name: pairwise, phi: logistic, weight: drr, ranks: given, cut: 6, reduce: query_mean}]",
)
OWN = (
    SELF.format(index="exact").replace("as: self", "as: own"),
    "draw.negatives=[{from: own, k: 2, weight: uniform, short: random}]",
)  # candidates that the model under training finds; `refresh` says when


class World:
    """A folder with the collection, an encoder with dropout and one without, and the runs that cases start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = collection.write(folder)
        text = path.read_text("utf-8").replace("  num_train_epochs: 1\n", f"  max_steps: {UPDATES}\n")
        path.write_text(text, "utf-8")
        still = collection.write(folder / "still")
        base = tiny_models.published(folder / "encoder")
        config = json.loads((base / "config.json").read_text("utf-8"))
        config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        (base / "config.json").write_text(json.dumps(config), "utf-8")
        new = "  new: {layers: 1, width: 32, heads: 2, feed_forward: 64, vocabulary: 400}\n"
        assert new in text
        still.write_text(text.replace(new, f"  base: {json.dumps(str(base))}\n"), "utf-8")
        self.recipes = {"dropout": path, "still": still}
        read.load(path)  # what its first use builds is built here, not in each child

    def arguments(self, name: str, batch: int, *options: str, recipe: str = "dropout") -> list[object]:
        """Of a run into the folder `name`."""
        sets = [*OPTIONS, f"training.per_device_train_batch_size={batch}", *options]
        words: list[object] = [self.recipes[recipe], "--home", self.folder / "home", "--folder", self.folder / name]
        return [*words, "--quiet", *(word for each in sets for word in ("--set", each))]

    def two(self, name: str, *options: str, before: Callable[[int], object] | None = None) -> Ended:
        return start(self.folder / "said" / name, self.arguments(name, 1, *TWO, *options), 2, before).ended()

    def weights(self, name: str) -> str:
        return sha256_file(self.folder / name / "model" / "model.safetensors")

    def whole(self) -> str:
        """Digest of the unbroken run of two processes."""
        if not (self.folder / "whole" / "model").exists():
            fine(self.two("whole"))
        return self.weights("whole")


def fine(ended: Ended) -> Ended:
    assert ended.codes == [0] * len(ended.codes), ended
    assert not ended.hanging, ended
    return ended


class Pause:
    """A place in the fourth draw at which processes wait, so that a signal finds the run in its middle."""

    def __init__(self, folder: Path, ranks: int = 2) -> None:
        self.folder, self.ranks = folder, ranks
        folder.mkdir(parents=True)

    def __call__(self, rank: int) -> None:
        """In a process, before it starts."""
        draw = collate.Collator.__call__

        def pausing(collator: Any, numbers: Any) -> Any:
            if list(numbers) == [3]:
                (self.folder / str(rank)).touch()
                until(lambda: (self.folder / "go").exists())
            return draw(collator, numbers)

        collate.Collator.__call__ = pausing  # type: ignore[method-assign]

    def reached(self) -> None:
        until(lambda: all((self.folder / str(rank)).exists() for rank in range(self.ranks)))

    def go(self) -> None:
        (self.folder / "go").touch()
