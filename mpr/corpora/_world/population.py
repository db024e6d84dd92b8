"""Population: who and what there is in the invented world, and what holds between them.

Regions come into being one after the other; inside a region persons come first, then each kind in the order of
`mpr/world/kinds/`. A thing that somebody created is dated by its creator, so that nobody founds a town before birth.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mpr.corpora._world.dice import Dice
from mpr.corpora._world.entity import Entity, Fact, Literal, Region, date, quantity, word
from mpr.corpora._world.kind import Kind, Relation, Variant
from mpr.corpora._world.kinds import KINDS
from mpr.corpora._world.lexicon import NOUNS, flavour
from mpr.corpora._world.names import CULTURES, demonym
from mpr.corpora._world.titles import Titles

ARTICLES_PER_REGION = 60
FIRST_BIRTH, LAST_BIRTH = 760, 1390
_AT_LEAST = {"person": 5, "city": 3, "mountain": 1, "lake": 1, "river": 1, "institution": 1, "creature": 1, "survey": 1}
_INVERSE_SHARE = 0.5  # of the facts that can be asked either way


@dataclass
class Population:
    """Entities and facts. `local[region][kind]` are a region's entities, `related[entity]` its facts' other sides."""

    entities: list[Entity] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    local: list[dict[str, list[Entity]]] = field(default_factory=list)
    related: list[list[Entity]] = field(default_factory=list)


def populate(seed: int, articles: int) -> Population:
    """As many entities as articles are wanted, with everything that relates them."""
    settlers = _Settlers(seed)
    regions = max(1, articles // ARTICLES_PER_REGION)
    for index in range(regions):
        size = articles * (index + 1) // regions - articles * index // regions
        settlers.settle(index, size)
    settlers.relate()
    return settlers.population


def census(size: int) -> list[str]:
    """Kinds of a region's `size` articles: the obligatory ones, then whichever lags most behind its share."""
    counts = {name: _AT_LEAST.get(name, 0) for name in KINDS if name != "region"}
    total = sum(KINDS[name].share for name in counts)
    while sum(counts.values()) < size - 1:
        rest = size - 1
        lagging = max(counts, key=lambda name: KINDS[name].share * rest - counts[name] * total)
        counts[lagging] += 1
    return ["region", *(name for name in KINDS if name != "region" for _ in range(counts[name]))]


class _Settlers:
    """Fills a population, region by region."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.population = Population()
        self.titles = Titles()
        self.uses: dict[tuple[str, int], int] = {}
        self.pairs: set[tuple[int, int]] = set()

    def settle(self, index: int, size: int) -> None:
        """Creates the entities of one region, without dates and facts yet except births."""
        dice = Dice(self.seed, "region", index)
        culture = CULTURES[index % len(CULTURES)]
        land = self.titles.words.word(culture, "lands", dice)
        region = Region(index, land.capitalize(), culture, demonym(land, culture).capitalize(), flavour(dice))
        self.titles.enter(region, dice)
        local: dict[str, list[Entity]] = {name: [] for name in KINDS}
        self.population.local.append(local)
        for name in census(size):
            kind = KINDS[name]
            place = len(local[name])
            variant = _variant(kind, place, dice)
            female = name == "person" and dice.chance(0.5)
            title = self.titles.fresh(kind.names, variant, female)
            alias = self.titles.fresh(kind.aliases, variant, female) if kind.aliases else ""
            entity = Entity(len(self.population.entities), kind, variant, region, title, alias, 0, female)
            entity.year = dice.between(FIRST_BIRTH, LAST_BIRTH)
            self.population.entities.append(entity)
            local[name].append(entity)

    def relate(self) -> None:
        """Draws all facts: dates first, since `existing` and `contemporary` look at them."""
        for relation_round in ("creator", ""):
            for entity in self.population.entities:
                dice = Dice(self.seed, f"facts/{relation_round}", entity.index)
                for relation in entity.kind.relations:
                    if (relation.pick == "creator") == (relation_round == "creator"):
                        self._relate(entity, relation, dice)
        self._turn_round()
        self.population.related = [[] for _ in self.population.entities]
        for fact in self.population.facts:
            if isinstance(fact.object, Entity):
                self.population.related[fact.subject.index].append(fact.object)
                self.population.related[fact.object.index].append(fact.subject)

    def _turn_round(self) -> None:
        """Decides which facts are asked the other way round: only where the object has this to one subject."""
        owners: dict[tuple[str, int], int] = {}
        for fact in self.population.facts:
            if isinstance(fact.object, Entity):
                key = (fact.relation.name, fact.object.index)
                owners[key] = owners.get(key, 0) + 1
        for fact in self.population.facts:
            if fact.relation.inverse and isinstance(fact.object, Entity):
                alone = owners[fact.relation.name, fact.object.index] == 1
                fact.inverse = alone and Dice(self.seed, "inverse", fact.index).chance(_INVERSE_SHARE)

    def _relate(self, entity: Entity, relation: Relation, dice: Dice) -> None:
        wanted = dice.chance(relation.share)
        ancient = entity.kind.ancient and entity is self.population.local[entity.region.index][entity.kind.name][0]
        if ancient and relation.pick in ("creator", "own"):
            entity.year = FIRST_BIRTH - 60
            return
        value = self._object(entity, relation, dice)
        if value is None:
            return
        if relation.pick == "creator" and isinstance(value, Entity):
            entity.year = value.year + dice.between(24, 55)
        if wanted:
            self.population.facts.append(Fact(len(self.population.facts), relation, entity, value))

    def _object(self, entity: Entity, relation: Relation, dice: Dice) -> Entity | Literal | None:
        if relation.object == "year":
            return Literal((str(entity.year),))
        if relation.object == "date":
            return date(entity.year, dice)
        if relation.object == "number":
            return quantity(self._number(entity, relation, dice))
        if relation.object == "word":
            return word(dice.pick(relation.words))
        if relation.object == "coin":
            return Literal((self.titles.words.word(entity.region.culture, "families", dice),))
        if relation.object == "motto":
            return self._motto(dice)
        return self._partner(entity, relation, dice)

    def _motto(self, dice: Dice) -> Literal:
        while True:
            nouns = dice.sample(NOUNS, 2)
            pattern = dice.pick(("{} before {}", "Neither {} nor {}", "From {} to {}", "Keep the {}, mind the {}"))
            motto = pattern.format(*(noun.lower() for noun in nouns))
            if self.titles.words.claim(motto):
                return Literal((motto[0].upper() + motto[1:],))

    def _number(self, entity: Entity, relation: Relation, dice: Dice) -> int:
        numbers = relation.numbers
        assert numbers is not None, f"{relation.name}: a number needs a range"
        steps = (numbers.high - numbers.low) // numbers.step
        if not numbers.ranked:
            return numbers.low + numbers.step * dice.below(steps + 1)
        largest = entity is self.population.local[entity.region.index][entity.kind.name][0]
        border = steps * 4 // 5
        return numbers.low + numbers.step * (dice.between(border + 1, steps) if largest else dice.below(border + 1))

    def _partner(self, entity: Entity, relation: Relation, dice: Dice) -> Entity | None:
        local = self.population.local[entity.region.index]
        pool = [one for name in relation.object.split("|") for one in local[name] if one is not entity]
        if relation.pick == "first":
            return pool[0] if pool else None
        # Nobody plays two parts for one thing: its founder is not its first head, no book is dedicated to its author.
        others = [one for one in pool if one.kind.name != "person" or (entity.index, one.index) not in self.pairs]
        fitting = [one for one in others if _fits(one, entity, relation)]
        if relation.pick in ("creator", "contemporary"):
            fitting = fitting or others
        if not fitting:
            return None
        # Objects used least so far come first, which lets most questions be asked the other way round as well.
        least = min(self.uses.get((relation.name, one.index), 0) for one in fitting)
        spread = relation.pick == "creator" or bool(relation.inverse)
        chosen = dice.pick(
            [one for one in fitting if not spread or self.uses.get((relation.name, one.index), 0) == least]
        )
        self.uses[relation.name, chosen.index] = self.uses.get((relation.name, chosen.index), 0) + 1
        self.pairs.add((entity.index, chosen.index))
        return chosen


def _fits(one: Entity, entity: Entity, relation: Relation) -> bool:
    """Whether `one` can be the object, as far as dates and walks of life tell."""
    if relation.pick == "creator":
        return relation.group in ("any", one.variant.forms["group"])
    if relation.pick == "existing":
        return one.year < entity.year + (15 if one.kind.name == "institution" else 0)
    if relation.pick == "elder":
        return 12 <= entity.year - one.year <= 60
    if relation.pick == "contemporary":
        return 15 <= entity.year - one.year <= 70
    return True


def _variant(kind: Kind, place: int, dice: Dice) -> Variant:
    """Walks of life and themes of surveys take turns, so that every region has all of them; the rest is drawn."""
    if kind.name == "person":
        groups = list(dict.fromkeys(variant.forms["group"] for variant in kind.variants))
        wanted = groups[place % len(groups)]
        return dice.pick([variant for variant in kind.variants if variant.forms["group"] == wanted])
    if kind.name == "survey":
        return kind.variants[place % len(kind.variants)]
    return dice.pick(kind.variants)
