"""The measures by name, and the one place that asks trec_eval for their values.

`topK`       1 if one of the first K passages is right (contains an answer)
`foundK`     share of the question's known positives among the first K passages
`successK`   1 if one of the first K passages is relevant                         trec_eval: success_K
`recallK`    share of the relevant passages among the first K                     recall_K
`mrrK`       1 / rank of the first relevant passage, 0 beyond K                   recip_rank of the first K
`mapK`       average precision over the first K, divided by all relevant          map_cut_K
`ndcgK`      discounted gain of the first K (gain = grade, discount log2(rank + 1)) over the best possible   ndcg_cut_K

trec_eval gets whole numbers made of ranks as scores, so its own rule for ties (id down, scores rounded to 32 bits)
never acts. Everything else is its arithmetic: a negative grade, for example, gains nothing and costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpr.errors import DataError

_NAME = re.compile(r"(top|found|success|recall|mrr|map|ndcg)([1-9][0-9]*)")
_TREC = {"success": "success", "recall": "recall", "map": "map_cut", "ndcg": "ndcg_cut"}
BY_ANSWERS, BY_JUDGEMENTS = ("top", "found"), ("success", "recall", "mrr", "map", "ndcg")
_CHUNK = 1_000  # questions handed to trec_eval at once: dictionaries of a run are thirty times its arrays


def parsed(measure: str, kinds: Iterable[str]) -> tuple[str, int]:
    """(kind, cut) of a measure's name; other kinds than `kinds` are refused."""
    match = _NAME.fullmatch(measure)
    if match is None or match[1] not in kinds:
        known = ", ".join(f"{kind}K" for kind in kinds)
        raise DataError(f"'{measure}' cannot be measured here", key="measures", fix=f"known: {known}")
    return match[1], int(match[2])


def judged(
    ranked: Sequence[Sequence[int]],
    grades: Sequence[Mapping[int, int]],
    measures: Iterable[str],
    least: int = 1,
) -> dict[str, NDArray[np.float64]]:
    """Values of every question: `ranked` are its passages, the best first, `grades` the judged ones.

    A passage is relevant from grade `least`; nDCG takes the grades themselves. A question whose list is empty, or
    that has no relevant passage, has the value 0.
    """
    wanted = {measure: parsed(measure, BY_JUDGEMENTS) for measure in measures}
    if least < 1:
        raise DataError(f"grade {least} cannot mean relevant", key="least", fix="use 1 or more; 0 is judged irrelevant")
    values = {measure: np.zeros(len(ranked)) for measure in wanted}
    for start in range(0, len(ranked), _CHUNK):
        part = slice(start, start + _CHUNK)
        for depth, names in _invocations(wanted):
            found = _trec_eval(ranked[part], grades[part], depth, sorted(set(names.values())), least)
            for measure, name in names.items():
                for question, of_question in found.items():
                    values[measure][start + int(question)] = of_question[name]
    return values


def _invocations(wanted: Mapping[str, tuple[str, int]]) -> list[tuple[int, dict[str, str]]]:
    """(depth of the run, measure -> its name in trec_eval): the reciprocal rank is cut by cutting the run."""
    plain = {measure: f"{_TREC[kind]}_{cut}" for measure, (kind, cut) in wanted.items() if kind != "mrr"}
    depth = max((cut for kind, cut in wanted.values() if kind != "mrr"), default=0)
    cuts = [(cut, {measure: "recip_rank"}) for measure, (kind, cut) in wanted.items() if kind == "mrr"]
    return [(depth, plain), *cuts] if plain else cuts


def _trec_eval(
    ranked: Sequence[Sequence[int]], grades: Sequence[Mapping[int, int]], depth: int, names: list[str], least: int
) -> dict[str, dict[str, float]]:
    import pytrec_eval

    qrels = {str(q): {str(p): grade for p, grade in mine.items()} for q, mine in enumerate(grades) if mine}
    run = {}
    for q in range(len(ranked)):
        if grades[q] and len(ranked[q]):  # scores fall by one from rank to rank, exact in the 32 bits that it keeps
            first = ranked[q][:depth]
            run[str(q)] = {str(passage): float(len(first) - place) for place, passage in enumerate(first)}
    if not run:
        return {}
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, set(names), relevance_level=least)
    found: dict[str, dict[str, float]] = evaluator.evaluate(run)
    return found


def reached(first_Q: NDArray[Any], cut: int) -> NDArray[np.float64]:
    """1 for each question whose first right passage has rank `cut` or better; rank 0 means that there is none."""
    return ((first_Q > 0) & (first_Q <= cut)).astype(np.float64)


def share_found(
    pairs: tuple[NDArray[np.int64], NDArray[np.int64]], questions: int, ranks: NDArray[np.int64], cut: int
) -> NDArray[np.float64]:
    """Share of each question's positives with rank `cut` or better; NaN where there are no positives.

    `pairs` are (question, passage) of the positives, `ranks` theirs, 0 for those that are not in the list.
    """
    owner, _ = pairs
    total = np.bincount(owner, minlength=questions)
    within = np.bincount(owner[(ranks > 0) & (ranks <= cut)], minlength=questions)
    return np.where(total > 0, within / np.maximum(total, 1), np.nan)
