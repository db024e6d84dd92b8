"""Steps of random worlds against a slow reading of `mpr/batches/draw.py`, and positives over epochs."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpr.batches.draw import Drawer
from mpr.recipe.keys_draw import Draw
from tests.conftest import Examined
from tests.unit.draws import COUNTING, Row, config, drawer, entry, gold, positives_of, ragged, rows_of, stream


@dataclass(frozen=True)
class World:
    """Questions with positives of all tiers and two sources that propose anything, known positives included."""

    known: list[list[tuple[int, str]]]
    candidates: dict[str, list[list[int]]]
    draw: Draw
    passages: int
    rows: int
    seed: int

    def drawer(self, rows: int | None = None) -> Drawer:
        tables = {
            name: ragged(lists, [[(7 * passage % 11) / 3 for passage in row] for row in lists])
            for name, lists in self.candidates.items()
        }
        return drawer(self.draw, self.known, tables, passages=self.passages, rows=rows or self.rows, seed=self.seed)

    def drawable(self, question: int) -> list[int]:
        return [one for one, tier in self.known[question] if tier in COUNTING][: self.draw.positives.cap]

    def rows_of_an_epoch(self) -> list[tuple[int, tuple[int, ...]]]:
        """(question, its positive) or (question, nothing said) of every row."""
        asked = [question for question in range(len(self.known)) if self.drawable(question)]
        if self.draw.positives.policy == "one_row_per_positive":
            return [(question, (one,)) for question in asked for one in self.drawable(question)]
        return [(question, ()) for question in asked]


def rolled(number: int) -> World:
    dice = random.Random(number)
    passages = 40
    known = [positives_of(dice, passages) for _ in range(dice.randint(1, 7))]
    known.append([(dice.randrange(passages), "gold")])
    dice.shuffle(known)
    candidates = {name: [dice.choices(range(passages), k=dice.randint(0, 8)) for _ in known] for name in ("a", "b")}
    policy = dice.choice(("first", "random1", "up_to", "all", "one_row_per_positive"))
    positives: dict[str, Any] = {"policy": policy}
    if policy == "up_to":
        positives |= {"m": dice.randint(1, 4), "beyond": dice.choice(("first", "rotate"))}
    if dice.random() < 0.3:
        positives["cap"] = dice.randint(1, 3)
    entries = []
    for _ in range(dice.randint(0, 3)):
        weight = dice.choice(("top", "uniform", "softmax"))
        options: dict[str, Any] = dice.choice(({"k": dice.randint(1, 4)}, {"group": dice.randint(2, 7)}))
        if weight == "softmax":
            options["temperature"] = 0.5
        if dice.random() < 0.4:
            options["window"] = dice.randint(1, 6)
        entries.append(entry(dice.choice("ab"), weight, dice.choice(("fewer", "random")), **options))
    draw = config(positives, *entries, questions=dice.choice(("shuffle", "sequential")))
    return World(known, candidates, draw, passages, dice.randint(1, 9), dice.randint(0, 5))


def check_positives(world: World, row: Row) -> None:
    drawable, policy = world.drawable(row.question), world.draw.positives
    turns = [tuple((drawable * 2)[start : start + len(drawable)]) for start in range(len(drawable))]
    if policy.policy == "first":
        assert row.positives == (drawable[0],)
    elif policy.policy == "all":
        assert row.positives == tuple(drawable)
    elif policy.policy == "up_to" and (policy.beyond == "first" or len(drawable) <= (policy.m or 0)):
        assert row.positives == tuple(drawable[: policy.m])
    elif policy.policy == "up_to":
        assert row.positives in {turn[: policy.m] for turn in turns}
    else:
        assert row.positives in {turn[:1] for turn in turns}


def check_negatives(world: World, row: Row, shortages: Counter[str]) -> Counter[str]:
    """Goes through the drawn negatives as the docstring tells it; returns what it met."""
    met: Counter[str] = Counter()
    known = {passage for passage, _ in world.known[row.question]}
    left, taken = list(row.negatives), list[int]()
    assert len(set(left)) == len(left)
    assert not known & set(left)
    for one in world.draw.negatives:
        wanted = one.k if one.k is not None else max((one.group or 0) - len(row.positives) - len(taken), 0)
        listed = world.candidates[one.from_][row.question][: one.window]
        allowed = list(dict.fromkeys(passage for passage in listed if passage not in {*known, *taken}))
        drawn = [left.pop(0) for _ in range(min(wanted, len(allowed)))]
        assert set(drawn) <= set(allowed)
        if one.weight == "top":
            assert drawn == allowed[:wanted]
        taken += drawn
        missing = wanted - len(drawn)
        shortages[one.from_] += missing
        if one.short == "random":
            taken += [left.pop(0) for _ in range(missing)]
        met.update({f"{one.weight}, {one.short}": 1, "random passages": missing if one.short == "random" else 0})
        met["candidates that are known positives"] += len(known & set(listed))
    assert not left
    assert all(0 <= passage < world.passages for passage in taken)
    return met


def test_every_row_of_random_worlds_is_as_described(examined: Examined) -> None:
    met: Counter[str] = Counter()

    @settings(max_examples=320, deadline=None, derandomize=True, database=None)
    @given(st.integers(0, 10**9).map(rolled))
    def check(world: World) -> None:
        drawing, unit = world.drawer(), world.rows_of_an_epoch()
        assert drawing.rows_per_epoch == len(unit)
        epochs: dict[int, list[Row]] = defaultdict(list)
        for number in range(math.ceil(3 * len(unit) / world.rows)):
            step = drawing(number)
            assert step.number == number
            shortages: Counter[str] = Counter()
            for row in rows_of(step):
                epochs[row.epoch].append(row)
                check_positives(world, row)
                met.update(check_negatives(world, row, shortages))
            assert step.shortages == {name: count for name, count in shortages.items() if count}
        told = world.draw.positives.policy == "one_row_per_positive"
        for epoch in range(3):
            seen = [(row.question, row.positives if told else ()) for row in epochs[epoch]]
            assert Counter(seen) == Counter(unit)
            if world.draw.questions == "sequential":
                assert seen == unit
            met["rows"] += len(unit)
        met[f"policy {world.draw.positives.policy}"] += 1

    check()
    print(dict(met))
    examined(met["rows"], "rows", at_least=3500)
    assert len(met) == 14
    assert min(met.values()) > 20


def test_a_row_does_not_depend_on_step_size_call_order_or_what_came_before(examined: Examined) -> None:
    tried = 0

    @settings(max_examples=80, deadline=None, derandomize=True, database=None)
    @given(st.integers(0, 10**9).map(rolled))
    def compare(world: World) -> None:
        nonlocal tried
        rows = 4 * len(world.rows_of_an_epoch())
        expected = list(stream(world.drawer(1), range(rows)))
        for size in (2, 3, 7, 64):
            steps = range(math.ceil(rows / size))
            drawing = world.drawer(size)
            backwards = {number: rows_of(drawing(number)) for number in reversed(steps)}
            assert [row for number in steps for row in backwards[number]][:rows] == expected
            resumed = world.drawer(size)  # a new process starts at the last step and knows nothing of the others
            assert rows_of(resumed(steps[-1])) == backwards[steps[-1]]
            tried += len(steps) + 1

    compare()
    examined(tried, "steps of four sizes against steps of one row", at_least=1400)


# ---- positives over epochs


def seen_by_epoch(drawing: Drawer, epochs: int) -> dict[int, list[tuple[int, ...]]]:
    """Question -> what it drew in each epoch."""
    found: dict[int, list[tuple[int, ...]]] = defaultdict(list)
    for row in stream(drawing, range(drawing.steps(epochs))):
        if row.epoch < epochs:
            found[row.question].append(row.positives)
    return found


KNOWN = [gold(*range(10 * question, 10 * question + 1 + question % 7)) for question in range(70)]


def test_random1_sees_every_positive_once_in_as_many_epochs_as_there_are() -> None:
    found = seen_by_epoch(drawer(config({"policy": "random1"}), KNOWN, rows=16), 21)
    starts = Counter()
    for question, drawn in found.items():
        listed = [passage for passage, _ in KNOWN[question]]
        for first in range(21 - len(listed) + 1):
            turn = drawn[first : first + len(listed)]
            assert sorted(turn) == [(passage,) for passage in listed]
        starts[len(listed), drawn[0][0] - listed[0]] += 1
    assert len(found) == 70
    assert len(starts) > 20  # not every question starts with its first positive


@pytest.mark.parametrize("m", [1, 2, 3, 4, 8])
def test_up_to_rotates_through_all_positives(m: int) -> None:
    found = seen_by_epoch(drawer(config({"policy": "up_to", "m": m, "beyond": "rotate"}), KNOWN, rows=16), 14)
    for question, drawn in found.items():
        listed = [passage for passage, _ in KNOWN[question]]
        needed = math.ceil(len(listed) / m)
        for first in range(14 - needed + 1):
            turn = drawn[first : first + needed]
            assert set(itertools.chain.from_iterable(turn)) == set(listed)
            assert all(len(one) == len(set(one)) == min(m, len(listed)) for one in turn)
        if len(listed) <= m:
            assert set(drawn) == {tuple(listed)}
    assert len(found) == 70


def test_up_to_first_always_takes_the_first() -> None:
    found = seen_by_epoch(drawer(config({"policy": "up_to", "m": 3, "beyond": "first"}), KNOWN, rows=16), 5)
    for question, drawn in found.items():
        assert set(drawn) == {tuple(passage for passage, _ in KNOWN[question][:3])}


def test_only_tiers_that_count_are_drawn_and_the_cap_counts_only_those() -> None:
    known = [[(0, "llm"), (1, "gold"), (2, "generated"), (3, "answer_match"), (4, "gold")], [(5, "llm")], gold(6)]
    found = seen_by_epoch(drawer(config({"policy": "all"}), known, rows=2), 2)
    assert found == {0: [(1, 3, 4)] * 2, 2: [(6,)] * 2}
    found = seen_by_epoch(drawer(config({"policy": "all", "cap": 2}), known, rows=2), 2)
    assert found == {0: [(1, 3)] * 2, 2: [(6,)] * 2}
    assert drawer(config({"policy": "one_row_per_positive"}), known).rows_per_epoch == 4
    assert drawer(config({"policy": "one_row_per_positive", "cap": 2}), known).rows_per_epoch == 3


def test_steps_round_up_what_remains_and_nothing_else() -> None:
    assert math.ceil(100 * 1.1) == 111  # in binary 1.1 is a little more than eleven tenths; 110 steps are meant
    drawing = drawer(config({"policy": "first"}), [gold(question) for question in range(100)], rows=1)
    assert [drawing.steps(epochs) for epochs in (1, 1.0, 1.1, 0.3, 2.5, 0.001)] == [100, 100, 110, 30, 250, 1]
    drawing = drawer(config({"policy": "first"}), [gold(question) for question in range(10)], rows=4)
    assert [drawing.steps(epochs) for epochs in (1, 2, 3, 0.4)] == [3, 5, 8, 1]
