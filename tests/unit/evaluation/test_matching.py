"""Answers in whole rankings, against a reading of DPR's rules by general categories of characters."""

from __future__ import annotations

import random
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from mpr.data import passages
from mpr.data.passages import BATCH, PassageStore
from mpr.evaluation import _matching
from mpr.evaluation.ranking import Ranking
from mpr.metrics.answers import AnswerMatcher
from mpr.records import Passage, Question
from tests.conftest import Examined

TEXTS = (
    "Velmora was founded in 1204, says the chronicle.",
    "It cost $1,250.50 (about £900) in 1911.",
    "São Tomé e Príncipe lies on the Equator.",
    "SAO TOME without accents.",
    "東京 タワー は 東京都 に ある。",
    "The U.S.A. and the U.S. differ; so does US.",
    "O'Neil's boat — the Mary-Rose — sank.",
    "No. 7: naïve façade, Ångström, Straße.",
    "한국 and हिन्दी and ไทย.",
    "First line\nBorn on January 3rd, 1876\nlast line",
    "between 20 and 25 miles per hour",
    "e\u0301clair, E\u0301CLAIR, éclair",
)
STRINGS = (
    "velmora", "1204", "12", "$1,250.50", "1250.50", "£900", "$", "são tomé", "sao tome", "SÃO TOMÉ", "東京", "東京都",
    "タワー は", "U.S.", "U.S.A.", "us", "o'neil", "oneil", "mary-rose", "mary rose", "naive", "naïve", "angstrom",
    "ångström", "\u212bngström", "strasse", "한국", "हिन्दी", "ไทย", "january 3rd, 1876", "first line born", "éclair",
    "eclair", "e\u0301clair", ".", "", "per hour", "(about £900)", "equator.", "20 and 25",
)  # fmt: skip
PATTERNS = (
    r"Velmora|Ostrand", r"\$?1,?250(\.50)?", r"Jan(uary|\.)?\s+3(rd)?,?\s+1876", r"^Born", r"line$", r"(19|20)11",
    r"\bUS\b", r"U\.?S\.?A\.?", r"2[0-5]\s*(and|to|-)\s*2[0-9]\s*miles?", r"S[aã]o", r"O.?Neil", r"naïve",
    r"東京.*ある", r"fa[cç]ade", r"(?:£|\$)\s?900", r"no\.? 7", r"Mary[- ]Rose", r"\d{4}", r"ÉCLAIR",
)  # fmt: skip


def words(text: str) -> list[str]:
    """DPR's tokens: runs of letters, numbers and marks, and every other visible character, of the NFD form."""
    found, run = [], ""
    for character in [*unicodedata.normalize("NFD", text), " "]:
        kind = unicodedata.category(character)[0]
        if kind in "LNM":
            run += character
            continue
        found += [run.lower()] if run else []
        found += [character.lower()] if kind not in "ZC" else []
        run = ""
    return found


def contains(text: str, answer: str) -> bool:
    hay, needle = words(text), words(answer)
    return bool(needle) and any(hay[at : at + len(needle)] == needle for at in range(len(hay)))


def matches(text: str, pattern: str) -> bool:
    """With the standard library's engine instead of the one that mpr has."""
    normal = (unicodedata.normalize("NFD", part) for part in (pattern, text))
    return re.search(*normal, flags=re.IGNORECASE | re.UNICODE | re.MULTILINE) is not None


def matchers(questions: list[Question]) -> list[AnswerMatcher]:
    return [AnswerMatcher(question.answers, question.regex, question.id) for question in questions]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> PassageStore:
    folder = tmp_path_factory.mktemp("corpus")
    return passages.build(folder / "passages", (Passage(f"p{n}", text, "2020") for n, text in enumerate(TEXTS)), {})


def everything(questions: list[Question]) -> Ranking:
    """Every text for every question, in an order of its own."""
    dice = np.random.default_rng(1)
    rows_QK = np.stack([dice.permutation(len(TEXTS)) for _ in questions])
    return Ranking.of_rows(
        [one.id for one in questions], rows_QK, -np.arange(rows_QK.size).reshape(rows_QK.shape) / 7.0
    )


@pytest.mark.parametrize("regex, answers", [(False, STRINGS), (True, PATTERNS)], ids=["strings", "patterns"])
def test_hard_strings(corpus: PassageStore, regex: bool, answers: tuple[str, ...], examined: Examined) -> None:
    questions = [Question(f"q{number}", "?", (answer,), regex) for number, answer in enumerate(answers)]
    ranking = everything(questions)
    found_N = _matching.contains_answer(ranking, matchers(questions), corpus)
    expected = matches if regex else contains
    for question, row, found in zip(ranking.owner_N, ranking.passage_N, found_N, strict=True):
        assert found == expected(TEXTS[row], answers[question]), (TEXTS[row], answers[question])
    hits = np.bincount(ranking.owner_N[found_N], minlength=len(questions))
    assert (hits > 0).sum() > 0.6 * len(questions), "most of the table must match something"
    assert (hits < len(TEXTS)).all()
    examined(len(found_N), "pairs of answer and text", at_least=200)


def test_first_hits_and_ranks(corpus: PassageStore, examined: Examined) -> None:
    dice = random.Random(4)
    questions = [
        Question(f"q{n}", "?", tuple(dice.sample(STRINGS, 3)) if n % 2 else tuple(dice.sample(PATTERNS, 2)), n % 2 == 0)
        for n in range(60)
    ]
    ranking = everything(questions)
    told: list[int] = []
    right_N = _matching.contains_answer(ranking, matchers(questions), corpus, told.append)
    assert sum(told) == len(ranking.passage_N)
    first_Q = _matching.first_right(ranking, right_N)
    for number, question in enumerate(questions):
        texts = [TEXTS[row] for row in ranking.row(number)]
        expected = matches if question.regex else contains
        ranks = [rank for rank, text in enumerate(texts, 1) if any(expected(text, one) for one in question.answers)]
        assert first_Q[number] == (ranks[0] if ranks else 0)
    owner, passage = np.array([0, 5, 5, 59]), np.array([3, 0, -1, 11])
    ranks_N = _matching.ranks_of(ranking, owner, passage)
    expected_ranks = [
        ranking.row(q).tolist().index(p) + 1 if p >= 0 else 0 for q, p in zip(owner, passage, strict=True)
    ]
    assert ranks_N.tolist() == expected_ranks
    empty = ranking.aligned(["nobody"])
    assert _matching.ranks_of(empty, np.array([0]), np.array([2])).tolist() == [0]
    assert _matching.first_right(empty, np.zeros(0, dtype=np.bool_)).tolist() == [0]
    examined(len(questions), "questions", at_least=60)


def test_texts_are_taken_from_every_batch_of_the_store(tmp_path: Path, examined: Examined) -> None:
    count = BATCH + 50
    big = passages.build(tmp_path / "passages", (Passage(f"p{n}", f"number {n}") for n in range(count)), {})
    rows = [0, BATCH - 1, BATCH, count - 1, 7]
    questions = [Question(f"q{n}", "?", (f"number {n}",)) for n in rows]
    ranking = Ranking.of_rows([one.id for one in questions], np.array([rows] * 5), np.array([[5.0, 4, 3, 2, 1]] * 5))
    right_N = _matching.contains_answer(ranking, matchers(questions), big)
    assert right_N.reshape(5, 5).tolist() == np.eye(5, dtype=bool).tolist()
    examined(5, "rows of two batches", at_least=5)
