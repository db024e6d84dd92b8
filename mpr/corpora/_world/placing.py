"""Placing: in which article each fact is stated, how well, and where its answer stands without it.

No two statements of a fact share an article, hence none share a passage: a fact has exactly as many supporting
passages as statements, before passages are copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mpr.corpora._world.dice import Dice
from mpr.corpora._world.entity import Entity, Fact
from mpr.corpora._world.population import Population

_RELATED, _ANYWHERE = 3, 40  # articles considered for a fact besides those of its two sides and a survey
_AWAY = 0.45  # of the facts are not stated in the article of their own subject, where one would look first
_GRADES = (3, 3, 2, 2, 2, 2, 1, 1, 1, 1)  # of every statement after the first


class TextDials(Protocol):
    """What decides the texts of a world."""

    @property
    def seed(self) -> int: ...
    @property
    def articles(self) -> int: ...
    @property
    def statements(self) -> int: ...
    @property
    def few_positive(self) -> float: ...
    @property
    def false_matches(self) -> float: ...
    @property
    def duplicates(self) -> float: ...


@dataclass(frozen=True)
class Item:
    """One thing to say in an article: a fact with its grade, or (grade 0) only the words of its answer."""

    fact: Fact
    grade: int

    def about(self, entity: Entity) -> bool:
        """Whether the sentence has the article's own subject for its subject."""
        return self.grade > 0 and self.fact.subject is entity


def place(population: Population, dials: TextDials) -> list[list[Item]]:
    """For every entity the items of its article."""
    articles: list[list[Item]] = [[] for _ in population.entities]
    for fact in population.facts:
        dice = Dice(dials.seed, "placing", fact.index)
        few = dice.chance(dials.few_positive)
        several = min(dials.statements, dice.between(2, max(2, dials.statements)))
        count = 1 if few else several
        homes = _homes(population, fact, dice)
        for place, home in enumerate(homes[:count]):
            articles[home.index].append(Item(fact, 3 if place == 0 else dice.pick(_GRADES)))
        whole = int(dials.false_matches)
        extra = whole + dice.chance(dials.false_matches - whole)
        for home in homes[count : count + extra]:
            articles[home.index].append(Item(fact, 0))
    return articles


def _homes(population: Population, fact: Fact, dice: Dice) -> list[Entity]:
    """Articles in which the fact may be stated, best first: its two sides, then what is related, then anything."""
    local = population.local[fact.subject.region.index]
    first = [fact.subject]
    if isinstance(fact.object, Entity):
        first.append(fact.object)
    surveys = [one for one in local["survey"] if one.variant.forms["theme"] == fact.subject.kind.theme]
    related = dice.shuffled([one for side in first for one in population.related[side.index]])
    near = dice.shuffled([*dice.sample(surveys, 1), *related[:_RELATED]])
    anywhere = dice.sample([one for ones in local.values() for one in ones], _ANYWHERE)
    homes = list(dict.fromkeys([*first, *near, *anywhere]))
    if dice.chance(_AWAY):
        homes = homes[1:]
    return homes
