"""MS MARCO's tab-separated files."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpr.errors import DataError
from mpr.formats import msmarco
from mpr.records import Candidate, Group, Hit, Judgement, Passage, Positive, Question
from tests.unit.formats.format_cases import IDS, TEXTS, unique, written


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("msmarco") / "file.tsv"


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    path = tmp_path / "queries.tsv"
    path.write_text("1\tone?\n2\ttwo?\n3\tthree?\n")
    return path


def test_plain_files(file: Path, queries: Path) -> None:
    file.write_text('0\tA "quoted text.\n1\tb\u2028c\n')
    assert list(msmarco.read_passages(file)) == [Passage("0", 'A "quoted text.'), Passage("1", "b\u2028c")]
    assert list(msmarco.read_questions(queries))[1] == Question("2", "two?")
    file.write_text("1\t0\t7\t1\n3\t0\t9\t1\n3\t0\t8\t1\n")
    assert list(msmarco.read_judgements(file))[2] == Judgement("3", "8", 1)
    groups = list(msmarco.read_groups(queries, file))
    assert [(group.question.text, len(group.positives)) for group in groups] == [("one?", 1), ("three?", 2)]


def test_a_judgement_that_is_there_again_counts_once_where_that_is_allowed(file: Path) -> None:
    file.write_text("1\t0\t7\t1\n3\t0\t9\t1\n1\t0\t7\t1\n")
    with pytest.raises(DataError, match=r":3: question '1' and passage '7' were paired"):
        list(msmarco.read_judgements(file))
    assert list(msmarco.read_judgements(file, repeated=True)) == [Judgement("1", "7", 1), Judgement("3", "9", 1)]
    file.write_text("1\t0\t7\t1\n1\t0\t7\t0\n")  # it says something else
    with pytest.raises(DataError, match=r":2: question '1' and passage '7' were paired"):
        list(msmarco.read_judgements(file, repeated=True))


def test_triples_become_groups(file: Path, queries: Path) -> None:
    """The published files end their lines with a carriage return and a line feed."""
    file.write_bytes(b"2\tp1\tn1\r\n2\tp1\tn2\r\n2\tp2\tn1\r\n1\tp1\tn9\r\n")
    assert list(msmarco.read_triples(file, queries)) == [
        Group(
            Question("2", "two?"),
            (Positive("p1"), Positive("p2")),
            (Candidate("n1", "bm25", 1), Candidate("n2", "bm25", 2)),
        ),
        Group(Question("1", "one?"), (Positive("p1"),), (Candidate("n9", "bm25", 1),)),
    ]


def test_scattered_triples_are_refused_with_the_command_that_helps(file: Path, queries: Path) -> None:
    file.write_text("2\tp1\tn1\n1\tp1\tn1\n2\tp1\tn2\n")
    with pytest.raises(DataError, match=r":3 question id: id '2' is already on line 1.*sort -s"):
        list(msmarco.read_triples(file, queries))
    file.write_text("2\tp1\tn1\n4\tp1\tn1\n")
    with pytest.raises(DataError, match=r":2 question id: question is not in .*queries\.tsv"):
        list(msmarco.read_triples(file, queries))


def test_top1000_become_groups_with_texts(file: Path) -> None:
    file.write_text("1\tp5\tone?\tfive\n1\tp3\tone?\tthree\n2\tp5\ttwo?\tfive\n")
    first, second = msmarco.read_top1000(file)
    assert first.question == Question("1", "one?")
    assert first.candidates == (Candidate("p5", "bm25", 1), Candidate("p3", "bm25", 2))
    assert first.passages == (Passage("p5", "five"), Passage("p3", "three"))
    assert second.question.id == "2"
    for text, words in (
        ("1\tp5\tone?\tfive\n1\tp3\tother?\tthree\n", ":2 question: question differs from that on line 1"),
        ("1\tp5\tone?\tfive\n1\tp5\tone?\tfive\n", ":2 passage id: passage was listed before"),
        ("1\tp5\tone?\tfive\n2\tp\tx\ty\n1\tp7\tone?\tseven\n", ":3 question id: id '1' is already on line 1"),
    ):
        file.write_text(text)
        with pytest.raises(DataError, match=words):
            list(msmarco.read_top1000(file))


@settings(max_examples=60, deadline=None)
@given(passages=unique(st.builds(Passage, IDS, TEXTS)))
def test_texts_come_back_or_are_refused(passages: list[Passage], file: Path) -> None:
    questions = [Question(passage.id, passage.text) for passage in passages]
    if any(character in passage.text for passage in passages for character in "\t\n\r"):
        with pytest.raises(DataError, match="which this format cannot hold"):
            written(file, msmarco.write_passages, passages)
        with pytest.raises(DataError, match="which this format cannot hold"):
            written(file, msmarco.write_questions, questions)
        return
    assert written(file, msmarco.write_passages, passages) == len(passages)
    assert list(msmarco.read_passages(file)) == passages
    assert written(file, msmarco.write_questions, questions) == len(questions)
    assert list(msmarco.read_questions(file)) == questions


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_triples_and_judgements_come_back(data: st.DataObject, file: Path) -> None:
    groups = []
    for question in data.draw(unique(st.builds(Question, IDS, st.just("text?")))):
        positives = data.draw(st.lists(IDS, min_size=1, max_size=3, unique=True))
        negatives = data.draw(st.lists(IDS, min_size=1, max_size=3, unique=True))
        candidates = tuple(Candidate(passage, "bm25", rank) for rank, passage in enumerate(negatives, 1))
        groups.append(Group(question, tuple(Positive(passage) for passage in positives), candidates))
    queries = file.with_name("queries.tsv")
    written(queries, msmarco.write_questions, [group.question for group in groups])
    count = written(file, msmarco.write_triples, groups)
    assert count == sum(len(group.positives) * len(group.candidates) for group in groups)
    assert list(msmarco.read_triples(file, queries)) == groups
    judgements = [Judgement(group.question.id, one.passage, 1) for group in groups for one in group.positives]
    written(file, msmarco.write_judgements, judgements)
    assert list(msmarco.read_judgements(file)) == judgements


def test_what_has_no_place_is_refused(file: Path) -> None:
    with pytest.raises(DataError, match="passage a: has a title"):
        written(file, msmarco.write_passages, [Passage("a", "text", "title")])
    with pytest.raises(DataError, match="question a: has answers"):
        written(file, msmarco.write_questions, [Question("a", "text", ("x",))])
    with pytest.raises(DataError, match="has 0 positives and 0 candidates"):
        written(file, msmarco.write_triples, [Group(Question("a", "text"))])
    assert written(file, msmarco.write_hits, [Hit("q", "p", 3, 0.5)]) == 1
    assert file.read_bytes() == b"q\tp\t3\n"
