"""Errors say what, where and how to mend it; exit codes are the promised ones; untrusted text is made harmless."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpr import errors
from mpr.errors import MprError, Problem, Problems, excerpt, nearest, nearest_beside, printable

# docs/reliability.md and the command line promise these numbers to scripts.
CODES = {"MprError": 1, "RecipeError": 2, "DataError": 2, "NumbersError": 3, "StorageError": 4, "Interrupted": 75}


def test_exit_codes() -> None:
    found = {
        name: kind.exit_code
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, Exception)
    }
    assert found == CODES


@pytest.mark.parametrize(
    "problem, text",
    [
        (Problem("is odd"), "is odd"),
        (Problem("is odd", "f:3"), "f:3: is odd"),
        (Problem("is odd", "f:3", "draw.m"), "f:3 draw.m: is odd"),
        (Problem("is odd", key="draw.m", fix="make it even"), "draw.m: is odd (make it even)"),
    ],
)
def test_one_problem(problem: Problem, text: str) -> None:
    assert str(problem) == text
    error = MprError(problem.what, where=problem.where, key=problem.key, fix=problem.fix)
    assert str(error) == text
    assert error.problems == (problem,)


def test_many_problems_fit_a_screen() -> None:
    error = MprError([Problem(f"number {number}") for number in range(100)])
    lines = str(error).splitlines()
    assert lines[:2] == ["number 0", "number 1"]
    assert lines[-1] == "... and 60 more problems like these"
    assert len(lines) == errors.SHOWN + 1
    assert len(error.problems) == 100


def test_problems_are_collected_and_raised_together() -> None:
    problems = Problems(errors.DataError)
    problems.stop_if_any()
    problems.add("one", where="f:1")
    problems.add("two", key="k", fix="mend it")
    with pytest.raises(errors.DataError) as caught:
        problems.stop_if_any()
    assert str(caught.value) == "f:1: one\nk: two (mend it)"


def test_nearest() -> None:
    known = ["temperature", "positives", "negatives"]
    assert nearest("temprature", known) == "did you mean 'temperature'?"
    assert nearest("xyz", known) == ""
    assert nearest("anything", iter([])) == ""
    assert nearest("minilm", ["bert", "MiniLM"]) == "did you mean 'MiniLM'?"


def test_nearest_beside(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").touch()
    assert nearest_beside(tmp_path / "my.yml") == "did you mean 'my.yaml'?"
    assert nearest_beside(tmp_path / "other" / "my.yml") == nearest_beside(Path("x\0y/z")) == ""


@pytest.mark.parametrize(
    "data, shown",
    [
        (b"plain", "'plain'"),
        ("plain", "'plain'"),
        (b"\xff\x00", r"'\\xff\x00'"),
        ("\x1b[2Jred", r"'\x1b[2Jred'"),
        ("naïve \u202e", r"'naïve \u202e'"),
        ("été-日本\x9b1m", r"'été-日本\x9b1m'"),
        ("x" * 61, "'" + "x" * 60 + "'... (61 characters)"),
        ("", "''"),
    ],
)
def test_excerpt(data: bytes | str, shown: str) -> None:
    assert excerpt(data) == shown
    assert excerpt(data).isprintable()


@pytest.mark.parametrize(
    "text, shown",
    [
        ("two\n\tlines", "two\n\tlines"),
        ("日本語\u3000Ωé", "日本語\u3000Ωé"),
        ("\x1b[31mred\x07 \x9b0m \r", r"\x1b[31mred\x07 \x9b0m \r"),
        ("\u202eright to left\u2028", r"\u202eright to left\u2028"),
        ("half \ud800", r"half \ud800"),
    ],
)
def test_a_refusal_cannot_steer_the_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert str(Problem("is odd", where=text)) == f"{shown}: is odd"
