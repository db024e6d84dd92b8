"""Prompts: what a language model is asked for, word by word, each under a name with a version.

A prompt never changes under its name: results name it, and answers are kept by it. Another wording is another version.
`{question}`, `{title}` and `{text}` are replaced by texts, whose own braces stay as they are. Each prompt has a
function that reads the answer; it returns None where there is none. A prompt that shows a list (`{listed}`) asks about
all passages of a question at once; the known positives stand apart (`{known}`) or among the others. Its function reads
one grade for each passage of the list.

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
_PLACE = re.compile(r"\{(question|title|text|known|listed)\}")
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)  # some models write their thoughts first
_YES_NO = re.compile(r"\W*(?:answer\W+)?(yes|no)\b(?!\s*(?:or|/)\s*(?:yes|no)\b)", re.IGNORECASE)
_GRADE = re.compile(r"\W*(?:grade\W+)?([0-3])\b(?!\s*(?:[-/.,]|or|to)\s*\d)", re.IGNORECASE)
_NUMBER = re.compile(r"^\s*(?:\d{1,2}[.)]|[-*•])\s+")
_LISTED_WORD = re.compile(r"\b(?:none|and|passage|doc|\d{1,3})\b", re.IGNORECASE)  # what a line of numbers may have
_LONGEST = 1_000  # characters of a question; what is longer is something else


@dataclass(frozen=True)
class Prompt:
    """A wording, and how its answer is read."""

    name: str
    kind: Kind
    text: str
    read: Callable[..., Any]
    """Of the answer; where all passages of a question are listed, of their number too."""

    @property
    def is_listed(self) -> bool:
        """Whether it asks about all passages of a question at once."""
        return "{listed}" in self.text

    @property
    def known_apart(self) -> bool:
        """Whether it shows known positives as such."""
        return "{known}" in self.text

    def filled(self, **texts: str) -> str:
        """With these texts in their places."""
        parts = dict.fromkeys(("question", "title", "text", "known", "listed"), "") | texts
        return _PLACE.sub(lambda found: parts[found[1]], self.text).strip()


def yes_or_no(answer: str) -> int | None:
    """1 or 0 by the first word."""
    found = _YES_NO.match(_said(answer))
    return None if found is None else int(found[1].lower() == "yes")


def grade(answer: str) -> int | None:
    """0 to 3, if that is what the answer begins with; `0-1` is undecided."""
    found = _GRADE.match(_said(answer))
    return None if found is None else int(found[1])


def relabelled(answer: str, count: int) -> list[int] | None:
    """2 for passages in the line that begins with Better, 1 for those in the line Worse, 0 for the others."""
    grades = [0] * count
    for word, grade in (("worse", 1), ("better", 2)):
        numbers = _line(answer, word, count)
        if numbers is None:
            return None
        for number in numbers:
            grades[number - 1] = grade
    return grades


def order(answer: str, count: int) -> list[int] | None:
    """Places from the end of the line that begins with Order, from 1 on; 0 for passages that are not in it."""
    numbers = _line(answer, "order", count)
    if numbers is None:
        return None
    grades = [0] * count
    for place, number in enumerate(reversed(numbers), 1):
        grades[number - 1] = place
    return grades


def _line(answer: str, word: str, count: int) -> list[int] | None:
    """The numbers in the last line that begins with this word, each once; None where there is no such line, or where
    it has anything but numbers of passages (or the word none) in it."""
    lines = re.findall(rf"^[^\w\n]*{word}[^\w\n]*:(.*)$", _said(answer), re.IGNORECASE | re.MULTILINE)
    if not lines or any(map(str.isalnum, _LISTED_WORD.sub("", lines[-1]))):
        return None
    found = list(dict.fromkeys(int(number) for number in re.findall(r"\d+", lines[-1])))
    return found if all(1 <= number <= count for number in found) else None


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
        "judge-relabel-1",
        "judge",
        "Read the question, the passages that are known to answer it, and the numbered candidates. Find the candidates "
        "that state all that is needed to answer the question, as the known passages do. Sharing the topic or words is "
        "not enough. Then compare each of them with the known passages. End with these two lines, with numbers or the "
        "word none:\nBetter: candidates that answer the question as well as a known passage, or better\n"
        "Worse: candidates that answer it, but not as well\n\n"
        "Question: {question}\n\nKnown passages:\n{known}\n\nCandidates:\n{listed}",
        relabelled,
    ),
    Prompt(
        "judge-order-1",
        "judge",
        "Read the question and the numbered passages. Find the part of each passage that answers the question; many "
        "passages have none. Put the passages that have one in order, the most direct answer first, and leave out the "
        "others. End with this line, with numbers or the word none:\nOrder: 4 > 1 > 7\n\n"
        "Question: {question}\n\nPassages:\n{listed}",
        order,
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
