"""Names: pronounceable words that no language has, from one syllable grammar per culture.

A word is fresh: no other invented word of the world equals it, nor does any word of the templates, so that finding an
answer string in a passage is never an accident of spelling.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mpr.corpora._world.dice import Dice


@dataclass(frozen=True)
class Culture:
    """A syllable grammar. Strings are split at spaces; `-` stands for nothing."""

    onsets: str
    vowels: str
    codas: str
    places: str
    lands: str
    women: str
    men: str
    families: str
    people: str

    def parts(self, field: str) -> list[str]:
        return ["" if part == "-" else part for part in str(getattr(self, field)).split()]


CULTURES = (
    Culture("l r m v s t n c f p fl br gl", "a e i o a e", "n l r s - - -", "ara ona ella imo enza urra avo",
            "ania aria essa", "a ia ella isa", "o io en aldo", "ani etti aro osti ella ucci", "n"),
    Culture("k g br dr h t sk st gr v kn b r", "a o u e o", "rk nd lm rg lt n r k -", "dun ulm ovik asted orn umby",
            "mark und oven", "a hild run e", "ulf orn ek ar", "sson orsk und arn ekke aug", "ish"),
    Culture("l m v d s n f r ch t b pl", "é a i â ö e ou è", "n l r - - -", "é eau ille ère âne ôme",
            "ée aie ène", "ine ée elle a", "en ard ôt ique", "eau aud îme ac oux ert", "an"),
    Culture("z t k ch x m q p n tl y", "a i u o a", "l n c x tz - -", "atl ixo uca alqui ima anco",
            "alco ixca unta", "xi ali uma atzi", "atl oc ix uac", "ilco uatl ani oztec amac ixtli", "n"),
    Culture("k m n t r h w p l v", "a e i o u a", "- - - -", "alu oro eki inga ua ota", "aroa unui imoa",
            "ani ela ua ina", "oko aru eki amo", "akua iri otai umea ahu ipo", "n"),
    Culture("ll gw br p tr rh c m d n t", "y e o a w", "dd n th rn l s -", "wyn ddyr oeth arth onwy eth",
            "wydd ion yrch", "wen eth ys a", "an yr og ed", "ddan wern yth all owyn edd", "ish"),
    Culture("s h j z kh sh f q b d r n", "a i u aa a", "r m b d z n - -", "abad ir uz ahn amra iya",
            "istar uria azan", "a ira ayya een", "im ar uq id", "awi abi uri azad usha edin", "i"),
    Culture("b d mb k ts n j w l ng g", "a e o u i", "- - m n -", "umbe andi oko isa abwe uru", "ongo andra ubia",
            "ele ani isha ewa", "o ambe iko usu", "ande oyi umbo eke adzi ombe", "n"),
)  # fmt: skip

_UGLY = re.compile(r"(.)\1\1|[bcdfghjklmnpqrstvwxz]{4}|[aeiouyéâöèêîôà]{4}|^[^aeiouyéâöèêîôàw]+$")
_UNWANTED = re.compile(r"fuk|fuc|shit|cunt|nig|coc|rape|anus|nazi|sex|kkk|slut|whor|tit|fag|jap|piss")
_SHORTEST, _LONGEST = 4, 11


class Namer:
    """Gives out words and remembers them."""

    def __init__(self, forbidden: frozenset[str]) -> None:
        self._taken = set(forbidden)
        self._titles: set[str] = set()

    def word(self, culture: Culture, ending: str, dice: Dice) -> str:
        """A fresh lower-case word. The more words there are, the longer they get, so this always ends."""
        tries = 0
        while True:
            longer = tries // 40
            tries += 1
            word = _word(culture, ending, dice, syllables=1 + dice.below(2) + longer)
            fits = _SHORTEST <= len(word) <= _LONGEST + 6 * longer
            if fits and word not in self._taken and not _UGLY.search(word) and not _UNWANTED.search(word):
                self._taken.add(word)
                return word

    def claim(self, title: str) -> bool:
        """True the first time a title (in any capitalisation) is asked for."""
        folded = title.lower()
        fresh = folded not in self._titles
        self._titles.add(folded)
        return fresh


def _word(culture: Culture, ending: str, dice: Dice, syllables: int) -> str:
    stem = ""
    for position in range(syllables):
        coda = dice.pick(culture.parts("codas")) if position == syllables - 1 else ""
        stem += dice.pick(culture.parts("onsets")) + dice.pick(culture.parts("vowels")) + coda
    last = dice.pick(culture.parts(ending))
    if stem[-1] in _VOWELS and last[0] in _VOWELS:
        stem += dice.pick(culture.parts("onsets"))
    return stem + last


_VOWELS = "aeiouyéâöèêîôàw"


def demonym(land: str, culture: Culture) -> str:
    """`Vesmaran` for Vesmara: what comes from there."""
    stem = land[:-1] if land[-1] in "aeé" else land
    vowel_end = land[-1] in "aeiouyéâöè"
    suffix = culture.people
    if suffix == "n":
        return f"{stem}an" if land[-1] in "aeé" else f"{land}n" if vowel_end else f"{land}ian"
    return f"{stem}{suffix}"
