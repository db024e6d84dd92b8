"""Draws the pictures of the leaderboard: the same numbers give the same bytes.

SVG keeps text as text: small files, and a reader can search them. Colours are told apart by colour-blind readers too
(Okabe and Ito), and repeat with another dash and marker.
"""

from __future__ import annotations

import io
import math
from typing import Any

from mpr.publishing._board_figures import Curve, Figure, Panel

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_DASHES, _MARKERS = ("-", "--", ":"), ("o", "s", "^", "D", "v", "P", "X")
_ACROSS = 3  # panels beside each other
_STYLE = {
    "svg.hashsalt": "mpr",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
}


def draw(figure: Figure, kind: str = "svg") -> bytes:
    """The picture as `svg` or `png`."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    across = min(_ACROSS, len(figure.panels))
    down = math.ceil(len(figure.panels) / across)
    with matplotlib.rc_context(_STYLE):
        longest = max(len(panel.curves) + len(panel.levels) for panel in figure.panels)
        canvas = Canvas(figsize=(5.0 * across, (3.4 + 0.17 * longest) * down + 0.4), layout="constrained")
        FigureCanvasAgg(canvas)
        canvas.suptitle(figure.title, fontsize=12, fontweight="bold")
        axes = canvas.subplots(down, across, squeeze=False)
        for number, axis in enumerate(axes.flat):
            if number < len(figure.panels):
                _panel(axis, figure, figure.panels[number])
            else:
                axis.set_axis_off()
        file = io.BytesIO()
        dateless = {"Date": None} if kind == "svg" else None
        canvas.savefig(file, format=kind, dpi=110, bbox_inches="tight", metadata=dateless)
    return file.getvalue()


def _panel(axis: Any, figure: Figure, panel: Panel) -> None:
    own = [curve for curve in panel.curves if not curve.is_reference]
    others = [curve for curve in panel.curves if curve.is_reference]
    for place, curve in enumerate(own):
        if figure.is_time:
            _line(axis, curve, place)
        else:
            shift = 0.0 if figure.is_log else 0.012 * _width(panel) * (place - (len(own) - 1) / 2)
            _points(axis, curve, place, shift)
    for place, curve in enumerate(others):
        axis.plot(curve.x, curve.y, color="#888888", lw=1.0, ls=_DASHES[1 + place % 2], label=curve.label)
    for place, (label, level) in enumerate(panel.levels):
        axis.axhline(level, color="#888888", lw=1.0, ls=_DASHES[1 + place % 2], label=f"{label} {level:.1f}")
    _places(axis, figure, panel)
    axis.set_title(panel.title, fontsize=9)
    axis.set_xlabel(figure.xlabel)
    axis.set_ylabel(panel.ylabel)
    handles, labels = axis.get_legend_handles_labels()  # lines come before points: the rows first, then the levels
    first = len(others) + len(panel.levels) if not figure.is_time else 0
    order = {"handles": handles[first:] + handles[:first], "labels": labels[first:] + labels[:first]}
    below = -0.17 - 0.04 * max((name.count("\n") for name in panel.ticks), default=0)
    axis.legend(**order, fontsize=7.5, loc="upper center", bbox_to_anchor=(0.5, below), frameon=False, ncols=1)


def _style(place: int) -> dict[str, Any]:
    return {"color": _COLOURS[place % len(_COLOURS)], "ls": _DASHES[place // len(_COLOURS) % 3], "lw": 1.4}


def _line(axis: Any, curve: Curve, place: int) -> None:
    """With a shade of one standard deviation."""
    style = _style(place)
    axis.plot(curve.x, curve.y, label=curve.label, **style)
    low, high = ([y + sign * spread for y, spread in zip(curve.y, curve.spread, strict=True)] for sign in (-1, 1))
    axis.fill_between(curve.x, low, high, color=style["color"], alpha=0.15, lw=0)


def _points(axis: Any, curve: Curve, place: int, shift: float) -> None:
    """With bars of one standard deviation; points of several curves at one place stand side by side."""
    x = [value + shift for value in curve.x]
    marker = _MARKERS[(place + place // len(_COLOURS)) % len(_MARKERS)]
    axis.errorbar(x, curve.y, yerr=curve.spread, label=curve.label, marker=marker, ms=4.5, capsize=2.5, **_style(place))


def _width(panel: Panel) -> float:
    places = [x for curve in panel.curves for x in curve.x]
    return max(places) - min(places)


def _places(axis: Any, figure: Figure, panel: Panel) -> None:
    """Ticks where there are points."""
    if figure.is_time:
        return
    if figure.is_log:
        axis.set_xscale("log", base=2)
    points = sorted({x for curve in panel.curves for x in curve.x})
    names = [panel.ticks[int(x)] if panel.ticks else f"{x:g}" for x in points]
    axis.set_xticks(points, names, fontsize=7 if any("\n" in name for name in names) else 9)
    axis.minorticks_off()
