"""Fault 27: labels that contradict themselves or the corpus.

Empty positives, positives that are not in the corpus and positives that are also negatives are refused, with counts and
first ids. A passage that is positive for two questions of a batch, a text under two ids and too few negatives are right
by construction: the matrices mark both, no positive is ever scored as a negative, shortage is filled by the stated rule
and counted. Everything is checked by the ids of the records, from the groups through the stores to the matrices.
"""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mpr.batches import relations
from mpr.batches.draw import Drawer, Step
from mpr.batches.relations import Relations
from mpr.corpora import Split
from mpr.data import _split_builder, passages
from mpr.data.passages import PassageStore
from mpr.data.questions import SplitStore
from mpr.errors import DataError
from mpr.recipe.keys import Repair
from mpr.recipe.keys_draw import Draw
from mpr.records import Candidate, Group, Passage, Positive, Question
from tests.conftest import Examined
from tests.unit.policies import policy_of

COUNTING = ("gold", "answer_match")
TIERS = (*COUNTING, "llm")
REFUSE = Repair(without_positives="refuse", passages_missing="refuse", positive_as_negative="refuse")
IMPROVED = policy_of(siblings="ignore", shared="positive", duplicates="ignore", doubtful="ignore")
KINDS = ("without_positives", "passages_missing", "positive_as_negative")


def corpus(dice: random.Random, folder: Path) -> tuple[PassageStore, dict[str, int]]:
    """Thirty passages of which every third says what an earlier one says; the text of each id as a number."""
    texts: dict[str, int] = {}
    for number in range(30):
        texts[f"p{number}"] = dice.choice([*texts.values()]) if texts and number % 3 == 0 else number
    spaces = (" ", "  ", "\n")  # copies differ in white space only
    listed = (Passage(name, f"this is{dice.choice(spaces)}text {text}") for name, text in texts.items())
    return passages.build(folder / "passages", listed, {}), texts


def sound(dice: random.Random, number: int) -> Group:
    """A question with one to four positives, at least one of which counts, and up to four other candidates."""
    names = [f"p{place}" for place in dice.sample(range(30), 8)]
    count = dice.randint(1, 4)
    positives = [Positive(name, dice.choice(TIERS)) for name in names[:count]]
    positives[dice.randrange(count)] = Positive(names[count], dice.choice(COUNTING))
    taken = {positive.passage for positive in positives}
    others = [name for name in names if name not in taken][: dice.randint(0, 4)]
    candidates = tuple(Candidate(name, "bm25", rank) for rank, name in enumerate(others, 1))
    return Group(Question(f"q{number}", f"question {number}"), tuple(positives), candidates)


def build(folder: Path, groups: list[Group], store: PassageStore, repair: Repair = REFUSE) -> SplitStore:
    options: dict[str, Any] = {"tiers": COUNTING, "train": True, "sources": ("bm25",), "receipt": {}}
    return _split_builder.build(
        folder / "split", groups, Split(len(groups), trains=True), store, repair=repair, **options
    )


def damaged(dice: random.Random, group: Group, kind: str) -> tuple[Group, str]:
    """The group with one fault, and how the message names it."""
    name = group.question.id
    if kind == "without_positives":
        doubtful = tuple(Positive(positive.passage, "llm") for positive in group.positives)
        return Group(group.question, dice.choice(((), doubtful)), group.candidates), name
    wrong = dice.choice(group.positives).passage if kind == "positive_as_negative" else f"lost{dice.randrange(100)}"
    if kind == "passages_missing" and dice.random() < 0.5:
        return Group(group.question, (*group.positives, Positive(wrong)), group.candidates), f"{wrong} of {name}"
    candidates = (*group.candidates, Candidate(wrong, "bm25", 9))
    return Group(group.question, group.positives, candidates), f"{wrong} of {name}"


def test_contradictions_are_refused_with_counts_and_first_ids(tmp_path: Path, examined: Examined) -> None:
    counted: Counter[str] = Counter()
    store, _ = corpus(random.Random(0), tmp_path)
    for seed, kinds in enumerate([*itertools.product((False, True), repeat=3)] * 12):
        dice, faults = random.Random(seed), {kind: list[str]() for kind in KINDS}
        groups = []
        for number in range(dice.randint(1, 40)):
            group, kind = sound(dice, number), dice.choice(KINDS)
            if kinds[KINDS.index(kind)] and dice.random() < 0.6:
                group, named = damaged(dice, group, kind)
                faults[kind].append(named)
            groups.append(group)
        (tmp_path / str(seed)).mkdir()
        if not any(faults.values()):
            assert len(build(tmp_path / str(seed), groups, store)) == len(groups)
            counted["sound splits"] += 1
            continue
        with pytest.raises(DataError) as caught:
            build(tmp_path / str(seed), groups, store)
        assert caught.value.exit_code == 2
        told = re.findall(r"data\.repair\.(\w+): (\d+) .* \(first: (.*); mend", str(caught.value))
        assert told == [(kind, str(len(found)), ", ".join(found[:5])) for kind, found in faults.items() if found]
        assert not (tmp_path / str(seed) / "split").exists()
        counted.update({kind: len(names) for kind, names in faults.items()})
        counted["refused splits"] += 1
    assert counted["sound splits"] >= 12
    assert counted["refused splits"] >= 70
    assert all(counted[kind] > 60 for kind in KINDS)
    examined(counted.total(), f"cases: {dict(counted)}", at_least=400)


@dataclass(frozen=True)
class Records:
    """What the records say, by id."""

    groups: list[Group]
    texts: dict[str, int]

    def known(self, question: int) -> set[str]:
        return {positive.passage for positive in self.groups[question].positives}

    def counting(self, question: int) -> set[str]:
        return {one.passage for one in self.groups[question].positives if one.tier in COUNTING}

    def like_a_positive(self, question: int) -> set[str]:
        """Known positives of any tier, and every passage that says the same as one of them."""
        said = {self.texts[name] for name in self.known(question)}
        return {name for name, text in self.texts.items() if text in said}


def check(records: Records, store: PassageStore, step: Step, related: Relations, k: int, short: str) -> Counter[str]:
    """One step against the records; returns how often each difficult case was met."""
    met: Counter[str] = Counter()
    block, columns = step.block, store.ids(step.block.passage_P)
    drawn = [set(store.ids(block.positive_N[block.positive_row_N == row])) for row in range(len(block.question_Q))]
    against = [store.ids(block.negative_N[block.negative_row_N == row]) for row in range(len(block.question_Q))]
    missing = 0
    for row, question in enumerate(block.question_Q.tolist()):
        others = [names for q, names in zip(block.question_Q.tolist(), drawn, strict=True) if q != question]
        brought = set().union(*others) & records.counting(question)
        positive = {name for name, flag in zip(columns, related.positives_QP[row], strict=True) if flag}
        negative = {name for name, flag in zip(columns, related.negatives_QP[row], strict=True) if flag}
        alike = records.like_a_positive(question)
        assert positive == drawn[row] | brought
        assert negative == set(columns) - positive - alike
        met["positive for two questions of the step"] += len(brought)
        met["a text under two ids"] += len(set(columns) & alike - records.known(question))
        met["doubtful"] += len(set(columns) & records.known(question) - records.counting(question))
        available = [candidate.passage for candidate in records.groups[question].candidates]
        assert against[row][: len(available)] == available[:k]
        assert len(against[row]) == (k if short == "random" else min(k, len(available)))
        assert not set(against[row]) & records.known(question)
        missing += max(k - len(available), 0)
    assert step.shortages == ({"bm25": missing} if missing else {})
    met["negatives that were missing"] += missing
    met["rows"] += len(drawn)
    return met


def test_what_is_shared_copied_or_short_is_right_by_construction(tmp_path: Path, examined: Examined) -> None:
    met: Counter[str] = Counter()
    policies = ({"policy": "all"}, {"policy": "random1"}, {"policy": "one_row_per_positive"})
    for seed, (policy, short) in enumerate(itertools.product(policies, ("fewer", "random"))):
        dice, folder = random.Random(seed), tmp_path / str(seed)
        folder.mkdir()
        store, texts = corpus(dice, folder)
        groups = [sound(dice, number) for number in range(25)]
        split = build(folder, groups, store)
        entry = {"from": "bm25", "k": 3, "weight": "top", "short": short}
        draw = Draw.model_validate(
            {"questions": "shuffle", "positives": policy, "negatives": (entry,), "in_batch": True}
        )
        drawer = Drawer(draw, split.positives, COUNTING, {"bm25": split.candidates("bm25")}, len(store), 6, seed)
        for number in range(drawer.steps(4)):
            step = drawer(number)
            related = relations.build(step.block, split.positives, store.text_hashes, COUNTING, IMPROVED, in_batch=True)
            met += check(Records(groups, texts), store, step, related, 3, short)
    assert len(met) == 5
    assert min(met.values()) > 100
    examined(met.total(), f"cases: {dict(met)}", at_least=2_000)
