"""Every picture of the leaderboard: the sweeps, the learning curves, and accuracy by the number of known positives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mpr.evaluation.scores import GROUPS
from mpr.publishing import _panels, _sweeps
from mpr.publishing._board_table import Table
from mpr.publishing._panels import OBJECTIVE, POSITIVES, REFERENCES, Curve, Figure, Panel
from mpr.publishing.board import Entry

_TOGETHER = (POSITIVES, OBJECTIVE)  # rows that differ in these share a panel
_CURVES = ("eval_mrr", "eval_top20", "eval_top5", "eval_top1")  # of these the first that all rows logged, else the loss


def figures(tables: Sequence[Table]) -> tuple[Figure, ...]:
    """Every picture of the leaderboard, those without data too."""
    curves = Figure(
        "learning_curves",
        "Learning curves",
        "update",
        "a trained row with a log",
        tuple(_learning(tables)),
        is_time=True,
    )
    groups = Figure(
        "accuracy_by_known_positives",
        "Accuracy by number of available positives",
        "known positives of a test question",
        "a trained row whose evaluation split lists positives",
        tuple(_by_known_positives(tables)),
    )
    return (*_sweeps.figures(tables), curves, groups)


def _learning(tables: Sequence[Table]) -> Iterator[Panel]:
    for table in tables:
        for told, rows in _panels.groups(table, _TOGETHER):
            logs = {row.name: [entry.result.document["curve"] for entry in row.of("trained")] for row in rows}
            name = next((name for name in _CURVES if all(_logs(log, name) for log in logs.values())), "loss")
            scale = 1.0 if name == "loss" else 100.0
            curves = [_learnt(_panels.name(row.recipe), logs[row.name], name, scale) for row in rows]
            shown = tuple(curve for curve in curves if curve.x)
            if shown:
                label = (
                    "training loss (no measure was logged)"
                    if name == "loss"
                    else f"validation {name.removeprefix('eval_')}, %"
                )
                yield Panel(_panels.heading(table, told), label, shown)


def _logs(log: Sequence[Sequence[dict[str, Any]]], name: str) -> bool:
    return any(name in entry for run in log for entry in run)


def _learnt(label: str, runs: Sequence[Sequence[dict[str, Any]]], name: str, scale: float) -> Curve:
    """At the steps that every seed logged."""
    values = [{entry["step"]: scale * entry[name] for entry in run if name in entry} for run in runs]
    steps = sorted(set.intersection(*map(set, values)))
    found = [number for step in steps if (number := _panels.over_seeds([run[step] for run in values]))]
    return Curve(label, tuple(steps), tuple(y for y, _ in found), tuple(spread for _, spread in found))


def _by_known_positives(tables: Sequence[Table]) -> Iterator[Panel]:
    for table in tables:
        for told, rows in _panels.groups(table, _TOGETHER):
            measure = table.measures[0]
            curves = [_grouped(_panels.name(row.recipe), row.of("trained"), row.role, measure) for row in rows]
            for label, system in REFERENCES:
                entries = next((row.of(system) for row in rows if row.of(system)), ())
                curves.append(_grouped(label, entries, rows[0].role, measure, is_reference=True))
            shown = tuple(curve for curve in curves if curve.x)
            if any(not curve.is_reference for curve in shown):
                ticks = tuple(name for name, _, _ in GROUPS)
                yield Panel(_panels.heading(table, told), f"{measure}, %", shown, ticks=ticks)


def _grouped(label: str, entries: Sequence[Entry], role: str, measure: str, is_reference: bool = False) -> Curve:
    points = []
    for place, (name, _, _) in enumerate(GROUPS):
        found = [entry.scores(role)["by_known_positives"].get(name, {}) for entry in entries]
        number = _panels.over_seeds([_panels.percent(group.get(measure)) for group in found if group.get("questions")])
        if number:
            points.append((float(place), *number))
    x, y, spread = zip(*points, strict=True) if points else ((), (), ())
    return Curve(label, x, y, spread, is_reference)
