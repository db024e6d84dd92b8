"""Files of verdicts: there and back, and what is refused at its line."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from mpr.errors import DataError
from mpr.formats.verdicts import Verdict, read_verdicts, write_verdicts
from tests.conftest import Examined

LISTED = [
    Verdict("q1", "p1", 1, 'Yes.\n"it" does\u2028 …', "judge-yes-no-1", "org/model@1"),
    Verdict("q1", "p2", None, "", "judge-yes-no-1", "org/model@1", True),
    Verdict("ü2", "p1", 0, "no", "judge-yes-no-1", "org/model@1"),
]


def test_there_and_back(tmp_path: Path) -> None:
    file = io.BytesIO()
    assert write_verdicts(file, LISTED) == 3
    (tmp_path / "v.jsonl").write_bytes(file.getvalue())
    assert list(read_verdicts(tmp_path / "v.jsonl")) == LISTED


@pytest.mark.parametrize(
    "change, message",
    [
        ({"grade": -1}, "grade: must be 0 to 100"), ({"grade": 101}, "must be 0 to 100"),
        ({"grade": 0.5}, "grade: must be a whole number"), ({"grade": True}, "grade: must be a whole number"),
        ({"question": "a b"}, "question: id contains white space"), ({"passage": ""}, "passage: id is empty"),
        ({"planted": None}, "planted: is null"), ({"score": 1}, "unknown field"),
        ({"answer": 3}, "answer: must be text"),
        ({"passage": "p1"}, "passage p1 of question q1 was judged before"),
    ],
)  # fmt: skip
def test_refused_at_the_line(tmp_path: Path, change: dict[str, Any], message: str, examined: Examined) -> None:
    file = io.BytesIO()
    write_verdicts(file, LISTED[:1])
    line = {**json.loads(file.getvalue()), "passage": "p2", **change}
    (tmp_path / "v.jsonl").write_bytes(file.getvalue() + json.dumps(line).encode() + b"\n")
    with pytest.raises(
        DataError, match=rf"v\.jsonl:2 ?{message.partition(':')[0] if ':' in message else ''}"
    ) as caught:
        list(read_verdicts(tmp_path / "v.jsonl"))
    assert message in str(caught.value)
    examined(1, "refused lines")


def test_not_written() -> None:
    with pytest.raises(DataError, match="white space"):
        write_verdicts(io.BytesIO(), [Verdict("a b", "p", 1, "", "", "")])
    with pytest.raises(DataError, match="surrogate"):
        write_verdicts(io.BytesIO(), [Verdict("a", "p", 1, "\ud800", "", "")])
