"""Labels over candidate tables: what stays, what is promoted, what is grey; grey is never drawn and never negative."""

from __future__ import annotations

import gzip
import hashlib
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from mpr import catalogue, storage
from mpr.batches import relations
from mpr.batches.draw import Drawer
from mpr.errors import DataError, RecipeError
from mpr.labels._score_files import Scores
from mpr.labels.near_duplicates import shingles, similarity
from tests.conftest import Examined
from tests.unit.draws import config, entry, gold, rows_of
from tests.unit.labelling import (
    COUNTING,
    content,
    knowing,
    label,
    listed,
    random_world,
    scores_file,
    stand,
    tiers,
)
from tests.unit.labels.test_llm import verdicts_file
from tests.unit.labels.test_targets import BM25
from tests.unit.policies import policy_of

NOWHERE: Any = None  # the ground of a label that does not look at it


# ---- rank_window


def test_rank_window_goes_by_the_ranks_of_the_source() -> None:
    known = knowing([gold(9), gold()], a=[[1, 2, 3, 4], [5]], b=[[6], [7]])
    thinned = known.with_candidates(
        "a", known.of("a").kept(np.array([True, False, True, True, True]))
    )  # rank 2 is gone
    found = label("rank_window", thinned, NOWHERE, source="a", first=2, last=3)
    assert (listed(found.of("a")), listed(found.of("a"), "rank")) == ([[3], []], [[3], []])
    assert found.of("b") is known.of("b")
    assert tiers(found) == tiers(known)  # nothing is said about what is left out
    assert found.counts == {"1 rank_window": {"remain": 1, "left out": 3}}
    with pytest.raises(RecipeError, match="no source is called 'c'"):
        label("rank_window", known, NOWHERE, source="c", first=1, last=2)


# ---- ce_below and ce_above


def test_denoising_by_hand(tmp_path: Path) -> None:
    """Of five in the window two stay; 3 is promoted already; 7 and 8 fill up; 9 lies between window and fill."""
    known = knowing([[(0, "gold"), (3, "cross_encoder")]], a=[[1, 2, 3, 4, 5, 9, 7, 8]], b=[[2, 6]])
    scores = {(0, 1): 0.05, (0, 2): 0.5, (0, 3): 0.99, (0, 4): 0.1, (0, 5): 0.01, (0, 8): 0.0}
    params = {"source": "a", "window": 5, "keep": 0.1, "scores": scores_file(tmp_path, scores)}
    stood = stand(tmp_path, 1, 10)
    found = label("ce_below", known, stood, **params, fill={"first": 7, "last": 9})
    assert listed(found.of("a")) == [[1, 5, 7, 8]]
    assert listed(found.of("a"), "rank") == [[1, 5, 7, 8]]
    assert tiers(found) == [[(0, "gold"), (3, "cross_encoder"), (2, "grey"), (4, "grey")]]  # 0.1 is not below 0.1
    assert found.counts == {"1 ce_below": {"stay": 2, "grey": 2, "to fill up": 2}}
    assert listed(label("ce_below", known, stood, **params).of("a")) == [[1, 5]]


def test_denoising_keeps_its_promises(tmp_path: Path, examined: Examined) -> None:
    """No negative at or above the threshold in the window, none that is known; rank order; fill only from its ranks."""
    looked = filled = 0
    for seed in range(8):
        folder = tmp_path / f"{seed}"
        stood, known, scores = random_world(folder, seed)
        fill = {"first": 13, "last": 24} | ({} if seed % 2 else {"seed": seed})
        params = {"source": "a", "window": 10, "keep": 0.4, "scores": scores_file(folder, scores)}
        found = label("ce_below", known, stood, **params, fill=fill)
        before, after = known.of("a"), found.of("a")
        for question in range(len(before)):
            ranks = listed(after, "rank")[question]
            scored, more = [rank for rank in ranks if rank <= 10], [rank for rank in ranks if rank > 10]
            assert ranks == scored + more
            assert scored == sorted(scored)
            assert all(13 <= rank <= 24 for rank in more)
            assert len(more) == sum(13 <= rank <= 24 for rank in listed(before, "rank")[question])
            assert more == sorted(more) or not seed % 2
            passages = listed(before)[question]
            below = [passage for passage in passages[:10] if scores[question, passage] < 0.4]
            assert listed(after)[question][: len(scored)] == below
            grey = {passage for passage, tier in tiers(found)[question] if tier == "grey"}
            assert grey == set(passages[:10]) - set(below)
            assert tiers(found)[question][: len(tiers(known)[question])] == tiers(known)[question]
            looked, filled = looked + len(passages[:10]), filled + len(more)
    drawn = label("ce_below", known, stood, **params, fill={"first": 13, "last": 24, "seed": 1}).of("a")
    again = label("ce_below", known, stood, **params, fill={"first": 13, "last": 24, "seed": 2}).of("a")
    assert listed(drawn) != listed(again)
    assert list(map(sorted, listed(drawn))) == list(map(sorted, listed(again)))
    examined(looked, f"scored candidates, and {filled} that fill up", at_least=700)


def test_promotion_by_hand(tmp_path: Path) -> None:
    known = knowing([gold(0), [(7, "llm")], gold()], a=[[1, 2, 3, 4], [1, 2, 5], [1]])
    high = {1: 0.95, 2: 0.91, 3: 0.97, 4: 0.9, 5: 0.2}
    scores = {(question, passage): value for question, (passage, value) in product(range(3), high.items())}
    stood = stand(tmp_path, 3, 10)
    params = {"source": "a", "window": 9, "promote": 0.9, "scores": scores_file(tmp_path, scores)}
    found = label("ce_above", known, stood, **params, up_to=2, questions="all", grade="score")
    assert tiers(found) == [
        [(0, "gold"), (3, "cross_encoder"), (1, "cross_encoder"), (2, "grey")],
        [(7, "llm"), (1, "cross_encoder"), (2, "cross_encoder")],
        [(1, "cross_encoder")],
    ]
    assert listed(found.of("a")) == [[4], [5], []]
    assert listed(found.positives.rows, "grade")[0] == pytest.approx([1, 0.97, 0.95, 0])
    assert found.counts == {"1 ce_above": {"promoted": 5, "questions": 3, "grey": 1}}
    found = label("ce_above", known, stood, **params, up_to=None, questions="without_positives")
    assert tiers(found)[0] == [(0, "gold")]  # it has a positive that counts, the second question has not
    assert tiers(found)[1:] == [[(7, "llm"), (1, "cross_encoder"), (2, "cross_encoder")], [(1, "cross_encoder")]]
    assert listed(found.positives.rows, "grade")[2] == [1]
    assert listed(found.of("a")) == [[1, 2, 3, 4], [5], []]


def test_promoted_are_the_best_and_above_the_threshold(tmp_path: Path, examined: Examined) -> None:
    promoted = 0
    for seed, up_to in product(range(6), (1, 3, None)):
        folder = tmp_path / f"{seed}{up_to}"
        stood, known, scores = random_world(folder, seed)
        options = {"source": "a", "window": 12, "scores": scores_file(folder, scores)}
        above = label("ce_above", known, stood, **options, promote=0.6, up_to=up_to, questions="all")
        for question in range(len(known.of("a"))):
            looked = listed(known.of("a"))[question][:12]
            over = [passage for passage in looked if scores[question, passage] > 0.6]
            new = [passage for passage, tier in tiers(above)[question] if tier == "cross_encoder"]
            assert new == sorted(over, key=lambda p: (-scores[question, p], looked.index(p)))[: up_to or 99]
            assert {p for p, tier in tiers(above)[question] if tier == "grey"} == set(over) - set(new)
            assert not set(listed(above.of("a"))[question]) & set(over)
            promoted += len(new)
        both = label("ce_below", above, stood, **options, keep=0.3)
        for question in range(len(known.of("a"))):
            kinds = dict(tiers(both)[question])
            for passage in listed(known.of("a"))[question][:12]:
                value = scores[question, passage]
                expected = "negative" if value < 0.3 else "grey"
                if value > 0.6 and kinds[passage] == "cross_encoder":
                    expected = "cross_encoder"
                assert kinds.get(passage, "negative") == expected
    examined(promoted, "promoted passages", at_least=300)


def test_grey_is_never_drawn_and_never_negative(tmp_path: Path, examined: Examined) -> None:
    """Neither from another source, nor for want of candidates, nor as another question's passage."""
    stood, known, scores = random_world(tmp_path, 5, passages=40)
    known = known.with_candidates("b", known.of("a"))  # a second source that proposes the same
    options = {"source": "a", "window": 30, "scores": scores_file(tmp_path, scores)}
    found = label("ce_above", known, stood, **options, promote=0.8, up_to=1, questions="all")
    found = label("ce_below", found, stood, **options, keep=0.2)
    grey = {(question, passage) for question, row in enumerate(tiers(found)) for passage, tier in row if tier == "grey"}
    draw = config({"policy": "all"}, entry("a", "uniform", "random", k=3), entry("b", "top", "fewer", k=5))
    drawer = Drawer(draw, found.positives, COUNTING, found.candidates, 40, 6, seed=3)
    careful, hashes = policy_of("ignore", "ignore", "ignore", "ignore"), np.arange(40).astype(np.uint64)
    met = drawn = 0
    for number in range(60):
        step = drawer(number)
        for row in rows_of(step):
            assert not grey & {(row.question, passage) for passage in (*row.positives, *row.negatives)}
            drawn += len(row.negatives)
        related = relations.build(step.block, found.positives, hashes, COUNTING, careful, in_batch=True)
        for (row, question), (column, passage) in product(
            enumerate(step.block.question_Q.tolist()), enumerate(step.block.passage_P.tolist())
        ):
            if (question, passage) in grey:
                assert not related.positives_QP[row, column]
                assert not related.negatives_QP[row, column]
                met += 1
    examined(met, f"grey cells of blocks, while {drawn} negatives were drawn", at_least=200)


def test_a_missing_score_is_refused_by_its_ids(tmp_path: Path) -> None:
    known = knowing([gold(0), gold(0)], a=[[1, 2], [3, 4]])
    scores = scores_file(tmp_path, {(0, 1): 0.5, (0, 2): 0.5, (1, 3): 0.5})
    stood = stand(tmp_path, 2, 6)
    told = "1 of 4 candidates of 'a' up to the window have no score, the first is passage p4 of question q1"
    with pytest.raises(DataError, match=told):
        label("ce_below", known, stood, source="a", window=2, keep=0.1, scores=scores)
    with pytest.raises(DataError, match=told):
        label("ce_above", known, stood, source="a", window=2, promote=0.1, up_to=1, questions="all", scores=scores)
    assert listed(label("ce_below", known, stood, source="a", window=1, keep=0.9, scores=scores).of("a")) == [[1], [3]]


# ---- near_duplicates


def test_runs_of_words_by_hand() -> None:
    text = "The cat sat; the CAT sat."
    assert len(shingles(text, 3)) == 3  # the cat sat, cat sat the, sat the cat; the fourth repeats the first
    assert shingles("Some words", 3) == shingles("some, words!", 3)
    assert len(shingles("", 2)) == 1
    assert similarity(shingles("a b c d", 2), shingles("b c d e", 2)) == 2 / 4
    assert similarity(shingles("a b c d", 4), shingles("a b c e", 4)) == 0


def test_positives_that_repeat_one_another_count_once(tmp_path: Path) -> None:
    base = "one two three four five six seven eight nine ten"
    texts = [
        base,
        base + " eleven",
        "zero null " + base,
        "other words entirely, and more of them",
        base.upper() + ".",
        base,
    ]
    stood = stand(tmp_path, 3, 6, texts)
    known = knowing([gold(3, 0, 1, 2, 4), gold(5), [(0, "llm"), (5, "gold"), (1, "gold")]], a=[[], [], []])
    found = label("near_duplicates", known, stood, words=2, threshold=0.8)
    assert tiers(found) == [  # 1 shares 9 of 10 runs with 0; 2 shares 9 of 11; 4 is 0 in other letters
        [(3, "gold"), (0, "gold"), (1, "grey"), (2, "grey"), (4, "grey")],
        [(5, "gold")],
        [(0, "llm"), (5, "gold"), (1, "grey")],  # a positive that does not count repeats nothing
    ]
    assert found.counts == {"1 near_duplicates": {"repeats": 4, "questions": 2}}
    strict = label("near_duplicates", known, stood, words=2, threshold=0.85)
    assert [passage for passage, tier in tiers(strict)[0] if tier == "grey"] == [1, 4]
    assert content(label("near_duplicates", strict, stood, words=2, threshold=0.85)) != content(strict)  # counts of it
    again = label("near_duplicates", strict, stood, words=2, threshold=0.85)
    assert tiers(again) == tiers(strict)  # what is grey is not looked at again


# ---- where scores come from


def test_a_file_is_read_once_and_named_by_its_content(tmp_path: Path) -> None:
    stood = stand(tmp_path, 2, 9)
    known = knowing([gold(0), gold(1)], a=[[2], [3]])
    lines = "9.5\t-1\tq0\tp0\tp2\n9.5\t2\tq0\tp0\tp3\n1\t2\tstrange\tp0\tp1\n4\t3\tq1\tp1\tp3\n"
    (tmp_path / "t.tsv.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))
    sha256 = hashlib.sha256((tmp_path / "t.tsv.gz").read_bytes()).hexdigest()
    params: dict[str, Any] = {"file": "t.tsv.gz", "format": "triples", "sha256": sha256}
    found = label("teacher", known, stood, scores=params, missing="refuse").scores["teacher_QP"]
    assert found.lookup([0, 0, 0, 1, 1], [0, 2, 3, 1, 3]).tolist() == [9.5, -1, 2, 4, 3]
    assert len(found) == 5
    (tmp_path / "t.tsv.gz").rename(tmp_path / "moved.gz")
    with pytest.raises(DataError, match="file of scores is not there"):
        label("teacher", known, stood, scores=params, missing="refuse")
    (tmp_path / "t.tsv.gz").write_bytes(gzip.compress(lines.replace("9.5", "9.25").encode(), mtime=0))
    with pytest.raises(DataError, match="is not the pinned file"):
        label("teacher", known, stood, scores=params, missing="refuse")
    del params["sha256"]
    other = label("teacher", known, stood, scores=params, missing="refuse").scores["teacher_QP"]
    assert other.folder != found.folder
    assert other.lookup(0, 0) == 9.25


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    stood, known = stand(tmp_path, 1, 3), knowing([gold(0)], a=[[1]])
    cases = {
        "q0\tp0\t1\nq0\tp9\t1\n": "passage p9 is not in the collection",
        "x\tp0\t1\n": "has no scores for any question of the split",
        "q0\tp0\t1\nq0\tp1\t2\nq0\tp0\t1\n": "has two scores",
    }
    for text, message in cases.items():
        (tmp_path / "s.tsv").write_text(text)
        with pytest.raises(DataError, match=message):
            label("teacher", known, stood, scores={"file": "s.tsv", "format": "tsv"}, missing="drop")
    (tmp_path / "s.tsv").write_text("q0 Q0 p0 1 3.5 x\nq0 Q0 p1 2 3 x\n")
    found = label("teacher", known, stood, scores={"file": "s.tsv", "format": "trec"}, missing="refuse")
    assert found.scores["teacher_QP"].lookup([0, 0], [0, 1]).tolist() == [3.5, 3]


def test_the_key_scores_names_one_thing() -> None:
    for given in ({}, {"file": "x"}, {"format": "tsv"}, {"file": "x", "format": "tsv", "cross_encoder": "m"},
                  {"cross_encoder": "m", "sha256": "0" * 64}, {"cross_encoder": "m", "format": "tsv"},
                  {"file": "x", "format": "tsv", "probability": True},
                  {"file": "x", "format": "tsv", "compute": "bfloat16"}):  # fmt: skip
        with pytest.raises(ValidationError):
            Scores(**given)  # type: ignore[arg-type]
    assert Scores(file="a/b.tsv", format="tsv", sha256="0" * 64).pins == {"b.tsv": f"sha256 {'0' * 64}"}
    assert Scores(cross_encoder=f"a/b@{'1' * 40}").pins == {"a/b": f"commit {'1' * 40}"}
    assert Scores(cross_encoder="runs/a/model").pins == {"runs/a/model": "not pinned"}
    assert Scores(cross_encoder="stage:reader").pins == {}


@pytest.mark.parametrize(
    "name, params, message",
    [
        ("rank_window", {"first": 3, "last": 2}, "no candidate would remain"),
        ("ce_below", {"window": 5, "keep": 0.1, "fill": {"first": 5, "last": 9}}, "must begin beyond"),
        ("ce_below", {"window": 5, "keep": 0.1, "fill": {"first": 9, "last": 8}}, "must begin beyond"),
        ("groups", {"depth": 9, "relevant": 5, "hard": 1, "semi": 1, "hard_until": 4, "seed": 1}, "must not fall"),
        ("groups", {"depth": 9, "relevant": 5, "hard": 1, "semi": 1, "hard_until": 10, "seed": 1}, "must not fall"),
        ("groups", {"depth": 9, "relevant": 5, "hard": 1, "semi": 1, "hard_until": 6, "seed": 1, "hard_grade": -0.5},
         "must be below hard_grade"),
    ],
)  # fmt: skip
def test_keys_that_contradict_one_another(name: str, params: dict[str, Any], message: str) -> None:
    scores = {} if name == "rank_window" else {"scores": {"file": "x", "format": "tsv"}}
    with pytest.raises(ValidationError, match=message):
        catalogue.params("labels", name)(source="a", **scores, **params)


# ---- all of them

EVERY: dict[str, dict[str, Any]] = {
    "margin": {"source": "a", "window": 30, "than": "max", "absolute": 0.01, "unanchored": "keep"},
    "rlhn": {"source": "a", "window": 30, "relevant": 2, "then": "ignore", "drop_above": None},
    "arhn": {"source": "a", "window": 30, "than": "min", "above": "ignore"},
    "ce_above": {"source": "a", "window": 9, "promote": 0.8, "up_to": 2, "questions": "all"},
    "llm": {"source": "a", "window": 9, "answer_matches": True, "relevant": 2, "at_most": 2, "grade": "judged"},
    "ce_below": {"source": "a", "window": 9, "keep": 0.5, "fill": {"first": 10, "last": 20, "seed": 3}},
    "teacher": {"missing": "drop", "keep_best": 4},
    "groups": {"source": "a", "depth": 30, "relevant": 3, "hard": 2, "semi": 2, "hard_until": 8, "seed": 1},
    "rank_window": {"source": "a", "first": 2, "last": 9},
    "bm25_score": {**BM25, "normalise": "none"},
    "near_duplicates": {"words": 2, "threshold": 0.5},
}
SCORED = ("ce_above", "ce_below", "teacher", "groups", "margin")
JUDGED = ("llm", "rlhn", "arhn")


def test_labels_are_pure_and_work_one_after_the_other(tmp_path: Path, examined: Examined) -> None:
    """The same from the same, with stores that are there and stores that are not; nothing that was given is changed."""
    assert set(EVERY) | {"known_positives", "answer_match", "teacher_live", "guard"} == set(catalogue.names("labels"))
    results = []
    for number in range(2):
        stood, known, scores = random_world(tmp_path / f"{number}", 9)
        file = scores_file(tmp_path / f"{number}", scores)
        grades = {pair: int(4 * value) or None for pair, value in scores.items()}
        judged = {"judgements": verdicts_file(tmp_path / f"{number}", grades)}
        before = content(known)
        for round_ in range(2):
            found = known
            for name, params in EVERY.items():
                params = params | ({"scores": file} if name in SCORED else judged if name in JUDGED else {})
                given = content(found)
                after = label(name, found, stood, **params)
                assert content(found) == given, name
                found = after
                results.append((name, content(after)))
            assert content(known) == before, round_
    assert len(set(results)) == len(EVERY)
    for store in tmp_path.glob("*/split-*"):
        storage.verify(store)
    examined(len(results), "labels applied", at_least=32)
