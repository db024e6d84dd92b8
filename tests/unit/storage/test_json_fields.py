"""JSON objects are parsed strictly and checked field by field; Python's parser is the reference for what is JSON."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import create_model

from mpr.errors import DataError
from mpr.storage import json_fields as f
from mpr.storage.lines import Line
from tests.conftest import Examined


class Entry(f.Fields):
    id: f.Id
    text: f.Text
    score: f.Number = 0.0
    title: f.Text | None = None


class Article(f.Fields):
    parts: list[Entry]


def parse(text: str, ignore: Sequence[str] = (), kind: type[f.Fields] = Entry) -> dict[str, Any]:
    line = Line("data.jsonl", 12, 500, text)
    return kind.of(f.json_object(line), line, ignore=ignore).model_dump(exclude_unset=True)


def refusal(text: str, ignore: Sequence[str] = (), kind: type[f.Fields] = Entry) -> str:
    with pytest.raises(DataError) as caught:
        parse(text, ignore, kind)
    assert str(caught.value).startswith("data.jsonl:12")
    assert str(caught.value).replace("\n", "").isprintable()
    return str(caught.value)


def test_a_good_object() -> None:
    assert parse('{"id": "a", "text": ""}') == {"id": "a", "text": ""}
    assert parse(' {"text": "t", "id": "a", "score": 1.5, "title": null} \r')["score"] == 1.5


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "blank line, at byte 500"),
        ("  \t", "blank line"),
        ('{"id": "a", "text": "b"', "not JSON: Expecting ',' delimiter, at byte 523"),
        ('{"id": "a", "text": "b', "not JSON: Unterminated string starting at, at byte 520"),
        ('{"é": "a", "text" "b"}', "not JSON: Expecting ':' delimiter, at byte 519"),
        ('  {"id": "a" "text": "b"}', "not JSON: Expecting ',' delimiter, at byte 513"),
        ('{"id": "a", "text": "b"} {}', "not JSON: something follows the object, at byte 524"),
        ('{"id": "a", "text": "b\tc"}', "not JSON: Invalid control character"),
        ("{'id': 'a'}", "not JSON: Expecting property name"),
        ("[1]", "must be a JSON object, not a list"),
        ("null", "must be a JSON object, not null"),
        ('{"id": "a", "id": "b", "text": "t"}', "field 'id' appears twice"),
        ('{"id": "a", "text": "t", "score": NaN}', "NaN is not a JSON number"),
        ('{"id": "a", "text": "t", "score": -Infinity}', "-Infinity is not a JSON number"),
        ('{"id": "a", "text": "t", "score": 1e999}', "number '1e999' is too large"),
        ('{"id": "a", "text": "t", "score": ' + "9" * 5000 + "}", "too many digits"),
        ("[" * 200_000, "nested too deeply"),
        ('{"id": "a"}', "data.jsonl:12 text: field is missing"),
        ('{"id": null, "text": "t"}', "data.jsonl:12 id: is null"),
        ('{"id": 7, "text": "t"}', "id: id must be text, not int"),
        ('{"id": "a b", "text": "t"}', "id: id contains white space"),
        ('{"id": "a", "text": ["t"]}', "text: must be text, not list"),
        ('{"id": "a", "text": "\\ud800"}', "text: has an undecodable character (lone surrogate) at position 0"),
        ('{"id": "a", "text": "t", "score": true}', "score: must be a number, not a truth value"),
        ('{"id": "a", "text": "t", "score": null}', "score: is null"),
        ('{"id": "a", "text": "t", "titel": "x"}', "'titel': unknown field"),
    ],
)
def test_refusals(text: str, words: str) -> None:
    assert words in refusal(text)


def test_an_unknown_field_names_the_nearest_and_how_to_drop_it() -> None:
    message = refusal('{"id": "a", "text": "t", "titel": "x"}')
    assert "did you mean 'title'?" in message
    assert "ignore: ['titel'] beside its file" in message
    assert parse('{"id": "a", "text": "t", "titel": "x"}', ["titel"])["id"] == "a"
    twice = ["titel", "title", "titel"]
    assert parse('{"id": "a", "text": "t", "title": "T", "titel": "x"}', twice)["title"] == "T"
    assert "title: must be text" in refusal('{"id": "a", "text": "t", "title": 5}', twice)


def test_all_problems_of_an_object_come_together() -> None:
    with pytest.raises(DataError) as caught:
        parse('{"id": 1, "score": "high", "extra\\u202e": 0}')
    keys = [problem.key for problem in caught.value.problems]
    assert sorted(keys) == sorted(["text", "id", "score", "'extra\\u202e'"])


def test_the_path_within_the_line_is_part_of_the_key() -> None:
    with pytest.raises(DataError, match=r"data:1 list\[3\]\.id: field is missing"):
        Entry.of({"text": ""}, Line("data", 1, 0, "x"), "list[3]")


@pytest.mark.parametrize(
    "parts, words",
    [
        ("[{}]", "data.jsonl:12 parts[0].id: field is missing"),
        ('[{"id": "a", "text": "t"}, {"id": "a", "text": null}]', "data.jsonl:12 parts[1].text: is null"),
        ('[{"id": "a", "text": "t", "titel": 1}]', "parts[0].'titel': unknown field, at byte 500"),
        ('[{"id": "a", "text": "t", "titel": 1}]', "did you mean 'title'?"),
        ('[{"id": "a", "text": "t"}, 5]', "data.jsonl:12 parts: entry 1 must be an object, not a number"),
        ("[null]", "data.jsonl:12 parts: entry 0 is null"),
        ("{}", "data.jsonl:12 parts: must be a list, not an object"),
    ],
)
def test_objects_within_an_object(parts: str, words: str) -> None:
    assert words in refusal(f'{{"parts": {parts}}}', kind=Article)


@pytest.mark.parametrize(
    "kind, good, bad",
    [
        (f.Id, ["a", "é" * 100], [0, True, None, "", "a b", "é" * 101]),
        (f.IdOrNumber, ["a", 0, -3, 10**17], [True, 1.0, None, "a b", 10**18, []]),
        (f.Number, [1, 1.5, -2, "1", "-0.5"], [True, "x", "nan", None, math.inf, math.nan, 10**400, []]),
        (int, [1, 0, -1, 10**400], [1.0, True, "1", None]),
        (bool, [True, False], [0, 1, "true", None]),
        (list[f.Text], [[], ["a", ""]], ["a", [1], [None], {"a": 1}, ["\ud800"], ("a",)]),
        (f.Object, [{}], [[], "a", None]),
        (None, [None], ["", 0, {}]),
        (Any, [None, 1, "a"], []),
        (bool | None, [None, True], [0]),
    ],
)
def test_kinds(kind: Any, good: list[object], bad: list[object], examined: Examined) -> None:
    one = create_model("one", __base__=f.Fields, value=(kind, ...))
    line = Line("data", 1, 0, "x")
    kept = [one.of({"value": value}, line).value for value in good]  # type: ignore[attr-defined]
    converted = {f.IdOrNumber: ["a", "0", "-3", str(10**17)], f.Number: [1.0, 1.5, -2.0, 1.0, -0.5]}
    assert kept == (converted[kind] if kind in (f.IdOrNumber, f.Number) else good)
    assert [type(value) for value in kept] == [type(value) for value in converted.get(kind, good)]
    for value in bad:
        with pytest.raises(DataError, match=r"^data:1 value: (must be |is null|id |entry 0 |has an undecodable)"):
            one.of({"value": value}, line)
    examined(len(good) + len(bad), "values")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=120, deadline=None)
@given(value=JSON, ascii_only=st.booleans())
def test_any_json_is_parsed_as_python_does(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert f.json_value(Line("x", 1, 0, text)) == json.loads(text)
    assert json.loads(f.json_text(value)) == value
    assert "\n" not in f.json_text(value)


def test_read_objects_says_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "a", "text": "t"}\n\n')
    rows = f.read_objects(path, Entry)
    line, found = next(rows)
    assert (line.number, found.id) == (1, "a")
    with pytest.raises(DataError, match=r"a\.jsonl:2: blank line, at byte 25"):
        next(rows)
