"""How much of a score comes from passages that training knew as positives of other questions.

    python benchmarks/learned.py recipes/mini/scifact_files_nll_m1.yaml ndcg10 runs/... --set data.corpus.folder=FOLDER

Prints a table for docs: each run's mean over the questions of the first evaluation split that have such a passage
(`mpr audit` counts them), and over the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mpr.data import audit
from mpr.data.dataset import Dataset
from mpr.evaluation.scores import Scores
from mpr.recipe import read


def lines(recipe: Path, measure: str, runs: Sequence[Path], sets: Sequence[str], home: Path) -> list[str]:
    """The table, in Markdown."""
    dataset = Dataset(read.load(recipe, sets), home)
    role = next(iter(dataset.recipe.data.evaluate))
    known_Q = audit.learned(dataset, role)
    if known_Q is None:
        raise SystemExit(f"{recipe}: its split '{role}' lists no positives among the passages of training")
    known = dict(zip(dataset.split(role).ids, known_Q.tolist(), strict=True))
    made = [f"| run | {measure} where training knew a right passage | elsewhere |", "|---|--:|--:|"]
    for run in runs:
        scores = Scores.open(run / "scores" / role)
        if measure not in scores.values:
            raise SystemExit(f"{run}: no measure is called {measure}; known: {', '.join(scores.values)}")
        is_known_Q = np.array([known[name] for name in scores.questions])
        parts = [(scores.values[measure][chosen], int(chosen.sum())) for chosen in (is_known_Q, ~is_known_Q)]
        shown = [f"{100 * np.mean(values):.2f} ({count:,})" if count else "(0)" for values, count in parts]
        made.append(f"| {run.name} | {' | '.join(shown)} |")
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("measure")
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--set", action="append", default=[], dest="sets")
    parser.add_argument("--home", type=Path, default=Path(".mpr"))
    given = parser.parse_args()
    print("\n".join(lines(given.recipe, given.measure, given.runs, given.sets, given.home)))
