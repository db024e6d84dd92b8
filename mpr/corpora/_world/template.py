"""Templates: the notation in which everything of the invented world is said.

    [a|b|c]    one of the alternatives, which may be empty and may nest
    {slot}     whatever the scene puts there: a name, a pronoun, a word of the region

`sentence` makes the result presentable: first letter, `a` or `an`, full stop.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from mpr.corpora._world.dice import Dice


@dataclass(frozen=True, slots=True)
class _Slot:
    name: str


@dataclass(frozen=True, slots=True)
class _Choice:
    branches: tuple[tuple[_Part, ...], ...]


_Part = str | _Slot | _Choice

_PIECE = re.compile(r"\[|\]|\||\{([^{}]+)\}|[^\[\]|{}]+")


@cache
def parsed(template: str) -> tuple[_Part, ...]:
    """The template as a tree. Malformed templates are a bug of the grammar and fail at once."""
    pieces = list(_PIECE.finditer(template))
    assert "".join(piece.group() for piece in pieces) == template, f"stray brace in template: {template}"
    branches, _ = _branches(pieces, 0, nested=False)
    assert len(branches) == 1, f"alternatives outside a choice: {template}"
    return branches[0]


def _branches(pieces: list[re.Match[str]], at: int, nested: bool) -> tuple[tuple[tuple[_Part, ...], ...], int]:
    found: list[tuple[_Part, ...]] = []
    current: list[_Part] = []
    while at < len(pieces):
        piece = pieces[at].group()
        at += 1
        if piece == "[":
            inner, at = _branches(pieces, at, nested=True)
            current.append(_Choice(inner))
        elif piece == "]":
            assert nested, "a choice is closed that was never opened"
            return (*found, tuple(current)), at
        elif piece == "|":
            found.append(tuple(current))
            current = []
        else:
            slot = pieces[at - 1].group(1)
            current.append(_Slot(slot) if slot else piece)
    assert not nested, "a choice is not closed"
    return (*found, tuple(current)), at


def render(template: str, dice: Dice, scene: Callable[[str], str]) -> str:
    """The template with every choice thrown and every slot filled."""
    return "".join(_rendered(parsed(template), dice, scene))


def _rendered(parts: tuple[_Part, ...], dice: Dice, scene: Callable[[str], str]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, _Slot):
            yield scene(part.name)
        else:
            yield from _rendered(dice.pick(part.branches), dice, scene)


def literal_words(template: str) -> list[str]:
    """Every word that the template itself can bring into a text, lower-cased."""
    return re.findall(r"[^\W\d_]+", re.sub(r"\{[^{}]+\}", " ", template).lower())


_ARTICLE = re.compile(r"\b([Aa])n? (?=[\"“]?(\w[\w,-]*))")
_SOUNDS_LIKE_A_CONSONANT = re.compile(r"(?:uni(?!n|m)|use|usu|eu|one\b|once)")
_SOUNDS_LIKE_A_VOWEL = re.compile(r"(?:hour|honest|heir|8|1[18](?![0-9])(?:,|$))")


def _article(match: re.Match[str]) -> str:
    following = match.group(2).lower()
    vowel = following[0] in "aeiouàáâäéèêëíîïóôöøúûü" and not _SOUNDS_LIKE_A_CONSONANT.match(following)
    return match.group(1) + ("n " if vowel or _SOUNDS_LIKE_A_VOWEL.match(following) else " ")


def with_articles(text: str) -> str:
    """`a` and `an` as the following word wants them."""
    return _ARTICLE.sub(_article, text)


def sentence(text: str) -> str:
    """Upper-case first letter, the right `a` or `an`, and an end mark."""
    text = with_articles(text)
    start = 1 if text[0] in '"“' else 0
    text = text[:start] + text[start].upper() + text[start + 1 :]
    return text if text[-1] in ".?" or text[-2:] in ('."', ".”") else f"{text}."
