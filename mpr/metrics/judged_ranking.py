"""Measures over judgements as a metric of Hugging Face's `evaluate`: `evaluate.load(".../judged_ranking.py")`.

Numbers come from mpr/metrics/trec_eval.py, the same function that `mpr evaluate` calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from mpr.errors import DataError
from mpr.metrics import trec_eval

DESCRIPTION = "nDCG, MRR, MAP, recall and success at a cut, over judged passages; the arithmetic is trec_eval's."
INPUTS = """
predictions: for each judged question the ids of its passages, the best first; an empty list where nothing was found.
references: for each question the ids of its judged passages, as {"passages": ids, "grades": whole numbers}.
measures: names such as ndcg10, mrr10, recall100, map100, success5.
least: grade from which a passage is relevant.
"""


class JudgedRanking(evaluate.Metric):
    """`JudgedRanking().compute(predictions=ids, references=judged)`; nothing is downloaded."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"keep_in_memory": True, **options})

    def _info(self) -> Any:
        ids = datasets.Sequence(datasets.Value("string"))
        judged = {"passages": ids, "grades": datasets.Sequence(datasets.Value("int64"))}
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="trec_eval, github.com/usnistgov/trec_eval",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": ids, "references": judged}),
        )

    def _compute(
        self,
        predictions: Sequence[Sequence[str]],
        references: Sequence[dict[str, Any]],
        measures: Sequence[str] = ("ndcg10", "mrr10", "recall100"),
        least: int = 1,
    ) -> dict[str, float]:
        numbers: dict[str, int] = {}
        ranked, grades = [], []
        for question, (ids, judged) in enumerate(zip(predictions, references, strict=True)):
            if len(set(ids)) != len(ids) or not judged["passages"]:
                what = "has no judgement" if not judged["passages"] else "ranks a passage twice"
                raise DataError(what, key=f"question {question}", fix="leave it out, or mend the lists")
            ranked.append([numbers.setdefault(identifier, len(numbers)) for identifier in ids])
            rows = [numbers.setdefault(identifier, len(numbers)) for identifier in judged["passages"]]
            grades.append(dict(zip(rows, judged["grades"], strict=True)))
        values = trec_eval.judged(ranked, grades, measures, least)
        return {name: float(values[name].mean()) for name in measures}
