"""When a passage contains an answer: the matching rule of DPR, in one place for the whole kit.

Strings: text and answer are brought to NFD and cut into tokens (a run of letters, numbers and marks, or any other
single character that is neither space nor control), lower-cased; the answer's tokens must stand in the passage's text
as one contiguous run. Patterns: searched in the NFD text, ignoring case, `^` and `$` at every line. Titles never count.

Two departures, both countable instead of silent: an answer without any token, or an empty pattern, matches nothing
here (taken literally it would match every passage), and a pattern that is too large or runs away stops with an error.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import regex as patterns

from mpr.errors import DataError, excerpt

TIMEOUT_SECONDS = 5.0  # an honest pattern needs microseconds for a passage
LONGEST = 4_000  # characters of a pattern; CuratedTREC's longest has 519
LARGEST = 20_000  # characters of a pattern whose repeats with a count are written out, as compiling does it

_TOKEN = patterns.compile(r"[\p{L}\p{N}\p{M}]+|[^\p{Z}\p{C}]")
_ASCII_TOKEN = re.compile(r"[a-z0-9]+|[!-/:-@\[-`{-~]")  # the same rule where NFD changes nothing; five times faster
_FLAGS = patterns.IGNORECASE | patterns.UNICODE | patterns.MULTILINE


def tokens(text: str) -> list[str]:
    """Lower-cased tokens of the NFD form of `text`."""
    if text.isascii():
        return _ASCII_TOKEN.findall(text.lower())
    return [token.lower() for token in _TOKEN.findall(unicodedata.normalize("NFD", text))]


def token_line(text: str) -> str:
    """The tokens between single spaces, with one at each end: a token run is then a plain substring."""
    return f" {' '.join(tokens(text))} "


def normalised(text: str) -> str:
    """A question as its words: case, punctuation, Unicode form and white space do not make it another one."""
    words = [token for token in tokens(unicodedata.normalize("NFKC", text)) if token[0].isalnum()]
    return " ".join(words) or text  # a question of signs only is itself


class AnswerMatcher:
    """Tells whether a text contains one of a question's answers.

    >>> AnswerMatcher(["São Tomé"], regex=False).found_in("The islands (SÃO  TOMÉ) lie off the coast.")
    True
    """

    def __init__(self, answers: Sequence[str], regex: bool, question: str = "") -> None:
        """`question` is an id: it only serves to say which question an endless pattern belongs to."""
        self.regex, self.question = regex, question
        self.invalid: tuple[str, ...] = ()
        """Answers that can match nothing: broken or empty patterns, strings without a token."""
        self._needles: tuple[str, ...] = ()
        self._patterns: tuple[Any, ...] = ()
        for answer in dict.fromkeys(answers):
            if regex and (why := _too_large(answer)):
                what, fix = f"answer pattern {excerpt(answer)} {why}", "write a smaller pattern, or several answers"
                raise DataError(what, where=self._where, fix=fix)
            if regex and (compiled := _compiled(answer)) is not None:
                self._patterns += (compiled,)
            elif not regex and not (line := token_line(answer)).isspace():
                self._needles += (line,)
            else:
                self.invalid += (answer,)

    def prepare(self, text: str) -> str:
        """What `found_in_prepared` wants: worth keeping when one passage is looked at for many questions."""
        return unicodedata.normalize("NFD", text) if self.regex else token_line(text)

    def found_in_prepared(self, prepared: str) -> bool:
        if self.regex:
            return any(self._searched(pattern, prepared) for pattern in self._patterns)
        return any(needle in prepared for needle in self._needles)

    def found_in(self, text: str) -> bool:
        return self.found_in_prepared(self.prepare(text))

    @property
    def _where(self) -> str:
        return f"question {self.question or '(no id given)'}"

    def _searched(self, pattern: Any, text: str) -> bool:
        try:
            return pattern.search(text, timeout=TIMEOUT_SECONDS) is not None
        except (TimeoutError, MemoryError) as error:
            over = "did not finish within" if isinstance(error, TimeoutError) else "ran out of memory before"
            what = f"answer pattern {excerpt(pattern.pattern)} {over} {TIMEOUT_SECONDS:g} seconds"
            raise DataError(what, where=self._where, fix="rewrite it without nested repetition") from None


_PART = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\{(\d*),?(\d*)\}|.", re.DOTALL)  # an escape, a set, a count, a character
_CALL = re.compile(r"\(\?(?:R|[+-]?\d|&|P>)")


def _too_large(pattern: str) -> str:
    """Why a pattern could take all memory before a time limit helps; empty if it cannot."""
    if len(pattern) > LONGEST:
        return f"has {len(pattern):,} characters, {LONGEST:,} are allowed"
    sizes, last = [0], 0  # of the groups that are open, and of what a count would repeat
    for part in _PART.finditer(pattern):
        text, counts = part[0], [int(count[:9]) for count in part.groups() if count]
        if _CALL.match(pattern, part.start()):
            return "calls a part of itself"
        if text == "(":
            sizes.append(0)
        elif counts:
            sizes[-1] += last * (max(counts) - 1)
            last *= max(counts)
        else:
            last = sizes.pop() if text == ")" and len(sizes) > 1 else 1
            sizes[-1] += last
        if sum(sizes) > LARGEST:
            return f"has more than {LARGEST:,} characters when its repeats are written out"
    return ""


def _compiled(pattern: str) -> Any:
    """The pattern ready for searching, or None when it is empty or not a pattern."""
    if not pattern.strip():
        return None
    try:
        return patterns.compile(unicodedata.normalize("NFD", pattern), _FLAGS)
    except (patterns.error, ValueError, OverflowError, RecursionError, KeyError):
        return None  # a KeyError is what some versions of regex have for a pattern that asks for two of its versions
