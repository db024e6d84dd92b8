"""Scene: turns facts, false matches and fillers into the sentences of one article.

It decides how things are called: by full name, by second name, by what they are, or by a pronoun.
"""

from __future__ import annotations

from enum import Enum

from mpr.corpora._world.dice import Dice
from mpr.corpora._world.entity import Entity, Fact
from mpr.corpora._world.mentions import ALONE, PAIRED, sort_of
from mpr.corpora._world.population import Population
from mpr.corpora._world.slots import Slots
from mpr.corpora._world.template import render, sentence

_CONNECTORS = (
    "It is well known that ", "As far as anyone remembers, ", "According to {paper}, ", "In {town} people say that ",
    "Elsewhere in {region}, as the {craft} tell it, ", "Guides like to add that ",
    "Meanwhile, as one reads in {paper}, ",
)  # fmt: skip
_CONNECTED = 0.25  # of the statements that stand in another thing's article open with a connector
_BY_NAME = 0.5  # of paraphrases use the full name; the others a second name, a pronoun or a description
_PAIRED = 0.35  # of false matches also name what the question is about


class Topic(Enum):
    """Whether a passage has already spoken of its article's subject: not yet, earlier, in the sentence before."""

    NEW = 0
    EARLIER = 1
    LAST = 2


class Scene:
    """Renders sentences for one article. Every throw comes from the article's own dice."""

    def __init__(self, population: Population, home: Entity, dice: Dice) -> None:
        self._population, self.home, self.dice = population, home, dice

    def lead(self) -> str:
        """The first sentence of the article, which gives both names of its subject."""
        template = self.dice.pick(self.home.kind.leads)
        slots = self._slots({"s": self.home.called, "alias": self.home.alias})
        return sentence(render(template, self.dice, slots))

    def filler(self, template: str, topic: Topic) -> str:
        """A sentence without a fact."""
        brief = topic is not Topic.NEW and self.home.kind.name != "survey" and self.dice.chance(0.8)
        slots = self._slots({"s": self._brief(template, topic) if brief else self.home.called})
        return sentence(render(template, self.dice, slots))

    def statement(self, fact: Fact, grade: int, topic: Topic) -> str:
        """The fact in words of that grade."""
        relation = fact.relation
        template = self.dice.pick(
            {3: relation.full, 2: relation.paraphrased, 1: fact.subject.kind.hosts}[grade],
        )
        answer, known = fact.answer.written(self.dice), self._known(fact, grade, template, topic)
        names = {"s": answer, "o": known} if fact.inverse else {"s": known, "o": answer}
        slots = self._slots(names, fact)
        if grade == 1:
            slots.add("aside", render(self.dice.pick(relation.asides), self.dice, slots))
        text = render(template, self.dice, slots)
        if self.home not in (fact.subject, fact.object) and template[0] not in '["' and self.dice.chance(_CONNECTED):
            start = text if template[0] == "{" else text[0].lower() + text[1:]
            text = render(self.dice.pick(_CONNECTORS), self.dice, slots) + start
        return sentence(text)

    def visit(self) -> str:
        """A sentence that mentions something else of the region and states nothing: company for its hard questions."""
        local = self._population.local[self.home.region.index]
        others = [one for ones in local.values() for one in ones if one is not self.home and one.kind.hosts]
        guest = self.dice.pick(others)
        template = self.dice.pick(guest.kind.hosts).replace("{s}, {aside},", "{s}").replace("{s}, {aside}", "{s}")
        name = guest.alias if self.dice.chance(0.25) else guest.called
        slots = Slots(self._population, self.home, self.dice, {"s": name}, about=guest)
        return sentence(render(template, self.dice, slots))

    def mention(self, fact: Fact) -> str:
        """The words of the fact's answer, without the fact."""
        sort = sort_of(fact.answer, fact.relation.object)
        template = self.dice.pick((PAIRED if self.dice.chance(_PAIRED) else ALONE)[sort])
        known = fact.known.alias if fact.known.alias and self.dice.chance(0.3) else fact.known.called
        slots = self._slots({"x": fact.answer.written(self.dice), "k": known}, fact)
        return sentence(render(template, self.dice, slots))

    def _slots(self, names: dict[str, str], fact: Fact | None = None) -> Slots:
        return Slots(self._population, self.home, self.dice, names, fact)

    def _known(self, fact: Fact, grade: int, template: str, topic: Topic) -> str:
        """How the side that a question would name is called here."""
        known = fact.known
        if grade == 3 or self.dice.chance(_BY_NAME):
            return known.called
        in_own_article = known is self.home and not fact.inverse
        if grade == 2 and in_own_article and topic is not Topic.NEW and self.dice.chance(0.6):
            return self._brief(template, topic)
        return known.alias

    def _brief(self, template: str, topic: Topic) -> str:
        """A short way to call the article's subject: a pronoun where nothing stands between, else what it is."""
        if topic is Topic.LAST and template.startswith("{s} ") and self.dice.chance(0.5):
            return self.home.pronoun("he")
        if self.home.kind.name == "person" and self.dice.chance(0.5):
            return self.home.name.split()[-1]
        return f"the {self.home.variant.noun}"
