"""Recipes: the text of a shipped one damaged, and `--set` arguments of any kind."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

from mpr.recipe import plan, read
from mpr.recipe.keys import Recipe
from tests import shipped
from tests.attack.damage import damaged
from tests.attack.outcome import Attack
from tests.faults.mutations import KINDS, Spot, spots

_KEYS = (
    "objective[0].name", "objective[²].name", "draw.positives.m", "draw..m", "[", "]", "", "=", "a=b", "plan[0].name",
    "training.learning_rate", "training.seed", "data.corpus.folder", "towers.base", "labels[-1]", "labels[99]",
    "search.depth", "a" * 5_000, "\x1b[31m", "\udcff", "évaluation", "training.\u202e", "draw.negatives[0].k",
)  # fmt: skip
_VALUES = (
    "", "1", "-1", "1e999", "9" * 5_000, "NaN", ".inf", "null", "true", "[]", "{}", "[[[[", "{a: {b: {c: 1}}}", "&a *a",
    "!!python/object:os.system", "<<", "\x1b[2J", "\udcff", "../..", "0x10", "1_000", "2026-01-01", "'", '"',
    "x" * 70_000, "[" * 2_000, "{name: bce}", "0.0", "1.0e38", "yes",
)  # fmt: skip


@cache
def _spots(text: str) -> list[Spot]:
    return spots(text)


def attack(folder: Path, cases: int, seed: int, start: int = 0) -> Attack:
    """One case in four is an override; of the others one in three is a damaged key, the rest are damaged bytes."""
    found = Attack()
    path, names = folder / "recipe.yaml", shipped.NAMES
    for number, dice in found.turns(cases, seed, start):
        text = shipped.text(names[number % len(names)])
        if number % 4 == 0:
            setting = f"{dice.choice(_KEYS)}={dice.choice(_VALUES)}" if dice.random() < 0.95 else dice.choice(_KEYS)
            data, overrides = text.encode(), [setting]
        elif number % 3 == 0:
            spot = dice.choice(_spots(text))
            data, overrides = dice.choice(list(KINDS.values()))(spot).text.encode(), []
        else:
            data, overrides = damaged(dice, text.encode()), []
        path.write_bytes(data)
        recipe = found.case(f"{number} {overrides!r:.300}", partial(read.load, path, overrides))
        if isinstance(recipe, Recipe):  # what is accepted can be planned for, and is what a second reader finds
            found.case(f"{number} plan", partial(plan.resolve, recipe))
    return found
