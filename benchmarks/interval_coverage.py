"""How often the bootstrap interval of `mpr compare` covers the true difference, by how many questions differ.

    python benchmarks/interval_coverage.py      # half a minute

Differences of hits: each question is won with one chance, lost with another, else a tie; the true difference is known.
Prints the table of docs/evaluation.md. Fixed seeds, so that the same numbers come again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mpr.evaluation import significance

TRIALS, RESAMPLES = 400, 2_000
CASES = (
    (5, 0.3, 0.2),
    (20, 0.3, 0.2),
    (50, 0.04, 0.02),
    (50, 0.1, 0.1),
    (100, 0.03, 0.02),
    (200, 0.08, 0.05),
    (1_000, 0.02, 0.01),
)


def main() -> None:
    print("| questions | won | lost | differ, on average | intervals that cover | of those without the caution |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for questions, won, lost in CASES:
        covered, trusted = [], []
        for trial in range(TRIALS):
            chance_Q = np.random.default_rng([questions, trial]).random(questions)
            difference_Q = (chance_Q < won).astype(float) - (chance_Q > 1 - lost)
            low, high = significance.bootstrap(difference_Q, trial, resamples=RESAMPLES)
            covered.append(low <= won - lost <= high)
            if not significance.is_too_few(difference_Q):
                trusted.append(covered[-1])
        differ, share = questions * (won + lost), f"{np.mean(trusted):.3f}" if len(trusted) >= 50 else "none"
        print(f"| {questions:,} | {won} | {lost} | {differ:.1f} | {np.mean(covered):.3f} | {share} ({len(trusted)}) |")


if __name__ == "__main__":
    main()
