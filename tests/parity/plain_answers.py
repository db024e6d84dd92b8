"""When a text holds an answer, from the description of DPR's rule: by general categories, one character at a time, and
by Python's own patterns. It shares nothing with mpr/metrics/answers.py."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence


def tokens(text: str) -> list[str]:
    """Runs of letters, numbers and marks of the NFD text, and any other character that is no space and no control."""
    found: list[str] = []
    inside = False
    for character in unicodedata.normalize("NFD", text):
        category = unicodedata.category(character)[0]
        if category in "LNM":
            found[-1:] = [found[-1] + character] if inside else [*found[-1:], character]
        elif category not in "ZC":
            found.append(character)
        inside = category in "LNM"
    return [token.lower() for token in found]


def has_answer(answers: Sequence[str], text: str) -> bool:
    """Whether the tokens of an answer stand in the text one after the other."""
    hay = tokens(text)
    runs = [run for run in map(tokens, answers) if run]
    return any(hay[at : at + len(run)] == run for run in runs for at in range(len(hay)))


def has_pattern(answers: Sequence[str], text: str) -> bool:
    """Whether a pattern is found in the NFD text, whatever the case, `^` and `$` at every line."""
    hay = unicodedata.normalize("NFD", text)
    flags = re.IGNORECASE | re.MULTILINE
    return any(re.search(unicodedata.normalize("NFD", answer), hay, flags) for answer in answers)
