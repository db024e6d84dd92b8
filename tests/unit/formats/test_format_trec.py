"""TREC's qrels and runs: written lines are those of the format, and everything comes back as it was."""

import math
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpr.errors import DataError
from mpr.formats import trec
from mpr.records import Candidate, Group, Hit, Judgement, Positive, Question
from mpr.storage.lines import Line
from tests.unit.formats.format_cases import IDS, written


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trec") / "file"


def test_judgements_are_read_as_trec_eval_reads_them(file: Path) -> None:
    file.write_text("301 0 FBIS3-10082 1\n301\t0\tFBIS3-10169  0\r\n302 Q0 b -2\n301 0 c 3")
    assert list(trec.read_judgements(file)) == [
        Judgement("301", "FBIS3-10082", 1),
        Judgement("301", "FBIS3-10169", 0),
        Judgement("302", "b", -2),
        Judgement("301", "c", 3),
    ]
    assert written(file, trec.write_judgements, [Judgement("q", "p", 2), Judgement("q", "o", -1)]) == 2
    assert file.read_bytes() == b"q 0 p 2\nq 0 o -1\n"


def test_runs_are_lines_of_six_columns(file: Path) -> None:
    file.write_text("1 Q0 d1 0 14.5 bm25\n2 Q0 d1 1 -1e-3 bm25\n1 Q0 d2 1 14 bm25\n")
    hits = [Hit("1", "d1", 0, 14.5, "bm25"), Hit("2", "d1", 1, -0.001, "bm25"), Hit("1", "d2", 1, 14.0, "bm25")]
    assert list(trec.read_hits(file)) == hits
    assert written(file, trec.write_hits, hits) == 3
    assert file.read_text() == "1 Q0 d1 0 14.5 bm25\n2 Q0 d1 1 -0.001 bm25\n1 Q0 d2 1 14.0 bm25\n"


@settings(max_examples=60, deadline=None)
@given(
    found=st.lists(
        st.builds(Judgement, IDS, IDS, st.integers(-5, 9)), min_size=1, unique_by=lambda j: (j.question, j.passage)
    )
)
def test_judgements_come_back(found: list[Judgement], file: Path) -> None:
    assert written(file, trec.write_judgements, found) == len(found)
    assert list(trec.read_judgements(file)) == found


FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=60, deadline=None)
@given(
    hits=st.lists(
        st.builds(Hit, IDS, IDS, st.integers(0, 10**6), FLOATS, IDS),
        min_size=1,
        unique_by=lambda h: (h.question, h.passage),
    )
)
def test_hits_come_back_with_the_same_floats(hits: list[Hit], file: Path) -> None:
    assert written(file, trec.write_hits, hits) == len(hits)
    found = list(trec.read_hits(file))
    assert found == hits
    assert [math.copysign(1, hit.score) for hit in found] == [math.copysign(1, hit.score) for hit in hits]


@pytest.mark.parametrize(
    "text, words",
    [
        ("1 Q0 d 1 nan t\n", "1 score: must be a finite number, not 'nan'"),
        ("1 Q0 d 1 inf t\n", "1 score: must be a finite number"),
        ("1 Q0 d 1 1_0 t\n", "1 score: must be a finite number"),
        ("1 Q0 d 1 high t\n", "1 score: must be a number, not 'high'"),
        ("1 Q0 d 1.0 1 t\n", "1 rank: must be a whole number, not '1.0'"),
        ("1 Q0 d 1 1.0\n", "1: has 5 space-separated columns instead of 6"),
        ("1 Q0 d 1 1.0 t\n\n", "2: has 0 space-separated columns"),
        ("1 Q0 d 1 1.0 my tag\n", "1: has 7 space-separated columns"),
        (
            "1 Q0 d 1 1.0 t\n1 Q0 e 2 1.0 t\n2 Q0 d 1 1 t\n1 Q0 d 3 0.5 t\n",
            "4: question '1' and passage 'd' were paired",
        ),
        ("1 Q0 d\u200e 1 1.0 t\n", "1 passage id: id contains white space or a control character"),
    ],
)
def test_faulty_runs(file: Path, text: str, words: str) -> None:
    file.write_text(text)
    with pytest.raises(DataError, match=f"{file}:{words}"):
        list(trec.read_hits(file))


@pytest.mark.parametrize(
    "text, words",
    [
        ("1 0 d 1.5\n", "1 grade: must be a whole number, not '1.5'"),
        ("1 0 d \u0663\n", "1 grade: must be a whole number"),
        ("1 0 d --1\n", "1 grade: must be a whole number"),
        ("1 0 d 1 x\n", "1: has 5 space-separated columns instead of 4"),
        ("1 0 d 1\n2 0 d 1\n1 0 d 1\n", "3: question '1' and passage 'd' were paired on an earlier line"),
    ],
)
def test_faulty_judgements(file: Path, text: str, words: str) -> None:
    file.write_text(text)
    with pytest.raises(DataError, match=f"{file}:{words}"):
        list(trec.read_judgements(file))


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_not_written(file: Path, score: float) -> None:
    with pytest.raises(DataError, match="question q passage p: score is"):
        written(file, trec.write_hits, [Hit("q", "p", 1, score)])
    with pytest.raises(DataError, match="tag: id contains white space"):
        written(file, trec.write_hits, [Hit("q", "p", 1, 1.0, "my tag")])


@settings(max_examples=60, deadline=None)
@given(found=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("wxyz")), max_size=12))
def test_pairs_refuse_exactly_the_second_time(found: list[tuple[str, str]]) -> None:
    pairs, seen = trec.SeenPairs(), set()
    for number, pair in enumerate(found, 1):
        line = Line("f", number, 0, "")
        if pair in seen:
            with pytest.raises(DataError, match=f"f:{number}: "):
                pairs.add(line, *pair)
        else:
            pairs.add(line, *pair)
        seen.add(pair)


def test_pairs_of_a_long_run_take_little_memory() -> None:
    line, pairs = Line("f", 1, 0, ""), trec.SeenPairs()
    tracemalloc.start()
    for question in range(500):
        for passage in range(200):
            pairs.add(line, f"question-{question}", f"passage-{question}-{passage}")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"100,000 pairs: {peak:,} bytes at most")
    assert peak < 2_000_000
    with pytest.raises(DataError):
        pairs.add(line, "question-0", "passage-0-199")


def test_groups_of_judged_questions() -> None:
    questions = [Question("1", "one"), Question("2", "two"), Question("3", "three")]
    judgements = [Judgement("3", "a", 2), Judgement("1", "b", 0), Judgement("3", "c", 1), Judgement("3", "d", -1)]
    assert list(trec.judged_groups(questions, judgements)) == [
        Group(questions[0], (), (Candidate("b", "judged", 1),)),
        Group(questions[2], (Positive("a", "gold", 2.0), Positive("c", "gold", 1.0)), (Candidate("d", "judged", 1),)),
    ]
    strict = list(trec.judged_groups(questions, judgements, least=2))
    assert [positive.passage for positive in strict[1].positives] == ["a"]
    assert [candidate.passage for candidate in strict[1].candidates] == ["c", "d"]
    with pytest.raises(DataError, match=r"2 judged questions are not among the questions, first: 8, 9"):
        list(trec.judged_groups(questions, [Judgement("8", "a", 1), Judgement("9", "a", 1), Judgement("1", "a", 1)]))
