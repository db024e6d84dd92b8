"""Questions without positives are trained on once labels found them some: by hand, and in an invented world."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mpr.batches.draw import Drawer
from mpr.data.dataset import Dataset
from mpr.errors import DataError
from mpr.formats import dpr_tsv, questions_jsonl, scored_pairs
from mpr.mining import mine
from mpr.recipe import read
from mpr.records import TIERS, Group, PairScore
from mpr.training.launch import Launch, run
from tests.conftest import Examined
from tests.e2e import collection
from tests.unit.invented import small
from tests.unit.labelling import listed

KNOWN = (
    "{name: known_positives, tiers: [gold, cross_encoder], siblings: ignore, shared: ignore, "
    "duplicates: ignore, doubtful: ignore}"
)
WORDS = "{name: bm25, as: words, depth: 8, k1: 0.9, b: 0.4, title: true, stopwords: none, stemmer: none}"  # no answers
FOUND = (
    "{name: ce_above, source: words, window: 5, promote: 0.5, up_to: 2, questions: without_positives, "
    "scores: {file: SCORES, format: tsv}}"
)
MORE = [
    {"id": "u0", "question": "which river is 214 kilometres long", "pos": ["p8"], "neg": []},  # p8 is not looked at
    {"id": "u1", "question": "HOW LONG is the Teith", "pos": [], "neg": []},  # t1 in other signs: left out
    {"id": "u2", "question": "who owns the hills and the sea", "pos": ["p9"], "neg": []},  # nothing is promoted for it
]


def write(folder: Path, more: list[dict[str, Any]]) -> Path:
    path = collection.write(folder)
    lines = "".join(json.dumps(row) + "\n" for row in more)
    (folder / "more.jsonl").write_text(lines, "utf-8")
    text = path.read_text("utf-8").replace("  train: train\n", "  train: train\n  unlabelled: more\n")
    text = text.replace("      test: {", "      more: {file: more.jsonl, format: candidates}\n      test: {")
    path.write_text(text.replace("  num_train_epochs: 1\n", "  max_steps: 3\n"), "utf-8")
    rows = [str(row["id"]) for row in (*collection.TRAIN, *more)]
    good = {("u0", "p3"), ("u0", "p4")}
    scores = [PairScore(q, p, 0.9 if (q, p) in good else 0.1) for q in rows for p in collection.PASSAGES]
    with (folder / "scores.tsv").open("wb") as file:
        scored_pairs.write_scores(file, scores)
    return path


def sets(scores: str) -> tuple[str, ...]:
    return (
        f"labels=[{KNOWN}, {FOUND.replace('SCORES', scores)}]",
        f"sources=[{WORDS}]",
        "draw.negatives=[{from: words, k: 1, weight: top, short: fewer}]",
        "training.save_strategy='no'",
    )


def _plain(group: Group) -> Group:
    """As lines of candidates hold it: positives of one grade, no candidates."""
    return replace(group, candidates=(), positives=tuple(replace(one, grade=1.0) for one in group.positives))


def test_a_question_with_a_found_positive_is_drawn_and_one_without_is_counted(tmp_path: Path) -> None:
    dataset = Dataset(read.load(write(tmp_path, MORE), sets("scores.tsv")), tmp_path / "home", quiet=True)
    mine.Mined(dataset).make()
    split, known = dataset.split("train"), mine.Mined(dataset).knowledge
    assert split.ids == ["t0", "t1", "t2", "t3", "t4", "u0", "u2"]  # t4 has no positive either
    assert split.manifest.receipt["unlabelled"] == {
        "questions": 3, "also labelled": 1, "positives not looked at": 2
    }  # fmt: skip
    alone = read.load(tmp_path / "small.yaml", [*sets("scores.tsv"), "data.unlabelled=null"])
    assert Dataset(alone, tmp_path / "home", quiet=True).split("train").ids == ["t0", "t1", "t2", "t3", "t4"]
    ids = dataset.corpus().ids
    assert [sorted(ids(row)) for row in listed(known.positives.rows)][5:] == [["p3", "p4"], []]
    assert known.counts["2 questions"] == {"drawn": 5, "without a positive": 2}
    recipe = dataset.recipe
    drawer = Drawer(recipe.draw, known.positives, known.tiers, known.candidates, len(dataset.corpus()), 5, 1)
    assert sorted(drawer.questions.tolist()) == [0, 1, 2, 3, 5]


def test_training_sees_them(tmp_path: Path) -> None:
    """A step of all rows that can be drawn: five questions, of which one is unlabelled."""
    found = (
        *sets("scores.tsv"),
        "training.per_device_train_batch_size=5",
        "training.max_steps=1",
        "training.logging_steps=1",
    )
    made = run(read.load(write(tmp_path, MORE), found), Launch(tmp_path / "home", tmp_path / "run", None, True))
    logged = [json.loads(line) for line in (made / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert [entry["epoch"] for entry in logged if "loss" in entry] == [1.0]


def test_ids_of_both_splits_differ(tmp_path: Path) -> None:
    recipe = read.load(
        write(tmp_path, [{"id": "t1", "question": "what is a second t1", "pos": [], "neg": []}]), sets("scores.tsv")
    )
    with pytest.raises(DataError, match="t1: question id is given twice"):
        Dataset(recipe, tmp_path / "home", quiet=True).split("train")


def test_invented_world_by_its_truth(tmp_path: Path, examined: Examined) -> None:
    """Its questions of `dev` without answers and labels, a perfect scorer: what is found is true, and most is found."""
    world = small()
    path, truth = write(tmp_path, []), {(one.question, one.passage): one.grade for one in world.judgements("dev_truth")}
    asked = [group.question for group in world.groups("dev")]
    with (tmp_path / "passages.tsv").open("wb") as file:
        dpr_tsv.write_passages(file, world.passages(), header=False, quoted=False)
    with (tmp_path / "train.jsonl").open("wb") as file:
        questions_jsonl.write_groups(file, [_plain(one) for one in world.groups("train")])
    with (tmp_path / "more.jsonl").open("wb") as file:
        questions_jsonl.write_groups(file, [Group(replace(one, answers=())) for one in asked])
    passages = [passage.id for passage in world.passages()]
    with (tmp_path / "scores.tsv").open("wb") as file:
        pairs = ((one.id, passage) for one in asked for passage in passages)
        scored_pairs.write_scores(file, (PairScore(*pair, float(truth.get(pair, 0) > 0)) for pair in pairs))
    text = path.read_text("utf-8").replace("passages: 12}", "}").replace(", questions: 5}", "}")
    path.write_text(text.replace("passages.tsv, format: plain_tsv, }", "passages.tsv, format: plain_tsv}"), "utf-8")
    changed = [one.replace("up_to: 2", "up_to: null").replace("depth: 8", "depth: 60") for one in sets("scores.tsv")]
    dataset = Dataset(read.load(path, [*changed, "labels[1].window=60"]), tmp_path / "home", quiet=True)
    mine.Mined(dataset).make()
    split, known, corpus = dataset.split("train"), mine.Mined(dataset).knowledge, dataset.corpus()
    first, rows, found = split.ids.index(asked[0].id), known.positives.rows, 0
    assert [*split.ids[first:]] == [one.id for one in asked]
    for row in range(first, len(split)):
        names = corpus.ids(rows.row(row, "passage"))
        assert all(truth[split.ids[row], name] > 0 for name in names)
        assert set(rows.row(row, "tier").tolist()) <= {TIERS.index("cross_encoder")}
        found += len(names)
    examined(found, "true positives found for unlabelled questions", at_least=30)
    examined(known.counts["2 questions"]["drawn"], "questions drawn", at_least=140)
