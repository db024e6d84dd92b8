"""What a picture of the leaderboard is, as numbers, and which rows may stand in one panel.

A panel holds rows whose recipes are equal in every key but those of the axis and of the series; nothing is chosen by
name. So a picture says what it seems to say, and a row that differs in one more key starts another panel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from mpr.publishing import _board_table
from mpr.publishing._board_table import Table
from mpr.publishing.board import Row
from mpr.recipe.keys import DESCRIBING, Recipe
from mpr.recipe.strict_yaml import dotted, leaves
from mpr.storage import manifest

_NEVER = ("training.seed", "data.corpus.folder")
POSITIVES, OBJECTIVE = "draw.positives", "objective"
NOISE = ("data.corpus.wrong_positives", "data.train", "labels[0].tiers")  # what training is told, and how true it is
REFERENCES = (("BM25", "bm25"), ("untrained", "untrained"))


@dataclass(frozen=True)
class Curve:
    """One line of a panel. Means over seeds; `spread` is their standard deviation, 0 from one seed."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    spread: tuple[float, ...]
    is_reference: bool = False
    """BM25 or the untrained model: drawn thin."""


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    title: str
    ylabel: str
    curves: tuple[Curve, ...]
    levels: tuple[tuple[str, float], ...] = ()
    """Horizontal lines: BM25, the untrained model."""
    ticks: tuple[str, ...] = ()
    """Names of the places 0, 1, ... of the x axis; empty: x is a number."""


@dataclass(frozen=True)
class Figure:
    """One picture; without panels there are no rows for it yet."""

    name: str
    title: str
    xlabel: str
    needs: str
    """What has to be measured for it."""
    panels: tuple[Panel, ...]
    is_log: bool = False
    is_time: bool = False
    """The x axis is the course of training: lines instead of points."""


def digest(figure: Figure) -> str:
    """Of what a picture shows."""
    return manifest.json_digest(asdict(figure))


def groups(table: Table, free: Sequence[str]) -> Iterator[tuple[str, list[Row]]]:
    """(what tells this group from the others of the table, its measured rows)."""
    found: dict[str, list[Row]] = {}
    contents: dict[str, dict[str, Any]] = {}
    for row in table.rows:
        if row.of("trained"):
            content = _fixed(row.recipe, free)
            key = manifest.json_digest(content)
            contents[key] = content
            found.setdefault(key, []).append(row)
    several = any(len(rows) > 1 for rows in found.values())
    usual = contents[max(found, key=lambda key: len(found[key]))] if found else {}
    for key, rows in found.items():
        if len(rows) > 1 or not several:  # a single row has nothing to be compared with; it stands in the table
            yield _told_apart(contents[key], usual), rows


def _fixed(recipe: Recipe, free: Sequence[str]) -> dict[str, Any]:
    content = recipe.model_dump(mode="json", by_alias=True, exclude=set(DESCRIBING))
    named = {dotted(path): value for path, value in leaves(content)}
    return {key: value for key, value in named.items() if not _is_below(key, (*free, *_NEVER))}


def _is_below(key: str, tops: Sequence[str]) -> bool:
    return any(key == top or key.startswith((f"{top}.", f"{top}[")) for top in tops)


def _told_apart(content: dict[str, Any], usual: dict[str, Any]) -> str:
    """The first keys in which this group differs from the largest of the table, in short."""
    keys = [key for key, value in content.items() if usual.get(key) != value]
    shown = [f"{key.rpartition('.')[2].replace('per_device_train_', '')} {content[key]}" for key in keys[:3]]
    return ", ".join(shown) + (", ..." if len(keys) > 3 else "")


def over_seeds(values: Sequence[float | None]) -> tuple[float, float] | None:
    """(mean, standard deviation), 0 from a single seed; None from none."""
    known = [value for value in values if value is not None]
    return (fmean(known), stdev(known) if len(known) > 1 else 0.0) if known else None


def percent(value: float | None) -> float | None:
    return None if value is None else 100.0 * value


def heading(table: Table, told: str) -> str:
    return table.title + (f"\n{told}" if told else "")


def name(recipe: Recipe) -> str:
    """Of a series: objective and positives."""
    return f"{_board_table.objective(recipe)}, m {_board_table.positives(recipe)}"
