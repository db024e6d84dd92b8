"""Scores: the values of every question, kept for good, and what was measured how. The result of an evaluation.

A mean without its questions can be neither compared nor tested, so the questions are the artefact and the means are
derived: `scores.arrow` has a row for each question that counts. A value is null where a measure is not defined for the
question (the share of its positives that was found, when it has none); such questions are not in that measure's mean,
and the mean says over how many it went. Everything else counts: what the run lacks, what has no answer, is 0.

Shapes: Q questions that count.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mpr import storage
from mpr.errors import DataError, nearest

KIND = "scores"
GROUPS = (("0", 0, 0), ("1", 1, 1), ("2", 2, 2), ("3", 3, 3), ("4+", 4, None))
"""Known positives of a question -> the group of questions it is shown in."""
COUNTS = (
    "questions", "answered", "missing_in_the_run_count_0", "in_the_run_but_not_counted",
    "questions_of_the_split_without_judgement", "questions_without_answers", "answers_that_can_match_nothing",
    "without_positives", "positives_outside_the_corpus", "judged_passages_outside_the_corpus", "also_trained_on",
)  # fmt: skip
"""What every result counts, as far as it applies, in the order in which it is printed."""
_FACTS = [
    ("question", pa.string()), ("answered", pa.bool_()), ("trained", pa.bool_()), ("positives", pa.int64()),
    ("first", pa.int32()), ("right", pa.list_(pa.int32())),
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Scores:
    """The values of one run on one split."""

    about: dict[str, Any]
    """What was measured how: rule of a right passage, order of ties, self-hits, denominators, what was left over."""
    questions: tuple[str, ...]
    answered_Q: NDArray[np.bool_]
    """The run has a list for the question."""
    trained_Q: NDArray[np.bool_]
    """The question was also trained on."""
    positives_Q: NDArray[np.int64]
    """Known positives, -1 where nothing is known about them."""
    first_Q: NDArray[np.int32]
    """Rank of the first right passage from 1; 0: none."""
    right: tuple[tuple[int, ...], ...]
    """Ranks of all right passages of each question."""
    values: Mapping[str, NDArray[np.float64]]
    """Measure -> value of each question, between 0 and 1; NaN where it is not defined."""

    def __len__(self) -> int:
        return len(self.questions)

    def value(self, measure: str) -> NDArray[np.float64]:
        if measure not in self.values:
            fix = nearest(measure, self.values) or f"measured: {', '.join(self.values)}"
            raise DataError(f"'{measure}' was not measured", key=self.about["run"], fix=fix)
        return self.values[measure]

    def mean(self, measure: str, among: NDArray[np.bool_] | None = None) -> tuple[float | None, int]:
        """(mean, number of questions it goes over), None over no question."""
        values = self.value(measure)
        kept = values[~np.isnan(values) & (True if among is None else among)]
        # fsum: the same bits in whatever order the questions come
        return (math.fsum(kept) / len(kept) if len(kept) else None), len(kept)

    def groups(self) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """Questions by the number of their known positives, as far as anything is known of them."""
        for name, least, most in GROUPS:
            among = (self.positives_Q >= least) & (True if most is None else self.positives_Q <= most)
            if (self.positives_Q >= 0).any():
                yield name, among

    def summary(self) -> dict[str, Any]:
        """What is printed and what `--json` gives: means with their denominators, nothing per question."""
        groups = {
            name: {"questions": int(among.sum()), **{m: self.mean(m, among)[0] for m in self.values}}
            for name, among in self.groups()
        }
        found = {
            **self.about,
            "measures": {m: dict(zip(("mean", "questions"), self.mean(m), strict=True)) for m in self.values},
            "by_known_positives": groups,
        }
        if self.trained_Q.any():
            found["without_trained"] = {m: self.mean(m, ~self.trained_Q)[0] for m in self.values}
        return found

    def json(self) -> str:
        return json.dumps(self.summary(), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"

    def __str__(self) -> str:
        return "\n".join(_lines(self)) + "\n"

    def commit(self, target: Path) -> None:
        """Writes the artefact; `summary` is its receipt."""
        schema = pa.schema([*_FACTS, *((measure, pa.float64()) for measure in self.values)])
        columns = [pa.array(self.questions), *(pa.array(part) for part in (self.answered_Q, self.trained_Q))]
        columns += [pa.array(self.positives_Q), pa.array(self.first_Q), pa.array(self.right, pa.list_(pa.int32()))]
        columns += [pa.array(values, from_pandas=True) for values in self.values.values()]  # NaN becomes null
        batch = pa.record_batch(columns, schema=schema)
        with (
            storage.stage(target, KIND, self.summary()) as stage,
            stage.open("scores.arrow") as file,
            pa.ipc.new_file(file, schema) as writer,
        ):
            writer.write_batch(batch)

    def keep(self, target: Path) -> None:
        """Commits what is not there yet; other scores that are there are refused."""
        if not target.exists():
            self.commit(target)
        elif Scores.open(target).json() != self.json():
            raise DataError("holds other scores", where=str(target), fix="remove it, and evaluate again")

    @classmethod
    def open(cls, folder: Path) -> Scores:
        """Reads a committed artefact, every byte verified first."""
        manifest = storage.verify(folder, KIND)
        table = pa.ipc.open_file(pa.memory_map(str(Path(folder) / "scores.arrow"))).read_all()
        derived = ("measures", "by_known_positives", "without_trained")
        measures = [name for name in table.column_names if name not in {fact for fact, _ in _FACTS}]
        columns = {name: table.column(name) for name in table.column_names}
        return cls(
            about={name: value for name, value in manifest.receipt.items() if name not in derived},
            questions=tuple(columns["question"].to_pylist()),
            answered_Q=columns["answered"].to_numpy(),
            trained_Q=columns["trained"].to_numpy(),
            positives_Q=columns["positives"].to_numpy(),
            first_Q=columns["first"].to_numpy(),
            right=tuple(tuple(ranks) for ranks in columns["right"].to_pylist()),
            values={measure: columns[measure].to_numpy() for measure in measures},
        )


def _lines(scores: Scores) -> Iterator[str]:
    about = scores.about
    yield f"{about['run']} on {about['split']}: {len(scores):,} questions count"
    for name in ("right", "ties", "self_hits"):
        yield f"  {name.replace('_', '-'):<10} {about[name]}"
    for name in COUNTS:
        count = about["counts"].get(name)
        if count is not None:
            first = about["first"].get(name, [])
            yield f"  {count:>10,} {name.replace('_', ' ')}" + (f" (first: {', '.join(first)})" if first else "")
    yield f"{'measure':<12}{'percent':>8}{'questions':>12}"
    for measure in scores.values:
        mean, over = scores.mean(measure)
        yield f"{measure:<12}{_percent(mean)}{over:>12,}"
    if scores.trained_Q.any():
        yield f"without the {int(scores.trained_Q.sum()):,} questions that were also trained on"
        for measure in scores.values:
            mean, over = scores.mean(measure, ~scores.trained_Q)
            yield f"{measure:<12}{_percent(mean)}{over:>12,}"
    groups = list(scores.groups())
    if groups:
        yield f"{'positives':<12}{'questions':>10}" + "".join(f"{measure:>11}" for measure in scores.values)
    for name, among in groups:  # a dash where no question of the group defines the measure
        shown = "".join(f"{_percent(scores.mean(measure, among)[0]):>11}" for measure in scores.values)
        yield f"{name:<12}{int(among.sum()):>10,}{shown}"


def _percent(mean: float | None) -> str:
    return f"{'-':>8}" if mean is None else f"{100 * mean:>8.2f}"
