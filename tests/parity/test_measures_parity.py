"""Measures against things that mpr did not write: trec_eval with its own tie rule, scikit-learn, ir_measures, ranx,
BEIR, plain formulas.

mpr hands trec_eval scores made of ranks. Here trec_eval gets the raw scores, ties and all, and ids that are numbered
backwards, so that its own rule (id down) must arrive at the same order. The two ways share nothing but its arithmetic;
that is checked against scikit-learn and against the definitions in plain Python.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from dataclasses import dataclass

import ir_measures
import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from mpr.evaluation import evaluate
from mpr.evaluation.evaluate import Rules
from mpr.evaluation.judgements import Judgements
from mpr.evaluation.ranking import Names, Ranking
from mpr.metrics.trec_eval import judged
from mpr.records import Hit, Judgement
from tests.conftest import Examined, Parity

PASSAGES = 30
CUTS = (1, 3, 5, 10)
TREC = {"success": "success", "recall": "recall", "map": "map_cut", "ndcg": "ndcg_cut"}
NAMES = tuple(f"{kind}{cut}" for kind in (*TREC, "mrr") for cut in CUTS)


@dataclass(frozen=True)
class Case:
    """Lists of (passage, score) of each question, and grades of each judged question."""

    run: dict[int, dict[int, float]]
    grades: dict[int, dict[int, int]]


_SCORES = st.one_of(st.sampled_from((0.0, 0.5, 1.0, -2.0)), st.integers(-8, 8).map(lambda n: n / 4))
_LISTS = st.dictionaries(st.integers(0, PASSAGES - 1), _SCORES, max_size=20)
_GRADES = st.dictionaries(st.integers(0, PASSAGES + 3), st.sampled_from((0, 1, 1, 2, 3, -1)), min_size=1, max_size=12)
CASES = st.builds(
    Case,
    st.dictionaries(st.integers(0, 5), _LISTS, max_size=6),
    st.dictionaries(st.integers(0, 5), _GRADES, min_size=1),
)


def name(passage: int) -> str:
    return f"p{passage:04}"


def backwards(passage: int) -> str:
    """The same passage where the order of ids is reversed."""
    return f"p{9_999 - passage:04}"


def by_mpr(case: Case, least: int) -> dict[str, dict[int, float]]:
    """Through hits, ranking, judgements and scores."""
    hits = [Hit(f"q{q}", name(p), 1, score) for q, listed in case.run.items() for p, score in listed.items()]
    listed = [Judgement(f"q{q}", name(p), grade) for q, mine in case.grades.items() for p, grade in mine.items()]
    names = Names([hit.passage for hit in hits] + [one.passage for one in listed])
    found = evaluate.by_judgements(
        Ranking.of_hits(hits, names),
        Judgements.of(listed, names),
        names,
        Rules("run", "split", depth=PASSAGES),
        names=NAMES,
        least=least,
    )
    return {measure: {int(q[1:]): v for q, v in zip(found.questions, values, strict=True)}
            for measure, values in found.values.items()}  # fmt: skip


def by_trec_eval(case: Case, least: int) -> dict[str, dict[int, float]]:
    """Raw scores and trec_eval's own ties; questions that it leaves out count 0."""
    qrels = {f"q{q}": {backwards(p): grade for p, grade in mine.items()} for q, mine in case.grades.items()}
    run = {f"q{q}": {backwards(p): score for p, score in listed.items()} for q, listed in case.run.items()}
    wanted = {f"{TREC[kind]}_{cut}" for kind in TREC for cut in CUTS}
    told = pytrec_eval.RelevanceEvaluator(qrels, wanted | {"recip_rank"}, relevance_level=least).evaluate(run)

    def value(question: int, measure: str) -> float:
        return float(told.get(f"q{question}", {}).get(measure, 0.0))

    found = {f"{kind}{cut}": {q: value(q, f"{trec}_{cut}") for q in case.grades} for kind, trec in TREC.items()
             for cut in CUTS}  # fmt: skip
    for cut in CUTS:  # a reciprocal rank below 1 / cut lies beyond the cut
        whole = {q: value(q, "recip_rank") for q in case.grades}
        found[f"mrr{cut}"] = {q: rank if rank >= 1 / cut - 1e-12 else 0.0 for q, rank in whole.items()}
    return found


def by_definition(case: Case, least: int) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {measure: {} for measure in NAMES}
    for q, mine in case.grades.items():
        listed = case.run.get(q, {})
        order = sorted(listed, key=lambda p: (-listed[p], p))
        relevant = [mine.get(p, 0) >= least for p in order]
        total = sum(grade >= least for grade in mine.values())
        ideal = sorted((max(grade, 0) for grade in mine.values()), reverse=True)
        for cut in CUTS:
            hits = [rank for rank, right in enumerate(relevant[:cut], 1) if right]
            precision = sum(number / rank for number, rank in enumerate(hits, 1))
            gain = sum(max(mine.get(p, 0), 0) / math.log2(rank + 1) for rank, p in enumerate(order[:cut], 1))
            best = sum(grade / math.log2(rank + 1) for rank, grade in enumerate(ideal[:cut], 1))
            found[f"success{cut}"][q] = float(bool(hits))
            found[f"recall{cut}"][q] = len(hits) / total if total else 0.0
            found[f"mrr{cut}"][q] = 1 / hits[0] if hits else 0.0
            found[f"map{cut}"][q] = precision / total if total else 0.0
            found[f"ndcg{cut}"][q] = gain / best if best else 0.0
    return found


_met = {"cases": 0, "with ties": 0, "missing questions": 0, "empty lists": 0, "values": 0}


def measurable(case: Case, least: int) -> bool:
    asked = any(case.run.get(q) for q in case.grades)
    return asked and any(grade >= least for mine in case.grades.values() for grade in mine.values())


def agree(case: Case, least: int) -> float:
    """The largest difference from trec_eval."""
    if not measurable(case, least):
        return 0.0
    ours, theirs, plain = by_mpr(case, least), by_trec_eval(case, least), by_definition(case, least)
    for measure in NAMES:
        for question in case.grades:
            assert ours[measure][question] == pytest.approx(theirs[measure][question], abs=1e-12), measure
            assert ours[measure][question] == pytest.approx(plain[measure][question], abs=1e-12), measure
            _met["values"] += 1
    _met["cases"] += 1
    _met["with ties"] += any(len(set(listed.values())) < len(listed) for listed in case.run.values())
    _met["missing questions"] += any(q not in case.run for q in case.grades)
    _met["empty lists"] += any(not listed for listed in case.run.values())
    return apart(ours, theirs)


def apart(ours: dict[str, dict[int, float]], theirs: dict[str, dict[int, float]]) -> float:
    return max(abs(ours[measure][question] - theirs[measure][question])
               for measure in NAMES for question in ours[measure])  # fmt: skip


def drawn(seed: int) -> Case:
    """A case from a seed: a hundred times quicker than one that can be made smaller when it fails."""
    dice = random.Random(seed)
    run = {
        q: {p: dice.randint(-8, 8) / 4 for p in dice.sample(range(PASSAGES), dice.randint(0, 20))}
        for q in dice.sample(range(6), dice.randint(1, 6))
    }
    grades = {
        q: {p: dice.choice((0, 1, 1, 2, 3, -1)) for p in dice.sample(range(PASSAGES + 4), dice.randint(1, 12))}
        for q in dice.sample(range(6), dice.randint(1, 6))
    }
    return Case(run, grades)


@settings(max_examples=250, deadline=None, derandomize=True)
@given(CASES, st.sampled_from((1, 1, 2)))
def _small(case: Case, least: int) -> None:
    agree(case, least)


@settings(max_examples=5_000, deadline=None, derandomize=True)
@given(CASES, st.sampled_from((1, 1, 2)))
def _many_small(case: Case, least: int) -> None:
    agree(case, least)


def _told(examined: Examined, cases: int) -> None:
    assert min(_met["with ties"], 3 * _met["missing questions"], 5 * _met["empty lists"]) > cases // 3
    examined(_met["cases"], f"random runs: {_met}", at_least=cases)


@pytest.mark.long
def test_measures_equal_trec_eval_and_the_definitions(examined: Examined, parity: Parity) -> None:
    _small()
    before = _met["values"]
    largest = max(agree(drawn(seed), least=1 + (seed % 3 == 0)) for seed in range(2_400))
    values, subject = _met["values"] - before, "20 measures of questions, ties broken by id upwards"
    parity(subject, "trec_eval, ids turned round, by pytrec_eval", values, largest, 1e-12, "pytrec-eval-terrier")
    _told(examined, 2_000)


@pytest.mark.slow
def test_measures_equal_trec_eval_on_many_more(examined: Examined) -> None:
    _many_small()
    for seed in range(2_400, 40_000):
        agree(drawn(seed), least=1 + (seed % 3 == 0))
    _told(examined, 30_000)


def test_measures_equal_scikit_learn(examined: Examined, parity: Parity) -> None:
    """Whole rankings without ties, where its definitions are the same ones."""
    dice, largest = np.random.default_rng(7), 0.0
    for _ in range(300):
        count = int(dice.integers(2, 40))
        scores, grades = dice.permutation(count), dice.integers(0, 4, count)
        grades[dice.integers(count)] = 1
        order = np.argsort(-scores).tolist()
        found = judged([order], [dict(enumerate(grades.tolist()))], [f"ndcg{count}", "ndcg5", f"map{count}"])
        theirs = {
            f"ndcg{count}": ndcg_score([grades], [scores]),
            "ndcg5": ndcg_score([grades], [scores], k=5),
            f"map{count}": average_precision_score(grades > 0, scores),
        }
        largest = max(largest, *(abs(found[name][0] - value) for name, value in theirs.items()))
    parity("nDCG and average precision, no ties", "ndcg_score and average_precision_score", 900, largest, 1e-12,
           "scikit-learn")  # fmt: skip
    examined(900, "values", at_least=900)


def without_ties(seed: int) -> Case:
    """Every question has a list and a relevant passage: programs differ in what they make of one that has not."""
    dice = random.Random(seed)
    run, grades = {}, {}
    for question in range(dice.randint(2, 6)):
        listed = dice.sample(range(PASSAGES), dice.randint(1, PASSAGES))
        run[question] = dict(zip(listed, [score / 8 for score in dice.sample(range(900), len(listed))], strict=True))
        judged_here = dice.sample(range(PASSAGES), dice.randint(1, 12))
        grades[question] = {passage: dice.choice((0, 1, 1, 2, 3)) for passage in judged_here} | {judged_here[0]: 1}
    return Case(run, grades)


def as_others_have_it(case: Case) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, float]]]:
    """Judgements and run."""
    return (
        {f"q{q}": {name(p): grade for p, grade in mine.items()} for q, mine in case.grades.items()},
        {f"q{q}": {name(p): score for p, score in mine.items()} for q, mine in case.run.items()},
    )


WITHOUT_TIES = "20 measures of questions, no ties"


def test_measures_equal_ir_measures(parity: Parity) -> None:
    theirs = {"success": "Success", "recall": "R", "map": "AP", "ndcg": "nDCG", "mrr": "RR"}
    asked = {f"{kind}{cut}": f"{there}@{cut}" for kind, there in theirs.items() for cut in CUTS}
    cases, largest = [without_ties(seed) for seed in range(60)], 0.0
    measures = [ir_measures.parse_measure(there) for there in asked.values()]
    for case in cases:
        found: dict[str, dict[int, float]] = defaultdict(dict)
        for one in ir_measures.iter_calc(measures, *as_others_have_it(case)):
            found[str(one.measure)][int(one.query_id[1:])] = one.value
        largest = max(largest, apart(by_mpr(case, 1), {ours: found[there] for ours, there in asked.items()}))
    values = 20 * sum(len(case.grades) for case in cases)
    parity(WITHOUT_TIES, "iter_calc", values, largest, 1e-12, "ir-measures")


def test_measures_equal_ranx(parity: Parity) -> None:
    ranx = pytest.importorskip("ranx")
    theirs = {"success": "hit_rate", "recall": "recall", "map": "map", "ndcg": "ndcg", "mrr": "mrr"}
    asked = {f"{kind}{cut}": f"{there}@{cut}" for kind, there in theirs.items() for cut in CUTS}
    cases, largest = [without_ties(seed) for seed in range(60)], 0.0
    for case in cases:
        qrels, run = as_others_have_it(case)
        qrels = {q: {p: grade for p, grade in mine.items() if grade} for q, mine in qrels.items()}
        found = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), list(asked.values()), return_mean=False)
        order = sorted(case.grades)
        told = {ours: dict(zip(order, map(float, found[there]), strict=True)) for ours, there in asked.items()}
        largest = max(largest, apart(by_mpr(case, 1), told))
    values = 20 * sum(len(case.grades) for case in cases)
    parity(WITHOUT_TIES, "evaluate", values, largest, 1e-12, "ranx", needs="ranx")


def test_measures_equal_beir(parity: Parity) -> None:
    """Means over questions, which it rounds to five digits."""
    evaluation = pytest.importorskip("beir.retrieval.evaluation").EvaluateRetrieval()
    cases, largest = [without_ties(seed) for seed in range(60)], 0.0
    for case in cases:
        qrels, run = as_others_have_it(case)
        found = evaluation.evaluate(qrels, run, list(CUTS))
        told = dict(item for part in found for item in part.items())
        told |= evaluation.evaluate_custom(qrels, run, list(CUTS), metric="mrr")
        told |= evaluation.evaluate_custom(qrels, run, list(CUTS), metric="top_k_accuracy")
        theirs = {"ndcg": "NDCG", "map": "MAP", "recall": "Recall", "mrr": "MRR", "success": "Accuracy"}
        for measure, values in by_mpr(case, 1).items():
            kind = measure.rstrip("0123456789")
            there = told[f"{theirs[kind]}@{measure.removeprefix(kind)}"]
            largest = max(largest, abs(sum(values.values()) / len(values) - there))
    parity("20 measures, mean over questions, no ties", "EvaluateRetrieval, rounded to five digits", 20 * len(cases),
           largest, 5.1e-6, "beir", needs="beir")  # fmt: skip


def test_where_trec_eval_differs() -> None:
    """What docs/evaluation.md says of it, so that the page is right as long as this passes."""
    qrels, wanted = {"q": {"a": 1}, "missing": {"a": 1}}, {"recip_rank"}
    trec = pytrec_eval.RelevanceEvaluator(qrels, wanted)
    assert trec.evaluate({"q": {"a": 1.0, "b": 1.0}})["q"]["recip_rank"] == 0.5  # ties: id down
    assert trec.evaluate({"q": {"a": 1.0 + 1e-9, "b": 1.0}})["q"]["recip_rank"] == 0.5  # equal in 32 bits
    assert "missing" not in trec.evaluate({"q": {"a": 1.0}})  # left out, so a mean over the answer is too high
    assert trec.evaluate({"q": {"a": math.nan, "b": 1.0}})["q"]["recip_rank"] in (0.5, 1.0)  # no complaint
    case = Case({0: {0: 1.0, 1: 1.0}}, {0: {0: 1}, 1: {0: 1}})
    ours = by_mpr(case, 1)["mrr1"]
    assert ours == {0: 1.0, 1: 0.0}
    near = Case({0: {1: 1.0, 0: 1.0 + 1e-9}}, {0: {0: 1}})
    assert by_mpr(near, 1)["mrr1"] == {0: 1.0}
