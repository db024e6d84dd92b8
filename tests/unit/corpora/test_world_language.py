"""The invented world reads as English: no residue of templates, agreement of `a` and `an`, no stray signs."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from mpr.corpora._world.dice import Dice
from mpr.corpora._world.entity import date, in_words, ordinal, quantity, word
from mpr.corpora._world.kinds import KINDS
from mpr.corpora._world.population import populate
from mpr.corpora._world.template import literal_words, parsed, render, sentence, with_articles
from tests.conftest import Examined
from tests.unit.invented import PLAIN, small, usual

RESIDUE = {
    "residue of a template": r"[{}\[\]|^_<>]",
    "white space": r"\s\s|^\s|\s$|[^\S ]",
    "space before a sign": r"\s[,.;:?!]",
    "sign after a sign": r"[,;:][,.;:?!]|\.\.|\?\.",
    "sign without space": r"[,;:?!](?![\s\"]|[0-9]{3}|$)|\.(?![\s\"]|$)",
    "lower-case start": r"(?:^|[.?!]\"? )[a-zà-ÿ]",
    "word twice": r"\b([a-z]+) \1\b",
    "article": r"\b[Aa] (?=[aeioAEIO](?!ne\b|nce\b|u[a-z]))|\b[Aa]n (?=[bcdfgjklmnpqrstvwxyzBCDFGJKLMNPQRSTVWXYZ])",
    "article twice": r"\b(?:a|an|the) (?:a|an|the)\b",
    "no end": r"[^.?\"]$",
    "placeholder": r"\b(?:None|nan|TODO)\b",
}
TYPE_NOUNS = {"town", "city", "year", "person", "people", "place", "name", "called"}
FUNCTION_WORDS = {
    "a", "about", "an", "and", "any", "are", "as", "at", "be", "been", "before", "by", "can", "could", "did", "do",
    "does", "find", "for", "from", "had", "has", "have", "in", "into", "is", "it", "its", "made", "no", "not", "of",
    "on", "one", "or", "over", "s", "she", "that", "the", "their", "there", "they", "these", "this", "to", "under",
    "up", "was", "were", "what", "when", "where", "which", "who", "whom", "whose", "will", "with", "without", "how",
    "many", "much",
}  # fmt: skip


def _texts() -> Iterator[tuple[str, str]]:
    worlds = [usual(), *(small(seed=seed) for seed in range(4))]
    for collection in worlds:
        for passage in collection.passages():
            yield passage.id, passage.text
        for split in PLAIN:
            for question in collection.world.questions(split):
                yield question.id, question.text


def test_no_residue(examined: Examined) -> None:
    patterns = {name: re.compile(pattern) for name, pattern in RESIDUE.items()}
    texts = list(_texts())
    found = [
        f"{name}: {place}: ...{text[max(0, hit.start() - 30) : hit.end() + 30]}..."
        for place, text in texts
        for name, pattern in patterns.items()
        if (hit := pattern.search(text))
    ]
    assert not found, "\n".join(found[:20])
    examined(len(texts), "texts searched for residue", at_least=5_000)


@pytest.mark.parametrize(
    "bad, name",
    [
        ("The {s} is here.", "residue of a template"),
        ("Two  spaces.", "white space"),
        ("A tab\there.", "white space"),
        ("A comma , here.", "space before a sign"),
        ("Two commas,, here.", "sign after a sign"),
        ("One,two.", "sign without space"),
        ("It ends. then goes on.", "lower-case start"),
        ("Of of the the town.", "word twice"),
        ("It was a owl.", "article"),
        ("It was an heron and an newt.", "article"),
        ("It is in the a town.", "article twice"),
        ("It has no end", "no end"),
    ],
)
def test_residue_is_seen(bad: str, name: str) -> None:
    assert re.search(RESIDUE[name], bad)
    assert not re.search(RESIDUE[name], 'An hour, "a unicorn" and 1,200 owls: an 8-day, one-eyed trip to Éa in 1203.')


def test_titles_stay_as_they_are_in_sentences(examined: Examined) -> None:
    """Otherwise the text would not contain the name that answers a question."""
    entities = populate(2508, 460).entities
    for entity in entities:
        for name in (entity.called, entity.alias):
            assert with_articles(f"it is {name} again") == f"it is {name} again"
            assert name == name.strip()
    examined(len(entities), "things", at_least=460)


def test_questions_are_questions(examined: Examined) -> None:
    questions = [question for split in PLAIN for question in usual().world.questions(split)]
    assert all(question.text[-1] in "?." and question.text[0].isupper() for question in questions)
    asking = re.compile(r"\b(who|whom|whose|what|which|where|when|why|how)\b", re.I)
    assert all(asking.search(question.text) or question.text.startswith("Name ") for question in questions)
    examined(len(questions), "questions", at_least=1_500)


def _relations() -> Iterator[tuple[str, object]]:
    for kind in KINDS.values():
        for relation in kind.relations:
            yield f"{kind.name}.{relation.name}", relation


def test_paraphrases_avoid_the_words_of_the_questions(examined: Examined) -> None:
    """Grade 2 is what a search for the question's words misses."""
    shared = []
    looked = 0
    for place, relation in _relations():
        asked = {
            _stem(w)
            for text in (*relation.questions, *relation.oblique, *relation.inverse)
            for w in literal_words(text)
        }
        asked -= {_stem(w) for w in FUNCTION_WORDS | TYPE_NOUNS}
        for text in relation.paraphrased:
            looked += 1
            shared += [f"{place}: '{w}' in {text}" for w in literal_words(text) if _stem(w) in asked]
    assert not shared, "\n".join(shared)
    examined(looked, "paraphrases", at_least=150)


def _stem(word: str) -> str:
    for ending in ("ing", "ers", "ed", "es", "er", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def test_every_template_names_what_it_must(examined: Examined) -> None:
    looked = 0
    for place, relation in _relations():
        for text in (*relation.full, *relation.paraphrased):
            assert text.count("{s}") == 1, f"{place}: {text}"
            assert text.count("{o}") == 1, f"{place}: {text}"
        for text in (*relation.questions, *relation.oblique):
            assert ("{s}" in text) + ("{s's}" in text) == 1, f"{place}: {text}"
            assert "{o}" not in text, f"{place}: {text}"
        for text in relation.inverse:
            assert "{o}" in text, f"{place}: {text}"
            assert "{s" not in text, f"{place}: {text}"
        for text in relation.asides:
            assert text.count("{o}") == 1, f"{place}: {text}"
            assert "{s}" not in text, f"{place}: {text}"
        asking = relation.questions + relation.oblique + relation.inverse
        looked += len(asking + relation.full + relation.paraphrased + relation.asides)
        assert min(len(relation.full), len(relation.paraphrased), len(relation.questions)) >= 3, place
        assert min(len(relation.asides), len(asking)) >= 2, place
    for kind in KINDS.values():
        assert all(len(re.findall(r"\{s\}, \{aside\}[,.]", text)) == 1 for text in kind.hosts), kind.name
    examined(looked, "templates", at_least=700)


def test_variety(examined: Examined) -> None:
    """Openings of sentences are a rough measure of how many ways there are to say things."""
    sentences = [one for p in usual().passages() for one in re.split(r"(?<=[.?]) ", p.text)]
    names = {name for p in usual().passages() for name in p.title.lower().split()}
    shapes = {" ".join(w for w in one.lower().split() if w not in names and w.islower())[:40] for one in sentences}
    assert len(shapes) > 4_000
    examined(len(sentences), "sentences", at_least=10_000)


def test_templates() -> None:
    dice = Dice(1, "test")
    assert render("[a|a]{x}[|]b", dice, str.upper) == "aXb"
    seen = {render("[a|b[c|d]|]", dice, str.upper) for _ in range(60)}
    assert seen == {"a", "bc", "bd", ""}
    assert literal_words("The [old|] {town} was {s's} It's.") == ["the", "old", "was", "it", "s"]
    for broken in ("[a|b", "a]", "a|b", "{a", "a}"):
        with pytest.raises(AssertionError):
            parsed(broken)


@pytest.mark.parametrize(
    "raw, finished",
    [
        ("a owl saw an newt", "An owl saw a newt."),
        ("a hour with a honest heir", "An hour with an honest heir."),
        ("an useful university and a one-eyed ewe", "A useful university and a one-eyed ewe."),
        ("a 8 and a 11 and a 18 and an 80", "An 8 and an 11 and an 18 and an 80."),
        ("a 1,203 and an 12 and a 800", "A 1,203 and a 12 and an 800."),
        ("an unruly unit of a unicorn", "An unruly unit of a unicorn."),
        ('"a motto" is said', '"A motto" is said.'),
        ('he said "so."', 'He said "so."'),
        ("élan of a Éa", "Élan of an Éa."),
    ],
)
def test_sentences(raw: str, finished: str) -> None:
    assert sentence(raw) == finished


@pytest.mark.parametrize(
    "number, words",
    [
        (0, "zero"),
        (7, "seven"),
        (12, "twelve"),
        (40, "forty"),
        (99, "ninety-nine"),
        (100, "one hundred"),
        (111, "one hundred and eleven"),
        (999, "nine hundred and ninety-nine"),
        (1_000, "one thousand"),
        (1_005, "one thousand and five"),
        (12_400, "twelve thousand four hundred"),
        (19_950, "nineteen thousand nine hundred and fifty"),
        (96_000, "ninety-six thousand"),
        (120_301, "one hundred and twenty thousand three hundred and one"),
    ],
)
def test_numbers_in_words(number: int, words: str) -> None:
    assert in_words(number) == words


def test_values() -> None:
    assert quantity(12_400).forms == ("12,400", "twelve thousand four hundred")
    assert quantity(12_400).answers == ("12,400", "12400", "twelve thousand four hundred")
    assert quantity(1_005).forms[0] == "1,005"
    assert quantity(37).answers == ("37", "thirty-seven")
    ordinals = {1: "1st", 2: "2nd", 3: "3rd", 4: "4th", 11: "11th", 12: "12th", 13: "13th", 21: "21st", 22: "22nd"}
    assert {number: ordinal(number) for number in ordinals} == ordinals
    assert word("a bad oyster").answers == ("bad oyster",)
    assert word("an avalanche").answers == ("avalanche",)
    assert word("the plague").answers == ("plague",)
    assert word("theft and amber").answers == ("theft and amber",)
    day, month, year = date(1203, Dice(3, "test")).forms[0].split()
    assert date(1203, Dice(3, "test")).forms[1:] == (
        f"{month} {day}, {year}",
        f"the {ordinal(int(day))} of {month} 1203",
    )
