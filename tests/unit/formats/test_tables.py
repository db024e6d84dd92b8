"""Tables by the endings of their names, checked against the csv module and pyarrow's own readers and writers."""

import csv
import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from mpr.errors import DataError
from mpr.formats import tables

CELLS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")) | st.sampled_from(",\"\n'"), max_size=12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_csv_is_what_the_csv_module_writes(folder: Path, rows: list[tuple[str, str]]) -> None:
    file = folder / "any.csv"
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator="\n")
    writer.writerows([("a", "b"), *rows])
    file.write_bytes(written.getvalue().encode())
    found = list(tables.read_rows(file))
    assert [(row["a"], row["b"]) for _, row in found] == rows
    lines = written.getvalue().split("\n")
    assert all(lines[line.number - 1] == line.text for line, _ in found)


def test_csv_is_what_pyarrow_reads(folder: Path) -> None:
    file = folder / "some.csv"
    file.write_text('q,d\n"one, two","said ""yes"""\nthree,"two\nlines"\n', "utf-8")
    options = arrow_csv.ParseOptions(newlines_in_values=True)
    assert [row for _, row in tables.read_rows(file)] == arrow_csv.read_csv(file, parse_options=options).to_pylist()


def test_packed_lines_lists_and_tabs_say_the_same(folder: Path) -> None:
    rows = [{"q": "one", "d": ["x", "y"]}, {"q": 'say "two"', "d": ["z"]}]
    (folder / "rows.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    (folder / "rows.json").write_text(json.dumps(rows, indent=1), "utf-8")
    parquet.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
    for name in ("rows.jsonl.gz", "rows.json", "rows.parquet"):
        assert [row for _, row in tables.read_rows(folder / name)] == rows
    (folder / "rows.tsv").write_text('q\td\none\tx\nsay "two"\tz\n', "utf-8")
    assert [row for _, row in tables.read_rows(folder / "rows.tsv")] == [
        {"q": "one", "d": "x"},
        {"q": 'say "two"', "d": "z"},
    ]


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.csv", "q,d\none\n", r"a\.csv:2: has 1 comma-separated columns instead of 2.*expected: q, d"),
        ("b.csv", "q,d\none,two\n\n", r"b\.csv:3: blank line"),
        ("c.csv", 'q,d\none,"two" three\n', r"c\.csv:2: is not CSV"),
        ("d.csv", "q,q\none,two\n", r"d\.csv:1: two columns are called 'q'"),
        ("e.csv", "q,d\n", r"e\.csv: has a header and no rows"),
        ("f.tsv", "q\td\none\n", r"f\.tsv:2: has 1 tab-separated columns"),
        ("g.txt", "x\n", r"it ends in '\.txt' \(rename it"),
        ("h.parquet", "x\n", r"h\.parquet: is no readable Parquet file"),
        ("i.jsonl", '{"q": 1}\n[]\n', r"i\.jsonl:2: must be a JSON object"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(DataError, match=message):
        list(tables.read_rows(tmp_path / name))
