"""DPR's result files: what is there is read, and a file that is none is refused at its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mpr.errors import DataError
from mpr.formats.dpr_results import ranked
from mpr.records import RankedList

ENTRY: dict[str, Any] = {
    "question": "who?",
    "answers": ["me"],
    "ctxs": [
        {"id": "wiki:7", "title": "t", "text": "x", "score": "81.5", "has_answer": True},
        {"id": 3, "title": "t", "text": "x", "score": -2, "has_answer": False},
    ],
}


def _written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content, indent=1))
    return path


def test_results_are_read(tmp_path: Path) -> None:
    first, second = ranked(_written(tmp_path / "file", [ENTRY, {"question": "b", "id": 5, "ctxs": []}]))
    assert first == RankedList(None, "who?", ["wiki:7", "3"], [81.5, -2.0])
    assert second == RankedList("5", "b", [], [])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"ctxs": [{"id": "a", "score": "much"}]}, r"ctxs\[0\].score: must be a number, not 'much'"),
        ({"ctxs": [{"id": "a", "score": "nan"}]}, r"ctxs\[0\].score: must be finite"),
        ({"ctxs": [{"score": 1}]}, r"ctxs\[0\].id: field is missing"),
        ({"ctxs": [{"id": "a b", "score": 1}]}, "white space"),
        ({"ctxs": [{"id": "a", "score": 1}, {"id": "a", "score": 0}]}, "ctxs: a passage is listed twice"),
        ({"ctxs": "none"}, "ctxs"),
        ({"question": 3}, "question: must be text"),
        ({"positive_ctxs": []}, "unknown field"),
    ],
)
def test_what_is_no_result_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = _written(tmp_path / "file", [ENTRY, ENTRY | change])
    with pytest.raises(DataError, match=message) as caught:
        list(ranked(path))
    assert str(caught.value).startswith(f"{path}:")


def test_further_fields_are_dropped_on_request(tmp_path: Path) -> None:
    path = _written(tmp_path / "file", [ENTRY | {"more": 1, "ctxs": [{"id": "a", "score": 1, "more": 2}]}])
    assert next(ranked(path, ignore=["more"])).passages == ["a"]
