"""Labels against texts, read back with patterns made from the grammar: nothing is labelled that is not said, and
nothing is said that is not labelled."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import pytest

from mpr.corpora._world.entity import Entity, Fact
from mpr.corpora._world.questions import Asked
from mpr.corpora._world.template import _Choice, parsed
from mpr.metrics.answers import token_line
from mpr.records import Passage
from tests.conftest import Examined
from tests.unit.invented import PLAIN, small, usual


def _pattern(template: str, names: dict[str, str]) -> str:
    """A regular expression for everything the template can become."""

    def of(parts: Sequence[object]) -> str:
        pieces = []
        for part in parts:
            if isinstance(part, str):
                pieces.append(re.sub(r"\b([Aa])\\ ", r"\1n?\\ ", re.escape(part)))
            elif isinstance(part, _Choice):
                pieces.append(f"(?:{'|'.join(of(branch) for branch in part.branches)})")
            else:
                pieces.append(names.get(part.name, "[^.]+?"))
        return "".join(pieces)

    return of(parsed(template))


def _any_of(forms: Iterable[str]) -> str:
    """One of the names, and not as a part of a longer one: Port Muvinga is not Muvinga."""
    return rf"(?<!Port )(?<!Upper )(?<!-)(?:{'|'.join(re.escape(form) for form in forms)})(?!-)\b"


def _forms(side: object, fact: Fact) -> list[str]:
    if isinstance(side, Entity):
        return [form for form in (side.called, side.alias) if form]
    return list(side.forms)


def _said(fact: Fact, home: str) -> dict[int, re.Pattern[str]]:
    """For every grade a pattern of the sentences that state the fact in an article of that title."""
    names = {"s": _forms(fact.subject, fact), "o": _forms(fact.object, fact)}
    short = list(names["s"])
    if fact.subject.title == home and not fact.inverse:
        short += [f"the {fact.subject.variant.noun}", fact.subject.pronoun("he"), fact.subject.name.split()[-1]]
    full = {"s": _any_of(names["s"]), "o": _any_of(names["o"])}
    brief = {"s": _any_of(short), "o": full["o"]}
    relation = fact.relation
    aside = f"(?:{'|'.join(_pattern(text, full) for text in relation.asides)})"
    grades = {
        3: [_pattern(text, full) for text in relation.full],
        2: [_pattern(text, brief) for text in relation.paraphrased],
        1: [rf"{full['s']}, {aside}[,.]"],
    }
    return {grade: re.compile(f'(?:^|[ "])(?:{"|".join(texts)})', re.IGNORECASE) for grade, texts in grades.items()}


def _grade(asked: Asked, passage: Passage) -> int:
    """The best grade of any sentence of the passage, as the patterns see it."""
    answers = [token_line(answer) for answer in asked.question.answers]
    said = _said(asked.fact, passage.title)
    best = 0
    for sentence in re.split(r"(?<=[.]) ", passage.text):
        line = token_line(sentence)
        if any(answer in line for answer in answers):
            best = max(best, *(grade for grade, pattern in said.items() if pattern.search(sentence)), 0)
    return best


@pytest.mark.long
@pytest.mark.parametrize("make", [usual, lambda: small(seed=9, false_matches=4.0)], ids=["usual", "noisy"])
def test_labels_are_what_the_sentences_say(make: object, examined: Examined) -> None:
    collection = make()
    world = collection.world
    passages = {passage.id: passage for passage in world.passages}
    looked = {True: 0, False: 0}
    wrong = []
    for asked in (asked for split in PLAIN for asked in world.asked[split][:150]):
        support = world.support(asked)
        doubtful = [name for name in world.only_the_words(asked) if _names_the_subject(asked, passages[name])]
        for name in [*support, *doubtful]:
            # An edited copy may have lost the very words of a template.
            if name in world.copies and not world.copies[name].exact:
                continue
            found = _grade(asked, passages[name])
            looked[name in support] += 1
            if found != support.get(name, 0):
                wrong.append(f"{asked.question.text} {name}: {support.get(name, 0)} {found}: {passages[name].text}")
    assert not wrong, "\n".join(wrong[:10])
    examined(looked[True], "supporting passages", at_least=300)
    examined(looked[False], "passages with the words only", at_least=200)


def _names_the_subject(asked: Asked, passage: Passage) -> bool:
    known = asked.fact.known
    line = token_line(f"{passage.title} {passage.text}")
    return any(token_line(form) in line for form in (known.name, known.alias) if form)
