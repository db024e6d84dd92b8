"""`mpr reproduce`: all runs of a row, one for each seed, its baselines, and what is printed at the end.

Printed are the row beside its baselines, its band and the published numbers; of a row that trains nothing, the verdict
on its published encoders. Nothing is rounded before it is compared, and an unknown number is written as unknown.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mpr import storage
from mpr.errors import MprError, Problem, RecipeError
from mpr.evaluation import comparison
from mpr.evaluation.scores import Scores
from mpr.models import locate
from mpr.recipe import plan, read
from mpr.recipe.keys import SCORERS, Recipe
from mpr.rows import band, published
from mpr.rows._side_by_side import SideBySide
from mpr.rows._stages import Row
from mpr.rows.pipeline import Pipeline
from mpr.rows.result import Result
from mpr.runtime import environment
from mpr.runtime.processes import ONE_PROCESS, Group
from mpr.training import run_folder

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 60
_OUTSIDE = (
    "the run is kept; of honest runs one in twenty leaves the band of a measure, so run two more seeds: "
    "if they leave it too, this machine or version does not reproduce the row"
)


@dataclass(frozen=True)
class Reproduction:
    """All runs of a row that were made, by system."""

    recipe: Recipe
    results: Mapping[str, Sequence[Result]]
    folders: Mapping[str, Sequence[Path]]
    failed: MprError | None = None
    """Runs side by side of which nothing is here."""

    @property
    def system(self) -> str:
        """What the row is about: the trained model, or encoders that others published."""
        return self.recipe.system

    def __str__(self) -> str:
        lines = []
        for role in self.recipe.data.evaluate:
            lines += [*self._table(role), *self._comparison(role)]
        if self.recipe.trains:
            lines += self._verdicts(next(iter(self.recipe.data.evaluate)))  # the band is of the first
            lines += _curves(self.results["trained"][-1], chosen(self.recipe))
        else:
            lines += self._agreement()
        return "\n".join(lines) + "\n"

    def next_commands(self, file: Path) -> str:
        """What to run next; `file` is that of the recipe."""
        folder, role = self.folders[self.system][-1], next(iter(self.recipe.data.evaluate))
        lines = [f"\nevery byte and score again: mpr verify {folder}"]
        if self.recipe.trains:
            lines.append(f"the model: {folder / 'model'}")
        if len(self.folders) > 1:
            sides = (f"{name}=" + ",".join(f"{one}/scores/{role}" for one in own) for name, own in self.folders.items())
            lines.append(f"question by question: mpr compare {' '.join(sides)} --measure {chosen(self.recipe)}")
        if self._is_own:
            lines.append(f"next: how much is chance, mpr reproduce {file} --seeds 3; or copy {file} and change a key")
            return "\n".join(lines) + "\n"
        lines.append(f"next: copy {file} to my.yaml and change a key; recipes/README.md explains them all")
        seeds = " --seeds 3" if self.recipe.trains else ""
        lines.append(f"      mpr check my.yaml; mpr plan my.yaml; mpr reproduce my.yaml{seeds}")
        return "\n".join(lines) + "\n"

    @property
    def _is_own(self) -> bool:
        """Whether it is somebody's own short recipe, which nobody has published or measured before."""
        return bool(self.recipe.written)

    def means(self, system: str, role: str, measure: str) -> list[float]:
        """In percent, one for each seed."""
        found = [result.document["scores"][role]["measures"][measure]["mean"] for result in self.results[system]]
        return [100 * value for value in found if value is not None]

    def _table(self, role: str) -> Iterator[str]:
        measures = self.recipe.evaluation.measures
        questions = len(self.results[self.system][0].document["scores"][role]["values"][measures[0]])
        yield f"\n{self.recipe.name} on {role}: percent over {questions:,} questions"
        yield f"{'':<12}{'seeds':>6}" + "".join(f"{measure:>16}" for measure in measures)
        for system, results in self.results.items():
            cells = "".join(f"{_spread(self.means(system, role, measure)):>16}" for measure in measures)
            yield f"{system:<12}{len(results):>6}{cells}"
        if self._is_own:
            return
        digits = 1 if self.recipe.trains else 2
        known = {name: f"{value:.{digits}f}" for name, value in published.values(self.recipe, role).items()}
        cells = "".join(f"{known.get(measure, 'unknown'):>16}" for measure in measures)
        yield f"{'published':<12}{'':>6}{cells}"

    def _verdicts(self, role: str) -> Iterator[str]:
        """Each run against the band of the row; above is as loud as below."""
        if self.recipe.expected is None and self._is_own:
            return
        if self.recipe.expected is None:
            yield "band: unmeasured (`mpr leaderboard expect` writes it from three seeds or more)"
        elif others := self._overridden():
            yield f"band: not judged, it is of the recipe without --set {', '.join(others)}"
        else:
            for result in self.results["trained"]:
                verdicts = band.verdict(self.recipe.expected, self._fractions(result, role))
                words = ", ".join(f"{name} {word}" for name, word in verdicts.items())
                yield f"band: {result.name} {band.worst(verdicts.values())}: {words}"

    def _agreement(self) -> Iterator[str]:
        """The values of published encoders against those that were published."""
        for role in self.recipe.data.evaluate:
            found = self._agreed(role)
            words = ", ".join(f"{name} {word}" for name, word in found.items())
            yield f"published: {role} {published.worst(found.values())}: {words}"

    def _agreed(self, role: str) -> dict[str, str]:
        return published.verdicts(self.recipe, role, self._fractions(self.results[self.system][0], role))

    def _fractions(self, result: Result, role: str) -> dict[str, float]:
        """Measure -> mean of a run, those that the row is measured by and that are defined."""
        measured = result.document["scores"][role]["measures"]
        means = {name: measured[name]["mean"] for name in self.recipe.evaluation.measures}
        return {name: mean for name, mean in means.items() if mean is not None}

    def _overridden(self) -> list[str]:
        """Keys that make it another recipe than the one that the band is of."""
        keys = (override.partition("=")[0] for override in self.recipe.overrides)
        return [key for key in keys if key not in band.OVERRIDABLE]

    def outside(self) -> Iterator[Problem]:
        """Every measure of every run that is not where one more run of this recipe should be."""
        if not self.recipe.trains and not self._overridden():
            yield from self._off()
        bands, role = self.recipe.expected, next(iter(self.recipe.data.evaluate))
        if bands is None or self._overridden():
            return
        for result, folder in zip(self.results["trained"], self.folders["trained"], strict=True):
            means = self._fractions(result, role)
            for name, word in band.verdict(bands, means).items():
                if word in (band.ABOVE, band.BELOW):
                    found = bands[name]
                    what = f"{100 * means[name]:.2f} is {word} the band of the recipe, {found.low} to {found.high}"
                    yield Problem(what, str(folder), name, _OUTSIDE)

    def _off(self) -> Iterator[Problem]:
        folder, tolerance = self.folders[self.system][0], self.recipe.published.tolerance
        for role in self.recipe.data.evaluate:
            means, wanted = self._fractions(self.results[self.system][0], role), published.values(self.recipe, role)
            for name, word in self._agreed(role).items():
                if word == published.OFF:
                    what = f"{100 * means[name]:.2f} on {role} is off the published {wanted[name]:.2f} (± {tolerance})"
                    fix = "the run is kept; docs/checkpoints.md says which part of the chain each published value tests"
                    yield Problem(what, str(folder), name, fix)

    def _comparison(self, role: str) -> Iterator[str]:
        """Each baseline against the row, over questions, by the one measure that stands for it."""
        measure = chosen(self.recipe)
        scores = {
            system: [Scores.open(folder / "scores" / role) for folder in folders]
            for system, folders in self.folders.items()
        }
        if len(scores) < 2:
            return
        compared = comparison.compare(scores, measure, against=self.system, seed=0)
        for pair in compared.pairs:
            p = pair.p if pair.p_holm is None else pair.p_holm
            yield (
                f"{self.system} - {pair.first} in {measure}: {-100 * pair.difference:+z.2f}, p {p:.2g}; "
                f"{pair.loss:,} questions better, {pair.win:,} worse"
            )


def reproduce(
    file: Path,
    overrides: Sequence[str],
    home: Path,
    runs: Path,
    say: Callable[[str], object],
    *,
    fork: str | None = None,
    seeds: int = 1,
    baselines: Sequence[str] = ("bm25", "untrained"),
    older_code: bool = False,
    budget: int = 2 << 30,
    quiet: bool = False,
    parallel: int = 1,
    group: Group = ONE_PROCESS,
) -> Reproduction:
    """Makes one trained run of a recipe for each seed, counted up from its own, and after them its baselines; where
    nothing is trained, the one run of the published encoders, and BM25. `parallel`: so many of them side by side."""
    recipe = read.load(file, overrides)
    if recipe.task in SCORERS:
        what = f"{SCORERS[recipe.task]} cannot search, so it has no row of its own"
        fix = "train it with `mpr train`, and name its model under `scores` of a label"
        raise RecipeError(what, where=str(file), key="task", fix=fix)
    locate.refuse_missing_bases(recipe)
    if not recipe.trains and seeds > 1:
        what = "nothing is drawn where nothing is trained, so every seed gives the same"
        raise RecipeError(what, where=str(file), key="--seeds", fix="leave it out")
    if parallel > 1 and recipe.trains and any(one.scale.processes > 1 for one in recipe.stages):
        what, fix = "each run is trained by several processes of its own, which a launcher starts", "leave it out"
        raise RecipeError(what, where=str(file), key="--parallel", fix=fix)
    parallel = min(parallel, seeds + len(baselines))
    words = Row(recipe, file, "bm25", home, runs / run_folder.name(recipe, "bm25"), quiet, budget)
    _refuse_too_large(words, say, "bm25" in baselines, parallel)
    first = int(recipe.training.get("seed", 0))
    wanted = [(recipe.system, first + number) for number in range(seeds)]
    wanted += [(system, first) for system in baselines if recipe.trains or system == "bm25"]
    rows = []
    for system, seed in wanted:
        one = recipe if seed == first else read.again(recipe, [*overrides, f"training.seed={seed}"])
        rows.append(Row(one, file, system, home, runs / run_folder.name(one, system, fork), quiet, budget, group))
    failed = _beside_one_another(rows, parallel, older_code, say) if parallel > 1 else {}
    results: dict[str, list[Result]] = {recipe.system: []}
    folders: dict[str, list[Path]] = {recipe.system: []}
    for row in rows:
        if str(row.folder) in failed:
            continue
        if parallel == 1:
            say(str(row.folder))
            made = Pipeline(row, lambda line: say(f"  {line}"), older_code).run()
        else:
            made = Result.of_run(row.folder)
        results.setdefault(row.system, []).append(made)
        folders.setdefault(row.system, []).append(row.folder)
    error = _failure(failed)
    if error is not None and not results[recipe.system]:
        raise error
    return Reproduction(recipe, results, folders, error)


def _beside_one_another(
    rows: Sequence[Row], parallel: int, older_code: bool, say: Callable[[str], object]
) -> dict[str, int]:
    """Folder of each run that failed -> the exit code with which it ended."""
    named = {row.folder.name.removeprefix(f"{row.recipe.name}-"): row for row in rows}
    for name, row in named.items():
        say(f"{name}: {row.folder}")
    ended = SideBySide(parallel, older_code, say).run(named)
    return {str(named[name].folder): code for name, code in ended.items() if code}


def _failure(failed: Mapping[str, int]) -> MprError | None:
    if not failed:
        return None
    fix = "what it said stands above; what was finished is kept, and the same command goes on with the rest"
    error = MprError([Problem(f"ended with exit code {code}", where, fix=fix) for where, code in failed.items()])
    error.exit_code = next(iter(failed.values()))
    return error


def _refuse_too_large(words: Row, say: Callable[[str], object], is_wanted: bool, parallel: int) -> None:
    """Says what does not fit this machine. A BM25 baseline that does not is refused: it would fail at the very end."""
    planned, memory, free = plan.resolve(words.recipe), environment.memory_bytes(), storage.free_bytes(words.home)
    index = planned.shortages(memory, free).get(plan.BM25_BASELINE, "")  # which is built once
    for name, shortage in planned.shortages(memory // parallel, free).items():
        if name != plan.BM25_BASELINE:
            say(f"warning: {shortage}")
    if index and is_wanted and not words.retrieval.has_word_index():
        fix = "leave it out with --no-bm25, or run on a machine with more memory"
        raise RecipeError(index, where=str(words.file), fix=fix)


def chosen(recipe: Recipe) -> str:
    """The measure that a row is compared by: top20 or ndcg10 where it is measured, otherwise the first."""
    measures = recipe.evaluation.measures
    return next((name for name in ("top20", "ndcg10", "mrr10") if name in measures), measures[0])


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "undefined"
    mean = f"{statistics.fmean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.2f}"


def _curves(result: Result, measure: str) -> Iterator[str]:
    """How the last run learned: its loss, and the validation measure nearest to that of the row, in percent."""
    curve = result.document["curve"]
    measured = next((name for name in (f"eval_{measure}", "eval_mrr") if any(name in entry for entry in curve)), "")
    for label, name, unit in (("loss", "loss", 1), (f"validation {measured.removeprefix('eval_')}", measured, 100)):
        values = [unit * entry[name] for entry in curve if name in entry]
        if len(values) > 1:
            yield f"{label:<18} {values[0]:>6.2f} {_drawn(values)} {values[-1]:.2f}"


def _drawn(values: Sequence[float]) -> str:
    """A bar for each value, or for each few in a row where there are many; the lowest is one eighth high."""
    step = -(-len(values) // _WIDTH)
    shown = [statistics.fmean(values[start : start + step]) for start in range(0, len(values), step)]
    low, scale = min(shown), (max(shown) - min(shown)) or 1.0
    return "".join(_BARS[round((len(_BARS) - 1) * (value - low) / scale)] for value in shown)
