"""Questions: which facts are asked for in which split, and how.

A test question is either about a thing that nothing in train and dev asks about or has for its answer (one half: the
unseen), or about any other thing (the other half). Train and dev never touch the unseen things. Splits share no fact.
Asking for more training questions only adds to the list: the first ones, dev and test stay the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from mpr.corpora._world.dice import Dice
from mpr.corpora._world.entity import Entity, Fact
from mpr.corpora._world.population import Population
from mpr.corpora._world.slots import Slots
from mpr.corpora._world.template import render
from mpr.errors import DataError
from mpr.records import Question

_BY_ALIAS = 0.45  # of the questions call their subject by its second name
_OBLIQUE = 0.6  # of the questions avoid the words that statements use
_NEVER_UNSEEN = ("region", "survey")  # too much else hangs on a region


class QuestionDials(Protocol):
    """What decides the questions of a world."""

    @property
    def seed(self) -> int: ...
    @property
    def questions(self) -> int: ...
    @property
    def dev_questions(self) -> int: ...
    @property
    def test_questions(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Asked:
    """A question with the fact it asks for."""

    question: Question
    fact: Fact
    unseen: bool


def ask(population: Population, dials: QuestionDials) -> dict[str, list[Asked]]:
    """The questions of every split."""
    facts = Dice(dials.seed, "order of questions").shuffled(population.facts)
    unseen = _unseen(population, facts, -(-dials.test_questions // 2), dials.seed)
    about_unseen = [fact for fact in facts if fact.known.index in unseen]
    others = [fact for fact in facts if fact.known.index not in unseen]
    test = about_unseen[: -(-dials.test_questions // 2)]
    test += others[: dials.test_questions - len(test)]
    taken = {fact.index for fact in test}
    free = [fact for fact in others if fact.index not in taken and not _answer_in(fact, unseen)]
    wanted = dials.dev_questions + dials.questions
    if len(test) < dials.test_questions or len(free) < wanted:
        what = f"the invented world has too few facts: {len(test) + len(free)} can be asked for in these splits, "
        fix = "raise `articles` or lower `questions`, `dev_questions` or `test_questions`"
        raise DataError(f"{what}{dials.test_questions + wanted} are wanted", key="articles", fix=fix)
    parts = {"train": free[dials.dev_questions : wanted], "dev": free[: dials.dev_questions], "test": test}
    return {split: list(_worded(population, split, facts, unseen, dials.seed)) for split, facts in parts.items()}


def _answer_in(fact: Fact, unseen: frozenset[int]) -> bool:
    return isinstance(fact.answer, Entity) and fact.answer.index in unseen


def _unseen(population: Population, facts: Sequence[Fact], wanted: int, seed: int) -> frozenset[int]:
    """Things about which enough facts are known to make the unseen half of test."""
    asked_about: dict[int, int] = {}
    for fact in facts:
        asked_about[fact.known.index] = asked_about.get(fact.known.index, 0) + 1
    candidates = [entity.index for entity in population.entities if entity.kind.name not in _NEVER_UNSEEN]
    chosen: list[int] = []
    for index in Dice(seed, "unseen").shuffled(candidates):
        if wanted <= 0:
            break
        chosen.append(index)
        wanted -= asked_about.get(index, 0)
    return frozenset(chosen)


def _worded(
    population: Population, split: str, facts: Sequence[Fact], unseen: frozenset[int], seed: int
) -> Iterator[Asked]:
    for number, fact in enumerate(facts, start=1):
        dice = Dice(seed, "question", fact.index)
        known = fact.known.alias if fact.known.alias and dice.chance(_BY_ALIAS) else fact.known.called
        pronoun = fact.known.pronoun("his")
        possessive = pronoun if known == pronoun else f"{known}'s"
        names = {"o": known} if fact.inverse else {"s": known, "s's": possessive}
        slots = Slots(population, fact.subject, dice, names, fact)
        relation = fact.relation
        ways = relation.inverse if fact.inverse else relation.oblique if dice.chance(_OBLIQUE) else relation.questions
        text = render(dice.pick(ways), dice, slots)
        question = Question(f"{split}-{number:05d}", text[0].upper() + text[1:], fact.answer.answers)
        yield Asked(question, fact, fact.known.index in unseen)
