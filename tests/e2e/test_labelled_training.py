"""A recipe with several labels, from files of scores to a trained model: the same again, and refused if one changes."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from mpr import storage
from mpr.data.dataset import Dataset
from mpr.errors import DataError, RecipeError
from mpr.formats import scored_pairs
from mpr.mining import mine
from mpr.recipe import read
from mpr.records import PairScore
from mpr.training.launch import Launch, run
from tests.e2e import collection

QUESTIONS = [str(row["id"]) for row in collection.TRAIN]
SCORES = "scores: {file: scores.tsv, format: tsv}"
SQUARE = "name: pairwise, phi: square, target: teacher"
KNOWN = "{name: known_positives, tiers: [gold], siblings: ignore, shared: ignore, duplicates: ignore, doubtful: ignore}"
BELOW = f"{{name: ce_below, source: words, window: 6, keep: 0.7, fill: {{first: 7, last: 8, seed: 2}}, {SCORES}}}"
SETS = (
    f"labels=[{KNOWN}, {{name: near_duplicates, words: 3, threshold: 0.9}}, {BELOW}, "
    f"{{name: teacher, missing: refuse, {SCORES}}}]",
    "sources=[{name: random, as: words, depth: 9, seed: 4}]",
    "draw.negatives=[{from: words, k: 2, weight: top, short: fewer}]",
    f"objective=[{{{SQUARE}, columns: own}}, {{{SQUARE}, columns: others, coefficient: 0.75}}]",
    "training.max_steps=4",
    "training.logging_steps=1",
    "training.save_strategy='no'",
)


def write(folder: Path, left_out: tuple[tuple[str, str], ...] = ()) -> Path:
    """The collection, and a score of every pair of a question and a passage."""
    path = collection.write(folder)
    path.write_text(path.read_text("utf-8").replace("  num_train_epochs: 1\n", "  max_steps: 4\n"), "utf-8")
    dice = random.Random(1)
    pairs = [PairScore(q, p, round(dice.random(), 3)) for q in QUESTIONS for p in collection.PASSAGES]
    with (folder / "scores.tsv").open("wb") as file:
        scored_pairs.write_scores(file, [one for one in pairs if (one.question, one.passage) not in left_out])
    return path


def train(folder: Path, *more: str) -> Path:
    return run(read.load(folder / "small.yaml", (*SETS, *more)), Launch(folder / "home", folder / "run", None, True))


def test_two_trainings_with_labels_are_one(tmp_path: Path) -> None:
    digests = []
    for name in ("one", "two"):
        write(tmp_path / name)
        found = train(tmp_path / name)
        digests.append(storage.sha256_file(found / "model" / "model.safetensors"))
    assert digests[0] == digests[1]
    logged = [json.loads(line) for line in (found / "metrics.jsonl").read_text().splitlines()]
    steps = [entry for entry in logged if "loss" in entry]
    assert len(steps) == 4
    for entry in steps:
        parts = entry["loss_pairwise_own"], entry["loss_pairwise_others"]
        assert entry["loss"] == pytest.approx(parts[0] + 0.75 * parts[1], rel=1e-4)
        assert min(parts) > 0
    text = (tmp_path / "two" / "scores.tsv").read_text()
    (tmp_path / "two" / "scores.tsv").write_text(text.replace("t0\tp8\t0.", "t0\tp8\t1."))
    with pytest.raises(RecipeError, match="label 2 ce_below"):
        train(tmp_path / "two")


def test_a_cell_without_a_score_is_named_before_the_first_step(tmp_path: Path) -> None:
    """Of a passage that only another question brought: the labels miss nothing, the term on others does."""
    write(tmp_path, left_out=tuple((question, "p3") for question in QUESTIONS if question != "t1"))
    with pytest.raises(DataError, match=r"objective\[1\].*teacher_QP is not known of .* passage p3 of question t\d"):
        train(
            tmp_path,
            "sources=[{name: file, as: bm25}]",
            "draw.negatives[0].from=bm25",
            f"labels=[{KNOWN}, {{name: teacher, missing: refuse, {SCORES}}}]",
        )


def test_counts_and_stores_of_the_labels(tmp_path: Path) -> None:
    dataset = Dataset(read.load(write(tmp_path), SETS), tmp_path / "home", quiet=True)
    mine.Mined(dataset).make()
    known = mine.Mined(dataset).knowledge
    assert [*known.counts] == ["1 near_duplicates", "2 ce_below", "3 teacher"]
    assert known.counts["2 ce_below"]["grey"] > 0
    assert known.counts["3 teacher"] == {"candidates dropped": 0, "positives dropped": 0}
    assert [*mine.Mined(dataset).stores] == [f"label {name}" for name in known.counts]
    kept = {store.folder for store in known.stores.values()}
    assert len(kept) == 2  # one file of scores for two labels
    for folder in kept:
        assert folder is not None
        storage.verify(folder)
