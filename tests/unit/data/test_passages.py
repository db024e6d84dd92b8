"""The passage store: what goes in comes out, opening reads no text, and what cannot be a passage is refused."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpr.data import passages
from mpr.data.passages import PassageStore
from mpr.errors import DataError
from mpr.records import Passage, text_hash
from tests.conftest import Examined

MANY = 200_000


def generated(count: int) -> Iterator[Passage]:
    return (Passage(f"doc-{row}", f"Text {row * 7919 % 1000} of {row}.", f"Title {row % 500}") for row in range(count))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("large") / "passages"
    passages.build(target, generated(MANY), {}, expected=MANY)
    return target


@pytest.fixture
def batches_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every record batch that anyone asks the Arrow file for."""
    read: list[int] = []
    original = passages._Texts.batch

    def batch(self: Any, number: int) -> Any:
        read.append(number)
        return original(self, number)

    monkeypatch.setattr(passages._Texts, "batch", batch)
    return read


def test_opening_and_looking_up_ids_reads_no_text(large: Path, batches_read: list[int]) -> None:
    store = PassageStore(large)
    rows = random.Random(1).sample(range(MANY), 5_000)
    assert len(store) == MANY
    assert store.rows_of([f"doc-{row}" for row in rows]).tolist() == rows
    assert store.rows_of(["doc-200000", "doc--1", "", "DOC-1", "doc-1 "]).tolist() == [-1] * 5
    assert batches_read == []
    assert store[MANY - 1] == Passage("doc-199999", "Text 81 of 199999.", "Title 499")
    assert batches_read == [MANY // passages.BATCH]


def test_what_goes_in_comes_out(large: Path, examined: Examined) -> None:
    store, size = PassageStore(large), passages.BATCH
    compared = 0
    for row, (ours, theirs) in enumerate(zip(store, generated(MANY), strict=True)):
        assert ours == theirs
        if row % 9973 == 0 or row % size in (0, 1, size - 1):
            assert store[row] == theirs
            assert store.text_hashes[row] == text_hash(theirs.text)
            assert store.ids([row]) == [theirs.id]
        compared += 1
    examined(compared, "passages", at_least=MANY)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 9])
def test_the_edges_of_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(passages, "BATCH", 4)
    seen: list[int] = []
    store = passages.build(tmp_path / "p", generated(count), {}, expected=count, progress=seen.append)
    listed = list(generated(count))
    assert [store[row] for row in range(count)] == list(store) == listed
    assert [batch.num_rows for batch in store.batches()] == seen
    assert sum(seen) == count == store.manifest.receipt["passages"]
    assert set(seen[:-1]) <= {4}
    assert store.ids(reversed(range(count))) == [passage.id for passage in reversed(listed)]
    assert store.rows_of([passage.id for passage in listed]).tolist() == list(range(count))
    assert store.rows_of([f"other-{row}" for row in range(50)]).tolist() == [-1] * 50
    assert store.rows_of([]).tolist() == []
    for row in (-1, count):
        with pytest.raises(IndexError):
            store[row]


def test_the_same_passages_give_the_same_bytes(tmp_path: Path) -> None:
    digests = {passages.build(tmp_path / name, generated(50), {}).manifest.digest for name in "ab"}
    assert len(digests) == 1


def refused(tmp_path: Path, listed: list[Passage], message: str, **options: Any) -> None:
    with pytest.raises(DataError, match=message):
        passages.build(tmp_path / "p", listed, {}, **options)
    assert not (tmp_path / "p").exists()
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_repeated_ids_are_refused_with_their_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = list(generated(20_000))
    listed[17_000] = Passage("doc-3", "another text")
    refused(tmp_path, listed, r"doc-3: 1 passage ids are given twice \(first seen in records 4 and 17,001\)")
    refused(tmp_path, [Passage("a", "x")] * 3, r"a: 2 passage ids are given twice \(first seen in records 1 and 2\)")
    monkeypatch.setattr(passages, "_hashes", lambda values: np.array([len(value) for value in values], np.uint64))
    refused(tmp_path, [Passage("ab", "x"), Passage("cd", "y")], "ab: two ids share a 64-bit hash")


def test_a_wrong_count_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, list(generated(7)), "the corpus has 7 passages, 8 are expected", expected=8)
    refused(tmp_path, list(generated(9)), "the corpus has 9 passages, 8 are expected", expected=8)
    refused(tmp_path, [], "the corpus has no passages", expected=0)


@pytest.mark.parametrize(
    "passage, message",
    [
        (Passage("", "x"), "id is empty"),
        (Passage("a b", "x"), "white space"),
        (Passage("a\tb", "x"), "white space"),
        (Passage("a\nb", "x"), "white space"),
        (Passage("\ud800", "x"), "control character"),
        (Passage("é" * 101, "x"), "longer than 200 bytes"),
        (Passage(7, "x"), "id must be text, not int"),  # type: ignore[arg-type]
        (Passage("a", "x\ud800"), "lone surrogate"),
        (Passage("a", "x", "\udfff"), "lone surrogate"),
        (Passage("a", None), "must be text, not NoneType"),  # type: ignore[arg-type]
        (Passage("a", " \u2003\n", " "), "neither text nor title"),
    ],
)
def test_what_cannot_be_a_passage_is_refused(tmp_path: Path, passage: Passage, message: str) -> None:
    refused(tmp_path, [Passage("good", "good"), passage], message)


def test_hostile_texts_come_out_as_they_went_in(tmp_path: Path) -> None:
    strange = [
        "a\0b",
        "\ufeffa",
        "café",
        "cafe\u0301",
        "\u202eabc",
        "👨‍👩‍👧",
        "a\u2028b\x85c\r\n",
        '"',
        "\U0010ffff",
        "é" * 1_000_000,
    ]
    ids = [f"../../etc/{place}" for place in range(len(strange))] + ["Case", "case", "é", "e\u0301"]
    listed = [Passage(name, text, text[:50]) for name, text in zip(ids, strange * 2, strict=False)]
    store = passages.build(tmp_path / "p", listed, {})
    assert list(store) == listed
    assert store.rows_of(ids).tolist() == list(range(len(ids)))
    assert {path.name for path in tmp_path.rglob("*") if path.is_dir()} == {"p"}


def test_text_hashes_tell_who_says_the_same(tmp_path: Path) -> None:
    """White space and the title make no difference; where there is no text, the title is what is said."""
    texts = [
        ("one two", "A"),
        (" one\n\ttwo ", "B"),
        ("one  two", ""),
        ("onetwo", "A"),
        ("", "A"),
        (" ", "B"),
        ("", "A"),
    ]
    store = passages.build(tmp_path / "p", [Passage(str(n), text, title) for n, (text, title) in enumerate(texts)], {})
    _, same = np.unique(store.text_hashes, return_inverse=True)
    groups = [np.flatnonzero(same == label).tolist() for label in dict.fromkeys(same.tolist())]
    assert groups == [[0, 1, 2], [3], [4, 6], [5]]
