"""The rules of ids and texts, and hashes that must never change: stores on disk depend on them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpr import records
from mpr.records import id_problem, stable_hash, text_hash, text_problem


@pytest.mark.parametrize("value", ["1", "a-b_c.d", "../x", "naïve", "日本", "x" * 200, "é" * 100, "🙂", "e\u0301"])
def test_usable_ids(value: str) -> None:
    assert id_problem(value) == ""


@pytest.mark.parametrize(
    "value, problem",
    [
        (7, "must be text, not int"),
        (None, "must be text, not NoneType"),
        (b"a", "must be text, not bytes"),
        ("", "is empty"),
        ("a b", "white space"),
        ("a\tb", "white space"),
        ("a\n", "white space"),
        ("\u2003", "white space"),
        ("\xa0", "white space"),
        ("a\0", "control character"),
        ("\x1b[2J", "control character"),
        ("\u202eabc", "control character"),
        ("\ufeffa", "control character"),
        ("\ud800", "control character"),
        ("x" * 201, "longer than 200 bytes"),
        ("é" * 101, "longer than 200 bytes"),
    ],
)
def test_unusable_ids(value: object, problem: str) -> None:
    assert problem in id_problem(value)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.text(max_size=20))
def test_id_survives_a_run_file(value: str) -> None:
    """An accepted id is exactly one column of a white-space separated UTF-8 line."""
    if not id_problem(value):
        line = f"q Q0 {value} 1 0.5 tag\n".encode().decode()
        assert line.split() == ["q", "Q0", value, "1", "0.5", "tag"]
        assert len(line.splitlines()) == 1


def test_texts() -> None:
    for text in ("", "\0", "\u202e", "\ufeff", "line\nline", "🙂", "x" * 1_000_000):
        assert text_problem(text) == ""
    assert "position 2" in text_problem("ab\ud800")
    assert text_problem(None) == "must be text, not NoneType"


def test_hashes_are_the_promised_ones() -> None:
    for text in ("", "a", "naïve", "日本 🙂"):
        full = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        assert stable_hash(text) == int("".join(reversed([full[i : i + 2] for i in range(0, 16, 2)])), 16)
    # `printf abc | b2sum -l 64` prints d8bb14d833d59559
    assert stable_hash("abc") == 0x5995D533D814BBD8


def test_hashes_do_not_depend_on_the_process() -> None:
    code = "from mpr.records import *; print(stable_hash('naïve'), text_hash('a  b'))"
    root = str(Path(__file__).parents[2])
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": root, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8", "LC_ALL": "C"},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("0", "1", "random")
    }  # fmt: skip
    assert said == {f"{stable_hash('naïve')} {text_hash('a b')}\n"}


def test_text_hash_folds_white_space_and_nothing_else() -> None:
    assert text_hash("a b") == text_hash(" a\t\nb ") == stable_hash("a b")
    assert len({text_hash(text) for text in ("a b", "ab", "A b", "a b.", "b a", "e\u0301", "é")}) == 7


def test_tiers_are_ordered_best_first() -> None:
    assert records.TIERS[0] == "gold"
    assert records.Positive("p").tier == "gold"
    assert len(set(records.TIERS)) == len(records.TIERS)
