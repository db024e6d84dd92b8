"""Small worlds to draw from, and a step taken apart into its rows; for the tests of `mpr/batches/draw.py`."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpr.batches.choice import Evidence, Lookup
from mpr.batches.draw import Drawer, Step
from mpr.data.positives import PositiveIndex
from mpr.recipe.keys_draw import Draw
from mpr.storage.ragged import Ragged

COUNTING = ("gold", "answer_match")
Listed = Sequence[tuple[int, str]]


def ragged(rows: Sequence[Sequence[int]], scores: Sequence[Sequence[float]] | None = None) -> Ragged:
    """Candidates of each question, best rank first."""
    offsets = np.cumsum([0, *(len(row) for row in rows)]).astype(np.int64)
    flat = list(
        itertools.chain.from_iterable(scores if scores is not None else [[math.nan] * len(row) for row in rows])
    )
    columns = {
        "passage": np.array([passage for row in rows for passage in row], dtype=np.int64),
        "rank": np.array([rank for row in rows for rank in range(1, len(row) + 1)], dtype=np.int32),
        "score": np.array(flat, dtype=np.float32),
    }
    return Ragged(offsets, columns)


def config(positives: dict[str, Any], *negatives: dict[str, Any], questions: str = "shuffle", **more: Any) -> Draw:
    return Draw.model_validate(
        {"questions": questions, "positives": positives, "negatives": negatives, "in_batch": True, **more}
    )


def entry(source: str = "a", weight: str = "top", short: str = "fewer", **options: Any) -> dict[str, Any]:
    return {"from": source, "weight": weight, "short": short, **options}


def gold(*passages: int) -> list[tuple[int, str]]:
    return [(passage, "gold") for passage in passages]


def drawer(
    draw: Draw,
    known: Sequence[Listed],
    candidates: dict[str, Ragged] | None = None,
    *,
    passages: int = 1000,
    rows: int = 1,
    seed: int = 0,
    evidence: Evidence | None = None,
    clusters: NDArray[Any] | None = None,
) -> Drawer:
    index = PositiveIndex.of(known)
    return Drawer(draw, index, COUNTING, candidates or {}, passages, rows, seed, evidence, clusters)


def looked_up(scores: Mapping[tuple[int, int], float]) -> Lookup:
    """Scores of (question, passage) as a drawer asks for them; NaN where there is none."""

    def lookup(question_N: Any, passage_N: Any) -> NDArray[Any]:
        pairs = zip(question_N.tolist(), passage_N.tolist(), strict=True)
        return np.array([scores.get(pair, math.nan) for pair in pairs], dtype=np.float32)

    return lookup


@dataclass(frozen=True)
class Row:
    """One row of a step, taken out of its block."""

    epoch: int
    question: int
    positives: tuple[int, ...]
    negatives: tuple[int, ...]


def rows_of(step: Step) -> list[Row]:
    block = step.block
    assert list(block.passage_P) == sorted({*block.positive_N.tolist(), *block.negative_N.tolist()})
    assert (np.diff(block.positive_row_N) >= 0).all()
    assert (np.diff(block.negative_row_N) >= 0).all()
    found = []
    for row, question in enumerate(block.question_Q.tolist()):
        positives = tuple(block.positive_N[block.positive_row_N == row].tolist())
        negatives = tuple(block.negative_N[block.negative_row_N == row].tolist())
        found.append(Row(int(step.epoch_R[row]), question, positives, negatives))
    return found


def stream(drawing: Drawer, steps: Iterable[int]) -> Iterator[Row]:
    for number in steps:
        yield from rows_of(drawing(number))


def positives_of(dice: random.Random, passages: int) -> list[tuple[int, str]]:
    found = dice.sample(range(passages), dice.randint(0, 5))
    return [(passage, dice.choice((*COUNTING, *COUNTING, "llm", "generated"))) for passage in found]
