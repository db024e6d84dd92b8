"""Entity, Fact and the values a fact can have: what the invented world consists of before it is put into words."""

from __future__ import annotations

from dataclasses import dataclass

from mpr.corpora._world.dice import Dice
from mpr.corpora._world.kind import Kind, Relation, Variant
from mpr.corpora._world.lexicon import MONTHS
from mpr.corpora._world.names import Culture


@dataclass(frozen=True)
class Region:
    """What the things of one region share."""

    index: int
    name: str
    culture: Culture
    people: str
    flavour: dict[str, tuple[str, ...]]


@dataclass(eq=False)
class Entity:
    """A thing with a name, a second name and an article of its own."""

    index: int
    kind: Kind
    variant: Variant
    region: Region
    name: str
    alias: str
    year: int
    female: bool = False

    @property
    def called(self) -> str:
        """The name as it stands in running text."""
        return f"the {self.name}" if self.kind.article else self.name

    @property
    def title(self) -> str:
        return self.name[0].upper() + self.name[1:]

    def pronoun(self, case: str) -> str:
        """`he`, `him` or `his` turned into what fits."""
        if self.kind.name != "person":
            return {"he": "it", "him": "it", "his": "its"}[case]
        return {"he": "she", "him": "her", "his": "her"}[case] if self.female else case

    @property
    def answers(self) -> tuple[str, ...]:
        alias = self.alias.removeprefix("the ")
        return (self.name, alias) if alias else (self.name,)

    def written(self, dice: Dice) -> str:
        """The entity where it is the answer: nearly always by name."""
        return self.alias if self.alias and dice.chance(0.12) else self.called


@dataclass(frozen=True)
class Literal:
    """A value that is not an entity. `forms` are equivalent ways to write it; a question accepts each of them."""

    forms: tuple[str, ...]
    accepted: tuple[str, ...] = ()

    @property
    def answers(self) -> tuple[str, ...]:
        return self.accepted or self.forms

    def written(self, dice: Dice) -> str:
        return self.forms[0] if dice.chance(0.5) else dice.pick(self.forms)


@dataclass(eq=False)
class Fact:
    """`relation` holds between `subject` and `object`. A question asks for the object, or if `inverse` the subject."""

    index: int
    relation: Relation
    subject: Entity
    object: Entity | Literal
    inverse: bool = False

    @property
    def answer(self) -> Entity | Literal:
        return self.subject if self.inverse else self.object

    @property
    def known(self) -> Entity:
        """The side that the question names."""
        if self.inverse:
            assert isinstance(self.object, Entity), "only facts between entities are asked the other way round"
            return self.object
        return self.subject


_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def in_words(number: int) -> str:
    """`twelve thousand four hundred`."""
    if number < 20:
        return _ONES[number]
    if number < 100:
        return _TENS[number // 10] + (f"-{_ONES[number % 10]}" if number % 10 else "")
    unit, name = (1000, "thousand") if number >= 1000 else (100, "hundred")
    rest = number % unit
    joined = " " if unit == 1000 and rest >= 100 else " and "
    return f"{in_words(number // unit)} {name}" + (f"{joined}{in_words(rest)}" if rest else "")


def quantity(number: int) -> Literal:
    """A number in digits and in words."""
    if number < 1000:
        return Literal((str(number), in_words(number)))
    grouped = f"{number // 1000},{number % 1000:03d}"
    return Literal((grouped, in_words(number)), (grouped, str(number), in_words(number)))


def ordinal(number: int) -> str:
    ending = "th" if number in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def date(year: int, dice: Dice) -> Literal:
    """A day in that year."""
    day, month = dice.between(1, 28), dice.pick(MONTHS)
    return Literal((f"{day} {month} {year}", f"{month} {day}, {year}", f"the {ordinal(day)} of {month} {year}"))


def word(text: str) -> Literal:
    """A common noun: written with its article, accepted without."""
    bare = text.removeprefix("a ").removeprefix("an ").removeprefix("the ")
    return Literal((text,), (bare,))
