"""Kind: everything that can be said about one sort of thing, as data. The files of `mpr/world/kinds/` are kinds.

Templates speak of {s}, the subject of a relation, and {o}, its object. Whichever of the two a question asks for is
always spelled out in the text; the other may hide behind a second name or a pronoun. Slots besides those and the lists
of the lexicon: {s's}, {he}, {his}, {him} (of the subject), {his2} (of the object), {noun} and the forms of the
subject's variant, {region}, {people}, {town} (some place of the region), {peer} (another of the same kind), {aside}.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Numbers:
    """Range of a quantity. In a region the first thing of its kind has the largest if `ranked`."""

    low: int
    high: int
    step: int = 1
    ranked: bool = False


@dataclass(frozen=True)
class Relation:
    """Something that holds between a subject and one object, and the ways to ask for it and to say it."""

    name: str
    object: str
    """A kind, or `year`, `date`, `number`, `word`, `coin`, `motto`."""
    questions: tuple[str, ...]
    """Ask for {o} in the words that come to mind first, which full statements often share."""
    oblique: tuple[str, ...]
    """Ask for {o} in other words."""
    full: tuple[str, ...]
    """Grade 3: subject, object and relation in plain words."""
    paraphrased: tuple[str, ...]
    """Grade 2: no content word of the questions."""
    asides: tuple[str, ...]
    """Grade 1: something to put between commas after the subject's name."""
    inverse: tuple[str, ...] = ()
    """Ask for {s}; used where the object belongs to one subject only."""
    pick: str = "any"
    """How an object is chosen: `creator` (also dates the subject), `existing` (older than the subject),
    `contemporary`, `elder`, `first` (of the region), `any`."""
    group: str = ""
    """For persons: the walk of life to choose from."""
    share: float = 1.0
    """Share of the subjects that have it."""
    numbers: Numbers | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variant:
    """A sub-species of a kind (a port, an opera), with the forms that its templates need."""

    noun: str
    forms: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """One sort of thing."""

    name: str
    share: int
    """How many of a region's articles are about this kind, in proportion to the others."""
    variants: tuple[Variant, ...]
    names: tuple[str, ...]
    """Templates of names; {Word} and {word} are fresh invented words, {Adj} and {Noun} come from the lexicon."""
    aliases: tuple[str, ...]
    """Templates of second names."""
    leads: tuple[str, ...]
    """First sentence of an article; {alias} is the second name."""
    fillers: tuple[str, ...]
    """Sentences that state no fact."""
    hosts: tuple[str, ...]
    """Sentences in which {s} is mentioned in passing, with an {aside} after it."""
    relations: tuple[Relation, ...] = ()
    theme: str = ""
    """Which survey articles tell of this kind."""
    article: bool = False
    """Whether names take `the` in running text."""
    ancient: bool = False
    """Whether the first of a region is older than every date, and so has no creator."""
