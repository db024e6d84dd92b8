"""A planted collection: 200 passages of 20 topics, in which who answers what is known for certain.

A topic is an article with three aspects; three passages state the fact of each aspect, and each question about it has
these three as positives. Two things are planted to trap a system: a passage that repeats a positive with the answer
exchanged, and one that repeats a positive and was judged by nobody. Questions and passages speak of a topic and of an
aspect in different words, so nothing but training brings them together; half of the questions also name the article,
as words for BM25 to find.

Scores of pairs say what a perfect judge of relevance would, with a little noise: they stand for a cross-encoder.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TOPICS, ASPECTS, STATED = 20, 3, 3
ASKED = {"train": 4, "unlabelled": 2, "generated": 2, "dev": 1, "test": 2}  # questions of each fact
_SYLLABLES = [first + vowel for first in "bdfgklmnprstvz" for vowel in "aeiou"]


@dataclass(frozen=True)
class Stated:
    """A passage and the fact that it states; `is_true` of a trap is whether it does."""

    id: str
    title: str
    text: str
    fact: int
    is_true: bool
    is_judged: bool


@dataclass(frozen=True)
class Asked:
    """A question about a fact."""

    id: str
    text: str
    answer: str
    fact: int


@dataclass(frozen=True)
class Planted:
    """The whole collection."""

    passages: tuple[Stated, ...]
    questions: dict[str, tuple[Asked, ...]]

    def positives(self, question: Asked) -> list[str]:
        """Those that were judged."""
        return [one.id for one in self.passages if one.fact == question.fact and one.is_true and one.is_judged]

    def scores(self, role: str) -> Iterator[tuple[str, str, float]]:
        """Of every pair: near 1 where the passage states the fact, near 0 elsewhere, more within the topic."""
        dice = random.Random(f"scores of {role}")
        for question in self.questions[role]:
            for passage in self.passages:
                near = 0.05 if passage.fact // ASPECTS == question.fact // ASPECTS else 0.0
                truth = 0.95 if passage.fact == question.fact and passage.is_true else near
                yield question.id, passage.id, truth + dice.uniform(-0.02, 0.02)


@cache
def planted() -> Planted:
    """Always the same one."""
    dice, seen = random.Random(20), set[str]()

    def word() -> str:
        while (made := "".join(dice.choices(_SYLLABLES, k=3))) in seen:
            pass
        seen.add(made)
        return made

    def words(count: int) -> list[str]:
        return [word() for _ in range(count)]

    fillers, asking = words(12), words(6)
    names = words(TOPICS)
    topic_said, topic_asked = [words(4) for _ in range(TOPICS)], [words(3) for _ in range(TOPICS)]
    aspect_said, aspect_asked = [words(4) for _ in range(ASPECTS)], [words(3) for _ in range(ASPECTS)]
    answers = words(TOPICS * ASPECTS)

    def statement(fact: int, answer: str) -> str:
        topic, aspect = divmod(fact, ASPECTS)
        said = dice.sample(topic_said[topic], 2) + dice.sample(aspect_said[aspect], 3) + dice.sample(fillers, 2)
        dice.shuffle(said)
        return " ".join([*said, answer])

    def question(fact: int) -> str:
        topic, aspect = divmod(fact, ASPECTS)
        said = dice.sample(topic_asked[topic], 2) + dice.sample(aspect_asked[aspect], 2) + dice.sample(asking, 1)
        if dice.random() < 0.5:
            said.append(names[topic])
        dice.shuffle(said)
        return " ".join(said)

    passages: list[Stated] = []
    for topic in range(TOPICS):
        facts = range(topic * ASPECTS, (topic + 1) * ASPECTS)
        made = [(fact, statement(fact, answers[fact]), True, True) for fact in facts for _ in range(STATED)]
        fact, text, _, _ = dice.choice(made)
        if topic % 2:
            made.append((fact, " ".join([*text.split()[:-1], dice.choice(answers)]), False, True))
        else:
            made.append((fact, f"{text} {dice.choice(fillers)}", True, False))
        for fact, text, is_true, is_judged in made:
            passages.append(Stated(f"p{len(passages)}", names[topic], text, fact, is_true, is_judged))
    asked = {
        role: tuple(
            Asked(f"{role}{fact}-{number}", question(fact), answers[fact], fact)
            for number in range(count)
            for fact in range(TOPICS * ASPECTS)
        )
        for role, count in ASKED.items()
    }
    return Planted(tuple(passages), asked)


def write(folder: Path) -> Planted:
    """The collection as files that the kit reads: passages, questions with and without answers, judgements, scores of
    the judge for every pair, and triples of a teacher."""
    made = planted()
    folder.mkdir(parents=True, exist_ok=True)

    def lines(name: str, rows: Iterator[str]) -> None:
        (folder / name).write_text("".join(f"{row}\n" for row in rows), "utf-8")

    lines("passages.tsv", (f"{one.id}\t{one.text}\t{one.title}" for one in made.passages))
    for role, questions in made.questions.items():
        rows = [{"id": one.id, "question": one.text} for one in questions]
        lines(f"{role}.jsonl", map(json.dumps, rows))
        answered = (row | {"answers": [one.answer]} for row, one in zip(rows, questions, strict=True))
        lines(f"{role}.answered.jsonl", map(json.dumps, answered))
        if role != "unlabelled":
            lines(f"{role}.qrels", (f"{q.id} 0 {p} 1" for q in questions for p in made.positives(q)))
    asked = (pair for role in ("train", "unlabelled") for pair in made.scores(role))
    lines("judge.tsv", (f"{q}\t{p}\t{score:.4f}" for q, p, score in asked))
    lines("triples.tsv", _triples(made))
    return made


def _triples(made: Planted) -> Iterator[str]:
    """A teacher's scores, question, positive and negative: six negatives of each positive, two of the same topic."""
    dice = random.Random("triples")
    scores = {(question, passage): 10 * score for question, passage, score in made.scores("train")}
    for question in made.questions["train"]:
        positives = made.positives(question)
        others = [one for one in made.passages if one.id not in positives]
        near = [one.id for one in others if one.fact // ASPECTS == question.fact // ASPECTS]
        for positive in positives:
            for negative in [*dice.sample(near, 2), *dice.sample([one.id for one in others], 4)]:
                high, low = scores[question.id, positive], scores[question.id, negative]
                yield f"{high:.4f}\t{low:.4f}\t{question.id}\t{positive}\t{negative}"
