"""YAML is read as what it looks like, or refused with its line; the traps of every YAML version are refused."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpr.errors import RecipeError
from mpr.recipe import strict_yaml
from tests.conftest import Examined

PLAIN = {
    "1": 1, "-1": -1, "+7": 7, "0": 0, "-0": 0, "1.5": 1.5, "1.": 1.0, ".5": 0.5, "1e-5": 1e-5, "1.0e-5": 1e-5,
    "2E3": 2000.0, "true": True, "false": False, "null": None, "~": None, "": None, "text": "text", "a b": "a b",
    "'no'": "no", '"1"': "1", "'0123'": "0123", "86b5e093": "86b5e093", "v1.2": "v1.2", "1st": "1st", "-": [None],
    "nothing": "nothing", "trueish": "trueish", "[1, a, null]": [1, "a", None], "{b: 1}": {"b": 1}, "|\n  x": "x",
}  # fmt: skip
AMBIGUOUS = [
    "0123", "00", "0o17", "0x1f", "0b11", "1_000", "12:30", "2020-01-01", "2001-12-14t21:59:43.10-05:00", ".inf",
    "-.inf", ".nan", "1e999", "yes", "no", "on", "off", "No", "YES", "True", "FALSE", "Null", "NULL", "=", "<<",
    "0.1.2", "9" * 5000,
]  # fmt: skip
REFUSED = {
    "a: !!str 5": "tag",
    "a: !!python/object:os.system x": "tag",
    "a: !custom [1]": "tag",
    "a: !!set {x}": "tag",
    "a: ! 5": "tag",
    "!!map {a: 1}": "tag",
    "a: &anchor 1": "anchors",
    "a: {<<: {b: 1}}": "merge keys",
    "1: a": "key '1' is not text",
    "true: a": "key 'true' is not text",
    "no: a": "key 'no' is not text",
    "? [a, b]\n: c": "a key is not plain text",
    "? {a: b}\n: c": "a key is not plain text",
    "&x a: 1": "a key is not plain text",
    "!!str a: 1": "a key is not plain text",
    "a: 1\na: 2": "given twice (first in line 1)",
}


def problems(text: str) -> list[str]:
    return [str(problem) for problem in strict_yaml.parse(text.encode(), "f").problems.found]


@pytest.mark.parametrize("written, value", PLAIN.items())
def test_plain_values(written: str, value: Any) -> None:
    document = strict_yaml.parse(f"a: {written}".encode() if written != "-" else b"a:\n-", "f")
    assert document.value == {"a": value}
    assert type(document.value["a"]) is type(value)
    assert not document.problems.found


@pytest.mark.parametrize("written", AMBIGUOUS)
def test_what_could_be_two_things_is_refused(written: str) -> None:
    assert len(problems(f"\na: {written}")) == 1
    assert problems(f"\na: {written}")[0].startswith("f:2 a: ")
    assert not problems(f'a: "{written}"')


@pytest.mark.parametrize("text, what", REFUSED.items())
def test_traps_are_refused(text: str, what: str) -> None:
    assert len([problem for problem in problems(text) if what in problem]) == 1, problems(text)


def test_every_problem_at_once_with_its_line() -> None:
    text = "a: no\nb: &x 1\nc:\n  - *x\n  - 0123\nd: {<<: {e: 1}, f: !t 1}\na: 2\n"
    lines = [int(problem.split(":")[1].split(" ")[0]) for problem in problems(text)]
    assert lines == [1, 2, 4, 5, 6, 6, 7]


def test_lines_of_keys_and_items() -> None:
    document = strict_yaml.parse(b"a:\n  b: 1\n  c: [x,\n    y]\nd:\n  - e: 1\n    f: 2\n", "f")
    where = {("a",): 1, ("a", "b"): 2, ("a", "c"): 3, ("a", "c", 0): 3, ("a", "c", 1): 4, ("d", 0): 6, ("d", 0, "f"): 7}
    assert {path: document.lines[path] for path in where} == where
    assert document.where(("d", 0, "missing")) == "f:6"
    assert document.where(("nowhere", "at", "all")) == "f:1"


@pytest.mark.parametrize(
    "text, message",
    [
        (b"", "f:1: is empty"),
        (b"# only a comment\n", "f:1: is empty"),
        (b"a: 1\n---\nb: 2\n", "f:2: holds several documents"),
        (b"a: 1\n\tb: 2\n", "f:2: a tab is used for indentation"),
        (b"a: b: c", "f:1: is not YAML: mapping values are not allowed here"),
        (b"a: [1, 2", "f:1: is not YAML"),
        (b"x: 1\na: *nowhere", "f:2 a: aliases are not allowed"),
        (b"a: \xff\xfe", "f:1: is not UTF-8 at byte 3"),
        (b"ok: 1\na: \xc3\x28", "f:2: is not UTF-8 at byte 9"),
        (b"a: \x00", "f:1: is not YAML"),
    ],
)
def test_unreadable(text: bytes, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        strict_yaml.parse(text, "f").problems.stop_if_any()
    assert str(caught.value).startswith(message)


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such file"):
        strict_yaml.read(tmp_path / "none.yaml")
    with pytest.raises(RecipeError, match="cannot be read"):
        strict_yaml.read(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["[" * 60_000, "{a: " * 15_000, "- " * 30_000, "a:\n" + "".join(f"{' ' * n}b:\n" for n in range(1, 340))],
    ids=["lists", "mappings", "block lists", "block mappings"],
)
def test_deep_nesting_ends_at_once(text: str) -> None:
    started = time.process_time()
    with pytest.raises(RecipeError, match="nested too deeply"):
        strict_yaml.parse(text.encode(), "f")
    assert time.process_time() - started < 5


NAMES = st.text("abcdefgh_", min_size=1, max_size=8).filter(lambda text: text not in ("no", "on", "off", "yes"))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp", "Cn", "Co"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=5))
def test_json_reads_as_itself(value: dict[str, Any]) -> None:
    """JSON is YAML: an independent writer of values whose reading is beyond doubt."""
    document = strict_yaml.parse(json.dumps(value, ensure_ascii=False).encode(), "f")
    assert not document.problems.found
    assert document.value == value


def test_leaves(examined: Examined) -> None:
    value = {"a": {"b": 1, "c": []}, "d": [2, {"e": None}], "f": {}}
    found = dict(strict_yaml.leaves(value))
    assert found == {("a", "b"): 1, ("a", "c"): [], ("d", 0): 2, ("d", 1, "e"): None, ("f",): {}}
    assert [strict_yaml.dotted(path) for path in found] == ["a.b", "a.c", "d[0]", "d[1].e", "f"]
    examined(len(PLAIN) + len(AMBIGUOUS) + len(REFUSED), "spellings in this file", at_least=60)
