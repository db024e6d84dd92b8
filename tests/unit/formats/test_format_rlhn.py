"""RLHN's rows: Tevatron's with the data set that they come from, in Parquet as published or as lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mpr.errors import DataError
from mpr.formats import rlhn
from mpr.records import Candidate, Positive


def _row(number: int, subset: Any = "fiqa", positives: int = 2) -> dict[str, Any]:
    def listed(first: int, count: int) -> list[dict[str, str]]:
        return [{"docid": f"d{first + n}", "text": f"Head {first + n} body", "title": ""} for n in range(count)]

    return {
        "query_id": f"md5{number}",
        "query": f"what of {number}?",
        "positive_passages": listed(10 * number, positives),
        "negative_passages": listed(10 * number + 5, 3),
        "subset": subset,
    }


def _file(folder: Path, ending: str, *rows: dict[str, Any]) -> Path:
    path = folder / f"train.{ending}"
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_rows_become_groups(ending: str, tmp_path: Path) -> None:
    path = _file(tmp_path, ending, _row(1), _row(2, "hotpotqa", 1))
    first, second = rlhn.read_groups(path)
    assert (first.question.id, first.question.text) == ("md51", "what of 1?")
    assert first.positives == (Positive("d10", "gold"), Positive("d11", "gold"))
    assert first.candidates == tuple(Candidate(f"d{15 + n}", "bm25", n + 1) for n in range(3))
    assert [(one.id, one.text, one.title) for one in first.passages][:1] == [("d10", "Head 10 body", "")]
    assert [group.question.id for group in rlhn.read_groups(path, "hotpotqa")] == [second.question.id]


def test_faults_are_named(tmp_path: Path) -> None:
    path = _file(tmp_path, "jsonl", _row(1), _row(2, "hotpotqa"))
    with pytest.raises(DataError, match=r"has no rows of the subset 'fika'.*did you mean 'fiqa'.*hotpotqa"):
        list(rlhn.read_groups(path, "fika"))
    with pytest.raises(DataError, match="no text in the column 'subset'"):
        list(rlhn.read_groups(_file(tmp_path, "jsonl", _row(1), _row(2, None))))
    with pytest.raises(DataError, match="query_id"):
        list(rlhn.read_groups(_file(tmp_path, "jsonl", _row(1), _row(1))))
