"""DPR's passages and questions; Python's csv module, with which DPR reads and wrote them, is the reference."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpr.errors import DataError
from mpr.formats import dpr_tsv
from mpr.records import Passage, Question
from tests.unit.formats.format_cases import ANSWERS, AWKWARD, IDS, TEXTS, unique, written


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dpr") / "nq-test.qa.csv"


PASSAGES = unique(st.builds(Passage, IDS, TEXTS, TEXTS))


def by_csv(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_bytes().decode(), newline=""), delimiter="\t", strict=True))


def test_the_form_of_the_published_file(file: Path) -> None:
    file.write_text(
        'id\ttext\ttitle\n1\t"Aaron ( or ; ""Ahärôn"") is."\tAaron\n007\tplain "words" here\t"""Quote"" it"\n'
    )
    assert list(dpr_tsv.read_passages(file)) == [
        Passage("1", 'Aaron ( or ; "Ahärôn") is.', "Aaron"),
        Passage("007", 'plain "words" here', '"Quote" it'),
    ]


@settings(max_examples=60, deadline=None)
@given(passages=PASSAGES, header=st.booleans())
def test_quoted_passages_come_back_and_csv_reads_the_same(passages: list[Passage], header: bool, file: Path) -> None:
    if any(character in passage.text + passage.title for passage in passages for character in "\n\r"):
        with pytest.raises(DataError, match=r"passage .*: has a (line feed|carriage return) at position"):
            written(file, dpr_tsv.write_passages, passages, header=header)
        return
    assert written(file, dpr_tsv.write_passages, passages, header=header) == len(passages)
    assert list(dpr_tsv.read_passages(file, header=header)) == passages
    assert by_csv(file)[header:] == [[one.id, one.text, one.title] for one in passages]


@settings(max_examples=60, deadline=None)
@given(
    passages=unique(st.builds(Passage, IDS, *[st.text(AWKWARD.replace("\n", "").replace("\r", ""), max_size=12)] * 2)),
    style=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_csv_writes_is_read(passages: list[Passage], style: int, file: Path) -> None:
    target = io.StringIO(newline="")
    csv.writer(target, delimiter="\t", quoting=style, lineterminator="\n").writerows(
        [one.id, one.text, one.title] for one in passages
    )
    file.write_bytes(target.getvalue().encode())
    assert list(dpr_tsv.read_passages(file, header=False)) == passages


@settings(max_examples=60, deadline=None)
@given(passages=PASSAGES, header=st.booleans())
def test_unquoted_passages_come_back(passages: list[Passage], header: bool, file: Path) -> None:
    if any(character in passage.text + passage.title for passage in passages for character in "\t\n\r"):
        with pytest.raises(DataError, match="which this format cannot hold"):
            written(file, dpr_tsv.write_passages, passages, header=header, quoted=False)
        return
    written(file, dpr_tsv.write_passages, passages, header=header, quoted=False)
    assert list(dpr_tsv.read_passages(file, header=header, quoted=False)) == passages


@pytest.mark.parametrize(
    "row, words",
    [
        ('2\t"an open mark\tT', "a quotation mark is not closed on its line, at byte"),
        ('2\t"closed" and more\tT', "text follows a closing quotation mark.*in column text"),
        ('2\t"odd """\t"T', "a quotation mark is not closed"),
        ("2\ttext", "has 2 tab-separated columns instead of 3.*expected: id, text, title"),
        ('2\t"a"\t"b"\t"c"', "has 4 tab-separated columns"),
        ("a b\ttext\tT", "id: id contains white space"),
        ("", "has 1 tab-separated columns"),
    ],
)
def test_a_faulty_row_is_refused_on_its_own_line(file: Path, row: str, words: str) -> None:
    """The csv reader and the datasets library would swallow the rows behind an open quotation mark."""
    file.write_text(f'id\ttext\ttitle\n1\t"good"\tT\n{row}\n3\t"good again"\tT\n')
    with pytest.raises(DataError, match=f":3.*{words}"):
        list(dpr_tsv.read_passages(file))


def test_an_open_mark_is_only_text_without_quoting(file: Path) -> None:
    file.write_text('1\t"an open mark\tT\n2\t""x""\t"\n')
    found = list(dpr_tsv.read_passages(file, header=False, quoted=False))
    assert found == [Passage("1", '"an open mark', "T"), Passage("2", '""x""', '"')]


def test_the_header_must_be_there_or_be_renounced(file: Path) -> None:
    file.write_text("1\ttext\tT\n")
    with pytest.raises(DataError, match=r":1: the header must be id, text, title.*header=False"):
        list(dpr_tsv.read_passages(file))


def test_questions_as_published(file: Path) -> None:
    file.write_text('who won?\t[\'Wilhelm Röntgen\', "O\'Neill"]\n"the ""big"" one"\t"[""Don\'t""]"\nnone\t[]\n')
    assert list(dpr_tsv.read_questions(file)) == [
        Question("nq-test-0", "who won?", ("Wilhelm Röntgen", "O'Neill")),
        Question("nq-test-1", 'the "big" one', ("Don't",)),
        Question("nq-test-2", "none", ()),
    ]


@pytest.mark.parametrize("literal", [r"['Sept?(ember)?\s']", r"['Sept?(ember)?\\s']"])
def test_patterns(file: Path, literal: str) -> None:
    file.write_text(f"when?\t{literal}\n")
    (question,) = dpr_tsv.read_questions(file, regex=True, prefix="trec-")
    assert question == Question("trec-0", "when?", (r"Sept?(ember)?\s",), True)


@pytest.mark.parametrize(
    "answers, words",
    [
        ("['open", "1 answers: is not a list of texts: SyntaxError"),
        ("open('/tmp/x', 'w')", "1 answers: is not a list of texts: ValueError"),
        ("__import__('os').getcwd()", "1 answers: is not a list of texts: ValueError"),
        ("['a' * 10]", "1 answers: is not a list of texts: ValueError"),
        ("[" * 3000, "1 answers: is not a list of texts"),
        ("'text'", "1 answers: must be a list, not text"),
        ("[1]", "1 answers: entry 0 must be text, not int"),
        (r"['\ud800']", "1 answers: entry 0 has an undecodable character"),
        ("['a']\tmore", "1: has 3 tab-separated columns instead of 2"),
    ],
)
def test_answers_are_a_literal_and_nothing_else(file: Path, answers: str, words: str) -> None:
    file.write_text(f"q\t{answers}\n")
    with pytest.raises(DataError, match=f":{words}"):
        list(dpr_tsv.read_questions(file))


def test_a_file_name_that_makes_no_id_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "my file.qa.csv"
    path.write_text("q\t['a']\n")
    with pytest.raises(DataError, match="id made from the file name"):
        list(dpr_tsv.read_questions(path))
    assert next(dpr_tsv.read_questions(path, prefix="x")).id == "x0"


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(TEXTS, ANSWERS), min_size=1, max_size=5))
def test_questions_come_back_and_csv_reads_the_same(rows: list[tuple[str, tuple[str, ...]]], file: Path) -> None:
    questions = [Question(f"nq-test-{index}", text, answers) for index, (text, answers) in enumerate(rows)]
    if any("\n" in text or "\r" in text or text.startswith("\ufeff") for text, _ in rows):
        with pytest.raises(DataError, match="which this format cannot hold"):
            written(file, dpr_tsv.write_questions, questions)
        return
    assert written(file, dpr_tsv.write_questions, questions) == len(questions)
    assert list(dpr_tsv.read_questions(file)) == questions
    assert [row[0] for row in by_csv(file)] == [question.text for question in questions]
