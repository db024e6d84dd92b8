"""World: the finished collection. Passages, questions, and the truth about which passage supports which answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from mpr.corpora._world.articles import Draft, write
from mpr.corpora._world.copies import edited
from mpr.corpora._world.dice import Dice
from mpr.corpora._world.lexical import Lexical
from mpr.corpora._world.lexicon import era
from mpr.corpora._world.placing import TextDials, place
from mpr.corpora._world.population import populate
from mpr.corpora._world.questions import Asked, QuestionDials, ask
from mpr.records import Passage, Question

SPLITS = ("train", "dev", "test")


class Dials(TextDials, QuestionDials, Protocol):
    """Everything that decides a world."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A passage that repeats another one: word for word if `exact`, else with a trivial edit."""

    original: str
    exact: bool


@dataclass(frozen=True)
class World:
    """A generated collection. Facts are known by number, passages by id."""

    passages: list[Passage]
    topics: dict[str, str]
    """Passage id -> cluster of its article: region and age."""
    copies: dict[str, Copy]
    """Passage id -> what it is a copy of."""
    supported: dict[int, dict[str, int]]
    """Fact -> passages that state it -> grade: 3 in full, 2 paraphrased, 1 in passing."""
    asked: dict[str, list[Asked]]
    """Split -> questions with their facts."""

    def topic_of(self, passage: str) -> str:
        return self.topics[passage]

    def questions(self, split: str) -> list[Question]:
        return [asked.question for asked in self.asked[split]]

    def support(self, asked: Asked) -> dict[str, int]:
        """Passages that truly support the answer, with their grades, in the order of the collection."""
        return self.supported[asked.fact.index]

    def only_the_words(self, asked: Asked) -> list[str]:
        """Passages that contain an answer string and do not support the answer: false distant positives."""
        support = self.support(asked)
        rows = self.lexical.containing(asked.question.answers)
        return [self.passages[row].id for row in rows if self.passages[row].id not in support]

    @cached_property
    def lexical(self) -> Lexical:
        return Lexical(self.passages)


def build(dials: Dials) -> World:
    """The world of these dials: a pure function of them, the same on every machine."""
    population = populate(dials.seed, dials.articles)
    asked = ask(population, dials)  # before any text is written: impossible wishes are refused at once
    world = World([], {}, {}, {}, asked)
    width = max(4, len(str(dials.articles)))
    for entity, items in zip(population.entities, place(population, dials), strict=True):
        drafts = write(population, entity, items, dials)
        ids = [f"w{entity.index + 1:0{width}d}-{number:02d}" for number in range(1, 2 * len(drafts) + 1)]
        for passage, draft in zip(ids, drafts, strict=False):
            _enter(world, Passage(passage, draft.text, entity.title), draft)
        copied = [n for n in range(len(drafts)) if Dice(dials.seed, "copied", entity.index, n).chance(dials.duplicates)]
        for passage, n in zip(ids[len(drafts) :], copied, strict=False):
            dice = Dice(dials.seed, "copy", entity.index, n)
            exact = dice.chance(0.5)
            text = drafts[n].text if exact else edited(drafts[n].text, dice)
            _enter(world, Passage(passage, text, entity.title), drafts[n])
            world.copies[passage] = Copy(ids[n], exact)
        topic = f"{entity.region.name}, {era(entity.year)}"
        world.topics.update((passage, topic) for passage in ids[: len(drafts) + len(copied)])
    return world


def _enter(world: World, passage: Passage, draft: Draft) -> None:
    world.passages.append(passage)
    for fact, grade in draft.supports.items():
        world.supported.setdefault(fact, {})[passage.id] = grade
