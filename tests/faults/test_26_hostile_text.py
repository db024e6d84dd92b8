"""Fault 26: hostile texts pass unchanged through every format or are refused by its writer; hostile ids are refused.

The table of texts is written and read with every format that has a writer. Whether a format can hold a text follows
from its definition and is stated here, not taken from the code.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mpr.errors import DataError
from mpr.formats import beir, dpr_json, dpr_tsv, msmarco, questions_jsonl, squad, tevatron, trec
from mpr.records import Candidate, Group, Hit, Judgement, Passage, Positive, Question
from mpr.storage.lines import read_lines

TEXTS = {
    "plain": "plain",
    "empty": "",
    "blank": " \u00a0\u2003 ",
    "NUL": "a\0b",
    "byte-order mark in front": "\ufeffa",
    "byte-order mark inside": "a\ufeffb",
    "composed": "caf\u00e9",
    "decomposed": "cafe\u0301",
    "right-to-left": "\u202eabc\u202c \u05d0\u05d1",
    "emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "line separators": "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg",
    "quotes": '"a" \'b\' ""c"',
    "only a quote": '"',
    "backslashes": "\\n \\u0041 \\",
    "markup": "<script>alert(1)</script> {{x}} %s $HOME",
    "escape sequence": "\x1b[31mred\x7f",
    "highest character": "\U0010ffff\ufffe\uffff",
    "tab": "a\tb",
    "line feed": "a\nb",
    "carriage return": "a\rb",
    "both": "a\r\nb",
    "ends in a carriage return": "a\r",
    "lone surrogate": "a\ud800b",
    "a million characters": "é" * 1_000_000,
}
JSON_TEXTS = frozenset(TEXTS) - {"lone surrogate"}
LINE_TEXTS = JSON_TEXTS - {"line feed", "carriage return", "both", "ends in a carriage return"}


def group(text: str) -> Group:
    passages = (Passage("p", text or "x", text), Passage("n", "x", text))
    return Group(Question("q", text, (text,)), (Positive("p"),), (Candidate("n", "bm25", 1),), passages)


# Format: what it holds, and write-then-read of one text in every place that takes a text.
Trip = Callable[[Path, str], tuple[Any, Any]]
FORMATS: dict[str, tuple[frozenset[str], Trip]] = {}


def format_holding(texts: frozenset[str]) -> Callable[[Trip], Trip]:
    def remember(trip: Trip) -> Trip:
        FORMATS[trip.__name__] = (texts, trip)
        return trip

    return remember


def trip(
    path: Path, write: Callable[..., int], things: list[Any], read: Callable[..., Iterator[Any]]
) -> tuple[Any, Any]:
    with path.open("wb") as file:
        assert write(file, things) == len(things)
    return things, list(read(path))


@format_holding(JSON_TEXTS)
def beir_passages(path: Path, text: str) -> tuple[Any, Any]:
    return trip(path, beir.write_passages, [Passage("a", text, text)], beir.read_passages)


@format_holding(JSON_TEXTS)
def beir_questions(path: Path, text: str) -> tuple[Any, Any]:
    return trip(path, beir.write_questions, [Question("a", text)], beir.read_questions)


@format_holding(JSON_TEXTS)
def plain_questions(path: Path, text: str) -> tuple[Any, Any]:
    asked = [Question("a", text, (text, text))]
    return trip(path, questions_jsonl.write_questions, asked, questions_jsonl.read_questions)


@format_holding(JSON_TEXTS)
def plain_groups(path: Path, text: str) -> tuple[Any, Any]:
    bare = Group(group(text).question, group(text).positives, group(text).candidates)
    return trip(path, questions_jsonl.write_groups, [bare], questions_jsonl.read_groups)


@format_holding(JSON_TEXTS)
def dpr_groups(path: Path, text: str) -> tuple[Any, Any]:
    return trip(path, dpr_json.write_groups, [group(text)], dpr_json.read_groups)


@format_holding(JSON_TEXTS)
def tevatron_groups(path: Path, text: str) -> tuple[Any, Any]:
    def read(path: Path) -> Iterator[Group]:
        return tevatron.read_groups(path, first_tier="gold")

    return trip(path, tevatron.write_groups, [group(text)], read)


@format_holding(JSON_TEXTS)
def tevatron_passages(path: Path, text: str) -> tuple[Any, Any]:
    return trip(path, tevatron.write_passages, [Passage("a", text or "x", text)], tevatron.read_passages)


@format_holding(JSON_TEXTS)
def squad_passages(path: Path, text: str) -> tuple[Any, Any]:
    passages = [Passage("0", text, text), Passage("1", text, "other")]
    asked = [Group(Question("q", text, (text,)), (Positive("0"),))]
    named = path.with_suffix(".json")
    with named.open("wb") as file:
        squad.write(file, passages, asked)
    found = [*squad.read_passages(named, prefix=""), *squad.read_groups(named, prefix="")]
    return [*passages, *asked], found


@format_holding(LINE_TEXTS)
def dpr_passages(path: Path, text: str) -> tuple[Any, Any]:
    return trip(path, dpr_tsv.write_passages, [Passage("a", text, text)], dpr_tsv.read_passages)


@format_holding(LINE_TEXTS - {"byte-order mark in front"})
def dpr_questions(path: Path, text: str) -> tuple[Any, Any]:
    asked = [Question("file-0", text, (text, "\n\r\t"))]
    return trip(path.with_name("file.qa.csv"), dpr_tsv.write_questions, asked, dpr_tsv.read_questions)


@format_holding(LINE_TEXTS - {"tab"})
def dpr_passages_unquoted(path: Path, text: str) -> tuple[Any, Any]:
    with path.open("wb") as file:
        dpr_tsv.write_passages(file, [Passage("a", text, text)], quoted=False)
    return [Passage("a", text, text)], list(dpr_tsv.read_passages(path, quoted=False))


@format_holding(LINE_TEXTS - {"tab"})
def msmarco_passages(path: Path, text: str) -> tuple[Any, Any]:
    return trip(path, msmarco.write_passages, [Passage("a", text)], msmarco.read_passages)


@format_holding(LINE_TEXTS - {"tab"})
def msmarco_questions(path: Path, text: str) -> tuple[Any, Any]:
    return trip(path, msmarco.write_questions, [Question("a", text)], msmarco.read_questions)


def test_every_text_through_every_format(tmp_path: Path) -> None:
    outcomes: Counter[str] = Counter()
    for name, (holds, there_and_back) in FORMATS.items():
        for kind, text in TEXTS.items():
            path = tmp_path / "file.jsonl"
            if kind in holds:
                put, found = there_and_back(path, text)
                assert found == put, (name, kind)
                outcomes["held"] += 1
                continue
            with pytest.raises(DataError) as caught:
                there_and_back(path, text)
            assert str(caught.value).isprintable(), (name, kind)
            outcomes["refused"] += 1
    print(f"{len(FORMATS)} formats x {len(TEXTS)} texts: {dict(outcomes)}")
    assert len(FORMATS) == 13
    assert outcomes.total() == 13 * len(TEXTS)
    assert outcomes["refused"] == 8 * 1 + 5 * 5 + 1 + 3


def test_a_passage_of_a_hundred_megabytes(tmp_path: Path) -> None:
    path, text = tmp_path / "corpus.jsonl", "x" * 100_000_000
    with path.open("wb") as file:
        beir.write_passages(file, [Passage("a", text), Passage("b", "small")])
    first, second = beir.read_passages(path)
    assert len(first.text) == 100_000_000
    assert second == Passage("b", "small")


def test_undecodable_texts_are_refused_on_reading(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text(json.dumps({"_id": "a", "text": "\ud800"}) + "\n")
    with pytest.raises(DataError, match=r":1 text: has an undecodable character \(lone surrogate\) at position 0"):
        list(beir.read_passages(path))
    path.write_bytes(b'{"_id": "a", "text": "\xed\xa0\x80"}\n')
    with pytest.raises(DataError, match=r":1: byte 0xed is not UTF-8, at byte 22"):
        list(beir.read_passages(path))


IDS = {
    "empty": ("", "id is empty"),
    "space": ("a b", "white space"),
    "tab": ("a\tb", "white space"),
    "line feed": ("a\n", "white space"),
    "no-break space": ("a\u00a0b", "white space"),
    "NUL": ("a\0", "control character"),
    "byte-order mark": ("\ufeffa", "control character"),
    "right-to-left mark": ("a\u200fb", "control character"),
    "lone surrogate": ("\ud800", "control character"),
    "300 characters": ("a" * 300, "longer than 200 bytes"),
    "101 two-byte characters": ("é" * 101, "longer than 200 bytes"),
    "number": (17, "id must be text, not int"),
    "null": (None, "null"),
    "list": (["a"], "id must be text, not list"),
}
JSON_READERS: dict[str, tuple[Callable[[Path], Iterator[Any]], Callable[[Any], Any]]] = {
    "beir passages": (beir.read_passages, lambda one: {"_id": one, "text": "t"}),
    "beir questions": (beir.read_questions, lambda one: {"_id": one, "text": "t"}),
    "plain questions": (questions_jsonl.read_questions, lambda one: {"id": one, "question": "t"}),
    "plain candidates": (questions_jsonl.read_rows, lambda one: {"id": one, "pos": [], "neg": []}),
}
ACCEPTED = [
    "../../etc/passwd",
    "/etc/passwd",
    "C:\\x",
    "~",
    "$HOME",
    "-rf",
    "CON",
    "caf\u00e9",
    "cafe\u0301",
    "A",
    "a",
    "é" * 100,
]


def test_hostile_ids_are_refused_with_the_rule(tmp_path: Path) -> None:
    path, tried = tmp_path / "file.jsonl", 0
    for value, words in IDS.values():
        for read, row in JSON_READERS.values():
            path.write_text(json.dumps(row(value)) + "\n")
            with pytest.raises(DataError, match=words) as caught:
                list(read(path))
            assert str(caught.value).startswith(f"{path}:1 ")
            assert str(caught.value).replace("\n", "").isprintable()
            tried += 1
    print(f"{tried} ids refused by readers")
    assert tried == len(IDS) * len(JSON_READERS) == 56


def test_hostile_ids_are_refused_by_every_writer(tmp_path: Path) -> None:
    tried = 0
    for value, words in list(IDS.values())[:-3]:
        writers: list[tuple[Callable[..., int], Any]] = [
            (beir.write_passages, Passage(value, "t")),
            (beir.write_questions, Question(value, "t")),
            (beir.write_judgements, Judgement(value, "p", 1)),
            (trec.write_judgements, Judgement("q", value, 1)),
            (trec.write_hits, Hit(value, "p", 1, 1.0)),
            (trec.write_hits, Hit("q", "p", 1, 1.0, value)),
            (msmarco.write_passages, Passage(value, "t")),
            (msmarco.write_questions, Question(value, "t")),
            (msmarco.write_judgements, Judgement("q", value, 1)),
            (msmarco.write_hits, Hit("q", value, 1, 1.0)),
            (dpr_tsv.write_passages, Passage(value, "t")),
            (questions_jsonl.write_questions, Question(value, "t")),
            (questions_jsonl.write_groups, Group(Question("q", "t"), (Positive(value, "answer_match"),))),
            (dpr_json.write_groups, Group(Question(value, "t"))),
            (tevatron.write_passages, Passage(value, "t")),
            (tevatron.write_groups, Group(Question(value, "t"))),
        ]
        for write, thing in writers:
            with (tmp_path / "file").open("wb") as file, pytest.raises(DataError, match=words):
                write(file, [thing])
            tried += 1
    print(f"{tried} ids refused by writers")
    assert tried == 11 * 16


def test_twins_stay_apart(tmp_path: Path) -> None:
    """Composed and decomposed, upper and lower case, full and half width: different ids, different texts."""
    twins = [
        "caf\u00e9",
        "cafe\u0301",
        "CAFE\u0301",
        "A",
        "a",
        "\uff21",
        "\u212b",
        "\u00c5",
        "ﬁ",
        "fi",
        "1",
        "01",
        "\u0661",
    ]
    questions = [Question(one, one, (one,)) for one in twins]
    hits = [Hit("q", one, rank, 1.0) for rank, one in enumerate(twins, 1)]
    path = tmp_path / "file"
    assert trip(path, questions_jsonl.write_questions, questions, questions_jsonl.read_questions)[1] == questions
    assert trip(path, trec.write_hits, hits, trec.read_hits)[1] == hits
    assert len({one.id for one in questions_jsonl.read_questions(_written(path, questions))}) == len(twins) == 13


def _written(path: Path, questions: list[Question]) -> Path:
    with path.open("wb") as file:
        questions_jsonl.write_questions(file, questions)
    return path


_watching: list[str] | None = None
_hooked = False


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching is not None and event in ("open", "os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink"):
        _watching.append(str(arguments[0]))


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """Every path that the interpreter opens, creates or renames while the test runs."""
    global _watching, _hooked
    if not _hooked:
        sys.addaudithook(_watch)
        _hooked = True
    _watching = []
    yield _watching
    _watching = None


def test_nothing_derived_from_an_id_becomes_a_path(tmp_path: Path, opened: list[str]) -> None:
    path, tried = tmp_path / "file", 0
    for value in ACCEPTED:
        question, passage = Question(value, "t"), Passage(value, "t")
        for write, thing, read in (
            (beir.write_passages, passage, beir.read_passages),
            (beir.write_questions, question, beir.read_questions),
            (msmarco.write_passages, passage, msmarco.read_passages),
            (dpr_tsv.write_passages, passage, dpr_tsv.read_passages),
            (questions_jsonl.write_questions, question, questions_jsonl.read_questions),
            (trec.write_hits, Hit(value, value, 1, 0.5, value), trec.read_hits),
            (trec.write_judgements, Judgement(value, value, 1), trec.read_judgements),
        ):
            put, found = trip(path, write, [thing], read)
            assert found == put
            tried += 1
    print(f"{tried} round trips opened only {set(opened)}")
    assert tried == 7 * len(ACCEPTED)
    assert set(opened) == {str(path)}
    assert list(tmp_path.iterdir()) == [path]


def test_a_mark_of_another_encoding_does_not_pass_as_text(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for encoding in ("utf-16", "utf-16-be", "utf-32"):
        path.write_bytes('{"id": "é"}\n'.encode(encoding))
        with pytest.raises(DataError):
            list(questions_jsonl.read_questions(path))
    path.write_bytes(b"\xef\xbb\xbf" + b'{"id": "a", "question": "?"}\n')
    assert [one.id for one in questions_jsonl.read_questions(path)] == ["a"]
    assert next(read_lines(path)).offset == 3
