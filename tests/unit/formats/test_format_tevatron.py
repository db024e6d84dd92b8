"""Both generations of Tevatron's rows, and the trap of the missing text."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpr.errors import DataError
from mpr.formats import tevatron
from mpr.records import Candidate, Group, Passage, Positive, Question
from tests.unit.formats.format_cases import FILLED, IDS, TEXTS, groups, unique, unique_groups, written


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tevatron") / "train.jsonl"


def rows(file: Path, *found: dict[str, Any]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in found))
    return file


INLINE = {
    "query_id": "q1",
    "query": "who?",
    "positive_passages": [{"docid": "1", "title": "T", "text": "one"}, {"docid": 2, "text": "two"}],
    "negative_passages": [{"docid": "3", "title": "T", "text": "three"}, {"docid": "4", "title": "", "text": "four"}],
}
REFERRING = {
    "query_id": "q1",
    "query_text": "who?",
    "query_image": None,
    "positive_document_ids": ["1", "2"],
    "negative_document_ids": ["3", "4"],
    "source": "made up",
}


def test_the_first_generation(file: Path) -> None:
    (group,) = tevatron.read_groups(rows(file, INLINE))
    assert group == Group(
        Question("q1", "who?"),
        (Positive("1", "gold"), Positive("2", "gold")),
        (Candidate("3", "bm25", 1), Candidate("4", "bm25", 2)),
        (Passage("1", "one", "T"), Passage("2", "two"), Passage("3", "three", "T"), Passage("4", "four")),
    )


def test_the_newer_generation(file: Path) -> None:
    (group,) = tevatron.read_groups(rows(file, REFERRING), source="dense")
    assert group == Group(
        Question("q1", "who?"), (Positive("1"), Positive("2")), (Candidate("3", "dense", 1), Candidate("4", "dense", 2))
    )
    assert [(one.text, one.regex) for one in tevatron.read_questions(file)] == [("who?", False)]
    assert [one.regex for one in tevatron.read_questions(file, regex=True)] == [True]
    old = {name: value for name, value in REFERRING.items() if name != "query_text"} | {"query": "older?"}
    assert next(tevatron.read_groups(rows(file, old))).question.text == "older?"


def test_answers_decide_the_tier_unless_it_is_given(file: Path) -> None:
    rows(file, INLINE | {"answers": ["A.*"]})
    (group,) = tevatron.read_groups(file, regex=True)
    assert group.question == Question("q1", "who?", ("A.*",), True)
    assert {positive.tier for positive in group.positives} == {"answer_match"}
    (group,) = tevatron.read_groups(file, first_tier="gold", negatives=1)
    assert [positive.tier for positive in group.positives] == ["gold", "answer_match"]
    assert [passage.id for passage in group.passages] == ["1", "2", "3"]
    (group,) = tevatron.read_groups(rows(file, REFERRING | {"answer": ["A"]}))
    assert group.question.answers == ("A",)


def test_a_repeated_passage_counts_once(file: Path) -> None:
    one = {"docid": "1", "title": "T", "text": "one"}
    (group,) = tevatron.read_groups(rows(file, INLINE | {"positive_passages": [one, one, one | {"text": " one "}]}))
    assert group.positives == (Positive("1"),)
    assert group.passages[0] == Passage("1", "one", "T")
    (group,) = tevatron.read_groups(rows(file, REFERRING | {"negative_document_ids": ["3", 3, "4"]}))
    assert group.candidates == (Candidate("3", "bm25", 1), Candidate("4", "bm25", 2))


def test_the_corpus_by_either_name(file: Path) -> None:
    rows(file, {"docid": "1", "text": "one", "title": "T"}, {"docid": 2, "document_text": "two", "image": None})
    assert list(tevatron.read_passages(file)) == [Passage("1", "one", "T"), Passage("2", "two")]


def test_the_example_of_the_documentation(file: Path) -> None:
    """Both names of the text and the media under the names of either; what is there is given up by name alone."""
    media = {f"document_{name}": None for name in ("image", "video", "audio")}
    rows(file, {"docid": "d1", "document_text": "one", **media}, {"docid": "d2", "document_text": "two"})
    assert list(tevatron.read_passages(file)) == [Passage("d1", "one"), Passage("d2", "two")]
    rows(file, {"docid": "d1", "document_text": "one", "document_image": "d1.png"})
    with pytest.raises(DataError, match=r"must be null: only text is read.*ignore: \['document_image'\]"):
        list(tevatron.read_passages(file))
    assert list(tevatron.read_passages(file, ignore=["document_image", "document_text"])) == [Passage("d1", "one")]


@pytest.mark.parametrize(
    "row, words",
    [
        ({"docid": "1", "contents": "x"}, "1 'contents': unknown field"),
        ({"docid": "1"}, "1: neither text nor document_text is there"),
        ({"docid": "1", "title": "only a title"}, "1: neither text nor document_text is there"),
        ({"docid": "1", "text": None}, "1: neither text nor document_text is there"),
        ({"docid": "1", "text": "", "title": ""}, "1: passage has no text"),
        ({"docid": "1", "text": "a", "document_text": "b"}, "1: text and document_text are both there"),
        ({"docid": "1", "text": "a", "image": {"bytes": ""}}, "1 image: must be null: only text is read"),
        ({"docid": "1", "text": "a", "chunks": ["a"]}, "1 'chunks': unknown field"),
        ({"docid": None, "text": "a"}, "1 docid: is null"),
    ],
)
def test_a_passage_without_its_text_is_refused(file: Path, row: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=f"{file}:{words}"):
        list(tevatron.read_passages(rows(file, row)))


@pytest.mark.parametrize(
    "found, words",
    [
        ([INLINE, INLINE], "2 query_id: id 'q1' is already on line 1"),
        ([INLINE, REFERRING], "2 query: field is missing"),
        ([REFERRING, INLINE], "2 positive_document_ids: field is missing"),
        ([INLINE | {"query": 5}], "1 query: must be text"),
        (
            [INLINE | {"positive_passages": [{"docid": "1", "text": ""}]}],
            r"1 positive_passages\[0\]: passage has no text",
        ),
        (
            [INLINE | {"negative_passages": [{"docid": "1", "text": "else"}]}],
            r"1 negative_passages\[0\]: passage 1 has two",
        ),
        ([INLINE | {"qid": 1}], "1 'qid': unknown field"),
        ([REFERRING | {"query_image": "x.png"}], "1 query_image: must be null"),
        ([REFERRING | {"query_text": None}], "1: neither query_text nor query is there"),
        ([REFERRING | {"query": "again"}], "1: query_text and query are both there"),
        ([REFERRING | {"positive_document_ids": ["a b"]}], "1 positive_document_ids: entry 0 id contains white space"),
        ([REFERRING | {"positive_document_ids": None}], "1 positive_document_ids: is null"),
    ],
)
def test_faulty_rows(file: Path, found: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(DataError, match=f"{file}:{words}"):
        list(tevatron.read_groups(rows(file, *found)))


def test_questions_alone(file: Path) -> None:
    rows(file, INLINE, {"query_id": 7, "query": "seven?"})
    assert [(one.id, one.text) for one in tevatron.read_questions(file)] == [("q1", "who?"), ("7", "seven?")]
    with pytest.raises(DataError, match="'dev': unknown field"):
        list(tevatron.read_questions(rows(file, {"query_id": "1", "query": "x", "dev": 1})))
    assert len(list(tevatron.read_questions(file, ignore=["dev"]))) == 1


@settings(max_examples=60, deadline=None)
@given(found=unique_groups(groups("gold", "gold", ["bm25"], inline=True, scored=False, answers=True)))
def test_inline_groups_come_back(found: list[Group], file: Path) -> None:
    assert written(file, tevatron.write_groups, found) == len(found)
    tiers = {"first_tier": "gold", "rest_tier": "gold"}
    assert list(tevatron.read_groups(file, **tiers)) == found


@settings(max_examples=60, deadline=None)
@given(found=unique_groups(groups("answer_match", "answer_match", ["bm25"], inline=False, scored=False, answers=True)))
def test_referring_groups_come_back(found: list[Group], file: Path) -> None:
    written(file, tevatron.write_groups, found, inline=False)
    tiers = {"first_tier": "answer_match", "rest_tier": "answer_match"}
    assert list(tevatron.read_groups(file, **tiers)) == found
    assert list(tevatron.read_questions(file)) == [group.question for group in found]


@settings(max_examples=60, deadline=None)
@given(passages=unique(st.builds(Passage, IDS, FILLED, TEXTS)))
def test_passages_come_back(passages: list[Passage], file: Path) -> None:
    assert written(file, tevatron.write_passages, passages) == len(passages)
    assert list(tevatron.read_passages(file)) == passages


@pytest.mark.parametrize(
    "group, words",
    [
        (Group(Question("q", "t"), (Positive("p"),)), "text of passage p is not inline"),
        (Group(Question("q", "t"), (Positive("p", "gold", 2.0),)), "has graded positives"),
        (Group(Question("q", "t"), (), (Candidate("p", "bm25", 2),)), "other ranks than 1, 2"),
        (Group(Question("q", "t"), (), (Candidate("p", "bm25", 1, 0.5),)), "has candidates with scores"),
        (Group(Question("q", "t"), (Positive("p"),), (), (Passage("p", ""),)), "passage p: passage has no text"),
    ],
)
def test_what_has_no_place_is_refused(file: Path, group: Group, words: str) -> None:
    with pytest.raises(DataError, match=words):
        written(file, tevatron.write_groups, [group])
