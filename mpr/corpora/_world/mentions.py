"""Mentions: sentences that bring the words of an answer into a passage and say nothing of the fact.

They are what a search for the answer string takes for support: false distant positives. {x} is the answer, {k} the
thing that the question is about.
"""

from __future__ import annotations

from mpr.corpora._world.entity import Entity, Literal

ALONE: dict[str, tuple[str, ...]] = {
    "person": (
        "A street in {town} is named after {x}.",
        "Somebody who looked like {x} was seen in {town}, but it was only a dealer in {crop}.",
        "Portraits of {x} were hung [in every inn|upside down] during {feast}.",
        "A cook who once worked for {x} opened a stall with {dish} in {town}.",
        "Letters addressed to {x} were found in a sack of {crop}.",
    ),
    "place": (
        "Merchants from the country around {x} sold {cloth} and {beast} [every {season}|until they were turned away].",
        "A traveller on the way to {x} was held up by {weather} and wrote {paper}.",
        "Pictures of {x} are sold everywhere, even at {feast}.",
        "The {craft} of {town} get their {stone} from the country near {x}.",
        "A ballad about {x} is sung to the {instrument}.",
    ),
    "thing": (
        "A schoolbook praises {x} [on {count} pages|in clumsy verse].",
        "The {craft} of {town} swear by {x} when they are drunk.",
        "A joke about {x} made the rounds in {season}.",
        "An inn in {town} had {x} on its sign, painted {colour}.",
    ),
    "year": (
        "In {x}, {weather} spoiled the {crop} and the price of {cloth} doubled.",
        "A bill from {x} lists {count} barrels of {dish}.",
        "The bell founders of {town} cast {count} bells in {x}.",
        "{feast} was cancelled in {x} because of {weather}.",
    ),
    "date": (
        "A bill dated {x} lists {count} sacks of {crop}.",
        "On {x}, {weather} tore the roof from a barn in {town}.",
        "The {craft} of {town} held their feast on {x} and ate {dish}.",
    ),
    "number": (
        "A cargo list names {x} bundles of {cloth}.",
        "The {craft} of {town} once sold {x} barrels of {crop} in one {season}.",
        "A bet was lost over {x} [onions|candles|eggs] at {feast}.",
        "One inventory counts {x} {beast}, surely a slip of the pen.",
    ),
    "word": (
        "A riddle from {town} ends with {x}.",
        "A preacher compared pride with {x} and the {craft} laughed.",
        "The puppet play for {feast} begins with {x}.",
    ),
    "phrase": (
        'A sailor had the words "{x}" tattooed on one arm.',
        'A card game played in {town} is called "{x}".',
        'Children in {town} shout "{x}" when {weather} begins.',
    ),
}

PAIRED: dict[str, tuple[str, ...]] = {
    "person": (
        "A ballad puts {k} and {x} into the same verse, only because the names fit the tune.",
        "{x} had a dog that was named after {k}.",
        "{x} is said to have lost a bet about {k}.",
    ),
    "place": (
        "On a square named after {x} a puppet theatre once gave a comic play about {k}.",
        "A bookseller in the country of {x} printed {count} poor pictures of {k}.",
        "{k} and {x} stand next to each other in the almanac, for no reason but the alphabet.",
    ),
    "thing": (
        "{k} and {x} stand next to each other in the almanac, for no reason but the alphabet.",
        "A crossword from {town} needs both {k} and {x}.",
    ),
    "year": (
        "A pamphlet about {k} was reprinted in {x}, with all its errors.",
        "A ballad about {k} became popular again in {x}.",
        "A forged medal shows {k} and the number {x}.",
    ),
    "date": (
        "A lecture about {k} had to be cancelled on {x} because of {weather}.",
        "A ballad about {k} was sung in {town} on {x}.",
    ),
    "number": (
        "A pamphlet about {k} bears the shelf mark {x}.",
        "A printer made {x} cheap pictures of {k} and sold {count}.",
        "A ballad about {k} was sold {x} times in one {season}.",
    ),
    "word": (
        "A cartoon shows {k} beside {x}, and nobody in {town} got the joke.",
        "A riddle rhymes {k} with {x}.",
    ),
    "phrase": (
        'A pamphlet about {k} was signed "{x}".',
        'A cartoon of {k} has the caption "{x}".',
    ),
}

_PLACES = frozenset(("region", "city", "mountain", "river", "lake"))


def sort_of(answer: Entity | Literal, value: str) -> str:
    """Which list of sentences fits an answer. `value` is the object of its relation."""
    if isinstance(answer, Literal):
        return {"coin": "phrase", "motto": "phrase"}.get(value, value)
    if answer.kind.name == "person":
        return "person"
    return "place" if answer.kind.name in _PLACES else "thing"
