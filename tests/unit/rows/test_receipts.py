"""Receipts that a crash or a disk has damaged count for nothing, and it is said; one that was edited is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpr.errors import StorageError
from mpr.rows.receipts import Receipt, Receipts
from tests.conftest import Examined

pytestmark = pytest.mark.small

DAMAGED = {
    "nothing": b"",
    "half": b'{"stage": "search", "inp',
    "no text": b"\xff\xfe\x00",
    "a list": b"[1]",
    "a number": b"7",
    "other fields": b'{"digest": "d", "stages": 1}',
    "no number": b'{"attempts": NaN, "digest": "d"}',
    "text": b'{"attempts": "many", "digest": 1}',
    "nested": b"[" * 100_000,
}


def _receipts(folder: Path) -> Receipts:
    return Receipts(folder / "run", folder / "home")


def _written(folder: Path, **facts: float) -> Path:
    made = Receipt("search", {"recipe": "a"}, {"run/x": "b"}, "code", {}, {"seconds": 1.0}, facts=dict(facts))
    _receipts(folder).write(made)
    assert _receipts(folder).read("search") == made
    return _receipts(folder).path("search")


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_receipt_is_no_receipt(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = _written(tmp_path)
    path.write_bytes(DAMAGED[name])
    assert _receipts(tmp_path).read("search") is None
    assert "so it counts for nothing" in caplog.text
    assert str(path) in caplog.text


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_count_of_attempts_begins_anew(name: str, tmp_path: Path) -> None:
    path = _receipts(tmp_path).path("search").with_suffix(".begun")
    path.parent.mkdir(parents=True)
    path.write_bytes(DAMAGED[name])
    assert [_receipts(tmp_path).begin("search") for _ in range(3)] == [1, 2, 3]


def test_not_a_number_in_a_receipt(tmp_path: Path, examined: Examined) -> None:
    path = _written(tmp_path, recall=0.25)
    text = path.read_text("utf-8")
    for value in ("NaN", "Infinity", "-Infinity", "1e999"):
        path.write_text(text.replace("0.25", value), "utf-8")
        assert _receipts(tmp_path).read("search") is None
    examined(4, "values that are no numbers")


def test_an_edited_receipt_is_refused(tmp_path: Path) -> None:
    path = _written(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"code": "other"}), "utf-8")
    with pytest.raises(StorageError, match="was edited: these are not the bytes"):
        _receipts(tmp_path).read("search")


def test_so_is_one_with_other_line_ends(tmp_path: Path, examined: Examined) -> None:
    path = _written(tmp_path)
    data = path.read_bytes()
    for end in (b"\r\n", b"\r", b"\n\n", b""):
        path.write_bytes(data.replace(b"\n", end))
        with pytest.raises(StorageError, match="was edited: these are not the bytes"):
            _receipts(tmp_path).read("search")
    examined(4, "line ends")
