"""Lines have their true number, offset and text, and whatever cannot be read says where."""

import gzip
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpr.errors import DataError
from mpr.records import id_problem
from mpr.storage import lines
from mpr.storage.lines import (
    Ids,
    Line,
    identifier,
    line_id,
    read_lines,
    split_line,
    writable_cell,
    writable_id,
    writable_text,
    write_lines,
)

pytestmark = pytest.mark.small


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lines") / "file.txt"


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_lines_are_split_at_line_feeds_only(data: st.DataObject, file: Path) -> None:
    awkward = st.sampled_from("\r\u2028\x0b\x0c\x85\u2029\x1c\x00\ufeffaé漢\U0001f600\t ")
    lines = data.draw(st.lists(st.text(awkward), min_size=1).filter(lambda found: found != [""]))
    ends = data.draw(st.lists(st.sampled_from(["\n", "\r\n"]), min_size=len(lines), max_size=len(lines)))
    last = data.draw(st.booleans()) if lines[-1] else True
    mark = data.draw(st.booleans()) or lines[0].startswith("\ufeff")
    content, offsets = b"\xef\xbb\xbf" if mark else b"", []
    for text, end in zip(lines, ends, strict=True):
        offsets.append(len(content))
        content += (text + end).encode()
    if not last:
        content = content[: len(content) - len(ends[-1])]
    file.write_bytes(content)
    found = list(read_lines(file))
    # A carriage return in front of a bare line feed is, by the rule, part of the line's end.
    expected = [text.removesuffix("\r") if end == "\n" else text for text, end in zip(lines, ends, strict=True)]
    if not last:
        expected[-1] = lines[-1]
    assert [line.text for line in found] == expected
    assert [line.offset for line in found] == offsets
    assert [line.where for line in found] == [f"{file}:{number}" for number in range(1, len(lines) + 1)]


def test_a_file_without_lines_is_refused(file: Path) -> None:
    for content in (b"", b"\xef\xbb\xbf"):
        file.write_bytes(content)
        with pytest.raises(DataError, match="is empty"):
            list(read_lines(file))
    file.write_bytes(b"\n")
    assert [line.text for line in read_lines(file)] == [""]
    file.write_bytes(b"1")
    assert [line.text for line in read_lines(file)] == ["1"]


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80\x80\x80"])
def test_undecodable_bytes_say_line_offset_and_bytes(file: Path, bad: bytes) -> None:
    file.write_bytes("é\nsecond\nthird ".encode() + bad + b"\nfourth\n")
    read = []
    with pytest.raises(DataError) as caught:
        read.extend(read_lines(file))
    assert len(read) == 2
    offset = len("é\nsecond\nthird ".encode())
    assert str(caught.value).startswith(f"{file}:3: byte 0x{bad[0]:02x} is not UTF-8, at byte {offset}: ")
    assert str(caught.value).replace("\n", "").isprintable()


def test_utf16_is_named_by_its_first_byte(file: Path) -> None:
    file.write_bytes("text".encode("utf-16"))
    with pytest.raises(DataError, match=r":1: byte 0xff is not UTF-8, at byte 0: .*convert the file to UTF-8"):
        list(read_lines(file))


def test_reading_is_lazy(file: Path) -> None:
    file.write_bytes(b"good\n" + b"\xff\n")
    lines = read_lines(file)
    assert next(lines).text == "good"


def test_a_problem_shows_place_offset_and_a_safe_excerpt() -> None:
    line = Line("data.tsv", 7, 1000, "é" * 10 + "\x1b[31m\u202e" + "z" * 500)
    problem = str(line.refuse("is odd", "title", "change it", at=10))
    assert problem.startswith("data.tsv:7 title: is odd, at byte 1020: ")
    assert problem.endswith("(change it)")
    assert problem.isprintable()
    assert len(problem) < 600
    row = Line("table", 3, -1, "x")
    assert "byte" not in str(row.refuse("is odd"))


def test_columns_are_counted() -> None:
    line = Line("f", 1, 0, "a\tb")
    assert split_line(line, ("x", "y")) == ["a", "b"]
    with pytest.raises(DataError, match=r"f:1: has 2 tab-separated columns instead of 3.*expected: x, y, z"):
        split_line(line, ("x", "y", "z"))


def test_ids_remember_their_lines() -> None:
    ids = Ids()
    ids.add(Line("f", 3, 0, "first"), "a")
    ids.add(Line("f", 4, 0, "second"), "A")
    with pytest.raises(DataError, match=r"f:9 id: id 'a' is already on line 3"):
        ids.add(Line("f", 9, 0, "third"), "a")
    with pytest.raises(DataError, match="already on line 3"):
        ids.add(Line("f", 3, 0, "two objects on one line"), "a")
    assert ids.line("A") == 4


@settings(max_examples=200, deadline=None)
@given(value=st.one_of(st.text(max_size=210), st.text("a b\t\u00a0é", max_size=210), st.integers(), st.none()))
def test_the_short_way_for_ids_decides_as_the_rule_does(value: object) -> None:
    assert identifier(value) == id_problem(value)


def test_the_limits_of_an_id() -> None:
    for value in ("a" * 200, "é" * 100, "~", "../..", "a/b"):
        assert line_id(Line("f", 1, 0, ""), value, "id") == value
    for value in ("a" * 201, "é" * 101, "", " ", "a b", "a\x7fb", "\u200e", "\ud800", "a\u00a0b"):
        with pytest.raises(DataError, match=r"f:1 id: id"):
            line_id(Line("f", 1, 0, ""), value, "id")
        with pytest.raises(DataError, match="passage id: id"):
            writable_id(value, "passage id")


def test_what_a_cell_cannot_hold_is_refused_by_name(file: Path) -> None:
    for text, name in (("a\tb", "tab"), ("a\nb", "line feed"), ("a\rb", "carriage return")):
        with pytest.raises(DataError, match=f"text: has a {name} at position 1"):
            writable_cell(text, "text")
    with pytest.raises(DataError, match="lone surrogate"):
        writable_cell("\ud800", "text")
    with pytest.raises(DataError, match="lone surrogate"):
        writable_text("a\udfff", "text")
    assert writable_text("a\tb\n", "text") == "a\tb\n"
    with file.open("wb") as target:
        assert write_lines(target, ["a", "é"]) == 2
    assert file.read_bytes() == "a\né\n".encode()


@pytest.mark.parametrize("packed", [False, True])
def test_a_record_longer_than_any_text_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    monkeypatch.setattr(lines, "LONGEST", 1 << 20)
    content = b"short\n" + b"x" * (1 << 26)
    path = tmp_path / "file.jsonl.gz"
    path.write_bytes(gzip.compress(content) if packed else content)
    if not packed:
        path = path.rename(tmp_path / "file.jsonl")
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r":2: one record is longer than 1,048,576 bytes"):
            list(read_lines(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 25, "a half of what is in the file"
    path.write_bytes(b"x" * (1 << 20))  # the last line has no end
    if not packed:
        assert [len(line.text) for line in read_lines(path)] == [1 << 20]
