"""Stores of vectors: what was added is what is read, and a store that is not whole is not opened."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mpr import storage
from mpr.errors import RecipeError, StorageError
from mpr.search.shards import Places, Share
from mpr.search.vectors import DTYPES, Unfinished, VectorStore, changes, packed
from tests.conftest import Examined

pytestmark = pytest.mark.small

WIDTH, EACH, COUNT = 6, 5, 4
TORCH = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def numbers(count: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)


def unfinished(folder: Path, dtype: str = "float32", count: int = COUNT, **work: Any) -> Unfinished:
    return Unfinished(folder / "store", {"model": "m", "plan": {"tokens": 5}, **work}, count, WIDTH, dtype)


def rows_of(shard: int) -> Any:
    return np.arange(EACH)[::-1] * COUNT + shard


def finished(folder: Path, dtype: str = "float32") -> VectorStore:
    made = unfinished(folder, dtype)
    with made.held():
        for shard in made.missing():
            made.add(shard, rows_of(shard), numbers(EACH, shard))
        return made.commit({"note": "n"})


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_was_added_is_read(tmp_path: Path, dtype: str) -> None:
    store = finished(tmp_path, dtype)
    assert (len(store), store.width, store.dtype, len(store.shards)) == (EACH * COUNT, WIDTH, dtype, COUNT)
    assert storage.verify(tmp_path / "store").receipt["note"] == "n"
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    for number, shard in enumerate(store.shards):
        assert shard.dtype == dtype
        assert shard.rows.tolist() == rows_of(number).tolist()
        assert shard.vectors.shape == (EACH, WIDTH)
        assert isinstance(shard.vectors, np.memmap)
        assert not shard.vectors.flags.writeable
        expected = torch.from_numpy(numbers(EACH, number)).to(TORCH[dtype]).float().numpy()
        assert shard.block(1, 4).dtype == np.float32
        assert np.array_equal(shard.block(1, 4), expected[1:4])


def test_rounding_is_that_of_torch(examined: Examined) -> None:
    """Random bits of every exponent, ties between two neighbours, overflow, and numbers too small to be normal."""
    bits = np.random.default_rng(1).integers(0, 1 << 32, 200_000, dtype=np.uint32)
    bits = np.concatenate([bits, (bits & 0xFFFF0000) | 0x8000, (bits & 0xFFFF0000) | 0x7FFF])
    values = bits.view(np.float32)
    values = values[np.isfinite(values)].reshape(-1, 1)
    for dtype in ("bfloat16", "float16"):
        ours = packed(values, dtype).view(np.uint16)
        theirs = torch.from_numpy(values).to(TORCH[dtype]).view(torch.int16).numpy().view(np.uint16)
        assert np.array_equal(ours, theirs), dtype
    examined(2 * len(values), "roundings", at_least=1_000_000)


def test_search_can_read_it(tmp_path: Path) -> None:
    store = finished(tmp_path, "bfloat16")
    assert len(Share.of(store, 0, 3)) == 2 * EACH
    places = Places(store.shards)
    assert places.rows(np.array([0, 7, 19])).tolist() == [16, rows_of(1)[2], rows_of(3)[4]]
    assert np.array_equal(places.vectors(np.array([7]))[0], store.shards[1].block(2, 3)[0])


# ---- what is refused


def test_missing_and_swapped_shards(tmp_path: Path, examined: Examined) -> None:
    """A swapped pair has the right names and sizes; only the numbers inside tell."""
    finished(tmp_path)
    folder, tried = tmp_path / "store", 0
    for one in range(COUNT):
        away = shutil.move(folder / f"{one:05d}", tmp_path / "away")
        with pytest.raises(StorageError, match=f"{one:05d}/rows.bin: file is missing"):
            VectorStore(folder)
        shutil.move(away, folder / f"{one:05d}")
        for other in range(one):
            swap(folder / f"{one:05d}", folder / f"{other:05d}")
            with pytest.raises(StorageError, match=f"it says it is {one} of 4, here is {other} of 4"):
                VectorStore(folder)
            with pytest.raises(StorageError, match="checksum mismatch"):
                storage.verify(folder)
            swap(folder / f"{one:05d}", folder / f"{other:05d}")
            tried += 1
    assert len(VectorStore(folder)) == EACH * COUNT
    examined(tried + COUNT, "shards taken away or swapped", at_least=10)


def swap(one: Path, other: Path) -> None:
    away = one.with_name("away")
    one.rename(away)
    other.rename(one)
    away.rename(other)


def test_every_kind_of_damage_is_found(tmp_path: Path, examined: Examined) -> None:
    finished(tmp_path)
    files = [path for path in sorted((tmp_path / "store").rglob("*")) if path.is_file()]
    tried = 0
    for path in files:
        data = path.read_bytes()
        damaged = [data[: len(data) // 2], data + b"\0", *flips(data)]
        for content in damaged:
            path.write_bytes(content)
            with pytest.raises(StorageError):
                storage.verify(tmp_path / "store")
            tried += 1
        path.write_bytes(data)
    storage.verify(tmp_path / "store")
    examined(tried, f"damages of {len(files)} files", at_least=100)


def flips(data: bytes) -> list[bytes]:
    places = np.linspace(0, len(data) - 1, 8).astype(int)
    return [data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :] for place in places]


def test_store_that_is_not_finished(tmp_path: Path) -> None:
    made = unfinished(tmp_path)
    with made.held():
        assert made.missing() == [0, 1, 2, 3]
        made.add(2, rows_of(2), numbers(EACH, 2))
        assert made.missing() == [0, 1, 3]
        with pytest.raises(StorageError, match="00000: does not exist"):
            made.commit({})
    assert not (tmp_path / "store").exists()
    with pytest.raises(StorageError, match="does not exist"):
        VectorStore(tmp_path / "store")


def test_unfinished_work_of_another_kind(tmp_path: Path) -> None:
    made = unfinished(tmp_path)
    made.missing()
    for shard in (0, 3):
        made.add(shard, rows_of(shard), numbers(EACH, shard))
    for other, expected in (
        (unfinished(tmp_path, model="n"), ["model 'm' -> 'n'"]),
        (unfinished(tmp_path, plan={"tokens": 6}, role="r"), ["plan.tokens 5 -> 6", "role 'absent' -> 'r'"]),
        (
            unfinished(tmp_path, count=3),
            ["it says it is 0 of 4, here is 0 of 3", "it says it is 3 of 4, here is 3 of 3"],
        ),
    ):
        with pytest.raises(RecipeError) as caught:
            other.missing()
        assert [text for text in expected if text not in str(caught.value)] == []
        assert len(caught.value.problems) == 1, "one refusal, whatever changed and however many shards there are"
    assert made.missing() == [1, 2], "nothing was thrown away"


def test_unfinished_shards_that_were_swapped_or_damaged(tmp_path: Path) -> None:
    made = unfinished(tmp_path)
    made.missing()
    for shard in range(COUNT):
        made.add(shard, rows_of(shard), numbers(EACH, shard))
    swap(made.folder / "00001", made.folder / "00002")
    with pytest.raises(RecipeError, match="it says it is 2 of 4, here is 1 of 4"):
        made.missing()
    swap(made.folder / "00001", made.folder / "00002")
    path = made.folder / "00001" / "vectors.bin"
    data = path.read_bytes()
    path.write_bytes(flips(data)[3])
    for reader in (made.missing, lambda: made.commit({})):
        with pytest.raises(StorageError, match=r"vectors\.bin: checksum mismatch"):
            reader()
    path.write_bytes(data)
    assert len(made.commit({})) == EACH * COUNT


def test_debris_is_removed_and_an_existing_store_kept(tmp_path: Path) -> None:
    made = unfinished(tmp_path)
    for name in (".00001.staging", ".00000.lock", "half.bin"):
        made.folder.mkdir(exist_ok=True)
        (made.folder / name).write_bytes(b"x")
    assert made.missing() == [0, 1, 2, 3]
    assert not list(made.folder.iterdir())
    made.folder.rmdir()
    before = storage.verify(finished(tmp_path).folder).digest
    with made.held() as is_missing:
        assert not is_missing
    assert storage.verify(tmp_path / "store").digest == before


def test_one_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "waits", False)
    made = unfinished(tmp_path)
    with made.held(), pytest.raises(StorageError, match="is in use by host"), made.held():
        raise AssertionError("two holders")


def test_changes_are_named() -> None:
    before, now = {"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 4}, "e": 5}
    assert list(changes(before, now)) == ["b.c 2 -> 4", "b.d 3 -> 'absent'", "e 'absent' -> 5"]
