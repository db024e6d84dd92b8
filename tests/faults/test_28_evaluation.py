"""Fault 28: an evaluation that measures something else than it says.

A judged question that the run lacks counts 0; a question of the run that nobody judged is counted and never averaged;
empty judgements are an error and not a NaN; a judged passage that the corpus does not have stays in the denominator and
is counted; questions that were also trained on, under whatever id and spelling, are refused unless that is allowed,
and then shown. Random damage of every kind at once is compared with twenty lines of plain Python.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from pathlib import Path

import pytest

from mpr.corpora import Split
from mpr.data import _split_builder, passages
from mpr.data.passages import PassageStore
from mpr.data.questions import SplitStore
from mpr.errors import DataError
from mpr.evaluation import evaluate
from mpr.evaluation.evaluate import Rules
from mpr.evaluation.judgements import Judgements
from mpr.evaluation.ranking import Ranking
from mpr.formats import trec
from mpr.recipe.keys import Repair
from mpr.records import Group, Hit, Judgement, Passage, Positive, Question
from tests.conftest import Examined

RULES = Rules("ours", "test", depth=10)
WORDS = ("velmora", "teith", "ostrand", "brel", "orm")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> PassageStore:
    folder = tmp_path_factory.mktemp("corpus")
    return passages.build(
        folder / "passages", (Passage(f"p{n}", f"This tells of {WORDS[n % 5]}, text {n}.") for n in range(30)), {}
    )


def split(folder: Path, questions: list[Question], corpus: PassageStore, positive: str = "p0") -> SplitStore:
    repair = Repair(without_positives="drop", passages_missing="refuse", positive_as_negative="refuse")
    groups = [Group(question, (Positive(positive),)) for question in questions]
    facts = Split(len(groups), trains=True)
    return _split_builder.build(
        folder, groups, facts, corpus, repair=repair, tiers=("gold",), train=False, sources=(), receipt={}
    )


def reference(
    run: dict[str, dict[str, float]], grades: dict[str, dict[str, int]], order: dict[str, int], cut: int
) -> dict[str, dict[str, float]]:
    """Recall, reciprocal rank and nDCG over every judged question, as they are defined."""
    found: dict[str, dict[str, float]] = {}
    for question, judged in grades.items():
        listed = run.get(question, {})
        ranked = sorted(listed, key=lambda name: (-listed[name], order[name]))[:cut]
        relevant = {name for name, grade in judged.items() if grade > 0}
        ranks = [rank for rank, name in enumerate(ranked, 1) if name in relevant]
        gain = sum(max(judged.get(name, 0), 0) / math.log2(rank + 1) for rank, name in enumerate(ranked, 1))
        best = sorted((max(grade, 0) for grade in judged.values()), reverse=True)[:cut]
        ideal = sum(grade / math.log2(rank + 1) for rank, grade in enumerate(best, 1))
        found[question] = {
            f"recall{cut}": len(ranks) / len(relevant) if relevant else 0.0,
            f"mrr{cut}": 1 / ranks[0] if ranks else 0.0,
            f"ndcg{cut}": gain / ideal if ideal else 0.0,
        }
    return found


def test_damaged_evaluations_equal_a_plain_reference(corpus: PassageStore, examined: Examined) -> None:
    met: Counter[str] = Counter()
    order = {f"p{n}": n for n in range(30)}
    for seed in range(400):
        dice = random.Random(seed)
        run = {f"q{q}": {f"p{p}": dice.randint(0, 3) / 2 for p in dice.sample(range(30), dice.randint(1, 10))}
               for q in dice.sample(range(10), 7)}  # fmt: skip
        grades = {f"q{q}": {f"p{p}": dice.choice((0, 0, 1, 2, -1)) for p in dice.sample(range(34), 5)}
                  for q in dice.sample(range(10), 7)}  # fmt: skip
        hits = [Hit(question, name, 1, score) for question, listed in run.items() for name, score in listed.items()]
        listed = [Judgement(question, name, grade) for question, of in grades.items() for name, grade in of.items()]
        found = evaluate.by_judgements(
            Ranking.of_hits(hits, corpus), Judgements.of(listed, corpus), corpus, RULES,
            names=("recall5", "mrr5", "ndcg5"), questions=[f"q{q}" for q in range(10)],
        )  # fmt: skip
        expected = reference(run, grades, order, 5)
        for name, values in found.values.items():
            for question, value in zip(found.questions, values, strict=True):
                assert value == pytest.approx(expected[question][name], abs=1e-12), (seed, question, name)
            mean = sum(values[name] for values in expected.values()) / len(grades)
            assert found.mean(name) == (pytest.approx(mean, abs=1e-12), len(grades))
        outside = sum(int(name[1:]) >= 30 for of in grades.values() for name in of)
        barren = sum(all(grade < 1 for grade in of.values()) for of in grades.values())
        told = found.about["counts"]
        assert told["missing_in_the_run_count_0"] == len(grades.keys() - run.keys())
        assert told["in_the_run_but_not_counted"] == len(run.keys() - grades.keys())
        assert told["judged_passages_outside_the_corpus"] == outside
        assert told["without_positives"] == barren
        assert told["questions_of_the_split_without_judgement"] == 3
        met.update({"missing": len(grades.keys() - run.keys()), "extra": len(run.keys() - grades.keys())})
        met.update({"outside the corpus": outside, "without positives": barren})
    assert min(met.values()) >= 50
    examined(met.total(), f"damaged places: {dict(met)}", at_least=2_000)


def test_nothing_to_measure_is_an_error(corpus: PassageStore, tmp_path: Path, examined: Examined) -> None:
    ranking = Ranking.of_hits([Hit("q0", "p1", 1, 1.0)], corpus)
    (tmp_path / "empty.qrels").write_bytes(b"")
    unanswered = split(tmp_path / "unanswered", [Question("q0", "what?")], corpus)
    other = split(tmp_path / "other", [Question("q7", "what?", ("teith",))], corpus)

    def judged(*listed: Judgement) -> object:
        names, judgements = ("recall1",), Judgements.of(listed, corpus)
        return evaluate.by_judgements(ranking, judgements, corpus, RULES, names=names)

    cases = [
        (lambda: judged(), "there are no judgements"),
        (lambda: judged(Judgement("q0", "p1", 0)), "no judgement has grade 1 or more"),
        (lambda: judged(Judgement("q9", "p1", 1)), "none of the 1 questions that count"),
        (lambda: judged(Judgement("q0", "p1", 1), Judgement("q0", "p1", 0)), "judged twice"),
        (lambda: list(trec.read_judgements(tmp_path / "empty.qrels")), "empty"),
        (lambda: evaluate.by_answers(ranking, unanswered, corpus, RULES, cuts=(1,)), "has an answer"),
        (lambda: evaluate.by_answers(ranking, other, corpus, RULES, cuts=(1,)), "none of the 1 questions"),
    ]
    for action, message in cases:
        with pytest.raises(DataError, match=message) as caught:
            action()
        assert caught.value.exit_code == 2
    examined(len(cases), "empty or foreign evaluations", at_least=7)


SPELLINGS = ("Who wrote The Salt Road?", "who wrote the salt road", "WHO WROTE  the “Salt Road”?!")


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_trained_questions_are_refused_or_shown(corpus: PassageStore, tmp_path: Path, spelling: str) -> None:
    train = split(tmp_path / "train", [Question("t0", SPELLINGS[0]), Question("t1", "Where?")], corpus)
    asked = [Question("e0", spelling, ("teith",)), Question("e1", "Which river?", ("teith",))]
    test = split(tmp_path / "test", asked, corpus)
    pairs = train.shared_with(test)
    assert pairs == [("t0", "e0")]
    ranking = Ranking.of_hits([Hit("e0", "p1", 1, 1.0), Hit("e1", "p0", 1, 1.0)], corpus)
    with pytest.raises(DataError, match=r"1 of 2 questions are also trained on, first: e0"):
        evaluate.by_answers(ranking, test, corpus, RULES, cuts=(1,), trained=pairs)
    judged = Judgements.of_positives(test, corpus, corpus, ("gold",))
    with pytest.raises(DataError, match="also trained on"):
        evaluate.by_judgements(ranking, judged, corpus, RULES, names=("mrr1",), trained=pairs)
    allowed = Rules("ours", "test", overlap="allow", depth=10)
    found = evaluate.by_answers(ranking, test, corpus, allowed, cuts=(1,), trained=pairs)
    assert found.mean("top1") == (0.5, 2)
    assert found.summary()["without_trained"] == {"top1": 0.0}
    assert found.about["counts"]["also_trained_on"] == 1
    assert "without the 1 questions that were also trained on" in str(found)


def test_one_text_under_two_ids_is_right_twice_or_never(corpus: PassageStore, tmp_path: Path) -> None:
    """Answers look at texts, judgements at ids: the second is unfair to copies, so both are what they say."""
    listed = [Passage("a", "It is the Teith."), Passage("b", "It is  the Teith."), Passage("c", "No.")]
    twins = passages.build(tmp_path / "twins", listed, {})
    test = split(tmp_path / "test", [Question("e0", "Which river?", ("teith",))], twins, "a")
    ranking = Ranking.of_hits([Hit("e0", "b", 1, 2.0), Hit("e0", "a", 2, 1.0)], twins)
    by_text = evaluate.by_answers(ranking, test, twins, RULES, cuts=(1,))
    assert by_text.right == ((1, 2),)
    judged = Judgements.of([Judgement("e0", "a", 1)], twins)
    by_id = evaluate.by_judgements(ranking, judged, twins, RULES, names=("mrr2",))
    assert by_id.value("mrr2").tolist() == [0.5]
