"""Sweeps of one objective against a plain Python loop in double precision.

A sweep draws small blocks (0 to n positives in a row, ignored cells, equal scores) and compares every row's sum and
weight with a function of the test that knows nothing of tensors. Ignored cells are poisoned with NaN on our side.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mpr import objectives

WIDTH = 9


@dataclass(frozen=True)
class Cell:
    """One question-passage pair: kind is `+`, `-` or `.` (ignored)."""

    kind: str
    score: float
    teacher: float
    lexical: float
    rank: int
    grade: float


Row = Sequence[Cell]
Reference = Callable[[Row, dict[str, Any]], tuple[float, float]]


def _cell(drawn: bytes) -> Cell:
    kind = "++---."[drawn[0] % 6]
    quarters = [(byte % 49 - 24) / 4 for byte in drawn[1:4]]  # few values, so that equal ones are common
    grade = drawn[5] % 4 / 2 + (1.0 if kind == "+" else -1.0)
    return Cell(kind, *quarters, rank=drawn[4] % 10, grade=grade)


@st.composite
def _blocks(draw: st.DrawFn) -> list[list[Cell]]:
    questions, passages = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    drawn = draw(st.binary(min_size=6 * questions * passages, max_size=6 * questions * passages))
    cells = [_cell(drawn[at : at + 6]) for at in range(0, len(drawn), 6)]
    return [cells[at : at + passages] for at in range(0, len(cells), passages)]


def _tensor(block: Sequence[Row], field: str) -> torch.Tensor:
    rows = [[math.nan if cell.kind == "." else getattr(cell, field) for cell in row] for row in block]
    return torch.tensor(rows, dtype=torch.float64)


def _ours(name: str, options: dict[str, Any], block: Sequence[Row]) -> tuple[list[float], list[float]]:
    positives_QP = torch.tensor([[cell.kind == "+" for cell in row] for row in block])
    negatives_QP = torch.tensor([[cell.kind == "-" for cell in row] for row in block])
    targets = {f"{field}_QP": _tensor(block, field) for field in ("teacher", "lexical")}
    targets |= {"ranks_QP": _tensor(block, "rank"), "grades_QP": _tensor(block, "grade")}
    loss = objectives.load(name, **options)
    sum_Q, weight_Q = loss(_tensor(block, "score"), positives_QP, negatives_QP, width=WIDTH, **targets)
    return sum_Q.tolist(), weight_Q.tolist()


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """For every test of an objective."""


@pytest.fixture
def agree() -> Callable[..., None]:
    """`agree(name, variants, reference)`: every row of hundreds of random blocks equals the reference.

    Each block is tried with one share of the variants (all of them unless `shares` says otherwise).
    """

    def sweep(
        name: str, variants: Sequence[dict[str, Any]], reference: Reference, examples: int = 300, shares: int = 1
    ) -> None:
        seen: Counter[str] = Counter()

        def compare(options: dict[str, Any], block: list[list[Cell]]) -> None:
            seen[str(options)] += 1
            for row, *ours in zip(block, *_ours(name, options, block), strict=True):
                empty = not any(cell.kind == "+" for cell in row)
                expected = (0.0, 0.0) if empty else reference([cell for cell in row if cell.kind != "."], options)
                seen["rows without a positive" if empty else "rows"] += 1
                assert ours == [pytest.approx(expected[0], rel=1e-9, abs=1e-9), expected[1]], (options, row)

        @settings(max_examples=examples, deadline=None, derandomize=True, database=None)
        @given(st.integers(0, shares - 1), _blocks())
        def try_share(share: int, block: list[list[Cell]]) -> None:
            for options in variants[share::shares]:
                compare(options, block)

        try_share()
        rows, empty = seen.pop("rows"), seen.pop("rows without a positive")
        print(
            f"{name}: {seen.total()} comparisons, {rows} + {empty} empty rows, {len(seen)} of {len(variants)} variants"
        )
        assert seen.total() >= examples
        assert len(seen) == len(variants)
        assert rows > examples / 2
        assert empty > examples / 20

    return sweep
