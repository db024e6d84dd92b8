"""SQuAD's official file and the form with one paragraph a line."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpr.errors import DataError
from mpr.formats import squad
from mpr.records import Group, Passage, Positive, Question
from tests.unit.formats.format_cases import IDS, TEXTS, written


def question(identity: str, text: str, *answers: str) -> dict[str, Any]:
    starts = {"text": len("first ")}
    found = [{"text": one, "answer_start": starts.get(one, 0)} for one in answers]
    return {"id": identity, "question": text, "answers": found}


OFFICIAL = {
    "data": [
        {
            "title": "A_Title",
            "paragraphs": [
                {
                    "context": "first text",
                    "qas": [question("56be", "one?", "first"), question("56bf", "two?", "text", "text")],
                },
                {"context": "second text", "qas": []},
            ],
        },
        {"title": "Other", "paragraphs": [{"context": "third", "qas": [question("56c0", "three?", "third")]}]},
    ],
    "version": "1.1",
}
PLAIN = [
    {"title": "A", "para": 0, "context": "first", "qas": [{"question": "one?", "answers": ["first"]}] * 2},
    {"title": "A", "para": 1, "context": "second", "qas": [{"question": "two?", "answers": []}]},
]


@pytest.fixture
def official(tmp_path: Path) -> Path:
    path = tmp_path / "dev-v1.1.json"
    path.write_text(json.dumps(OFFICIAL, indent=1))
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "dev.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PLAIN))
    return path


def test_the_official_form(official: Path) -> None:
    assert list(squad.read_passages(official)) == [
        Passage("dev-v1.1-0", "first text", "A_Title"),
        Passage("dev-v1.1-1", "second text", "A_Title"),
        Passage("dev-v1.1-2", "third", "Other"),
    ]
    assert list(squad.read_groups(official, prefix="p", first=10)) == [
        Group(Question("56be", "one?", ("first",)), (Positive("p10"),)),
        Group(Question("56bf", "two?", ("text", "text")), (Positive("p10"),)),
        Group(Question("56c0", "three?", ("third",)), (Positive("p12"),)),
    ]
    assert [one.id for one in squad.read_questions(official)] == ["56be", "56bf", "56c0"]


def test_the_plain_form(plain: Path) -> None:
    assert [one.id for one in squad.read_passages(plain, prefix="", first=7)] == ["7", "8"]
    found = list(squad.read_groups(plain, prefix="", first=7, question_prefix="dev-"))
    assert [(one.question.id, one.positives[0].passage) for one in found] == [
        ("dev-7-0", "7"),
        ("dev-7-1", "7"),
        ("dev-8-0", "8"),
    ]
    assert found[2].question.answers == ()


def test_the_name_says_the_form(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ending '\.txt' does not say which form.*\*\.json"):
        squad.read_passages(tmp_path / "squad.txt.gz").__next__()


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda data: data["data"][0].pop("title"), ":3 title: field is missing"),
        (lambda data: data["data"][0]["paragraphs"][1].pop("qas"), r":3 paragraphs\[1\]\.qas: field is missing"),
        (
            lambda data: data["data"][0]["paragraphs"][0]["qas"][1].update(id=5),
            r"paragraphs\[0\]\.qas\[1\]\.id: id must be",
        ),
        (
            lambda data: data["data"][1]["paragraphs"][0]["qas"][0].update(id="56be"),
            "question id: id '56be' is already on",
        ),
        (
            lambda data: data["data"][0]["paragraphs"][0]["qas"][0].update(is_impossible=False),
            r"paragraphs\[0\]\.qas\[0\]\.'is_impossible': unknown field",
        ),
        (
            lambda data: data["data"][0]["paragraphs"][0]["qas"][0]["answers"][0].update(answer_start="0"),
            r"qas\[0\]\.answers\[0\]\.answer_start: must be a whole number",
        ),
        (
            lambda data: data["data"][0]["paragraphs"][0]["qas"][1]["answers"][1].update(text="texts"),
            "question '56bf': answer 'texts' is not in the context at 6",
        ),
        (lambda data: data.pop("data"), "data: field is missing"),
    ],
)
def test_faults_of_the_official_form(official: Path, change, words: str) -> None:
    data = json.loads(official.read_text())
    change(data)
    official.write_text(json.dumps(data, indent=1))
    with pytest.raises(DataError, match=words):
        list(squad.read_groups(official))


def test_faults_of_the_plain_form(plain: Path) -> None:
    plain.write_text(json.dumps(PLAIN[0] | {"qas": [{"question": "x"}]}))
    with pytest.raises(DataError, match=r":1 qas\[0\]\.answers: field is missing"):
        list(squad.read_passages(plain))
    plain.write_text(json.dumps(PLAIN[0] | {"context": 3}))
    with pytest.raises(DataError, match=":1 context: must be text"):
        list(squad.read_groups(plain))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("squad") / "made.json"


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_passages_and_groups_come_back(data: st.DataObject, file: Path) -> None:
    titles = data.draw(st.lists(st.sampled_from(["A", "B", "ü\u2028\n", ""]), min_size=1, max_size=5))
    passages = [Passage(f"p{index}", data.draw(TEXTS), title) for index, title in enumerate(titles, 3)]
    ids = iter(data.draw(st.lists(IDS, min_size=10, max_size=10, unique=True)))
    groups = []
    for passage in passages:
        for _ in range(data.draw(st.integers(0, 2))):
            start = data.draw(st.integers(0, len(passage.text)))
            answers = tuple(
                passage.text[start:stop] for stop in data.draw(st.lists(st.integers(start, 40), max_size=2))
            )
            groups.append(Group(Question(next(ids), data.draw(TEXTS), answers), (Positive(passage.id),)))
    assert written(file, squad.write, passages, groups, prefix="p", first=3) == len(passages)
    assert list(squad.read_passages(file, prefix="p", first=3)) == passages
    assert list(squad.read_groups(file, prefix="p", first=3)) == groups
    for article in json.loads(file.read_bytes())["data"]:
        for paragraph in article["paragraphs"]:
            for one in paragraph["qas"]:
                for answer in one["answers"]:
                    assert paragraph["context"][answer["answer_start"] :].startswith(answer["text"])


@pytest.mark.parametrize(
    "passages, groups, words",
    [
        ([Passage("5", "t")], [], "passage 5: is in place 1 of the file, where its id would be 0"),
        ([Passage("0", "t")], [Group(Question("q", "?"), (Positive("1"),))], "not among the passages: 1"),
        ([Passage("0", "t")], [Group(Question("q", "?", ("x",)), (Positive("0"),))], "answer is not in passage 0"),
        ([Passage("0", "t")], [Group(Question("q", "?"), ())], "must have one positive of tier gold"),
        (
            [Passage("0", "t")],
            [Group(Question("q", "?"), (Positive("0", "llm"),))],
            "must have one positive of tier gold",
        ),
    ],
)
def test_what_has_no_place_is_refused(file: Path, passages: list[Passage], groups: list[Group], words: str) -> None:
    with pytest.raises(DataError, match=words):
        written(file, squad.write, passages, groups)
