"""Slots: what fills the gaps of one sentence. Nothing is used twice in a sentence, and no name slips in by accident."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mpr.corpora._world.dice import Dice
from mpr.corpora._world.entity import Entity, Fact, Region
from mpr.corpora._world.lexicon import LISTS
from mpr.corpora._world.population import Population

_NO_PEER = "an older namesake"
_SOMEWHERE = (
    "the next village", "a village nearby", "a lonely hamlet", "the next valley", "a fishing hamlet", "a hill village",
    "the nearest hamlet", "a village by the road",
)  # fmt: skip
_UNNAMED = 0.45  # of the places that sentences mention by the way have no name


class Slots:
    """A callable for `template.render`. `names` are given; everything else is drawn or derived."""

    def __init__(
        self,
        population: Population,
        home: Entity,
        dice: Dice,
        names: Mapping[str, str],
        fact: Fact | None = None,
        about: Entity | None = None,
    ) -> None:
        """`home` is the article the sentence stands in; {noun}, {he} and {peer} refer to what the sentence is about."""
        self._population, self._home, self._dice = population, home, dice
        self._names = dict(names)
        self._subject = fact.subject if fact else about or home
        self._object = fact.object if fact and isinstance(fact.object, Entity) else None
        # A town of the fact itself must not come in twice: it could state something that is not meant.
        self._used: list[Entity] = [self._subject, *([self._object] if self._object else [])]
        self._words: list[str] = []

    def add(self, name: str, text: str) -> None:
        self._names[name] = text

    @property
    def _region(self) -> Region:
        return self._subject.region

    def __call__(self, slot: str) -> str:
        if slot in self._names:
            return self._names[slot]
        if slot in LISTS:
            return self._word(self._region.flavour[slot])
        if slot == "town":
            return self._town()
        if slot == "peer":
            return self._peer()
        if slot in ("he", "him", "his"):
            return self._subject.pronoun(slot)
        if slot == "his2":
            assert self._object is not None, "{his2} stands only in relations between things"
            return self._object.pronoun("his")
        known = {"noun": self._subject.variant.noun, "region": self._region.name, "people": self._region.people}
        return known[slot] if slot in known else self._subject.variant.forms[slot]

    def _word(self, preferred: Sequence[str]) -> str:
        fresh = [word for word in preferred if word not in self._words] or list(preferred)
        self._words.append(self._dice.pick(fresh))
        return self._words[-1]

    def _town(self) -> str:
        towns = [town for town in self._population.local[self._home.region.index]["city"] if town not in self._used]
        if not towns or self._dice.chance(_UNNAMED):
            return self._dice.pick(_SOMEWHERE)
        town = self._home if self._home in towns and self._dice.chance(0.5) else self._dice.pick(towns)
        self._used.append(town)
        return town.called

    def _peer(self) -> str:
        local = self._population.local[self._region.index][self._subject.kind.name]
        peers = [one for one in local if one not in self._used]
        if not peers:
            return _NO_PEER
        self._used.append(self._dice.pick(peers))
        return self._used[-1].called
