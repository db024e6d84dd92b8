"""Files of scores: the lines of the format, what is refused with its line, and everything comes back as it was."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpr.errors import DataError
from mpr.formats import scored_pairs
from mpr.records import PairScore
from tests.unit.formats.format_cases import IDS, written


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scored") / "file"


def test_lines_of_scores(file: Path) -> None:
    file.write_bytes(gzip.compress(b"q1\td7\t-0.5\nq2\td7\t12\r\nq1\td8\t1e-3"))
    expected = [PairScore("q1", "d7", -0.5), PairScore("q2", "d7", 12.0), PairScore("q1", "d8", 0.001)]
    assert list(scored_pairs.read_scores(file)) == expected


def test_a_triple_holds_two_pairs(file: Path) -> None:
    file.write_text("9.5\t-1.25\t17\t400\t30\n9.5\t2\t17\t400\t31\n")
    assert list(scored_pairs.read_triples(file)) == [
        PairScore("17", "400", 9.5),
        PairScore("17", "30", -1.25),
        PairScore("17", "400", 9.5),
        PairScore("17", "31", 2.0),
    ]


@settings(max_examples=60, deadline=None)
@given(found=st.lists(st.builds(PairScore, IDS, IDS, st.floats(allow_nan=False, allow_infinity=False)), min_size=1))
def test_scores_come_back(found: list[PairScore], file: Path) -> None:
    assert written(file, scored_pairs.write_scores, found) == len(found)
    assert list(scored_pairs.read_scores(file)) == found


@pytest.mark.parametrize(
    "text, message",
    [
        ("q d 1\n", "has 1 tab-separated columns instead of 3"),
        ("q\td\tnan\n", "must be a finite number"),
        ("q\td\t1_0\n", "must be a finite number"),
        ("q\td\tx\n", "must be a number"),
        ("q\t\t1\n", "passage id: id is empty"),
        ("a b\td\t1\n", "question id: id contains white space"),
        ("", "is empty"),
    ],
)
def test_a_bad_line_of_scores(file: Path, text: str, message: str) -> None:
    file.write_text("q\td0\t0.5\n" * bool(text) + text)
    with pytest.raises(DataError, match=message) as caught:
        list(scored_pairs.read_scores(file))
    assert f"{file}:2" in str(caught.value) or not text


@pytest.mark.parametrize("text", ["1\tq\tp\tn\n", "1\tx\tq\tp\tn\n", "1\t2\tq\tp\t\n", "inf\t2\tq\tp\tn\n"])
def test_a_bad_triple(file: Path, text: str) -> None:
    file.write_text(f"1\t2\tq\tp\tn\n{text}")
    with pytest.raises(DataError, match=f"{file}:2"):
        list(scored_pairs.read_triples(file))


def test_what_the_format_cannot_hold(file: Path) -> None:
    for one in (PairScore("a b", "d", 1.0), PairScore("q", "", 1.0), PairScore("q", "d", float("nan"))):
        with pytest.raises(DataError):
            written(file, scored_pairs.write_scores, [one])
