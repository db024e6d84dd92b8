"""Prompts: filled word by word, answers read strictly, and no wording changes under its name."""

from __future__ import annotations

import hashlib

import pytest

from mpr.errors import RecipeError
from mpr.writing import prompts
from mpr.writing.prompts import PROMPTS
from tests.conftest import Examined

# A prompt that has to change gets a new name, and a new line here. Answers and files are known by these names.
WORDINGS = {
    "judge-yes-no-1": "ccfe92320acde77b",
    "judge-graded-1": "3ba31405e84a4534",
    "judge-relabel-1": "c415d91c7667c68e",
    "judge-order-1": "d20f2e1057a47b1f",
    "questions-1": "f471c97d25a0d367",
    "questions-bare-1": "5ac0db4070b42179",
    "paraphrase-1": "74e2284b88feeab9",
    "to-german-1": "19b94112e994aa9b",
    "to-english-1": "2a166a89f0d0315f",
    "rewrite-bare-1": "ada0db1bcc3bb7d1",
}


def test_no_wording_changes_under_its_name(examined: Examined) -> None:
    found = {name: hashlib.sha256(prompt.text.encode()).hexdigest()[:16] for name, prompt in PROMPTS.items()}
    assert found == WORDINGS
    examined(len(found), "wordings", at_least=8)


def test_texts_are_put_in_as_they_are() -> None:
    prompt = PROMPTS["judge-yes-no-1"]
    hostile = "a {text} and {title} and {0} \\1"
    made = prompt.filled(question=hostile, title="{question}", text="{x}")
    assert f"Question: {hostile}\n\nPassage title: {{question}}\nPassage: {{x}}\n" in made
    assert PROMPTS["questions-bare-1"].filled(text="only") == "only"


@pytest.mark.parametrize(
    "answer, expected",
    [
        ("yes", 1), ("No.", 0), ("**Yes**, it states it.", 1), ("Answer: no", 0), ("\n'YES'", 1),
        ("<think>no, or yes?</think>\nyes", 1), ("<think>yes", None), ("", None), ("maybe", None),
        ("yesterday", None), ("nothing", None), ("It is not said: no", None), ("?", None),
        ("Yes or no: No", None),  # the prompt said again is no answer
        ("yes/no", None),
        ("Yes, or nearly", 1),
    ],
)  # fmt: skip
def test_yes_or_no(answer: str, expected: int | None) -> None:
    assert prompts.yes_or_no(answer) == expected


@pytest.mark.parametrize(
    "answer, expected",
    [
        ("3", 3), ("0", 0), (" Grade: 2\nbecause", 2), ("**1**", 1), ("2.", 2), ("<think>3</think> 1", 1),
        ("4", None), ("10", None), ("2.5", None), ("0-1", None), ("2 or 3", None), ("1 to 3", None), ("3/3", None),
        ("three", None), ("", None), ("-", None),
    ],
)  # fmt: skip
def test_grade(answer: str, expected: int | None) -> None:
    assert prompts.grade(answer) == expected


def test_questions_and_rewritten_texts() -> None:
    said = '<think>hm</think>\n1. Who?\n- "When was it?"\n\nWho?\n---\n' + "x" * 1_001
    assert prompts.questions(said) == ["Who?", "When was it?"]
    assert prompts.questions("1988 was the year of what?") == ["1988 was the year of what?"]
    assert prompts.questions(" \n...\n") is None
    assert prompts.rewritten(" Some text.\nMore. ") == "Some text.\nMore."
    assert prompts.rewritten("...") is None


def test_a_prompt_has_a_kind() -> None:
    assert prompts.of("judge-graded-1", "judge").read is prompts.grade
    with pytest.raises(RecipeError, match=r"no prompt 'paraphrase-1' of this kind \(known: judge-yes-no-1, judge-gra"):
        prompts.of("paraphrase-1", "judge")
    with pytest.raises(RecipeError, match="did you mean 'questions-1'"):
        prompts.of("question-1", "question")
