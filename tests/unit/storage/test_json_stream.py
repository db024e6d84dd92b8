"""The streamed list agrees with Python's parser on the whole text, whatever the size of the window."""

import gzip
import json
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpr.errors import DataError
from mpr.storage import json_stream, lines
from mpr.storage.json_stream import read_array

pytestmark = pytest.mark.small

SCALARS = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(-1e9, 1e9) | st.text(max_size=30)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=4), min_size=1, max_size=8)
WINDOWS = st.sampled_from([2, 3, 7, 16, 17, 64, 1 << 22])


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("arrays") / "file.json"


def objects(path: Path, window: int, member: str | None = None) -> list[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_WINDOW", window)
        return [found for _, found in read_array(path, member)]


@settings(max_examples=120, deadline=None)
@given(value=OBJECTS, window=WINDOWS, indent=st.sampled_from([None, 0, 4]), plain=st.booleans(), mark=st.booleans())
def test_any_list_of_objects(
    value: list[Any], window: int, indent: int | None, plain: bool, mark: bool, file: Path
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=plain)
    file.write_bytes((b"\xef\xbb\xbf" if mark else b"") + text.encode())
    assert objects(file, window) == value


@pytest.mark.long
@settings(max_examples=120, deadline=None)
@given(value=OBJECTS, window=WINDOWS, before=VALUES, after=VALUES, indent=st.sampled_from([None, 2]))
def test_a_list_that_is_a_member_of_an_object(
    value: list[Any], window: int, before: Any, after: Any, indent: int | None, file: Path
) -> None:
    file.write_text(json.dumps({"a": before, "data": value, "z": after}, indent=indent), encoding="utf-8")
    assert objects(file, window, "data") == value


@pytest.mark.parametrize("number", ["-0.0", "1.5e-7", "12E+3", "-7", "true", "null"])
def test_a_scalar_that_any_window_cuts(file: Path, number: str) -> None:
    for padding in range(12):
        file.write_text('{"z": ' + " " * padding + number + ', "data": [{"a": ' + number + "}]}")
        for window in range(1, 24):
            assert objects(file, window, "data") == [{"a": json.loads(number)}]


def test_places_are_true(file: Path) -> None:
    entries = [{"n": index, "text": "é\n" * index, "list": [index] * 3} for index in range(50)]
    content = json.dumps(entries, indent=3, ensure_ascii=False).encode()
    file.write_bytes(b"\xef\xbb\xbf\r\n" + content)
    whole = file.read_bytes()
    for window in (1, 40, 1 << 22):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(json_stream, "_WINDOW", window)
            found = list(read_array(file))
        for line, entry in found:
            start = whole.index(f'"n": {entry["n"]},'.encode())
            start = whole.rindex(b"{", 0, start)
            assert line.offset == start
            assert line.number == whole[:start].count(b"\n") + 1
        assert len(found) == 50


def parsed_by_python(text: str) -> tuple[Any, int]:
    """The value, or the number of the line at which Python gave up."""
    try:
        return json.loads(text), 0
    except json.JSONDecodeError as error:
        return None, error.lineno


def test_breaking_any_one_character_is_reported_on_the_line_that_python_names(file: Path) -> None:
    """Deletes and replaces every character of a small file in turn; `json.loads` on the whole text is the reference."""
    entries = [{"id": index, "t": "a\\b", "ok": True, "x": [1.5, None, "é"]} for index in range(3)]
    text, outcomes = json.dumps(entries, indent=1, ensure_ascii=False), Counter[str]()
    for place in range(len(text)):
        for changed in (text[:place] + text[place + 1 :], text[:place] + "}" + text[place + 1 :], text[:place]):
            file.write_text(changed, encoding="utf-8")
            expected, broken = parsed_by_python(changed)
            if broken:
                with pytest.raises(DataError) as caught:
                    objects(file, 20)
                assert place == 0 or f"{file}:{broken}" in str(caught.value), changed
                outcomes["malformed"] += 1
                continue
            assert objects(file, 20) == expected
            outcomes["still good"] += 1
    print(dict(outcomes))
    assert outcomes.total() == 3 * len(text) > 500
    assert outcomes["malformed"] > 400
    assert outcomes["still good"] > 50


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "is empty"),
        (" \n ", "is empty"),
        ('{"a": 1}', "a list of objects was expected.*JSON lines need another reader"),
        ('"text"', "a list of objects was expected"),
        ("[]", ":1: .*entry|:1: .*Expecting value"),
        ("[1]", "every entry of the list must be an object"),
        ('[{"a": 1},]', ":1: not JSON"),
        ('[{"a": 1} {"a": 2}]', "',' or '\\]' was expected after an entry"),
        ('[{"a": 1}] x', "something follows the end of the JSON value"),
        ('[{"a": 1}', "the file ends here: ',' or '\\]' was expected"),
        ('[\n{"a": 1},\n{"a": "xyz', ":3: not JSON, in the entry that starts on line 3: the file ends within it"),
        ('[\n{"a":\n\n 1, "b": tru }]', ":4: not JSON, in the entry that starts on line 2"),
        ('[{"a": 1, "a": 2}]', "field 'a' appears twice"),
        ('[{"a": NaN}]', "NaN is not a JSON number"),
        ("[" + '{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_refusals(file: Path, text: str, words: str) -> None:
    file.write_text(text)
    with pytest.raises(DataError, match=words):
        list(read_array(file))


@pytest.mark.parametrize(
    "text, words",
    [
        ('[{"a": 1}]', "an object was expected"),
        ('{"version": "1.1"}', "data: field is missing.*version"),
        ('{"data": {}}', "a list of objects was expected"),
        ('{"data": [{"a": 1}], "data": []}', "a field name was expected that was not there before"),
        ('{"data": [{"a": 1}]', "the file ends here"),
        ('{"data" [{"a": 1}]}', "':' was expected"),
        ("{3: 4}", "not JSON|field name was expected"),
    ],
)
def test_refusals_of_a_member(file: Path, text: str, words: str) -> None:
    file.write_text(text)
    with pytest.raises(DataError, match=words):
        list(read_array(file, "data"))


@pytest.mark.parametrize("window", [*range(1, 40), 1 << 22])
def test_undecodable_bytes_say_line_and_offset(file: Path, window: int) -> None:
    head = '[\n{"é": 1},\n{"b": "漢'.encode()
    file.write_bytes(head + b"\xff" + b'"}]')
    with pytest.raises(DataError, match=f":3: byte 0xff is not UTF-8, at byte {len(head)}:"):
        objects(file, window)
    file.write_bytes(head + b"\xe6")
    with pytest.raises(DataError, match=f":3: byte 0xe6 is not UTF-8, at byte {len(head)}:"):
        objects(file, window)


def test_a_cut_gzip_is_reported(file: Path) -> None:
    packed = file.with_suffix(".json.gz")
    packed.write_bytes(gzip.compress(json.dumps([{"a": index} for index in range(9000)]).encode())[:-20])
    with pytest.raises(DataError, match="is cut short"):
        list(read_array(packed))


def test_an_object_larger_than_the_window_is_tried_a_few_times_only(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The window doubles: parsing from the start again after every kilobyte would take a thousand times as long."""
    file.write_text(json.dumps([{"text": "x" * 1_000_000}]))
    tried = []
    monkeypatch.setattr(json_stream, "_WINDOW", 1000)
    monkeypatch.setattr(
        json_stream, "decode", lambda text, at, decode=json_stream.decode: tried.append(at) or decode(text, at)
    )
    ((_, found),) = read_array(file)
    assert len(found["text"]) == 1_000_000
    assert 5 < len(tried) < 15


def test_memory_does_not_grow_with_the_file_and_errors_come_early(file: Path) -> None:
    """40 MB of entries pass through a small window; a fault on the first page is found without reading the rest."""
    entry = json.dumps({"text": "x" * 20_000})
    file.write_text("[" + ",\n".join([entry] * 2000) + "]")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_WINDOW", 1 << 18)
        tracemalloc.start()
        count = sum(1 for _ in read_array(file))
        _, peak = tracemalloc.get_traced_memory()
        file.write_text('[{"a": oops},' + ",\n".join([entry] * 2000) + "]")
        tracemalloc.reset_peak()
        with pytest.raises(DataError, match=":1: not JSON"):
            list(read_array(file))
        _, early = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    print(f"{count} entries, peak {peak:,} bytes, at an early fault {early:,} bytes")
    assert count == 2000
    assert peak < 8_000_000
    assert early < 8_000_000


def test_an_entry_longer_than_any_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST", 1 << 12)
    monkeypatch.setattr(json_stream, "_WINDOW", 1 << 8)
    path = tmp_path / "file.json"
    path.write_text('[{"a": 1},\n{"a": "' + "x" * (1 << 16), "utf-8")
    found = read_array(path)
    assert next(found)[1] == {"a": 1}
    with pytest.raises(DataError, match=r"file\.json:2: one record is longer than 4,096 bytes"):
        next(found)
