"""DPR's top-k accuracy as a metric of Hugging Face's `evaluate`: `evaluate.load(".../answer_hit.py")`.

The matcher is mpr/metrics/answers.py, the same as `mpr evaluate` uses, so the numbers are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np

from mpr.metrics import trec_eval
from mpr.metrics.answers import AnswerMatcher

DESCRIPTION = "Top-k accuracy: share of the questions with an answer in the text of one of their first k passages."
INPUTS = """
predictions: for each question the texts of its passages, the best first; titles are not part of a text.
references: for each question its answers.
cuts: the k of top-k.
regex: answers are patterns instead of strings.
"""


class AnswerHit(evaluate.Metric):
    """`AnswerHit().compute(predictions=texts, references=answers)`; nothing is downloaded."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"keep_in_memory": True, **options})

    def _info(self) -> Any:
        texts = datasets.Sequence(datasets.Value("string"))
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="Karpukhin et al. 2020, arXiv 2004.04906",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": texts, "references": texts}),
        )

    def _compute(
        self,
        predictions: Sequence[Sequence[str]],
        references: Sequence[Sequence[str]],
        cuts: Sequence[int] = (1, 5, 20, 100),
        regex: bool = False,
    ) -> dict[str, float]:
        first_Q = np.zeros(len(predictions), dtype=np.int64)
        for question, (texts, answers) in enumerate(zip(predictions, references, strict=True)):
            matcher = AnswerMatcher(answers, regex, str(question))
            first_Q[question] = next((rank for rank, text in enumerate(texts, 1) if matcher.found_in(text)), 0)
        return {f"top{cut}": float(trec_eval.reached(first_Q, cut).mean()) for cut in cuts}
