"""The nouns of the kit, such as Passage, Question, Candidate and Group, and the rules of an id and of a text.

Formats (`mpr/formats/`) read and write them; corpora (`mpr/corpora/`) yield them; stores keep them on disk.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

MAX_ID_BYTES = 200

# Where a positive label comes from, best first. A recipe says which tiers count as positive.
TIERS = ("gold", "answer_match", "cross_encoder", "llm", "generated", "augmented")


@dataclass(frozen=True, slots=True)
class Passage:
    """A unit of text that can be retrieved."""

    id: str
    text: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. `answers` are strings, or patterns when `regex` is true; empty where relevance is judged."""

    id: str
    text: str
    answers: tuple[str, ...] = ()
    regex: bool = False


@dataclass(frozen=True, slots=True)
class Positive:
    """A passage that is known to be relevant: who says so (`tier`) and how much (`grade`)."""

    passage: str
    tier: str = "gold"
    grade: float = 1.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage that a source proposes for a question, usually as a negative. `rank` counts from 1."""

    passage: str
    source: str
    rank: int
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """A question with what is known about it. `passages` holds texts that came inline with the record, if any."""

    question: Question
    positives: tuple[Positive, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    passages: tuple[Passage, ...] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """One line of qrels: `grade` 0 means judged and not relevant."""

    question: str
    passage: str
    grade: int


@dataclass(frozen=True, slots=True)
class Hit:
    """One line of a run."""

    question: str
    passage: str
    rank: int
    score: float
    tag: str = "mpr"


@dataclass(frozen=True, slots=True)
class PairScore:
    """What a scorer, such as a cross-encoder, thinks of a passage for a question."""

    question: str
    passage: str
    score: float


@dataclass(frozen=True, slots=True)
class RankedList:
    """Candidates of one question as a file lists them, which knows the question by its id, its text or both."""

    question: str | None
    text: str | None
    passages: list[str]
    scores: list[float]
    """Empty where only the order of the passages counts."""


def id_problem(value: object) -> str:
    """Why `value` cannot be an id, or the empty string. Ids end up in run files, where white space separates."""
    if not isinstance(value, str):
        return f"id must be text, not {type(value).__name__}"
    if not value:
        return "id is empty"
    if value.isascii() and value.isprintable() and " " not in value and len(value) <= MAX_ID_BYTES:
        return ""  # nearly all of them, at a fraction of the cost
    if any(character.isspace() or not character.isprintable() for character in value):
        return "id contains white space or a control character"
    if len(value.encode("utf-8", "surrogatepass")) > MAX_ID_BYTES:
        return f"id is longer than {MAX_ID_BYTES} bytes"
    return ""


def text_problem(value: object) -> str:
    """Why `value` cannot be a text, or the empty string. Everything that UTF-8 can hold is a text."""
    if not isinstance(value, str):
        return f"must be text, not {type(value).__name__}"
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        return f"has an undecodable character (lone surrogate) at position {error.start}"
    return ""


def stable_hash(value: str) -> int:
    """64 bits of BLAKE2b: the same on every platform, whatever PYTHONHASHSEED says."""
    return int.from_bytes(hashlib.blake2b(value.encode("utf-8"), digest_size=8).digest(), "little")


def text_hash(text: str) -> int:
    """Identity of a text with runs of white space folded: two passages with equal hashes say the same thing."""
    return stable_hash(" ".join(text.split()))
