"""Two systems or more side by side, question by question: `mpr compare A B`.

A system is one run or several seeds of it; its value for a question is the mean over its seeds. Systems are compared
only where a difference has a meaning: the same questions, the same rule of a right passage, the same judgements, the
same order of ties and self-hits. With more than two systems every p is also given corrected for their number (Holm).

Shapes: Q questions.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mpr.errors import DataError, Problems
from mpr.evaluation import significance
from mpr.evaluation.scores import Scores

MOVED = 10
_TIE = 1e-12  # means over seeds of equal values may differ by this
_SAME = ("right", "ties", "judged_by")


@dataclass(frozen=True)
class System:
    """One side of a comparison."""

    name: str
    seeds: int
    mean: float
    over_seeds: tuple[float, float] | None
    """95 % interval of the mean over seeds (Student); None from one seed."""


@dataclass(frozen=True)
class Pair:
    """`first` minus `second`."""

    first: str
    second: str
    difference: float
    p: float
    method: str
    p_holm: float | None
    """Corrected for the number of pairs; None where there is one pair."""
    over_questions: tuple[float, float]
    """95 % interval of the difference over questions (bootstrap)."""
    too_few: bool
    """So few questions differ that the interval over questions covers less often than it says."""
    over_seeds: tuple[float, float] | None
    """95 % interval of the difference over seeds (Welch); None where a side has one seed."""
    win: int
    tie: int
    loss: int
    moved: tuple[tuple[str, float, float], ...]
    """(question, value of first, value of second) of those that differ most."""


@dataclass(frozen=True)
class Comparison:
    """Everything that `mpr compare` prints. Values and differences are fractions, printed in percent."""

    measure: str
    questions: int
    undefined: int
    """Questions left out because the measure is not defined for them, the same for all systems."""
    systems: tuple[System, ...]
    pairs: tuple[Pair, ...]

    def json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def __str__(self) -> str:
        return "\n".join(_lines(self)) + "\n"


def compare(
    systems: Mapping[str, Sequence[Scores]],
    measure: str,
    *,
    against: str | None = None,
    seed: int = 0,
    moved: int = MOVED,
) -> Comparison:
    """Every pair of systems, or each of them against one. A system is the list of its seeds' scores."""
    _refuse_other_facts(systems, measure, against)
    reference = next(iter(systems.values()))[0]
    defined_Q = ~np.isnan(reference.value(measure))
    ids = [identifier for identifier, kept in zip(reference.questions, defined_Q, strict=True) if kept]
    if not ids:
        raise DataError(f"'{measure}' is defined for no question", key="measure", fix="choose another measure")
    by_seed: dict[str, list[NDArray[np.float64]]] = {}
    for name, runs in systems.items():
        for run in runs:
            places = {identifier: place for place, identifier in enumerate(run.questions)}
            values = run.value(measure)[[places[identifier] for identifier in ids]]
            by_seed.setdefault(name, []).append(values)
    value_Q = {name: np.mean(runs, axis=0) for name, runs in by_seed.items()}
    means = {name: [float(run.mean()) for run in runs] for name, runs in by_seed.items()}
    sides = tuple(
        System(name, len(runs), float(value_Q[name].mean()), significance.seeds(means[name]))
        for name, runs in by_seed.items()
    )
    chosen = [*combinations(systems, 2)] if against is None else [(n, against) for n in systems if n != against]
    pairs = []
    for first, second in chosen:
        difference_Q = value_Q[first] - value_Q[second]
        difference_Q[np.abs(difference_Q) <= _TIE] = 0.0
        tested = significance.randomisation(difference_Q, seed)
        rows = sorted(np.flatnonzero(difference_Q).tolist(), key=lambda row: (-abs(difference_Q[row]), ids[row]))
        pair = Pair(
            first=first,
            second=second,
            difference=float(difference_Q.mean()),
            p=tested.p,
            method=tested.method,
            p_holm=None,
            over_questions=significance.bootstrap(difference_Q, seed),
            too_few=significance.is_too_few(difference_Q),
            over_seeds=significance.seed_difference(means[first], means[second]),
            win=int((difference_Q > 0).sum()),
            tie=int((difference_Q == 0).sum()),
            loss=int((difference_Q < 0).sum()),
            moved=tuple((ids[row], float(value_Q[first][row]), float(value_Q[second][row])) for row in rows[:moved]),
        )
        pairs.append(pair)
    if len(pairs) > 1:
        adjusted = significance.holm([pair.p for pair in pairs])
        pairs = [dataclasses.replace(pair, p_holm=p) for pair, p in zip(pairs, adjusted, strict=True)]
    return Comparison(measure, len(ids), int((~defined_Q).sum()), sides, tuple(pairs))


def _refuse_other_facts(systems: Mapping[str, Sequence[Scores]], measure: str, against: str | None) -> None:
    """Scores that do not measure the same thing, each difference named."""
    if len(systems) < 2 or not all(systems.values()):
        raise DataError("a comparison needs two systems with scores", key="compare", fix="name two or more")
    if against is not None and against not in systems:
        raise DataError(f"'{against}' is not among the systems", key="against", fix=f"known: {', '.join(systems)}")
    problems = Problems(DataError)
    reference = next(iter(systems.values()))[0]
    for name, runs in systems.items():
        for what, ours, theirs in (fact for one in runs for fact in _facts(reference, one, measure)):
            if ours != theirs:
                problems.add(
                    f"{what}: {theirs}, elsewhere {ours}", where=name, fix="evaluate both under the same rules"
                )
    problems.stop_if_any()


def _facts(reference: Scores, other: Scores, measure: str) -> Iterator[tuple[str, str, str]]:
    """(fact, in the reference, in the other) of everything that must be equal."""
    for name in _SAME:
        yield name, str(reference.about[name]), str(other.about[name])
    rule, others = (str(scores.about["self_hits"]).partition(":")[0] for scores in (reference, other))
    yield "self_hits", rule, others
    missing = sorted(set(reference.questions) ^ set(other.questions))
    yield "questions that only one side has", "0", str(len(missing)) + (f" ({missing[0]}...)" if missing else "")
    if not missing:
        ours, theirs = (
            {one.questions[place] for place in np.flatnonzero(np.isnan(one.value(measure)))}
            for one in (reference, other)
        )
        yield "questions without a value", str(len(ours)), str(len(theirs))
        yield "questions with a value on one side only", "0", str(len(ours ^ theirs))


def _lines(found: Comparison) -> Iterator[str]:
    left_out = f", {found.undefined:,} left out (not defined for them)" if found.undefined else ""
    yield f"{found.measure} in percent over {found.questions:,} questions{left_out}"
    width = max(len(system.name) for system in found.systems)
    for system in found.systems:
        yield f"  {system.name:<{width}} {100 * system.mean:>7.2f}  seeds {system.seeds}{_interval(system.over_seeds)}"
    for pair in found.pairs:
        yield ""
        yield f"{pair.first} - {pair.second}: {100 * pair.difference:+z.2f}"
        corrected = "" if pair.p_holm is None else f", {pair.p_holm:.4g} corrected for {len(found.pairs)} pairs (Holm)"
        yield f"  p {pair.p:.4g} (sign flips, {pair.method}){corrected}"
        few = f", not to be trusted: only {pair.win + pair.loss:,} questions differ" if pair.too_few else ""
        yield f"  over questions{_interval(pair.over_questions)}  bootstrap{few}"
        if pair.over_seeds is not None:
            yield f"  over seeds    {_interval(pair.over_seeds)}  Welch"
        yield f"  win / tie / loss  {pair.win:,} / {pair.tie:,} / {pair.loss:,}"
        for question, one, other in pair.moved:
            yield f"    {100 * one:>7.2f} {100 * other:>7.2f}  {question}"


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"  95 % from {100 * interval[0]:.2f} to {100 * interval[1]:.2f}"
