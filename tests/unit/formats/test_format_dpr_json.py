"""DPR's training files, as published and as written by us."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpr.errors import DataError
from mpr.formats import dpr_json
from mpr.records import Candidate, Group, Passage, Positive, Question
from tests.unit.formats.format_cases import groups, unique_groups, written


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dpr") / "biencoder-nq-train.json"


def context(number: int, **more: Any) -> dict[str, Any]:
    return {"title": f"T{number}", "text": f"text {number}", "score": 0, "title_score": 0, **more}


ENTRY = {
    "dataset": "nq_train_psgs_w100",
    "question": "who?",
    "answers": ["A", "B"],
    "positive_ctxs": [context(1, passage_id="11", score=1000), context(2, passage_id="12", score=14.5)],
    "negative_ctxs": [context(3, passage_id="13"), context(4, passage_id="14")],
    "hard_negative_ctxs": [
        context(5, passage_id="15", score=9.25),
        context(6, passage_id="16"),
        context(7, passage_id="17"),
    ],
}


def read(file: Path, entries: list[dict[str, Any]], **options: Any) -> list[Group]:
    file.write_text(json.dumps(entries, indent=4))
    return list(dpr_json.read_groups(file, **options))


def test_an_entry_as_published(file: Path) -> None:
    (group,) = read(file, [ENTRY])
    assert group.question == Question("biencoder-nq-train-0", "who?", ("A", "B"))
    assert group.positives == (Positive("11", "gold"), Positive("12", "answer_match"))
    assert group.candidates == (
        Candidate("15", "bm25", 1, 9.25),
        Candidate("16", "bm25", 2, 0.0),
        Candidate("17", "bm25", 3, 0.0),
        Candidate("13", "random", 1, 0.0),
        Candidate("14", "random", 2, 0.0),
    )
    assert {passage.id for passage in group.passages} == {"11", "12", "13", "14", "15", "16", "17"}
    assert group.passages[0] == Passage("11", "text 1", "T1")


def test_the_arguments(file: Path) -> None:
    tiers = read(file, [ENTRY], first_tier="answer_match", regex=True, prefix="trec-")
    assert [positive.tier for positive in tiers[0].positives] == ["answer_match", "answer_match"]
    assert tiers[0].question.id == "trec-0"
    assert tiers[0].question.regex
    few = read(file, [ENTRY], negatives=1)[0]
    assert [one.passage for one in few.candidates] == ["15", "13"]
    assert {passage.id for passage in few.passages} == {"11", "12", "15", "13"}
    assert read(file, [ENTRY], negatives=0)[0].candidates == ()
    extra = {**ENTRY, "positive_ctxs": [context(1, passage_id="11", url="x")]}
    with pytest.raises(DataError, match=r":2 positive_ctxs\[0\]\.'url': unknown field.*ignore: \['url'\]"):
        read(file, [extra])
    assert len(read(file, [extra], ignore=["url"])) == 1


def test_ids_of_passages(file: Path) -> None:
    """Some of the published files have `psg_id`, some whole numbers, some no id at all."""
    positives = [context(1, psg_id="21"), context(2, passage_id=22), context(3), {"title": "T3", "text": "text \n 3"}]
    (group,) = read(file, [{**ENTRY, "positive_ctxs": positives}])
    first, second, third = (positive.passage for positive in group.positives)
    assert (first, second) == ("21", "22")
    assert third.startswith("text-")
    assert len(third) == len("text-") + 16
    assert third == dpr_json.text_id("T3", "text 3")
    assert [one.text for one in group.passages if one.id == third] == ["text 3"]  # white space aside, the same text
    assert third != dpr_json.text_id("T3 text", "3x")


def test_the_gold_passage_among_the_hits_counts_once(file: Path) -> None:
    """NQ and SQuAD list the gold passage first, and again where BM25 found it."""
    positives = [
        context(1, psg_id="11", score=1000, title_score=1),
        context(1, psg_id="11", score=21.6) | {"text": ' "text  1" '},
        context(2, psg_id="12", score=14.4),
    ]
    hard = [context(5, psg_id="15"), context(5, psg_id="15"), context(6, psg_id="16")]
    (group,) = read(file, [{**ENTRY, "positive_ctxs": positives, "hard_negative_ctxs": hard, "negative_ctxs": []}])
    assert group.positives == (Positive("11", "gold"), Positive("12", "answer_match"))
    assert [(one.passage, one.rank) for one in group.candidates] == [("15", 1), ("16", 3)]
    assert group.passages[0].text == "text 1"
    assert len(group.passages) == 4


def test_the_negatives_of_a_first_model(file: Path) -> None:
    """The entries of nq-adv-hn-train have no `dataset`, and their hard negatives other fields."""
    hard = {"id": "18768928", "title": "T", "text": "x", "score": "79.81784", "has_answer": False}
    entry = {name: value for name, value in ENTRY.items() if name != "dataset"} | {"hard_negative_ctxs": [hard]}
    (group,) = read(file, [entry], hard_source="dense", negatives=1)
    assert group.candidates == (Candidate("18768928", "dense", 1, 79.81784), Candidate("13", "random", 1, 0.0))


def test_entries_without_positives_are_kept(file: Path) -> None:
    found = read(file, [{**ENTRY, "positive_ctxs": []}, ENTRY])
    assert [len(group.positives) for group in found] == [0, 2]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"question": None}, ":2 question: is null"),
        ({"answers": "A"}, ":2 answers: must be a list, not text"),
        ({"answers": [1]}, ":2 answers: entry 0 must be text"),
        ({"positive_ctxs": ["x"]}, ":2 positive_ctxs: entry 0 must be an object"),
        ({"positive_ctxs": [{"title": "T"}]}, r":2 positive_ctxs\[0\]\.text: field is missing"),
        ({"hard_negative_ctxs": [context(1, score="nine")]}, r"ctxs\[0\]\.score: must be a number, not 'nine'"),
        ({"hard_negative_ctxs": [context(1, score="nan")]}, r":2 hard_negative_ctxs\[0\]\.score: must be finite"),
        ({"hard_negative_ctxs": [context(1, score=[9])]}, r":2 hard_negative_ctxs\[0\]\.score: must be a number"),
        (
            {"negative_ctxs": [context(1, passage_id="a b")]},
            r":2 negative_ctxs\[0\]\.passage_id: id contains white space",
        ),
        ({"negative_ctxs": [context(1, passage_id="1", psg_id="2")]}, "has two ids: 1, 2"),
        ({"negative_ctxs": [context(9, passage_id="11")]}, "passage 11 has two different texts in this record"),
        ({"id": "a b"}, ":2 id: id contains white space"),
        ({"qid": 1}, "'qid': unknown field"),
    ],
)
def test_faults(file: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        read(file, [{**ENTRY, **change}])


def test_a_missing_list_and_a_repeated_id(file: Path) -> None:
    with pytest.raises(DataError, match=":2 hard_negative_ctxs: field is missing"):
        read(file, [{name: value for name, value in ENTRY.items() if name != "hard_negative_ctxs"}])
    with pytest.raises(DataError, match="id: id 'x' is already on line 2"):
        read(file, [{**ENTRY, "id": "x"}, {**ENTRY, "id": "x"}])


def test_a_fault_deep_in_the_file_has_its_line(file: Path) -> None:
    text = json.dumps([ENTRY] * 50, indent=4)
    lines = text.split("\n")
    broken = next(number for number, line in enumerate(lines) if number > 1500 and '"text"' in line)
    lines[broken] = lines[broken].replace('": "', '" "')
    packed = file.with_suffix(".json.gz")
    packed.write_bytes(gzip.compress("\n".join(lines).encode()))
    read_before = []
    with pytest.raises(DataError, match=f"gz:{broken + 1}: not JSON, in the entry that starts on line"):
        read_before.extend(dpr_json.read_groups(packed))
    assert len(read_before) > 10


@settings(max_examples=60, deadline=None)
@given(found=unique_groups(groups("gold", "answer_match", ["bm25", "random"], inline=True, scored=True, answers=True)))
def test_groups_come_back_and_python_reads_the_file(found: list[Group], file: Path) -> None:
    assert written(file, dpr_json.write_groups, found) == len(found)
    assert [fill_order(group) for group in dpr_json.read_groups(file)] == [fill_order(group) for group in found]
    entries = json.loads(file.read_bytes())
    assert [entry["question"] for entry in entries] == [group.question.text for group in found]
    assert [len(entry["positive_ctxs"]) for entry in entries] == [len(group.positives) for group in found]


def fill_order(group: Group) -> Group:
    return Group(
        group.question, group.positives, group.candidates, tuple(sorted(group.passages, key=lambda one: one.id))
    )


@settings(max_examples=60, deadline=None)
@given(
    found=unique_groups(groups("llm", "generated", ["dense"], inline=True, scored=False, answers=False)), data=st.data()
)
def test_tiers_and_source_are_passed_to_both_sides(found: list[Group], data: st.DataObject, file: Path) -> None:
    tiers = {"first_tier": "llm", "rest_tier": "generated", "hard_source": "dense"}
    written(file, dpr_json.write_groups, found, **tiers)
    assert list(dpr_json.read_groups(file, **tiers)) == found


@pytest.mark.parametrize(
    "group, words",
    [
        (Group(Question("q", "t"), (Positive("p"),)), "text of passage p is not inline"),
        (Group(Question("q", "t"), (Positive("p", "llm"),), (), (Passage("p", "x"),)), "positive 0 has tier llm"),
        (Group(Question("q", "t"), (Positive("p", "gold", 2.0),), (), (Passage("p", "x"),)), "grade 2.0"),
        (
            Group(Question("q", "t"), (), (Candidate("p", "dense", 1),), (Passage("p", "x"),)),
            "candidate of source dense",
        ),
        (Group(Question("q", "t"), (), (Candidate("p", "bm25", 2),), (Passage("p", "x"),)), "at rank 2 has no place"),
        (Group(Question("q x", "t")), "question id: id contains white space"),
        (Group(Question("q", "\ud800")), "question q: has an undecodable character"),
    ],
)
def test_what_has_no_place_is_refused(file: Path, group: Group, words: str) -> None:
    with pytest.raises(DataError, match=words):
        written(file, dpr_json.write_groups, [group])
