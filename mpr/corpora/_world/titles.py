"""Titles: how a thing of the invented world gets its name and its second name. No two are ever equal."""

from __future__ import annotations

from functools import cache

from mpr.corpora._world.dice import Dice
from mpr.corpora._world.entity import Region
from mpr.corpora._world.kind import Variant
from mpr.corpora._world.kinds import KINDS
from mpr.corpora._world.lexicon import ADJECTIVES, LISTS, MONTHS, NOUNS
from mpr.corpora._world.names import Namer
from mpr.corpora._world.template import literal_words, render, with_articles

_TRIES = 12  # for a short title before a longer one is made
_GIVEN_NAMES = 14  # in use for women, and for men, in one region
_FAMILY_SHARED = 0.4  # of persons bear the family name of somebody else
_PLACE_SHARED = 0.4  # of lakes, battles, bridges... and compound towns are named like a place that exists already


@cache
def grammar_words() -> frozenset[str]:
    """Every word the grammar itself uses; no invented word may equal one."""
    templates: list[str] = [*ADJECTIVES, *NOUNS, *(f"{noun}s" for noun in NOUNS), *MONTHS]
    templates += [text for words in LISTS.values() for text in words]
    for kind in KINDS.values():
        templates += [*kind.names, *kind.aliases, *kind.leads, *kind.fillers, *kind.hosts]
        templates += [variant.noun for variant in kind.variants]
        for relation in kind.relations:
            templates += [*relation.questions, *relation.oblique, *relation.inverse, *relation.words]
            templates += [*relation.full, *relation.paraphrased, *relation.asides]
    return frozenset(word for template in templates for word in literal_words(template))


class Titles:
    """Gives titles within the region entered last."""

    def __init__(self) -> None:
        self.words = Namer(grammar_words())

    def enter(self, region: Region, dice: Dice) -> None:
        self._region, self._dice = region, dice
        self._families: list[str] = []
        self._places: list[str] = []
        self._given = {
            female: [self._word("women" if female else "men") for _ in range(_GIVEN_NAMES)] for female in (True, False)
        }

    def fresh(self, templates: tuple[str, ...], variant: Variant, female: bool) -> str:
        """A title made from one of the templates."""
        self._variant, self._female = variant, female
        for _ in range(_TRIES):
            self._used: list[str] = []
            title = with_articles(render(self._dice.pick(templates), self._dice, self._slot))
            if self.words.claim(title):
                return title
        title = f"{title} of {self._word('places')}"  # in large worlds short titles run out; fresh words never do
        claimed = self.words.claim(title)
        assert claimed, "a title with a fresh word is fresh"
        return title

    def _word(self, ending: str) -> str:
        return self.words.word(self._region.culture, ending, self._dice).capitalize()

    def _slot(self, slot: str) -> str:
        if slot == "Place":
            return self._shared(self._places, "places", _PLACE_SHARED)
        if slot in ("Word", "word"):
            word = self._word("places")
            return word if slot == "Word" else word.lower()
        if slot == "Given":
            return self._dice.pick(self._given[self._female])
        if slot == "Family":
            return self._shared(self._families, "families", _FAMILY_SHARED)
        if slot in ("Adj", "adj"):
            adjective = self._unused(ADJECTIVES)
            return adjective if slot == "Adj" else adjective.lower()
        if slot in ("Noun", "count", "colour"):
            return self._unused(NOUNS if slot == "Noun" else LISTS[slot])
        noun = self._variant.noun
        known = {"Land": self._region.name, "region": self._region.name, "noun": noun, "Noun^": noun.title()}
        return known[slot]

    def _unused(self, words: tuple[str, ...]) -> str:
        """A word that does not stand in this title yet."""
        self._used.append(self._dice.pick([word for word in words if word not in self._used]))
        return self._used[-1]

    def _shared(self, known: list[str], ending: str, share: float) -> str:
        """A new word, or one already in use: names of different things share words here as they do everywhere."""
        if known and self._dice.chance(share):
            return self._dice.pick(known)
        known.append(self._word(ending))
        return known[-1]
