"""From a recipe to a trained model with what a draw can be told: clusters, scores of positives, triples, a teacher."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mpr import storage
from mpr.data.dataset import Dataset
from mpr.errors import RecipeError
from mpr.mining import clusters, mine
from mpr.mining.clusters import QuestionClusters
from mpr.recipe import read
from mpr.search.inference import Model
from mpr.training.launch import Launch, run
from tests.conftest import Examined
from tests.e2e import collection

KNOWN = "{name: known_positives, tiers: [gold], siblings: ignore, shared: ignore, duplicates: ignore, doubtful: ignore}"
WORDS = "{name: bm25, as: words, depth: 9, k1: 0.9, b: 0.4, title: true, stopwords: english, stemmer: english}"
TRIPLES = {"t0": ("p0 p1 p2", "p8 p9 p11 p3"), "t1": ("p3 p4", "p9 p8"), "t2": ("p6", "p10"), "t3": ("p11", "p0 p1")}
SIMANS = (
    f"sources=[{WORDS}]",
    "draw.positives={policy: random1}",
    "draw.negatives=[{from: words, k: 2, weight: simans, simans: {a: 0.5, b: 0.0, anchor: random}, short: fewer}]",
    "draw.questions=cluster",
    "draw.clusters={k: 2, model: start, iterations: 3}",
)
MARGINS = (
    "sources=[{name: triples, as: triples, file: scored.tsv, format: scored, unknown: refuse}]",
    f"labels=[{KNOWN}, {{name: teacher, missing: drop, scores: {{file: scored.tsv, format: triples}}}}]",
    "draw.positives={policy: random1}",
    "draw.negatives=[{from: triples, k: 1, weight: margin_bins, bins: 3, short: fewer}]",
    "objective=[{name: pairwise, phi: square, target: teacher, columns: own}]",
)


def write(folder: Path) -> Path:
    """The collection, and triples whose teacher likes a passage less the higher its number."""
    path = collection.write(folder)
    path.write_text(path.read_text("utf-8").replace("  num_train_epochs: 1\n", "  max_steps: 3\n"), "utf-8")
    lines = [
        f"{9 - int(good[1:]) / 4}\t{-int(bad[1:]) / 2}\t{question}\t{good}\t{bad}\n"
        for question, (goods, bads) in TRIPLES.items()
        for good in goods.split()
        for bad in bads.split()
    ]
    (folder / "scored.tsv").write_text("".join(lines))
    return path


def train(folder: Path, *sets: str) -> Path:
    return run(read.load(folder / "small.yaml", sets), Launch(folder / "home", folder / "run", None, True))


def test_clusters_and_simans(tmp_path: Path, examined: Examined) -> None:
    """The drawer of the run: clusters of the weights it started from, and scores of every positive."""
    write(tmp_path)
    assert (train(tmp_path, *SIMANS) / "model" / "model.safetensors").is_file()
    made = list((tmp_path / "home").rglob("*-clusters-*"))
    assert len(made) == 1
    assert len(QuestionClusters(made[0]).cluster_Q) == 4
    dataset = Dataset(read.load(tmp_path / "small.yaml", SIMANS), tmp_path / "home", quiet=True)
    known = mine.Mined(dataset).knowledge
    anchors = mine.Mined(dataset).evidence.anchors["words"]
    rows = known.positives.rows
    assert np.isfinite(anchors(rows.owners(), rows.columns["passage"])).all()
    examined(len(rows.columns["passage"]), "positives with their score", at_least=7)


def test_margins_of_a_teacher_over_triples(tmp_path: Path, examined: Examined) -> None:
    write(tmp_path)
    dataset = Dataset(read.load(tmp_path / "small.yaml", MARGINS), tmp_path / "home", quiet=True)
    train(tmp_path, *MARGINS)
    known = mine.Mined(dataset).knowledge
    teacher = mine.Mined(dataset).evidence.teacher
    assert teacher is not None
    owners, passages = known.candidates["triples"].owners(), known.candidates["triples"].columns["passage"]
    assert teacher(owners, passages).tolist() == (-passages / 2).tolist()
    examined(len(passages), "candidates with the teacher's score", at_least=9)


def test_clusters_of_a_trained_model(tmp_path: Path) -> None:
    """Its vectors, not those of the weights that training starts from; another model is another run."""
    write(tmp_path)
    start = train(tmp_path)
    sets = (f"draw.clusters={{k: 3, model: {start}/model, iterations: 3}}", "draw.questions=cluster")
    dataset = Dataset(read.load(tmp_path / "small.yaml", sets), tmp_path / "home", quiet=True)

    def never() -> Model:
        raise AssertionError("no weights are started from")

    found = clusters.kept(dataset, never, "cpu")
    assert sorted(set(found.cluster_Q.tolist())) == [0, 1, 2]
    assert (
        storage.read_manifest(found.folder).receipt["vectors"]["model"] == storage.read_manifest(start / "model").digest
    )
    assert clusters.kept(dataset, never, "cpu").folder == found.folder
    run(read.load(tmp_path / "small.yaml", sets), Launch(tmp_path / "home", tmp_path / "second", None, True))
    storage.remove(start / "model")
    storage.remove(start / "checkpoints")
    storage.remove(start)
    train(tmp_path, "training.seed=2")
    with pytest.raises(RecipeError, match=r"model of draw\.clusters"):
        run(read.load(tmp_path / "small.yaml", sets), Launch(tmp_path / "home", tmp_path / "second", None, True))
