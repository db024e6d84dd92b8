"""DPR's matching rule, on strings whose tokens were worked out by hand and against a slow second implementation."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpr.errors import DataError
from mpr.metrics import answers
from mpr.metrics.answers import AnswerMatcher, token_line, tokens
from tests.conftest import Examined
from tests.parity import plain_answers

pytestmark = pytest.mark.small

ACUTE, DIAERESIS, CEDILLA = "\u0301", "\u0308", "\u0327"

TOKENS = [
    ("", []),
    (" \t\n\u00a0\u2003\u2028", []),
    ("\x00\x07\u200b\ufeff\u200e", []),  # controls and format characters are neither word nor sign
    ("Hello, World!", ["hello", ",", "world", "!"]),
    ("U.S.A.", ["u", ".", "s", ".", "a", "."]),
    ("it's 9/11", ["it", "'", "s", "9", "/", "11"]),
    ("$1,250.50", ["$", "1", ",", "250", ".", "50"]),
    ("€5m £3 ¥7", ["€", "5m", "£", "3", "¥", "7"]),
    ("snake_case", ["snake", "_", "case"]),  # the underscore is a sign here, unlike in Python's \w
    ("co-operate — now…", ["co", "-", "operate", "—", "now", "…"]),
    ("Café", [f"cafe{ACUTE}"]),
    (f"Cafe{ACUTE}", [f"cafe{ACUTE}"]),
    ("São Tomé", ["sa\u0303o", f"tome{ACUTE}"]),
    ("Ångström", [f"a\u030angstro{DIAERESIS}m"]),
    ("\u212bngström", [f"a\u030angstro{DIAERESIS}m"]),  # the Ångström sign is the letter after NFD
    (f"garc{CEDILLA}on", [f"garc{CEDILLA}on"]),
    ("İstanbul", ["i\u0307stanbul"]),
    ("Straße", ["straße"]),  # lower-cased, not case-folded
    ("ΟΔΟΣ", ["οδος"]),
    ("ﬁne", ["ﬁne"]),  # NFD keeps ligatures; NFKD would not
    ("東京 タワー", ["東京", "タワー"]),
    ("東京、日本。", ["東京", "、", "日本", "。"]),
    ("한국", ["\u1112\u1161\u11ab\u1100\u116e\u11a8"]),  # NFD takes syllables apart
    ("हिन्दी", ["हिन्दी"]),  # vowel signs are marks and belong to the word
    ("ไทย", ["ไทย"]),
    ("x² + ½ = Ⅷ", ["x²", "+", "½", "=", "ⅷ"]),  # No and Nl are numbers
    ("١٢٣", ["١٢٣"]),
    ("C++ & C#", ["c", "+", "+", "&", "c", "#"]),
    ("👍🏽 ok", ["👍", "🏽", "ok"]),
    (f" {ACUTE}x", [f"{ACUTE}x"]),  # a mark without a letter still makes a word
    ("don’t “quote”", ["don", "’", "t", "“", "quote", "”"]),
    ("a\u00adb", ["a", "b"]),  # a soft hyphen is a format character: it parts words
    ("zero\u200dwidth", ["zero", "width"]),
]


@pytest.mark.parametrize("text, expected", TOKENS, ids=[ascii(text) for text, _ in TOKENS])
def test_tokens(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


FOUND = [
    ("Paris", "He lived in paris.", True),
    ("Paris", "He lived in Parisian style.", False),  # whole tokens only
    ("new york", "The New-York Times", False),  # the hyphen is a token between them
    ("new york", "NEW\n  YORK", True),
    ("U.S.", "the u.s. army", True),
    ("US", "the u.s. army", False),
    ("1,203", "In 1,203 days", True),
    ("1203", "In 1,203 days", False),
    ("203", "In 1,203 days", True),
    ("12", "On 3/12/1203", True),
    ("$5", "It cost $ 5 then", True),
    ("Beyonce", "Beyoncé sang", False),  # accents count
    (f"Beyonce{ACUTE}", "BEYONCÉ sang", True),
    ("o'neil", "O' Neil", True),
    ("東京", "東京 タワー", True),
    ("東京", "東京都", False),  # no spaces, so one token
    ("the end", "the\u200bend", True),  # format characters part tokens and leave nothing behind
    ("a b", "a c b", False),
    ("b c d", "a b c d e", True),
]


@pytest.mark.parametrize("answer, text, found", FOUND)
def test_string_matching(answer: str, text: str, found: bool) -> None:
    assert AnswerMatcher([answer], regex=False).found_in(text) is found
    assert AnswerMatcher(["zzz zzz", answer], regex=False).found_in(text) is found


_CHARACTERS = st.one_of(
    st.characters(max_codepoint=0x7E),
    st.characters(max_codepoint=0x2FFF, exclude_categories=("Cn", "Cs")),
    st.sampled_from("aAbB 1.,-'é" + ACUTE),
)
_TEXT = st.text(_CHARACTERS, max_size=30)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(_TEXT)
def test_tokens_agree_with_categories(text: str) -> None:
    assert tokens(text) == plain_answers.tokens(text)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(_TEXT, st.lists(_TEXT, max_size=3))
def test_matching_agrees_with_runs(text: str, wanted: list[str]) -> None:
    expected = plain_answers.has_answer(wanted, text)
    matcher = AnswerMatcher(wanted, regex=False)
    assert matcher.found_in(text) is expected
    assert matcher.found_in_prepared(matcher.prepare(text)) is expected
    assert len(matcher.invalid) == len({one for one in wanted if not plain_answers.tokens(one)})


def test_slow_and_fast_are_not_the_same_code(examined: Examined) -> None:
    """Every character of the first planes that both can know, alone between two letters."""
    differing = [code for code in range(0x3000) if tokens(f"a{chr(code)}b") != plain_answers.tokens(f"a{chr(code)}b")]
    # Characters assigned after the Unicode version of either side may be classed differently.
    assert all(unicodedata.category(chr(code)) == "Cn" for code in differing)
    examined(0x3000 - len(differing), "characters", at_least=0x2F00)


PATTERNS = [
    (r"pari[sz]", "In PARIZ", True),
    (r"^second line$", "First.\nSecond line\nThird", True),
    (r"\bcat\b", "concatenate", False),
    (r"Jan(uary)? 3", "on january 3, 1203", True),
    ("Café", f"the cafe{ACUTE}", True),
    (f"Cafe{ACUTE}", "the CAFÉ", True),
    (r"1[,.]?203", "1.203", True),
    (r"New\s?York", "newyork", True),
    (r"a.c", "a\nc", False),
]


@pytest.mark.parametrize("pattern, text, found", PATTERNS)
def test_pattern_matching(pattern: str, text: str, found: bool) -> None:
    matcher = AnswerMatcher([pattern], regex=True)
    assert matcher.found_in(text) is found
    assert not matcher.invalid


@pytest.mark.parametrize("broken", ["(", "[a", "a{2", "*a", "(?P<x>", "\\", "", "  ", "(?V0)(?V1)a", "Shinz\\ō"])
def test_broken_patterns_match_nothing_and_are_counted(broken: str) -> None:
    matcher = AnswerMatcher([broken, "good"], regex=True)
    if broken == "a{2":  # legal: a literal brace
        assert not matcher.invalid
        return
    assert matcher.invalid == (broken,)
    assert matcher.found_in("a good one")
    assert not matcher.found_in("( [a *a \\ a")


def test_answers_without_tokens_match_nothing_and_are_counted() -> None:
    matcher = AnswerMatcher(["", " ", "\u200b", "x", "x"], regex=False)
    assert matcher.invalid == ("", " ", "\u200b")
    assert not matcher.found_in("anything")
    assert matcher.found_in("an x")
    assert not AnswerMatcher([], regex=False).found_in("anything")
    assert not AnswerMatcher([], regex=True).found_in("anything")


def test_runaway_pattern_names_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    matcher = AnswerMatcher([r"(a|aa)+(b|bb)+$"], regex=True, question="trec-17")
    assert matcher.found_in("aab")
    monkeypatch.setattr(answers, "TIMEOUT_SECONDS", 0.05)
    with pytest.raises(DataError, match=r"trec-17.*did not finish within 0.05 seconds"):
        matcher.found_in("a" * 60 + "c" + "ab" * 60 + "c")


@pytest.mark.parametrize(
    "pattern, why",
    [
        ("(?:a{65535}){65535}", "repeats are written out"),
        ("((a{1,90}){1,90}){90}", "repeats are written out"),
        ("(?:a{19999})" * 20, "repeats are written out"),
        ("(?R)", "calls a part of itself"),
        ("(?P<n>a(?&n)?)", "calls a part of itself"),
        ("(a)(?1)", "calls a part of itself"),
        ("|".join(f"answer {number}" for number in range(1_500)), "4,000 are allowed"),
    ],
)
def test_patterns_that_would_take_all_memory_are_refused_before_they_are_compiled(pattern: str, why: str) -> None:
    with pytest.raises(DataError, match=why) as caught:
        AnswerMatcher(["fine", pattern], regex=True, question="q7")
    assert caught.value.problems[0].where == "question q7"
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "pattern",
    [r"\d{4}-\d{2}-\d{2}", r"[(?R{9}]{2}\(?1?", r"(?i:a)(?-i:b)(?<!x)y{0}", r"x{,3}(?:y{2}|z{30}){40}", "{{9}"],
)
def test_ordinary_patterns_are_not_too_large(pattern: str) -> None:
    AnswerMatcher([pattern], regex=True)


def test_token_line_marks_both_ends() -> None:
    assert token_line("A, b") == " a , b "
    assert token_line("") == "  "
