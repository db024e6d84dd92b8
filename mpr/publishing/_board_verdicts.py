"""Where a row stands: its numbers over seeds, its verdict, and how it compares with the baseline of its table.

A comparison is made only over the same questions under the same rule of a right passage: values of a question are
averaged over seeds, differences tested by sign flips, and the p corrected for the number of rows of the table that were
compared (Holm).

Shapes: Q questions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpr.evaluation import significance
from mpr.publishing._board import AUTHORS, BoardRow, Entry
from mpr.publishing._board_table import Table
from mpr.recipe import plan
from mpr.rows import band

FAILED, STALE, EXACT, NO_BAND = "failed", "stale", "exact", "no band yet"
_TIE = 1e-12  # means over seeds of equal values may differ by this


@dataclass(frozen=True)
class Number:
    """A measure over seeds, in percent unless another scale is given."""

    mean: float
    deviation: float | None
    """None from a single seed."""
    seeds: int

    @classmethod
    def of(cls, means: Sequence[float | None], scale: float = 100.0) -> Number | None:
        values = [scale * value for value in means if value is not None]
        if not values:
            return None
        return cls(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


@dataclass(frozen=True)
class Against:
    """A row minus the baseline of its table, as a fraction."""

    baseline: str
    measure: str
    questions: int
    difference: float
    p: float
    method: str
    p_holm: float
    compared: int
    """Rows of the table that p is corrected for."""


# Numbers and verdicts


def shown(row: BoardRow) -> tuple[Entry, ...]:
    """The results that the table shows: those of the recipe as it is, else the stale ones, which it calls so."""
    system = row.recipe.system
    return row.of(system) or tuple(entry for entry in row.stale if entry.system == system and not entry.who)


def number(entries: Iterable[Entry], role: str, measure: str) -> Number | None:
    return Number.of([entry.means(role).get(measure) for entry in entries if role in entry.result.document["scores"]])


def verdict(row: BoardRow) -> str:
    """`exact`, `within`, `above`, `below`, `unmeasured`, `stale`, `failed`, or that there is no band yet."""
    trained = row.of("trained")
    if not trained:
        if row.failed is not None and row.failed["recipe"] == plan.digest(row.recipe):
            return f"{FAILED}: {row.failed['why']}"
        return STALE if shown(row) or row.failed is not None else band.UNMEASURED
    repeats = [entry for entry in row.again if entry.system == "trained"]
    if repeats and all(_is_exact(entry, trained) for entry in repeats):
        return EXACT
    if row.recipe.expected is None:
        return NO_BAND
    verdicts = [band.verdict(row.recipe.expected, entry.means(row.role)) for entry in (*trained, *repeats)]
    return band.worst(word for by_measure in verdicts for word in by_measure.values())


def _is_exact(entry: Entry, runs: Sequence[Entry]) -> bool:
    """Somebody got the very same values for every question from the same seed."""
    return any(run.seed == entry.seed and _values(run) == _values(entry) for run in runs)


def _values(entry: Entry) -> dict[str, Any]:
    return {role: (scores["questions"], scores["values"]) for role, scores in entry.result.document["scores"].items()}


def word(row: BoardRow) -> str:
    """What may be claimed: measured by the authors, repeated by them elsewhere, reproduced by others."""
    if not shown(row):
        return ""
    others = sorted({(entry.who, entry.date, commit(entry)[:9]) for entry in row.again if entry.who != AUTHORS})
    if others:
        return "reproduced by " + ", ".join(f"{who} ({date}, {code})" for who, date, code in others)
    return "repeated" if row.again else "measured"


def commit(entry: Entry) -> str:
    return str(_code(entry).get("commit", "unknown"))


def is_dirty(entry: Entry) -> bool:
    """Whether the code had changes that nobody committed."""
    return bool(_code(entry).get("dirty", False))


def _code(entry: Entry) -> dict[str, Any]:
    return dict(entry.result.document["environment"].get("code") or {})


# Significance


def against_baseline(table: Table) -> dict[str, Against]:
    """Row -> how it compares with the table's baseline; rows that cannot be compared are not in it."""
    base, measure = table.baseline, table.measures[0]
    if base is None or not base.of("trained"):
        return {}
    reference, found = base.of("trained"), {}
    for row in table.rows:
        runs = row.of("trained")
        if row is not base and runs and all(_same_rules(reference[0], base, run, row, measure) for run in runs):
            found[row.name] = _difference(runs, row.role, reference, base.role, measure)
    tested = {name: significance.randomisation(difference_Q) for name, difference_Q in found.items()}
    corrected = significance.holm([test.p for test in tested.values()])
    return {
        name: Against(
            base.name, measure, len(found[name]), float(found[name].mean()), test.p, test.method, p, len(tested)
        )
        for (name, test), p in zip(tested.items(), corrected, strict=True)
    }


def _same_rules(base: Entry, base_row: BoardRow, other: Entry, row: BoardRow, measure: str) -> bool:
    ours, theirs = base.scores(base_row.role), other.scores(row.role)
    same = all(ours[fact] == theirs[fact] for fact in ("questions", "right"))
    if not same or measure not in ours["values"] or measure not in theirs["values"]:
        return False
    undefined = [np.isnan(entry.values(role, measure)) for entry, role in ((base, base_row.role), (other, row.role))]
    return bool((undefined[0] == undefined[1]).all() and not undefined[0].all())


def _difference(
    runs: Sequence[Entry], role: str, reference: Sequence[Entry], base_role: str, measure: str
) -> NDArray[np.float64]:
    """Of every question that has a value, means over seeds."""
    own_Q = np.mean([entry.values(role, measure) for entry in runs], axis=0)
    base_Q = np.mean([entry.values(base_role, measure) for entry in reference], axis=0)
    difference_Q = own_Q - base_Q
    difference_Q[np.abs(difference_Q) <= _TIE] = 0.0
    return np.asarray(difference_Q[~np.isnan(difference_Q)], dtype=np.float64)
