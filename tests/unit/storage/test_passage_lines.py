"""Reading by the column gives the passages, the bytes and the refusals of reading line by line, whatever the lines."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mpr import storage
from mpr.data import passages
from mpr.errors import DataError
from mpr.formats import beir, dpr_tsv, msmarco, tevatron
from mpr.records import Passage, text_hash
from mpr.storage import passage_columns, passage_lines
from tests.conftest import Examined

_WORDS = [
    "plain", "words here", 'a ""pair""', '"', '""', "", " ", "  ", "tab\there", "caf\u00e9", "\u00a0", "\u2003x",
    "x\u3000y", "a\u1680b", "a\u205fb", "\u4e2d\u6587", "\U0001f600", "\r", "\x00", "\x1f", "\ufeff", "\\", "\\n",
    "\\u00e9", "\\ud800", "\\q", "{", "}", ",", "\u2013", "\u201cquoted\u201d",
]  # fmt: skip
_RAW = [b"\xff", b"\xc3", b"\r\n", b"\n\n", b"\xef\xbb\xbf"]


def _text(rng: random.Random, odd: float) -> str:
    """Mostly ordinary words, some of them not."""
    return " ".join(rng.choice(_WORDS if rng.random() < odd else ["some", "words", "of", "it"]) for _ in range(5))


def _tsv(rng: random.Random, number: int, odd: float) -> str:
    text, title = _text(rng, odd), _text(rng, odd)
    quoted = rng.random() < 0.5
    text = '"' + text.replace('"', '""') + '"' if quoted else text
    return f"{number}\t{text}\t{title}"


def _collection(rng: random.Random, number: int, odd: float) -> str:
    return f"{number}\t{_text(rng, odd)}"


def _json(name: str) -> Callable[[random.Random, int, float], str]:
    def line(rng: random.Random, number: int, odd: float) -> str:
        title, text = _text(rng, odd / 2), _text(rng, odd)
        more = rng.choice(["", ', "metadata": {}', ', "other": 1'][: 2 + (rng.random() < odd)])
        return f'{{"{name}": "{number}", "title": "{title}", "text": "{text}"{more if name == "_id" else ""}}}'

    return line


FORMATS: dict[str, tuple[Callable[[Path], Iterator[Passage]], Callable[[random.Random, int, float], str]]] = {
    "dpr": (lambda path: dpr_tsv.read_passages(path, header=False), _tsv),
    "plain": (lambda path: dpr_tsv.read_passages(path, header=False, quoted=False), _tsv),
    "msmarco": (msmarco.read_passages, _collection),
    "beir": (beir.read_passages, _json("_id")),
    "tevatron": (tevatron.read_passages, _json("docid")),
}


def _outcome(target: Path, read: Iterator[Passage]) -> str:
    """The digest of the store, or what was said instead."""
    try:
        found = passages.build(target, read, {}).manifest.digest
    except DataError as error:
        return str(error)
    storage.remove(target)
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_both_ways_end_alike(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Examined) -> None:
    read, line = FORMATS[name]
    quick = []
    for module, function in ((passage_columns, "of_tabs"), (passage_columns, "of_json")):
        original = getattr(module, function)

        def counted(*args: Any, _original: Any = original, **more: Any) -> Any:
            quick.append(_original(*args, **more))
            return quick[-1]

        monkeypatch.setattr(module, function, counted)
    monkeypatch.setattr(passages, "BATCH", 7)
    outcomes = set[str]()
    rng = random.Random(5)
    for turn in range(60):
        odd = rng.choice([0.0, 0.02, 0.1])
        data = "\n".join(line(rng, number, odd) for number in range(rng.randint(1, 40))).encode()
        data += rng.choice([b"\n", b"", b"\r\n"])
        if rng.random() < 0.3:
            place = rng.randrange(len(data))
            data = data[:place] + rng.choice(_RAW) + data[place:]
        if rng.random() < 0.1:
            data = data.replace(b"\n", b"\r\n")
        if rng.random() < 0.1:
            data = gzip.compress(data)
            data = data[: rng.randint(len(data) // 2, len(data))]
        path = tmp_path / "file"
        path.write_bytes(data)
        monkeypatch.setattr(passage_lines, "BLOCK", rng.choice([16, 200, 2_000]))
        by_line = _outcome(tmp_path / "store", (passage for passage in read(path)))
        assert _outcome(tmp_path / "store", read(path)) == by_line, (turn, data)
        outcomes.add(by_line)
    examined(sum(found is not None for found in quick), f"blocks of {name} read by the column", at_least=20)
    examined(len(outcomes), f"different outcomes of {name}", at_least=30)
    examined(sum(":" in outcome for outcome in outcomes), f"refusals of {name}", at_least=3)


def test_every_kind_of_white_space_is_folded(tmp_path: Path, examined: Examined) -> None:
    """At the begin, inside and at the end of a text; next to it, the characters that are close to them in UTF-8."""
    white = [chr(code) for code in range(0x110000) if chr(code).isspace()]
    near = {chr(ord(one) + step) for one in white for step in (-1, 1, 64)}
    ordinary = sorted(near - set(white) - {"\t", "\n", "\r"})
    texts = [
        text for one in [*white, *ordinary, "", " "] for text in (f"{one}a b", f"a{one}b", f"a b{one}", f"a {one}b")
    ]
    made = passages.build(tmp_path / "p", [Passage(str(row), text) for row, text in enumerate(texts)], {})
    assert made.text_hashes.tolist() == [text_hash(text) for text in texts]
    examined(len(white), "kinds of white space", at_least=25)


def test_a_header_and_marks_are_read(tmp_path: Path) -> None:
    lines = ["\ufeffid\ttext\ttitle", '1\t"a ""b"""\tT', '2\t"x"\t"A ""B"""', '3\t""\tonly a title']
    (tmp_path / "f.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    made = passages.build(tmp_path / "p", dpr_tsv.read_passages(tmp_path / "f.tsv"), {})
    assert list(made) == [Passage("1", 'a "b"', "T"), Passage("2", "x", 'A "B"'), Passage("3", "", "only a title")]


def test_the_store_is_the_one_that_always_was(tmp_path: Path) -> None:
    """The digest is that of commit 92398fd, which read one line after the other."""
    rng = random.Random(9)
    rows = [_tsv(rng, number, 0.0) for number in range(3_000)]
    odd = '%d\t"of %s ""it"" %s"\tA "B" ""C""'
    rows += [odd % (3_000 + number, chr(160 + number), '""' * (number % 4)) for number in range(900)]
    (tmp_path / "f.tsv.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    made = passages.build(tmp_path / "p", dpr_tsv.read_passages(tmp_path / "f.tsv.gz", header=False), {})
    assert made.manifest.digest == "cc99b2d83a881774dc2777945be4e92f27d865de0ff895d7dcb8f498f362c1b6"
