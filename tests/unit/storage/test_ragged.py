"""Rows of different lengths, written, opened, sliced and sent to another process."""

from __future__ import annotations

import errno
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpr import storage
from mpr.data.positives import PositiveIndex
from mpr.errors import DataError, StorageError
from mpr.records import TIERS
from mpr.storage.ragged import Ragged, RaggedWriter, memory_map
from tests.conftest import Examined
from tests.faults.artefacts import hooked

pytestmark = pytest.mark.small

COLUMNS = {"number": "<i8", "share": "<f4"}
Rows = list[list[tuple[int, float]]]


def written(folder: Path, rows: Rows, batch: int = 3) -> Ragged:
    with storage.stage(folder, "rows", {}) as stage, RaggedWriter(stage, "r", COLUMNS) as writer:
        for start in range(0, len(rows), batch):
            part = rows[start : start + batch]
            flat = [value for row in part for value in row]
            writer.append([len(row) for row in part], number=[n for n, _ in flat], share=[s for _, s in flat])
    return Ragged.open(folder, "r", COLUMNS)


def test_a_writer_that_cannot_open_all_its_files_leaves_nothing_to_the_collector(tmp_path: Path) -> None:
    """What it has opened is given up, not finished: a flush by the collector fails too, where nobody can catch it."""
    asked: list[tuple[str, str]] = []

    def full(operation: str, path: Path) -> None:
        asked.append((operation, path.name))
        if path.name == "r.share.bin":
            raise OSError(errno.ENOSPC, "No space left on device")

    with hooked(full), pytest.raises(StorageError), storage.stage(tmp_path / "t", "rows") as stage:
        RaggedWriter(stage, "r", COLUMNS)
    failed = asked.index(("create", "r.share.bin"))
    assert asked[failed + 1 :] == [("remove", ".t.staging"), ("remove", ".t.lock")]


def test_rows_come_back(tmp_path: Path, examined: Examined) -> None:
    compared = 0
    for seed in range(25):
        dice = random.Random(seed)
        rows: Rows = [
            [(dice.getrandbits(60), dice.randrange(100) / 4) for _ in range(dice.randrange(5))] for _ in range(seed)
        ]
        found = written(tmp_path / str(seed), rows, 1 + seed % 4)
        assert len(found) == len(rows)
        assert found.lengths().tolist() == [len(row) for row in rows]
        for number, row in enumerate(rows):
            assert [*zip(found.row(number, "number").tolist(), found.row(number, "share").tolist(), strict=True)] == row
            compared += 1
        asked = [dice.randrange(seed) for _ in range(9)] if seed else []  # in any order, and repeatedly
        owner, place = found.places(asked)
        assert owner.tolist() == [which for which, row in enumerate(asked) for _ in rows[row]]
        assert found.columns["number"][place].tolist() == [number for row in asked for number, _ in rows[row]]
        shorter = [dice.randint(0, len(rows[row])) for row in asked]
        owner, place = found.places(asked, shorter)
        assert found.columns["number"][place].tolist() == [
            number for row, length in zip(asked, shorter, strict=True) for number, _ in rows[row][:length]
        ]
        assert found.lengths(asked).tolist() == [len(rows[row]) for row in asked]
    examined(compared, "rows", at_least=300)


def test_columns_of_different_lengths_are_a_bug_of_ours(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match=r"r\.share: 1 values for 2 places"),
        storage.stage(tmp_path / "s", "rows", {}) as stage,
        RaggedWriter(stage, "r", COLUMNS) as writer,
    ):
        writer.append([2], number=[1, 2], share=[0.5])
    assert not (tmp_path / "s").exists()


def test_a_map_is_read_only_and_a_part_of_it_is_a_plain_array(tmp_path: Path) -> None:
    found = written(tmp_path / "s", [[(1, 0.5), (2, 1.0)], []]).columns["number"]
    assert isinstance(found, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 3
    for part in (found[1:], found[[1, 0]], found[found > 1]):
        assert type(part) is np.ndarray


def test_a_map_travels_as_its_path_and_anything_made_of_it_as_itself(tmp_path: Path) -> None:
    values = np.arange(100_000, dtype="<i8")
    (tmp_path / "values.bin").write_bytes(values.tobytes())
    found = memory_map(tmp_path / "values.bin", "<i8")
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        sent = pickle.dumps(found, protocol)
        assert len(sent) < 500
        assert np.array_equal(pickle.loads(sent), values)
    made: list[Any] = [found[10:20], found + 1, -found, found.reshape(2, -1), found.view(), found.astype(np.int32)]
    for one in made:
        assert np.array_equal(pickle.loads(pickle.dumps(one)), np.asarray(one))
    (tmp_path / "empty.bin").write_bytes(b"")
    empty = memory_map(tmp_path / "empty.bin", "<i8")
    assert len(pickle.loads(pickle.dumps(empty))) == len(empty) == 0


def test_counting_positives_against_lists(tmp_path: Path, examined: Examined) -> None:
    """Tiers and the cap, for thousands of questions with none to six positives."""
    compared = 0
    for seed in range(60):
        dice = random.Random(seed)
        listed = [[(dice.randrange(99), dice.choice(TIERS)) for _ in range(dice.randrange(7))] for _ in range(seed)]
        index = PositiveIndex.of(listed)
        tiers, cap = dice.sample(TIERS, dice.randint(1, 4)), dice.choice((None, 1, 2, 3))
        found = index.counting(tiers, cap)
        assert len(found) == len(index) == len(listed)
        for number, pairs in enumerate(listed):
            wanted = [passage for passage, tier in pairs if tier in tiers][:cap]
            assert found.row(number, "passage").tolist() == wanted
            compared += 1
        asked = [dice.randrange(seed) for _ in range(5)] if seed else []
        owner, passage, tier = index.known(asked)
        told = [(which, *pair) for which, question in enumerate(asked) for pair in listed[question]]
        assert [*zip(owner.tolist(), passage.tolist(), (TIERS[code] for code in tier), strict=True)] == told
    examined(compared, "questions", at_least=1500)


def test_refusals_of_a_stage_reach_the_caller_unchanged(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match="bad row"),
        storage.stage(tmp_path / "s", "rows", {}) as stage,
        RaggedWriter(stage, "r", COLUMNS),
    ):
        raise DataError("bad row")
    assert not (tmp_path / "s").exists()
