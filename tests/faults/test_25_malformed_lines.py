"""Fault 25: one bad line among two million is refused with its true number, byte offset and a safe excerpt.

The big file is made once. Its good lines are counted one by one, and from a little before the bad one on every line is
parsed and checked as a reader would; a whole reader, which checks every line, is tried on the first eighth of it. The
other formats are broken at known lines of smaller files.
"""

import gzip
import json
import lzma
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from mpr.errors import DataError
from mpr.formats import beir, dpr_json, dpr_tsv, msmarco, questions_jsonl, tevatron, trec
from mpr.storage.json_fields import Fields, Id, Text, json_object
from mpr.storage.lines import read_lines

LINES, BAD = 2_000_000, 1_234_567


class Asked(Fields):
    id: Id
    question: Text


def good(number: int) -> bytes:
    return b'{"id": "q%d", "question": "?"}\n' % number


@pytest.fixture(scope="session")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """All lines in front of the bad one, and all behind it."""
    folder = tmp_path_factory.mktemp("two-million")
    before, behind = folder / "before", folder / "behind"
    before.write_bytes(b"".join([good(number) for number in range(1, BAD)]))
    behind.write_bytes(b"".join([good(number) for number in range(BAD + 1, LINES + 1)]))
    yield before, behind
    shutil.rmtree(folder)


def broken(halves: tuple[Path, Path], line: bytes, rest: bool = True) -> Path:
    path = halves[0].with_name("questions.jsonl")
    with path.open("wb") as target:
        for piece in (halves[0], None, halves[1] if rest else None):
            if piece is not None:
                with piece.open("rb") as source:
                    shutil.copyfileobj(source, target, 1 << 24)
            elif target.tell() == halves[0].stat().st_size:
                target.write(line)
    return path


class Passed:
    """How many lines were good."""

    lines = 0

    def through(self, path: Path) -> None:
        for line in read_lines(path):
            if line.number > BAD - 100:
                Asked.of(json_object(line), line)
            self.lines = line.number


CASES = {
    "syntax": (b'{"id": "q1234567" "question": "?"}\n', 18, "not JSON: Expecting ',' delimiter"),
    "cut off last line": (b'{"id": "q1234567", "ques', 19, "not JSON: Unterminated string"),
    "wrong encoding": ('{"id": "q1234567", "question": "é"}\n'.encode("latin-1"), 32, "byte 0xe9 is not UTF-8"),
    "missing field": (b'{"id": "q1234567"}\n', 0, "question: field is missing"),
    "null field": (b'{"id": "q1234567", "question": null}\n', 0, "question: is null"),
    "extra field": (b'{"id": "q1234567", "question": "?", "anwser": 1}\n', 0, "'anwser': unknown field"),
    "number for an id": (b'{"id": 1234567, "question": "?"}\n', 0, "id: id must be text, not int"),
    "blank line": (b"\n", 0, "blank line"),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", CASES)
def test_one_bad_line_among_two_million(halves: tuple[Path, Path], kind: str) -> None:
    line, place, words = CASES[kind]
    path = broken(halves, line, rest=kind != "cut off last line")
    offset = halves[0].stat().st_size + place
    passed = Passed()
    with pytest.raises(DataError) as caught:
        passed.through(path)
    message = str(caught.value)
    assert passed.lines == BAD - 1
    assert f"{path}:{BAD}" in message
    assert f"at byte {offset}: " in message
    assert words in message
    assert message.replace("\n", "").isprintable()
    assert message.isprintable()
    assert len(message) < 400


def test_a_whole_reader_stops_at_the_line(halves: tuple[Path, Path]) -> None:
    """Every field of every line is checked here, so the bad line stands earlier."""
    size = sum(len(good(number)) for number in range(1, 234_567))
    path = halves[0].with_name("questions.jsonl")
    with halves[0].open("rb") as source:
        path.write_bytes(source.read(size) + good(41) + good(234_568))
    passed = []
    with pytest.raises(DataError) as caught:
        passed.extend(questions_jsonl.read_questions(path))
    assert len(passed) == 234_566
    assert f"{path}:234567 id: id 'q41' is already on line 41" in str(caught.value)
    assert f"at byte {size}: " in str(caught.value)


def test_the_unbroken_file_is_read_to_its_end(halves: tuple[Path, Path]) -> None:
    path = broken(halves, good(BAD))
    count = 0
    for count, line in enumerate(read_lines(path), 1):  # noqa: B007
        pass
    assert count == line.number == LINES
    assert line.text == good(LINES).decode().strip()
    assert line.offset + len(line.text) + 1 == path.stat().st_size


@pytest.mark.parametrize("ending", ["", ".gz", ".zst", ".xz"])
def test_an_empty_file_has_its_own_words(tmp_path: Path, ending: str) -> None:
    packers: dict[str, Callable[[bytes], bytes]] = {
        "": bytes,
        ".gz": gzip.compress,
        ".zst": zstandard.compress,
        ".xz": lzma.compress,
    }
    path = tmp_path / f"questions.jsonl{ending}"
    for content in {b"", packers[ending](b"")}:
        path.write_bytes(content)
        with pytest.raises(DataError, match="is empty: it has no line"):
            list(questions_jsonl.read_questions(path))


# Every other format, broken at a known line of a small file: reader, good lines, bad line, what is said.

SMALL = {
    "dpr_tsv passages": (
        dpr_tsv.read_passages,
        lambda n: f'{n}\t"text ""{n}"""\ttitle' if n else "id\ttext\ttitle",
        '9\t"text\ttitle',
        "a quotation mark is not closed",
    ),
    "dpr_tsv questions": (
        dpr_tsv.read_questions,
        lambda n: f"q {n}\t['a']",
        "q\t['a",
        "answers: is not a list of texts",
    ),
    "msmarco passages": (msmarco.read_passages, lambda n: f"{n}\ttext", "9\ttext\tmore", "has 3 tab-separated columns"),
    "msmarco questions": (msmarco.read_questions, lambda n: f"{n}\ttext", "7\ttext", "already on line 8"),
    "trec judgements": (trec.read_judgements, lambda n: f"{n} 0 d 1", "x 0 d high", "grade: must be a whole number"),
    "trec runs": (trec.read_hits, lambda n: f"{n} Q0 d 1 0.5 t", "x Q0 d 1 nan t", "score: must be a finite number"),
    "beir passages": (
        beir.read_passages,
        lambda n: json.dumps({"_id": str(n), "text": "t"}),
        '{"_id": 5, "text": "t"}',
        "_id: id must be text",
    ),
    "beir judgements": (beir.read_judgements, lambda n: f"{n}\td\t1", "x\td\t1.0", "grade: must be a whole number"),
    "tevatron passages": (
        tevatron.read_passages,
        lambda n: json.dumps({"docid": str(n), "text": "t"}),
        '{"docid": "x", "title": "t"}',
        "neither text nor document_text",
    ),
    "questions_jsonl rows": (
        questions_jsonl.read_rows,
        lambda n: json.dumps({"id": str(n), "pos": [1], "neg": ["2"]}),
        '{"id": "x", "pos": [1], "neg": "2"}',
        "neg: must be a list",
    ),
}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("bad", [2, 777, 1500])
def test_every_format_names_the_line(tmp_path: Path, name: str, bad: int) -> None:
    read, make, line, words = SMALL[name]
    lines = [make(number) for number in range(1500)]
    if "already" in words:
        bad = max(bad, 10)
    lines[bad - 1] = line
    offset = len("".join(f"{one}\n" for one in lines[: bad - 1]))
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress("".join(f"{one}\n" for one in lines).encode()))
    with pytest.raises(DataError) as caught:
        list(read(path))
    message = str(caught.value)
    assert f"{path}:{bad}" in message
    assert words in message
    said = int(message.split("at byte ")[1].split(":")[0])
    assert offset <= said <= offset + len(line)


def test_a_list_of_dpr_entries_broken_at_every_tenth_line(tmp_path: Path) -> None:
    context = {"title": "T", "text": "some text"}
    entry = {
        "question": "?",
        "answers": ["a"],
        "positive_ctxs": [context],
        "negative_ctxs": [],
        "hard_negative_ctxs": [],
    }
    lines, path, tried = json.dumps([entry] * 40, indent=4).split("\n"), tmp_path / "train.json", 0
    for number in range(1, len(lines) + 1, 10):
        damaged = [*lines[: number - 1], lines[number - 1] + "oops", *lines[number:]]
        path.write_text("\n".join(damaged))
        with pytest.raises(DataError) as caught:
            list(dpr_json.read_groups(path))
        said = int(str(caught.value).split(f"{path}:")[1].split(":")[0].split(" ")[0])
        assert said == number, lines[number - 1]
        tried += 1
    print(f"{tried} lines broken")
    assert tried == len(range(1, len(lines) + 1, 10)) > 50
