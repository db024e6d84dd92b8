"""Prompts: what a language model is asked for, word by word, each under a name with a version.

A prompt never changes under its name: results name it, and answers are kept by it. Another wording is another version.
`{question}`, `{title}` and `{text}` are replaced by texts, whose own braces stay as they are. Each prompt has a
function that reads the answer; it returns None where there is none.

A passage may contain instructions to the model. That is not prevented here; it shows where planted positives and known
negatives are judged too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from mpr.errors import RecipeError, nearest

Kind = Literal["judge", "question", "rewrite"]
_PLACE = re.compile(r"\{(question|title|text)\}")
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)  # some models write their thoughts first
_YES_NO = re.compile(r"\W*(?:answer\W+)?(yes|no)\b", re.IGNORECASE)
_GRADE = re.compile(r"\W*(?:grade\W+)?([0-3])\b(?!\s*(?:[-/.,]|or|to)\s*\d)", re.IGNORECASE)
_NUMBER = re.compile(r"^\s*(?:\d{1,2}[.)]|[-*•])\s+")
_LONGEST = 1_000  # characters of a question; what is longer is something else


@dataclass(frozen=True)
class Prompt:
    """A wording, and how its answer is read."""

    name: str
    kind: Kind
    text: str
    read: Callable[[str], Any]

    def filled(self, *, question: str = "", title: str = "", text: str = "") -> str:
        """With these texts in their places."""
        parts = {"question": question, "title": title, "text": text}
        return _PLACE.sub(lambda found: parts[found[1]], self.text).strip()


def yes_or_no(answer: str) -> int | None:
    """1 or 0 by the first word."""
    found = _YES_NO.match(_said(answer))
    return None if found is None else int(found[1].lower() == "yes")


def grade(answer: str) -> int | None:
    """0 to 3, if that is what the answer begins with; `0-1` is undecided."""
    found = _GRADE.match(_said(answer))
    return None if found is None else int(found[1])


def questions(answer: str) -> list[str] | None:
    """One a line, without numbers and repetitions."""
    lines = (_NUMBER.sub("", line).strip().strip('"') for line in _said(answer).splitlines())
    found = list(dict.fromkeys(line for line in lines if any(map(str.isalnum, line)) and len(line) <= _LONGEST))
    return found or None


def rewritten(answer: str) -> str | None:
    """The whole text."""
    found = _said(answer).strip()
    return found if any(map(str.isalnum, found)) else None


def _said(answer: str) -> str:
    return _THOUGHT.sub("", answer).strip()


_LISTED = (
    Prompt(
        "judge-yes-no-1",
        "judge",
        "Read the question and the passage. Does the passage state what is needed to answer the question? Sharing its "
        "topic or its words is not enough. Say only yes or no.\n\n"
        "Question: {question}\n\nPassage title: {title}\nPassage: {text}\n\nYes or no:",
        yes_or_no,
    ),
    Prompt(
        "judge-graded-1",
        "judge",
        "Read the question and the passage, and grade how well the passage answers the question.\n"
        "3: it states the full answer.\n2: it states the answer in part, or next to much else.\n"
        "1: it is about the topic without the answer.\n0: it is about something else.\n"
        "Say only the grade, one digit.\n\n"
        "Question: {question}\n\nPassage title: {title}\nPassage: {text}\n\nGrade:",
        grade,
    ),
    Prompt(
        "questions-1",
        "question",
        "Write a question that somebody who has not seen this passage might ask, and that it answers. It must make "
        "sense by itself and must not mention a passage. Write only the question; if you see several, one a line.\n\n"
        "Passage title: {title}\nPassage: {text}\n\nQuestion:",
        questions,
    ),
    Prompt("questions-bare-1", "question", "{title} {text}", questions),  # for models trained for nothing else
    Prompt(
        "paraphrase-1",
        "rewrite",
        "Say what this passage says in other words and in another order. Keep every fact, name and number; add "
        "nothing. Write only the new passage.\n\nPassage title: {title}\nPassage: {text}\n\nNew passage:",
        rewritten,
    ),
    Prompt(
        "to-german-1",
        "rewrite",
        "Translate this passage into German. Write only the translation.\n\n{text}\n\nTranslation:",
        rewritten,
    ),
    Prompt(
        "to-english-1",
        "rewrite",
        "Translate this passage into English. Write only the translation.\n\n{text}\n\nTranslation:",
        rewritten,
    ),
    Prompt("rewrite-bare-1", "rewrite", "{text}", rewritten),  # for models trained to translate or to paraphrase
)
PROMPTS = {prompt.name: prompt for prompt in _LISTED}


def of(name: str, kind: Kind, key: str = "--prompt") -> Prompt:
    """The prompt of that name and kind, or a refusal that lists what there is."""
    offered = [prompt.name for prompt in _LISTED if prompt.kind == kind]
    if name not in offered:
        fix = f"{nearest(name, offered)} known: {', '.join(offered)}".strip()
        raise RecipeError(f"no prompt '{name[:60]}' of this kind", key=key, fix=fix)
    return PROMPTS[name]
