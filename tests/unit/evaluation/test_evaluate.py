"""Evaluation of runs against small worlds whose every number is worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mpr.corpora import Split
from mpr.data import _split_builder, passages
from mpr.data.passages import PassageStore
from mpr.data.questions import SplitStore
from mpr.errors import DataError, MprError, NumbersError
from mpr.evaluation import evaluate
from mpr.evaluation.evaluate import Rules
from mpr.evaluation.judgements import Judgements
from mpr.evaluation.ranking import Names, Ranking
from mpr.evaluation.scores import Scores
from mpr.formats import trec
from mpr.recipe.keys import Repair
from mpr.records import Group, Hit, Judgement, Passage, Positive, Question

TEXTS = {
    "p0": "Velmora was founded in 1204.",
    "p1": "The capital of Ostrand, VELMORA, lies on the Teith.",
    "p2": "The Teith is a river.",
    "p3": "Ana Brel wrote The Salt Road.",
    "p4": "Nothing of interest.",
    "q4": "A passage that bears the id of a question: Velmora.",
}
QUESTIONS = (
    Question("q0", "capital?", ("Velmora",)),
    Question("q1", "river?", ("Teith",)),
    Question("q2", "author?", ("Ana Brel", "Brel")),
    Question("q3", "owner of the moon?", ("nobody",)),
    Question("q4", "founded?", ("1204", "")),
)
POSITIVES = {"q0": ("p0", "p1"), "q1": ("p2",), "q2": ("p3",), "q4": ()}
RUN = {
    "q0": ["p4", "p1", "q4", "p0"],  # right at 2, 3 and 4; positives at 2 and 4
    "q1": ["p0", "p3", "p4", "p2"],  # right at 4
    "q3": ["p0", "p1"],
    "q4": ["q4", "p0", "p2"],  # right at 2; its own id at 1
    "stranger": ["p0"],
}
RULES = Rules("ours", "test")


def store(folder: Path) -> PassageStore:
    return passages.build(folder / "passages", (Passage(name, text) for name, text in TEXTS.items()), {})


def split(folder: Path, corpus: PassageStore, regex: bool = False) -> SplitStore:
    groups = [
        Group(
            Question(one.id, one.text, one.answers, regex),
            tuple(Positive(name) for name in POSITIVES.get(one.id, ())),
        )
        for one in QUESTIONS
    ]
    repair = Repair(without_positives="drop", passages_missing="refuse", positive_as_negative="refuse")
    facts = Split(len(groups), trains=True, regex=regex)
    return _split_builder.build(
        folder / "split", groups, facts, corpus, repair=repair, tiers=("gold",), train=False, sources=(), receipt={}
    )


def run(lists: dict[str, list[str]] = RUN) -> list[Hit]:
    return [
        Hit(question, name, rank, 10.0 - rank) for question, names in lists.items() for rank, name in enumerate(names)
    ]


@pytest.fixture
def world(tmp_path: Path) -> tuple[PassageStore, SplitStore]:
    corpus = store(tmp_path)
    return corpus, split(tmp_path, corpus)


def test_answers_over_all_questions(world: tuple[PassageStore, SplitStore]) -> None:
    corpus, questions = world
    positives = Judgements.of_positives(questions, corpus, corpus, ("gold",))
    found = evaluate.by_answers(
        Ranking.of_hits(run(), corpus), questions, corpus, RULES, cuts=(1, 2, 4), positives=positives
    )
    assert found.questions == ("q0", "q1", "q2", "q3", "q4")
    assert found.first_Q.tolist() == [2, 4, 0, 0, 2]
    assert found.right == ((2, 3, 4), (4,), (), (), (2,))
    assert [found.mean(f"top{cut}") for cut in (1, 2, 4)] == [(0.0, 5), (0.4, 5), (0.6, 5)]
    assert found.value("found2")[:3].tolist() == [0.5, 0.0, 0.0]
    assert np.isnan(found.value("found2")[3:]).all()
    assert found.mean("found4") == (pytest.approx(2 / 3), 3)  # (1 + 1 + 0) / the three questions with positives
    counts = found.about["counts"]
    assert counts["answered"] == 4
    assert counts["missing_in_the_run_count_0"] == 1
    assert counts["in_the_run_but_not_counted"] == 1
    assert counts["answers_that_can_match_nothing"] == 1
    assert counts["without_positives"] == 2
    assert found.about["first"]["in_the_run_but_not_counted"] == ["stranger"]
    groups = found.summary()["by_known_positives"]
    assert {name: of["questions"] for name, of in groups.items()} == {"0": 2, "1": 2, "2": 1, "3": 0, "4+": 0}
    assert groups["2"]["top2"] == 1.0
    assert groups["3"]["top2"] is None


def test_patterns_and_a_runaway_names_its_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = store(tmp_path)
    questions = split(tmp_path, corpus, regex=True)
    found = evaluate.by_answers(Ranking.of_hits(run(), corpus), questions, corpus, RULES, cuts=(4,))
    assert found.first_Q.tolist() == [2, 4, 0, 0, 2]
    assert "pattern" in found.about["right"]
    from mpr.metrics import answers

    monkeypatch.setattr(answers, "TIMEOUT_SECONDS", 0.02)
    (tmp_path / "bad").mkdir()
    bad_corpus = passages.build(tmp_path / "bad" / "passages", [Passage("p", "a" * 60 + "c" + "ab" * 60 + "c")], {})
    monkeypatch.setattr("tests.unit.evaluation.test_evaluate.QUESTIONS", (Question("q17", "?", (r"(a|aa)+(b|bb)+$",)),))
    bad = split(tmp_path / "bad", bad_corpus, regex=True)
    with pytest.raises(DataError, match=r"question q17: .*did not finish"):
        evaluate.by_answers(Ranking.of_hits([Hit("q17", "p", 1, 1.0)], bad_corpus), bad, bad_corpus, RULES, cuts=(1,))


def test_self_hits_are_dropped_only_when_asked(world: tuple[PassageStore, SplitStore]) -> None:
    corpus, questions = world
    ranking = Ranking.of_hits(run(), corpus)
    rules = Rules("ours", "test", self_hits="drop")
    found = evaluate.by_answers(ranking, questions, corpus, rules, cuts=(1, 3))
    assert found.first_Q.tolist() == [2, 4, 0, 0, 1]
    assert found.about["self_hits"].startswith("dropped: 1 passages")
    assert "dropped: 1 passages" in str(found)
    with pytest.raises(DataError, match="a measure looks at 4 passages, the run keeps 3"):
        evaluate.by_answers(ranking, questions, corpus, rules, cuts=(4,))


def test_judgements_with_denominators(world: tuple[PassageStore, SplitStore]) -> None:
    corpus, _ = world
    listed = [
        Judgement("q0", "p1", 2), Judgement("q0", "p0", 1), Judgement("q0", "nowhere", 1), Judgement("q0", "p4", 0),
        Judgement("q1", "p2", 1), Judgement("q2", "p3", 1), Judgement("q3", "p0", 0), Judgement("q3", "p1", -1),
    ]  # fmt: skip
    judged = Judgements.of(listed, corpus)
    names = ("mrr2", "mrr4", "recall4", "success2", "map4", "ndcg4")
    found = evaluate.by_judgements(
        Ranking.of_hits(run(), corpus), judged, corpus, RULES, names=names, questions=["q0", "q1", "q2", "q3", "q4"]
    )
    gain = 2 / np.log2(3) + 1 / np.log2(5)
    best = 2 + 1 / np.log2(3) + 1 / 2
    expected = {
        "mrr2": (0.5, 0, 0, 0), "mrr4": (0.5, 0.25, 0, 0), "recall4": (2 / 3, 1, 0, 0), "success2": (1, 0, 0, 0),
        "map4": ((1 / 2 + 2 / 4) / 3, 1 / 4, 0, 0), "ndcg4": (gain / best, 1 / np.log2(5), 0, 0),
    }  # fmt: skip
    for name, values in expected.items():
        assert found.value(name) == pytest.approx(values, abs=1e-12), name
    assert found.mean("recall4") == (pytest.approx((2 / 3 + 1) / 4), 4)
    counts = found.about["counts"]
    assert counts["judged_passages_outside_the_corpus"] == 1
    assert counts["without_positives"] == 1
    assert counts["missing_in_the_run_count_0"] == 1
    assert counts["questions_of_the_split_without_judgement"] == 1
    assert found.right == ((2, 4), (4,), (), ())
    strict = evaluate.by_judgements(Ranking.of_hits(run(), corpus), judged, corpus, RULES, names=("mrr4",), least=2)
    assert strict.value("mrr4").tolist() == [0.5, 0, 0, 0]


def test_ties_fall_by_row_and_by_id_without_a_corpus(world: tuple[PassageStore, SplitStore]) -> None:
    corpus, _ = world
    hits = [Hit("q0", name, 1, 1.0) for name in ("q4", "p3", "p1")]  # rows 5, 3, 1, all with one score
    assert corpus.ids(Ranking.of_hits(hits, corpus).row(0)) == ["p1", "p3", "q4"]
    names = Names(["q4", "p3", "p1", "Z"])
    ranking = Ranking.of_hits(hits, names)
    assert names.ids(ranking.row(0)) == ["p1", "p3", "q4"]
    judged = Judgements.of([Judgement("q0", "Z", 1)], names)
    found = evaluate.by_judgements(ranking, judged, names, RULES, names=("mrr3",))
    assert found.about["ties"] == "score down, passage id up"
    assert found.about["counts"]["judged_passages_outside_the_corpus"] is None


def test_run_files_are_rankings(world: tuple[PassageStore, SplitStore], tmp_path: Path) -> None:
    corpus, _ = world
    with open(tmp_path / "ours.trec", "wb") as file:
        trec.write_hits(file, run())
    read, held = Ranking.read(tmp_path / "ours.trec", corpus), Ranking.of_hits(run(), corpus)
    assert read.questions == held.questions
    assert read.passage_N.tolist() == held.passage_N.tolist()
    assert read.score_N.tolist() == held.score_N.tolist()


def test_search_results_are_rankings() -> None:
    rows_QK = np.array([[4, 2, -1], [1, 0, 3]])
    ranking = Ranking.of_rows(["a", "b"], rows_QK, np.array([[1.0, 1.0, -np.inf], [0.5, 0.7, 0.5]], dtype=np.float32))
    assert [ranking.row(q).tolist() for q in (0, 1)] == [[2, 4], [0, 1, 3]]
    assert ranking.aligned(["b", "c", "a"]).rank_N.tolist() == [1, 2, 3, 1, 2]


BROKEN = [
    ([Hit("q0", "p0", 1, float("nan"))], NumbersError, "1 scores are not finite, the first is nan"),
    ([Hit("q0", "p0", 1, float("inf"))], NumbersError, "the first is inf"),
    ([Hit("q0", "p0", 1, 1.0), Hit("q1", "p0", 1, 2.0), Hit("q0", "p0", 2, 0.5)], DataError, "ranked twice"),
    ([Hit("q0", "elsewhere", 1, 1.0)], DataError, "not in the corpus, first: elsewhere"),
    ([], DataError, "the run ranks nothing"),
]


@pytest.mark.parametrize("hits, kind, message", BROKEN, ids=[message for _, _, message in BROKEN])
def test_broken_runs_are_refused(
    world: tuple[PassageStore, SplitStore], hits: list[Hit], kind: type[MprError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        Ranking.of_hits(hits, world[0])


def test_cuts_beyond_the_run_are_refused(world: tuple[PassageStore, SplitStore]) -> None:
    corpus, questions = world
    ranking = Ranking.of_hits(run(), corpus)
    with pytest.raises(DataError, match="a measure looks at 5 passages, the run keeps 4"):
        evaluate.by_answers(ranking, questions, corpus, RULES, cuts=(5,))
    deep = Rules("ours", "test", depth=5)
    assert evaluate.by_answers(ranking, questions, corpus, deep, cuts=(5,)).mean("top5") == (0.6, 5)
    with pytest.raises(DataError, match="the search is said to keep 3"):
        evaluate.by_answers(ranking, questions, corpus, Rules("ours", "test", depth=3), cuts=(2,))
    whole = Ranking.of_hits(run({"q0": list(TEXTS)}), corpus)
    assert evaluate.by_answers(whole, questions, corpus, RULES, cuts=(100,)).mean("top100")[1] == 5


def test_scores_are_kept_and_read_again(world: tuple[PassageStore, SplitStore], tmp_path: Path) -> None:
    corpus, questions = world
    positives = Judgements.of_positives(questions, corpus, corpus, ("gold",))
    rules = Rules("ours", "test", receipt=(("run", "abc"),))
    found = evaluate.by_answers(
        Ranking.of_hits(run(), corpus), questions, corpus, rules, cuts=(1, 4), positives=positives
    )
    found.commit(tmp_path / "scores")
    again = Scores.open(tmp_path / "scores")
    assert str(again) == str(found)
    assert again.json() == found.json()
    assert (again.right, again.questions, again.about) == (found.right, found.questions, found.about)
    for name in found.values:
        assert np.array_equal(again.value(name), found.value(name), equal_nan=True)
    table = pa.ipc.open_file(str(tmp_path / "scores" / "scores.arrow")).read_all()
    assert [table.column(name).null_count for name in ("top1", "found4")] == [0, 2]
    told = json.loads(found.json())
    assert told["measures"]["top4"] == {"mean": 0.6, "questions": 5}
    assert told["receipt"] == {"run": "abc"}
    assert "top4           60.00           5" in str(found)
    with pytest.raises(DataError, match="did you mean 'top4'"):
        found.value("top40")
    (tmp_path / "scores" / "scores.arrow").write_bytes(b"x" * 10)
    with pytest.raises(MprError, match="bytes instead of"):
        Scores.open(tmp_path / "scores")
