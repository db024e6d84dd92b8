"""A vocabulary learned from invented words; run as a program, prints its digest. Light, as it is started often."""

from __future__ import annotations

import hashlib
import random
from typing import Any

from mpr.data import _vocabulary
from mpr.recipe.keys_towers import NewEncoder

SIZE = 400


def new(size: int = SIZE) -> NewEncoder:
    return NewEncoder(layers=1, width=32, heads=2, feed_forward=64, vocabulary=size)


def corpus() -> list[str]:
    """Words in which many pairs of letters are equally frequent, so that the order of ties decides the vocabulary."""
    dice = random.Random(3)
    made = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=dice.randint(3, 8))) for _ in range(600)]
    return [" ".join(dice.sample(made, 12)) for _ in range(300)]


def learned(texts: list[str], size: int = SIZE) -> Any:
    return _vocabulary.learn(lambda: iter(texts), new(size))


def digest(tokenizer: Any) -> str:
    return hashlib.sha256(tokenizer.to_str().encode()).hexdigest()


if __name__ == "__main__":
    print(digest(learned(corpus())))
