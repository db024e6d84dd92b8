"""mpr's plain questions and candidates, alone and joined."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpr.errors import DataError
from mpr.formats import questions_jsonl as plain
from mpr.records import Candidate, Group, Positive, Question
from tests.unit.formats.format_cases import ANSWERS, IDS, TEXTS, groups, unique, unique_groups, written


def rows(path: Path, *found: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plain") / "file.jsonl"


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    return rows(
        tmp_path / "questions.jsonl",
        {"id": "q0", "question": "zero?", "answers": ["0"]},
        {"id": "q1", "question": "one?", "answers": ["a.*"], "regex": True},
        {"id": "q2", "question": "two?"},
    )


def test_questions(questions: Path) -> None:
    assert list(plain.read_questions(questions)) == [
        Question("q0", "zero?", ("0",)),
        Question("q1", "one?", ("a.*",), True),
        Question("q2", "two?"),
    ]


def test_tolerated_names(file: Path) -> None:
    rows(file, {"id": "a", "question": "?", "category": "animals", "options": [1]})
    with pytest.raises(DataError, match=r":1 'category': unknown field.*ignore: \['category'\]"):
        list(plain.read_questions(file))
    assert len(list(plain.read_questions(file, ignore=["category", "options"]))) == 1


def test_candidates_with_whole_numbers_and_gold(file: Path) -> None:
    rows(file, {"id": "t-0", "question": "?", "answers": ["x"], "gold": 0, "pos": [0, 2, 13], "neg": [43, 7]})
    assert list(plain.read_groups(file)) == [
        Group(
            Question("t-0", "?", ("x",)),
            (Positive("0", "gold"), Positive("2", "answer_match"), Positive("13", "answer_match")),
            (Candidate("43", "bm25", 1), Candidate("7", "bm25", 2)),
        )
    ]
    rows(file, {"id": "t-0", "question": "?", "gold": "9", "pos": ["2", "9"], "neg": []})
    (group,) = plain.read_groups(file)
    assert [(one.passage, one.tier) for one in group.positives] == [("9", "gold"), ("2", "answer_match")]
    rows(file, {"id": "t-0", "question": "?", "gold": "9", "pos": ["2"], "neg": []})
    (group,) = plain.read_groups(file)
    assert [one.passage for one in group.positives] == ["9", "2"]


def test_rows_keep_the_ranks(file: Path) -> None:
    rows(file, {"id": "a", "pos": ["x", "y"], "pos_rank": [4, 91], "neg": ["z"]})
    assert list(plain.read_rows(file)) == [plain.CandidateLine("a", ("x", "y"), ("z",), (4, 91))]


def test_joining(file: Path, questions: Path) -> None:
    rows(file, {"id": "q1", "pos": ["x"], "pos_rank": [4], "neg": ["z"]}, {"id": "q0", "pos": [], "neg": []})
    first, second, third = plain.read_groups(file, questions, source="mined")
    assert first == Group(
        Question("q1", "one?", ("a.*",), True), (Positive("x", "answer_match"),), (Candidate("z", "mined", 1),)
    )
    assert second == Group(Question("q0", "zero?", ("0",)))
    assert third == Group(Question("q2", "two?"))


@pytest.mark.parametrize(
    "row, words",
    [
        ({"id": "q7", "pos": [], "neg": []}, r":1 id: question q7 is not in .*questions\.jsonl.*same split"),
        ({"id": "q1", "question": "other?", "pos": [], "neg": []}, r":1 question: .* differ from .*questions\.jsonl:2"),
        ({"id": "q1", "pos": []}, ":1 neg: field is missing"),
        ({"id": "q1", "pos": None, "neg": []}, ":1 pos: is null"),
        ({"id": "q1", "pos": ["a", "a"], "neg": []}, ":1 pos: a passage is listed twice"),
        ({"id": "q1", "pos": ["7", 7], "neg": []}, ":1 pos: a passage is listed twice"),
        ({"id": "q1", "pos": [], "neg": [1.5]}, ":1 neg: entry 0 id must be text"),
        ({"id": "q1", "pos": ["a", "b"], "pos_rank": [1], "neg": []}, ":1 pos_rank: has 1 ranks for 2 positives"),
        ({"id": "q1", "pos": ["a"], "pos_rank": [0], "neg": []}, ":1 pos_rank: ranks count from 1"),
        ({"id": "q1", "pos": ["a", "b"], "pos_rank": [2, 2], "neg": []}, ":1 pos_rank: ranks count from 1 and differ"),
        ({"id": 1, "pos": [], "neg": []}, ":1 id: id must be text, not int"),
    ],
)
def test_faults_of_candidates(file: Path, questions: Path, row: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        list(plain.read_groups(rows(file, row), questions))


def test_repeated_ids_name_both_lines(file: Path, questions: Path) -> None:
    twice = {"id": "q1", "pos": [], "neg": []}
    with pytest.raises(DataError, match=r":2 id: id 'q1' is already on line 1"):
        list(plain.read_groups(rows(file, twice, twice), questions))
    with pytest.raises(DataError, match=r":1 question: field is missing.*name a file of questions"):
        list(plain.read_groups(file))
    with pytest.raises(DataError, match=r":2 id: id 'a' is already on line 1"):
        list(plain.read_questions(rows(file, {"id": "a", "question": "x"}, {"id": "a", "question": "y"})))


@settings(max_examples=60, deadline=None)
@given(found=unique(st.builds(Question, IDS, TEXTS, ANSWERS, st.booleans())))
def test_questions_come_back(found: list[Question], file: Path) -> None:
    assert written(file, plain.write_questions, found) == len(found)
    assert list(plain.read_questions(file)) == found


@settings(max_examples=60, deadline=None)
@given(
    found=st.sampled_from(["gold", "answer_match"]).flatmap(
        lambda tier: unique_groups(groups(tier, "answer_match", ["bm25"], inline=False, scored=False, answers=True))
    )
)
def test_groups_come_back(found: list[Group], file: Path) -> None:
    assert written(file, plain.write_groups, found) == len(found)
    assert list(plain.read_groups(file)) == found
    questions = file.with_name("questions.jsonl")
    written(questions, plain.write_questions, [group.question for group in found])
    assert list(plain.read_groups(file, questions)) == found


@pytest.mark.parametrize(
    "group",
    [
        Group(Question("q", "t"), (Positive("a"), Positive("b"))),
        Group(Question("q", "t"), (Positive("a", "answer_match"), Positive("b"))),
        Group(Question("q", "t"), (Positive("a", "gold", 2.0),)),
        Group(Question("q", "t"), (Positive("a", "llm"), Positive("b", "generated"))),
        Group(Question("q", "t"), (Positive("a", "answer_match"), Positive("a", "answer_match"))),
        Group(Question("q", "t"), (), (Candidate("a", "dense", 1),)),
        Group(Question("q", "t"), (), (Candidate("a", "bm25", 3),)),
        Group(Question("q", "t"), (), (Candidate("a", "bm25", 1, 0.5),)),
    ],
)
def test_what_has_no_place_is_refused(file: Path, group: Group) -> None:
    with pytest.raises(DataError, match="question q: has tiers, grades, sources"):
        written(file, plain.write_groups, [group])


def test_positives_of_another_tier_and_who_wrote_the_question(file: Path) -> None:
    generated = Group(Question("g0-0", "Who?"), (Positive("p0", "generated"),))
    mixed = Group(Question("q", "t"), (Positive("a"), Positive("b", "llm"), Positive("c", "llm")))
    with file.open("wb") as out:
        plain.write_groups(out, [generated, mixed], written={"writer": "org/model", "prompt": "questions-1"})
    assert list(plain.read_groups(file)) == [generated, mixed]
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert lines[0] == {
        "id": "g0-0", "question": "Who?", "pos": ["p0"], "neg": [], "tier": "generated", "writer": "org/model",
        "prompt": "questions-1",
    }  # fmt: skip
    for tier in ("gold", "silver", None):
        rows(file, {"id": "a", "question": "?", "pos": ["p"], "neg": [], "tier": tier})
        with pytest.raises(DataError, match=r":1 tier: (must be one of answer_match|is null)"):
            list(plain.read_groups(file))
