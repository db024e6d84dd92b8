"""What `mpr reproduce` says at the end: the row beside its baselines, its band and the published numbers.

Nothing here is rounded before it is compared, and an unknown number is written as unknown.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mpr import band, comparison
from mpr.recipe import Recipe
from mpr.result import Result
from mpr.scores import Scores

_BARS = " ▁▂▃▄▅▆▇█"
_WIDTH = 60


@dataclass(frozen=True)
class Reproduction:
    """All runs of a row that were made, by system."""

    recipe: Recipe
    results: Mapping[str, Sequence[Result]]
    folders: Mapping[str, Sequence[Path]]

    def __str__(self) -> str:
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        for role in self.recipe.data.evaluate:
            yield from self._table(role)
            yield from self._comparison(role)
        yield from self._verdicts(next(iter(self.recipe.data.evaluate)))  # the band is of the first
        yield from _curve(self.results["trained"][-1])

    def means(self, system: str, role: str, measure: str) -> list[float]:
        """In percent, one for each seed."""
        found = [result.document["scores"][role]["measures"][measure]["mean"] for result in self.results[system]]
        return [100 * value for value in found if value is not None]

    def _table(self, role: str) -> Iterator[str]:
        measures = self.recipe.evaluation.measures
        questions = len(self.results["trained"][0].document["scores"][role]["values"][measures[0]])
        yield f"\n{self.recipe.name} on {role}: percent over {questions:,} questions"
        yield f"{'':<12}{'seeds':>6}" + "".join(f"{measure:>16}" for measure in measures)
        for system, results in self.results.items():
            cells = "".join(f"{_spread(self.means(system, role, measure)):>16}" for measure in measures)
            yield f"{system:<12}{len(results):>6}{cells}"
        published = self.recipe.published.values
        cells = "".join(f"{_known(published.get(measure)):>16}" for measure in measures)
        yield f"{'published':<12}{'':>6}{cells}"

    def _verdicts(self, role: str) -> Iterator[str]:
        """Each run against the band of the row; above is as loud as below."""
        if self.recipe.expected is None:
            yield "band: unmeasured (`mpr leaderboard expect` writes it from three seeds or more)"
            return
        for result in self.results["trained"]:
            measured = result.document["scores"][role]["measures"]
            means = {name: one["mean"] for name, one in measured.items()}
            verdicts = band.verdict(self.recipe.expected, means)
            yield f"band: {result.name} " + ", ".join(f"{name} {word}" for name, word in verdicts.items())

    def _comparison(self, role: str) -> Iterator[str]:
        """Each baseline against the row, over questions, by the one measure that stands for it."""
        measure = chosen(self.recipe)
        scores = {
            system: [Scores.open(folder / "scores" / role) for folder in folders]
            for system, folders in self.folders.items()
        }
        if len(scores) < 2:
            return
        compared = comparison.compare(scores, measure, against="trained", seed=0)
        for pair in compared.pairs:
            p = pair.p if pair.p_holm is None else pair.p_holm
            yield (
                f"trained - {pair.first} in {measure}: {-100 * pair.difference:+.2f}, p {p:.2g}; "
                f"{pair.loss:,} questions better, {pair.win:,} worse"
            )


def chosen(recipe: Recipe) -> str:
    """The measure that a row is compared by: top20 or ndcg10 where it is measured, otherwise the first."""
    measures = recipe.evaluation.measures
    return next((name for name in ("top20", "ndcg10", "mrr10") if name in measures), measures[0])


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "undefined"
    mean = f"{statistics.fmean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.2f}"


def _known(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f}"


def _curve(result: Result) -> Iterator[str]:
    losses = [entry["loss"] for entry in result.document["curve"] if "loss" in entry]
    if len(losses) < 2:
        return
    step = max(1, -(-len(losses) // _WIDTH))
    shown = [statistics.fmean(losses[start : start + step]) for start in range(0, len(losses), step)]
    low, high = min(shown), max(shown)
    scale = (high - low) or 1.0
    bars = "".join(_BARS[1 + round((len(_BARS) - 2) * (value - low) / scale)] for value in shown)
    yield f"loss {losses[0]:.3f} {bars} {losses[-1]:.3f}"
