"""The measures of mpr/metrics/ranks.py as a metric of Hugging Face's `evaluate`: `evaluate.load(".../pool_ranks.py")`.

Numbers come from that one function; this file gives them the interface that other tools know. It needs `evaluate` and
`datasets`, which training does without where they are missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from mpr.metrics import ranks

DESCRIPTION = "Top-k, MRR and DPR's average rank from 0-based ranks of positive passages in a pool."
INPUTS = """
predictions: 0-based rank of each positive passage among the passages of the pool.
references: number of the question that the positive belongs to; positives of a question in the order of the data.
cuts: the k of top-k.
"""


class PoolRanks(evaluate.Metric):
    """`PoolRanks().compute(predictions=ranks, references=owners)`; nothing is downloaded."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"keep_in_memory": True, **options})

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="Karpukhin et al. 2020, arXiv 2004.04906",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
        )

    def _compute(
        self, predictions: Sequence[int], references: Sequence[int], cuts: Sequence[int] = ranks.CUTS
    ) -> dict[str, float]:
        return ranks.of(predictions, references, cuts)
