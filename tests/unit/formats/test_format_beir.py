"""BEIR folders in both layouts, and round trips of each of the three files."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpr.errors import DataError
from mpr.formats import beir
from mpr.records import Group, Judgement, Passage, Positive, Question
from tests.unit.formats.format_cases import IDS, TEXTS, unique, written

CORPUS = '{"_id": "d1", "title": "T", "text": "one", "metadata": {"url": "x"}}\n{"_id": "d2", "text": ""}\n'
QUERIES = '{"_id": "q1", "text": "first?", "metadata": {}}\n{"_id": "q2", "text": "second?"}\n'


def standard(folder: Path) -> Path:
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(CORPUS)
    (folder / "queries.jsonl").write_text(QUERIES)
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq2\td1\t2\nq2\td2\t0\n")
    return folder


def flat(folder: Path) -> Path:
    folder.mkdir()
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress(CORPUS.encode()))
    (folder / "queries.test.jsonl.gz").write_bytes(gzip.compress(QUERIES.encode()))
    (folder / "qrels.test.tsv.gz").write_bytes(gzip.compress(b"q2\td1\t2\nq2\td2\t0\n"))
    return folder


@pytest.mark.parametrize("layout", [standard, flat])
def test_both_layouts_give_the_same(tmp_path: Path, layout) -> None:
    folder = layout(tmp_path / "set")
    files = beir.find(folder, "test")
    assert list(beir.read_passages(files.corpus)) == [Passage("d1", "one", "T"), Passage("d2", "", "")]
    assert list(beir.read_questions(files.queries)) == [Question("q1", "first?"), Question("q2", "second?")]
    assert list(beir.read_judgements(files.judgements)) == [Judgement("q2", "d1", 2), Judgement("q2", "d2", 0)]
    (group,) = beir.read_groups(folder, "test")
    assert group.question.id == "q2"
    assert group.positives == (Positive("d1", "gold", 2.0),)
    assert [(one.passage, one.source) for one in group.candidates] == [("d2", "judged")]
    assert isinstance(group, Group)


def test_a_missing_file_lists_what_was_looked_for(tmp_path: Path) -> None:
    folder = standard(tmp_path / "set")
    with pytest.raises(
        DataError, match=r"missing.*qrels/train\.tsv, qrels\.train\.tsv, each also with \.gz, \.zst, \.xz"
    ):
        beir.find(folder, "train")
    (folder / "corpus.jsonl.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"two files claim the same place: corpus\.jsonl, corpus\.jsonl\.gz"):
        beir.find(folder, "test")


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("corpus", '{"_id": 3, "text": "t"}\n', "1 _id: id must be text, not int"),
        ("corpus", '{"_id": "a", "title": "t"}\n', "1 text: field is missing"),
        ("corpus", '{"_id": "a", "txt": "t", "text": "t"}\n', "1 'txt': unknown field.*did you mean 'text'"),
        ("queries", '{"_id": "a", "text": "t"}\n{"_id": "a", "text": "u"}\n', "2 _id: id 'a' is already on line 1"),
        ("queries", '{"_id": "a", "text": null}\n', "1 text: is null"),
        ("qrels", "query-id\tcorpus-id\tscore\nq\td\thigh\n", "2 grade: must be a whole number, not 'high'"),
        ("qrels", "qid\tdocid\trel\nq\td\t1\n", "1 grade: must be a whole number, not 'rel'"),
        ("qrels", "q 0 d 1\n", "1: has 1 tab-separated columns instead of 3.*query-id, corpus-id, score"),
        ("qrels", "q\td\t1\nq\td\t2\n", "2: question 'q' and passage 'd' were paired"),
        ("qrels", "q\td\t1\nquery-id\tcorpus-id\tscore\n", "2 grade: must be a whole number"),
    ],
)
def test_faults(tmp_path: Path, name: str, text: str, words: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    read = {"corpus": beir.read_passages, "queries": beir.read_questions, "qrels": beir.read_judgements}[name]
    with pytest.raises(DataError, match=f"{path}:{words}"):
        list(read(path))


def test_lines_without_anything_in_them_say_nothing(tmp_path: Path) -> None:
    path = tmp_path / "qrels"
    path.write_text("query-id\tcorpus-id\tscore\nq\td\t1\n\nq\te\t0\n\n")
    assert [one.passage for one in beir.read_judgements(path)] == ["d", "e"]
    path.write_text("query-id\tcorpus-id\tscore\nq\td\t1\n \n")
    with pytest.raises(DataError, match=r":3: has 1 tab-separated columns instead of 3"):
        list(beir.read_judgements(path))


def test_unknown_fields_can_be_dropped(tmp_path: Path) -> None:
    path = tmp_path / "corpus"
    path.write_text('{"_id": "a", "text": "t", "url": 5}\n')
    assert list(beir.read_passages(path, ignore=["url"])) == [Passage("a", "t")]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("beir") / "file"


@settings(max_examples=60, deadline=None)
@given(
    passages=unique(st.builds(Passage, IDS, TEXTS, TEXTS)),
    questions=unique(st.builds(Question, IDS, TEXTS)),
    judgements=st.lists(
        st.builds(Judgement, IDS, IDS, st.integers(-2, 4)),
        min_size=1,
        unique_by=lambda one: (one.question, one.passage),
    ),
)
def test_everything_comes_back(
    passages: list[Passage], questions: list[Question], judgements: list[Judgement], file: Path
) -> None:
    assert written(file, beir.write_passages, passages) == len(passages)
    assert list(beir.read_passages(file)) == passages
    assert written(file, beir.write_questions, questions) == len(questions)
    assert list(beir.read_questions(file)) == questions
    assert written(file, beir.write_judgements, judgements) == len(judgements)
    assert list(beir.read_judgements(file)) == judgements


def test_answers_have_no_place(file: Path) -> None:
    with pytest.raises(DataError, match="question q: has answers"):
        written(file, beir.write_questions, [Question("q", "t", ("a",))])
