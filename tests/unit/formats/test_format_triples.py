"""Triples by id: the lines of both forms, what is refused with its line, and everything comes back as it was."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpr.errors import DataError
from mpr.formats import triples
from tests.unit.formats.format_cases import IDS, written


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("triples") / "file"


def test_lines_of_both_forms(file: Path) -> None:
    file.write_bytes(gzip.compress(b"17\t400\t30\n3\t8\t9\r\n17\t400\t31"))
    found = list(triples.read_ids(file))
    assert [one[:3] for one in found] == [("17", "400", "30"), ("3", "8", "9"), ("17", "400", "31")]
    assert [one.line.number for one in found] == [1, 2, 3]
    file.write_text("9.5\t-1.25\t17\t400\t30\n")
    assert [one[:3] for one in triples.read_scored(file)] == [("17", "400", "30")]


@settings(max_examples=30, deadline=None)
@given(found=st.lists(st.tuples(IDS, IDS, IDS), min_size=1))
def test_triples_come_back(found: list[tuple[str, str, str]], file: Path) -> None:
    assert written(file, triples.write_ids, found) == len(found)
    assert [one[:3] for one in triples.read_ids(file)] == found


@pytest.mark.parametrize(
    "form, good, text, message",
    [
        ("ids", "q\tp\tn\n", "q\tp\n", "has 2 tab-separated columns instead of 3"),
        ("ids", "q\tp\tn\n", "q\t\tn\n", "positive id: id is empty"),
        ("ids", "q\tp\tn\n", "q\tp\ta b\n", "negative id: id contains white space"),
        ("scored", "1\t2\tq\tp\tn\n", "q\tp\tn\n", "has 3 tab-separated columns instead of 5"),
        ("scored", "1\t2\tq\tp\tn\n", "1\tnan\tq\tp\tn\n", "score of the negative: must be a finite number"),
    ],
)
def test_a_bad_line(file: Path, form: str, good: str, text: str, message: str) -> None:
    file.write_text(good + text)
    with pytest.raises(DataError, match=message) as caught:
        list(triples.READERS[form](file))
    assert f"{file}:2" in str(caught.value)


def test_what_the_format_cannot_hold(file: Path) -> None:
    with pytest.raises(DataError, match="white space"):
        written(file, triples.write_ids, [("q", "a b", "n")])
