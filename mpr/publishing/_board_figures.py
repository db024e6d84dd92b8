"""The pictures of the leaderboard as numbers: which rows stand in one panel, and the points of each curve.

A panel holds rows whose recipes are equal in every key but those of the axis and of the curves; nothing is chosen by
name. So a picture says what it seems to say, and a row that differs in one more key starts another panel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from mpr.evaluation.scores import GROUPS
from mpr.publishing import _board_table
from mpr.publishing._board import BoardRow, Entry
from mpr.publishing._board_table import Table
from mpr.publishing._board_verdicts import Number, number
from mpr.recipe import schedule
from mpr.recipe.keys import DESCRIBING, Recipe
from mpr.recipe.strict_yaml import dotted, leaves
from mpr.storage import manifest

_NEVER = ("training.seed", "data.corpus.folder")  # keys that tell no rows apart
_TOGETHER = ("draw.positives", "objective")  # rows that differ in these share a panel
_NOISE = ("data.corpus.wrong_positives", "data.train", "labels[0].tiers")  # what training is told, and how true it is
_BATCH = (  # a batch brings its number of steps and its learning rate
    "training.per_device_train_batch_size", "training.gradient_accumulation_steps", "scale", "training.learning_rate",
    "training.max_steps", "training.num_train_epochs", "training.warmup_steps",
)  # fmt: skip
_REFERENCES = (("BM25", "bm25"), ("untrained", "untrained"))
_CURVES = ("eval_mrr", "eval_top20", "eval_top5", "eval_top1")  # of these the first that all rows logged, else the loss


@dataclass(frozen=True)
class Curve:
    """One line of a panel. Means over seeds; `spread` is their standard deviation, 0 from one seed."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    spread: tuple[float, ...]
    is_reference: bool = False
    """BM25 or the untrained model: drawn thin."""

    @classmethod
    def of(cls, label: str, points: Iterable[tuple[float, Number | None]], is_reference: bool = False) -> Curve:
        """Through the points that are known."""
        known = [(x, found.mean, found.deviation or 0.0) for x, found in points if found is not None]
        x, y, spread = zip(*known, strict=True) if known else ((), (), ())
        return cls(label, x, y, spread, is_reference)


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
    panels: tuple[Panel, ...] = ()
    is_log: bool = False
    is_time: bool = False
    """The x axis is the course of training: lines instead of points."""

    @property
    def digest(self) -> str:
        """Of what the picture shows."""
        return manifest.json_digest(asdict(self))


@dataclass(frozen=True)
class Sweep:
    """A picture of the deciding measure over one key of the recipes."""

    figure: Figure
    x: Callable[[Recipe], Any]
    """A number, or what sorts the names of `tick`; None: the row has no place."""
    free: tuple[str, ...]
    """Keys in which rows of one panel may differ: those of the axis and of the curves."""
    label: Callable[[Recipe], str]
    """Of the curve that a row is on."""
    is_lonely: bool = False
    """A curve with a single point is shown too."""
    tick: Callable[[Recipe], str] | None = None


def figures(tables: Sequence[Table]) -> tuple[Figure, ...]:
    """Every picture of the leaderboard, those without data too."""
    curves = Figure(
        "learning_curves",
        "Learning curves",
        "update",
        "a trained row with a log",
        _panels(tables, _TOGETHER, _learning),
        is_time=True,
    )
    groups = Figure(
        "accuracy_by_known_positives",
        "Accuracy by number of available positives",
        "known positives of a test question",
        "a trained row whose evaluation split lists positives",
        _panels(tables, _TOGETHER, _by_known_positives),
    )
    sweeps = [replace(sweep.figure, panels=_panels(tables, sweep.free, partial(_swept, sweep))) for sweep in SWEEPS]
    return (*sweeps, curves, groups)


# Which rows share a panel


def _panels(
    tables: Sequence[Table], free: Sequence[str], panel: Callable[[str, Table, list[BoardRow]], Panel | None]
) -> tuple[Panel, ...]:
    made = (panel(title, table, rows) for table in tables for title, rows in _groups(table, free))
    return tuple(found for found in made if found is not None)


def _groups(table: Table, free: Sequence[str]) -> Iterator[tuple[str, list[BoardRow]]]:
    """(title, measured rows) of every group of rows that are equal but for the free keys."""
    found: dict[str, list[BoardRow]] = {}
    contents: dict[str, dict[str, Any]] = {}
    for row in table.rows:
        if row.of("trained"):
            content = _fixed(row.recipe, (*free, *_NEVER))
            key = manifest.json_digest(content)
            contents[key] = content
            found.setdefault(key, []).append(row)
    several = any(len(rows) > 1 for rows in found.values())
    usual = contents[max(found, key=lambda key: len(found[key]))] if found else {}
    for key, rows in found.items():
        if len(rows) > 1 or not several:  # a single row has nothing to be compared with; it stands in the table
            other = _difference(contents[key], usual)
            yield table.title + (f"\n{other}" if other else ""), rows


def _fixed(recipe: Recipe, free: Sequence[str]) -> dict[str, Any]:
    """The keys in which rows of a panel must be equal."""
    content = recipe.model_dump(mode="json", by_alias=True, exclude=set(DESCRIBING))
    named = {dotted(path): value for path, value in leaves(content)}
    below = tuple(f"{top}{mark}" for top in free for mark in ".[")
    return {key: value for key, value in named.items() if key not in free and not key.startswith(below)}


def _difference(content: dict[str, Any], usual: dict[str, Any]) -> str:
    """The first keys in which this group differs from the largest of the table, in short."""
    keys = [key for key, value in content.items() if usual.get(key) != value]
    shown = [f"{key.rpartition('.')[2].replace('per_device_train_', '')} {content[key]}" for key in keys[:3]]
    return ", ".join(shown) + (", ..." if len(keys) > 3 else "")


def _name(recipe: Recipe) -> str:
    """Of a curve: objective and positives."""
    return f"{_board_table.objective(recipe)}, m {_board_table.positives(recipe)}"


# Over one key of the recipes


def _positives(recipe: Recipe) -> float | None:
    """Positives a question at most; None where the data decides."""
    positives = recipe.draw.positives
    return {"first": 1, "up_to": positives.m, "all": positives.cap, "random1": positives.cap}.get(positives.policy)


def _noise(recipe: Recipe) -> Any:
    """From the truest labels to the noisiest: what a dial replaces, then how many tiers count, then whose labels."""
    wrong = getattr(recipe.data.corpus, "wrong_positives", 0.0)
    return wrong, len(recipe.tiers), not recipe.data.train.endswith("_truth"), _board_table.labels(recipe)


SWEEPS = (
    Sweep(
        Figure("accuracy_by_m", "Accuracy by number of positives", "positives a question (m)",
               "rows that are equal but for draw.positives and objective, with two m at least"),
        _positives, _TOGETHER, _board_table.objective, is_lonely=True,
    ),
    Sweep(
        Figure("accuracy_by_batch", "Accuracy by batch size", "questions a step", "rows that are equal but for the "
               "batch (and its steps and learning rate), draw.positives and objective", is_log=True),
        schedule.questions_per_step, (*_BATCH, *_TOGETHER), _name,
    ),
    Sweep(
        Figure("accuracy_by_noise", "Accuracy by noise of the positives", "labels that training is told",
               f"rows that are equal but for {', '.join(_NOISE)}, draw.positives and objective"),
        _noise, (*_NOISE, *_TOGETHER), _name, tick=_board_table.labels,
    ),
)  # fmt: skip


def _swept(sweep: Sweep, title: str, table: Table, rows: list[BoardRow]) -> Panel | None:
    measure = table.measures[0]
    placed = [(x, row) for row in rows if (x := sweep.x(row.recipe)) is not None]
    ticks: tuple[str, ...] = ()
    if sweep.tick is not None:
        names = {x: sweep.tick(row.recipe).replace(", ", "\n").replace(" + ", "\n+ ") for x, row in placed}
        places = {x: place for place, x in enumerate(sorted(names))}
        placed, ticks = [(places[x], row) for x, row in placed], tuple(names[x] for x in places)
    lines: dict[str, list[tuple[float, BoardRow]]] = {}
    for x, row in sorted(placed, key=lambda pair: (pair[0], pair[1].name)):
        label = sweep.label(row.recipe)
        if any(x == other for other, _ in lines.get(label, ())):  # they differ in a free key that is no axis
            label = f"{label} ({row.name})"
        lines.setdefault(label, []).append((x, row))
    curves = []
    for label, line in lines.items():
        curve = Curve.of(label, ((x, number(row.of("trained"), row.role, measure)) for x, row in line))
        if len(curve.x) > 1 or (curve.x and sweep.is_lonely):
            curves.append(curve)
    if not any(len(curve.x) > 1 for curve in curves):
        return None
    levels = []
    for label, system in _REFERENCES:
        if found := Number.of([entry.means(row.role).get(measure) for row in rows for entry in row.of(system)]):
            levels.append((label, found.mean))
    return Panel(title, f"{measure}, %", tuple(curves), tuple(levels), ticks)


# Over the course of training, and over the number of known positives


def _learning(title: str, table: Table, rows: list[BoardRow]) -> Panel | None:
    logs = {row.name: [entry.result.document["curve"] for entry in row.of("trained")] for row in rows}

    def is_logged_by_all(name: str) -> bool:
        return all(any(name in entry for run in log for entry in run) for log in logs.values())

    name = next(filter(is_logged_by_all, _CURVES), "loss")
    curves = (_learnt(_name(row.recipe), logs[row.name], name) for row in rows)
    shown = tuple(curve for curve in curves if curve.x)
    label = f"validation {name.removeprefix('eval_')}, %" if name != "loss" else "training loss (no measure was logged)"
    return Panel(title, label, shown) if shown else None


def _learnt(label: str, runs: Sequence[Sequence[dict[str, Any]]], name: str) -> Curve:
    """At the steps that every seed logged."""
    values = [{entry["step"]: entry[name] for entry in run if name in entry} for run in runs]
    scale = 1.0 if name == "loss" else 100.0
    steps = sorted(set.intersection(*map(set, values)))
    return Curve.of(label, ((step, Number.of([run[step] for run in values], scale)) for step in steps))


def _by_known_positives(title: str, table: Table, rows: list[BoardRow]) -> Panel | None:
    measure, role = table.measures[0], rows[0].role
    curves = [_grouped(_name(row.recipe), row.of("trained"), row.role, measure) for row in rows]
    if not any(curve.x for curve in curves):
        return None
    for label, system in _REFERENCES:
        entries = next((row.of(system) for row in rows if row.of(system)), ())
        curves.append(_grouped(label, entries, role, measure, is_reference=True))
    ticks = tuple(name for name, _, _ in GROUPS)
    return Panel(title, f"{measure}, %", tuple(curve for curve in curves if curve.x), ticks=ticks)


def _grouped(label: str, entries: Sequence[Entry], role: str, measure: str, is_reference: bool = False) -> Curve:
    points = []
    for place, (name, _, _) in enumerate(GROUPS):
        found = [entry.scores(role)["by_known_positives"].get(name, {}) for entry in entries]
        points.append((float(place), Number.of([group.get(measure) for group in found if group.get("questions")])))
    return Curve.of(label, points, is_reference)
