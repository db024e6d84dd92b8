"""The same draws everywhere and for ever: golden digests, another process, other seeds."""

from __future__ import annotations

import hashlib
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import pytest

import mpr
from mpr.batches.draw import Drawer
from mpr.data.positives import PositiveIndex
from mpr.records import TIERS
from tests.unit.draws import config, drawer, entry, gold, positives_of, ragged

ROOT = Path(__file__).parents[3]
GOLDEN = {
    "rotate": "f47b5fbe748064ec2ad6dd54d4f1f339ebf386f71846adfad560630633aae211",
    "rows of positives": "e836bdde7279aa48b08229ef2770b88b3d7b46f6aede4f818b9e6f9ad5db61fa",
}


def example(name: str) -> Drawer:
    dice = random.Random(7)
    known = [positives_of(dice, 200) for _ in range(50)]
    lists = {source: [dice.sample(range(200), dice.randint(0, 12)) for _ in known] for source in "ab"}
    tables = {
        source: ragged(rows, [[passage / 50 for passage in row] for row in rows]) for source, rows in lists.items()
    }
    entries = {
        "rotate": (
            config(
                {"policy": "up_to", "m": 2, "beyond": "rotate"},
                entry("a", "uniform", k=2, window=8),
                entry("b", "softmax", "random", k=2, temperature=0.7),
            )
        ),
        "rows of positives": config({"policy": "one_row_per_positive", "cap": 3}, entry("a", short="random", group=6)),
    }
    return drawer(entries[name], known, tables, passages=200, rows=9, seed=2026)


def digest(drawing: Drawer) -> str:
    """SHA-256 of everything in the first 20 steps."""
    total = hashlib.sha256()
    for step in map(drawing, range(20)):
        block = step.block
        assert block.drawer_P is None  # of `draw.block: as_drawn`
        for array in (step.epoch_R, *(array for array in vars(block).values() if array is not None)):
            total.update(len(array).to_bytes(8, "little") + array.astype("<i8").tobytes())
        total.update(repr(sorted(step.shortages.items())).encode())
    return total.hexdigest()


@pytest.mark.parametrize("name", GOLDEN)
def test_draws_never_change(name: str) -> None:
    """A change here changes every result ever measured: it needs a new version of mpr and new bands."""
    assert digest(example(name)) == GOLDEN[name]
    assert digest(pickle.loads(pickle.dumps(example(name)))) == GOLDEN[name]


def test_draws_are_the_same_in_another_process() -> None:
    found = os.pathsep.join([str(ROOT), str(Path(mpr.__file__).parents[1])])
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": found}
    command = [sys.executable, "-m", "tests.unit.batches.test_draw_golden"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == [*GOLDEN.values()]


def test_another_seed_is_another_draw() -> None:
    draw = config({"policy": "random1"}, entry(k=2, weight="uniform"))
    known, lists = [gold(*range(5)) for _ in range(30)], {"a": ragged([range(10, 40)] * 30)}
    found = {digest(drawer(draw, known, lists, rows=8, seed=seed)) for seed in (-1, 0, 1, 2, 2**63)}
    assert len(found) == 5


def test_every_tier_is_known_to_the_index() -> None:
    index = PositiveIndex.of([[(number, tier) for number, tier in enumerate(TIERS)]])
    for number, tier in enumerate(TIERS):
        assert index.counting((tier,)).columns["passage"].tolist() == [number]


if __name__ == "__main__":
    print(*(digest(example(name)) for name in GOLDEN))
