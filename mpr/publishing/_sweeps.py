"""Pictures of the deciding measure over one key of the recipes: number of positives, batch size, noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mpr.publishing import _board_table, _panels
from mpr.publishing._board_table import Table
from mpr.publishing._panels import NOISE, OBJECTIVE, POSITIVES, REFERENCES, Curve, Figure, Panel
from mpr.publishing.board import Row
from mpr.recipe import schedule
from mpr.recipe.keys import Recipe

_BATCH = (  # a batch brings its number of steps and its learning rate
    "training.per_device_train_batch_size", "training.gradient_accumulation_steps", "scale", "training.learning_rate",
    "training.max_steps", "training.num_train_epochs", "training.warmup_steps",
)  # fmt: skip


@dataclass(frozen=True)
class Sweep:
    """A picture of the deciding measure over one key."""

    name: str
    title: str
    xlabel: str
    needs: str
    x: Callable[[Recipe], Any]
    """A number, or what sorts the names of `tick`; None: the row has no place."""
    free: tuple[str, ...]
    """Keys in which rows of one panel may differ: those of the axis and of the series."""
    series: Callable[[Recipe], str]
    is_log: bool = False
    is_lonely: bool = False
    """A series with a single point is shown too."""
    tick: Callable[[Recipe], str] | None = None


def m(recipe: Recipe) -> float | None:
    """Positives a question at most; None where the data decides."""
    positives = recipe.draw.positives
    return {"first": 1, "up_to": positives.m, "all": positives.cap, "random1": positives.cap}.get(positives.policy)


def _batch(recipe: Recipe) -> float | None:
    return schedule.questions_per_step(recipe)


def _noise(recipe: Recipe) -> Any:
    """From the truest labels to the noisiest: what a dial replaces, then how many tiers count, then whose labels."""
    wrong = getattr(recipe.data.corpus, "wrong_positives", 0.0)
    return wrong, len(recipe.tiers), not recipe.data.train.endswith("_truth"), _board_table.labels(recipe)


SWEEPS = (
    Sweep(
        "accuracy_by_m", "Accuracy by number of positives", "positives a question (m)",
        "rows that are equal but for draw.positives and objective, with two m at least",
        m, (POSITIVES, OBJECTIVE), _board_table.objective, is_lonely=True,
    ),
    Sweep(
        "accuracy_by_batch", "Accuracy by batch size", "questions a step",
        "rows that are equal but for the batch (and its steps and learning rate), draw.positives and objective",
        _batch, (*_BATCH, POSITIVES, OBJECTIVE), _panels.name, is_log=True,
    ),
    Sweep(
        "accuracy_by_noise", "Accuracy by noise of the positives", "labels that training is told",
        f"rows that are equal but for {', '.join(NOISE)}, draw.positives and objective",
        _noise, (*NOISE, POSITIVES, OBJECTIVE), _panels.name, tick=_board_table.labels,
    ),
)  # fmt: skip


def figures(tables: Sequence[Table]) -> tuple[Figure, ...]:
    return tuple(
        Figure(sweep.name, sweep.title, sweep.xlabel, sweep.needs, tuple(_swept(sweep, tables)), sweep.is_log)
        for sweep in SWEEPS
    )


def _swept(sweep: Sweep, tables: Sequence[Table]) -> Iterator[Panel]:
    for table in tables:
        for told, rows in _panels.groups(table, sweep.free):
            placed = [(x, row) for row in rows if (x := sweep.x(row.recipe)) is not None]
            ticks: tuple[str, ...] = ()
            if sweep.tick is not None:
                names = {x: sweep.tick(row.recipe).replace(", ", "\n").replace(" + ", "\n+ ") for x, row in placed}
                places = {x: place for place, x in enumerate(sorted(names))}
                placed, ticks = [(places[x], row) for x, row in placed], tuple(names[x] for x in places)
            curves = tuple(_series(sweep, placed, table.measures[0]))
            if any(len(curve.x) > 1 for curve in curves):
                title, label = _panels.heading(table, told), f"{table.measures[0]}, %"
                yield Panel(title, label, curves, _levels(table, rows), ticks)


def _series(sweep: Sweep, placed: Sequence[tuple[float, Row]], measure: str) -> Iterator[Curve]:
    lines: dict[str, list[tuple[float, Row]]] = {}
    for x, row in sorted(placed, key=lambda pair: (pair[0], pair[1].name)):
        label = sweep.series(row.recipe)
        taken = lines.setdefault(label, [])
        if any(x == other for other, _ in taken):  # two rows in one place differ in a free key that is no axis
            taken = lines.setdefault(f"{label} ({row.name})", [])
        taken.append((x, row))
    for label, points in lines.items():
        numbers = [_number(row, measure) for _, row in points]
        known = [(x, *found) for (x, _), found in zip(points, numbers, strict=True) if found]
        if len(known) > 1 or (known and sweep.is_lonely):
            xs, means, spreads = zip(*known, strict=True)
            yield Curve(label, xs, means, spreads)


def _levels(table: Table, rows: Sequence[Row]) -> tuple[tuple[str, float], ...]:
    found = []
    for label, system in REFERENCES:
        means = [entry.means(row.role).get(table.measures[0]) for row in rows for entry in row.of(system)]
        if number := _panels.over_seeds(list(map(_panels.percent, means))):
            found.append((label, number[0]))
    return tuple(found)


def _number(row: Row, measure: str) -> tuple[float, float] | None:
    return _panels.over_seeds([_panels.percent(entry.means(row.role).get(measure)) for entry in row.of("trained")])
