"""Articles: what is to be said becomes passages of some 40 to 90 words, which remember what they support."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from mpr.corpora._world.dice import Dice
from mpr.corpora._world.entity import Entity
from mpr.corpora._world.placing import Item, TextDials
from mpr.corpora._world.population import Population
from mpr.corpora._world.scene import Scene, Topic

SHORTEST = 40  # words of a passage; the longest have about 95
_TARGETS = (55, 76)
_OWN_FIRST = 0.7  # chance that the next sentence is about the article's subject while there are any left
_PADDED = 0.07  # chance of a filler after a statement
_VISITED = 0.15  # chance that something else of the region is then mentioned, without any fact


@dataclass
class Draft:
    """A passage in the making."""

    sentences: list[str] = field(default_factory=list)
    supports: dict[int, int] = field(default_factory=dict)
    """Index of a fact -> grade of the best sentence that states it."""
    topic: Topic = Topic.NEW
    """Whether the article's subject has been named."""

    @property
    def words(self) -> int:
        return sum(len(sentence.split()) for sentence in self.sentences)

    @property
    def text(self) -> str:
        return " ".join(self.sentences)


def write(population: Population, entity: Entity, items: list[Item], dials: TextDials) -> list[Draft]:
    """The passages of one article."""
    return _Writer(Scene(population, entity, Dice(dials.seed, "article", entity.index)), items).passages


class _Writer:
    """Puts one article together."""

    def __init__(self, scene: Scene, items: list[Item]) -> None:
        self._scene, self._dice = scene, scene.dice
        self._fillers: list[str] = []
        self.passages: list[Draft] = [Draft()]
        self._target = self._dice.between(*_TARGETS)
        self._add(scene.lead(), own=True)
        for item in self._ordered(items):
            self._add_item(item)
            if self._dice.chance(_PADDED):
                self._add_filler()
            if self._dice.chance(_VISITED):
                self._make_room()
                if not self._draft.sentences:
                    self._add_filler()
                self._add(self._scene.visit(), own=False)
        while self._draft.words < SHORTEST or len(self.passages) < 2:
            self._add_filler()

    @property
    def _draft(self) -> Draft:
        return self.passages[-1]

    def _ordered(self, items: list[Item]) -> Iterator[Item]:
        home = self._scene.home
        own = self._dice.shuffled([item for item in items if item.about(home)])
        foreign = self._dice.shuffled([item for item in items if not item.about(home)])
        while own or foreign:
            yield (own if own and (not foreign or self._dice.chance(_OWN_FIRST)) else foreign).pop()

    def _add_item(self, item: Item) -> None:
        own = item.about(self._scene.home)
        self._make_room()
        if not self._draft.sentences and not own:
            self._add_filler()  # so that every passage says what its article is about
        if item.grade == 0:
            self._add(self._scene.mention(item.fact), own=False)
            return
        self._add(self._scene.statement(item.fact, item.grade, self._draft.topic), own and item.grade > 1)
        self._draft.supports[item.fact.index] = max(item.grade, self._draft.supports.get(item.fact.index, 0))

    def _add_filler(self) -> None:
        self._make_room()
        opening = not self._draft.sentences
        if not self._fillers:
            self._fillers = self._dice.shuffled(self._scene.home.kind.fillers)
        if opening:  # the first sentence names the subject
            self._fillers.sort(key=lambda template: "{s}" in template)
        self._add(self._scene.filler(self._fillers.pop(), self._draft.topic), own=True)

    def _make_room(self) -> None:
        if self._draft.words >= self._target:
            self.passages.append(Draft())
            self._target = self._dice.between(*_TARGETS)

    def _add(self, sentence: str, own: bool) -> None:
        self._draft.sentences.append(sentence)
        if own:
            self._draft.topic = Topic.LAST
        elif self._draft.topic is Topic.LAST:
            self._draft.topic = Topic.EARLIER
