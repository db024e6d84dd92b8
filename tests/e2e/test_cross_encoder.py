"""A cross-encoder from its recipe to the labels of another row: it learns, stops and goes on, and what it says is a
stage of the row, kept while it verifies."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpr import storage
from mpr.data.dataset import Dataset
from mpr.data.pair_labels import Asked
from mpr.errors import RecipeError
from mpr.labels import _score_models
from mpr.mining import mine
from mpr.models import cross_encoder
from mpr.recipe import read
from mpr.rows import pipeline
from mpr.rows._stages import Row
from mpr.rows.pipeline import Pipeline
from mpr.training.launch import Launch, run
from mpr.training.run_folder import RunFolder
from tests.conftest import Examined
from tests.e2e import collection, topics
from tests.faults import training
from tests.faults.test_06_resume import halfway
from tests.published import ROOT, said, smaller
from tests.unit.draws import ragged

pytestmark = pytest.mark.long

READS = ("task=cross_encoder", "towers.pooling=cls", "towers.normalize=false", "towers.title=join",
         "towers.question_length=24", "towers.passage_length=56", "draw.in_batch=false")  # fmt: skip
PLAIN = ("objective=[{name: nll}]", "training.per_device_train_batch_size=16", "training.save_strategy='no'")
WORLD = (
    *READS,
    *PLAIN,
    "data.corpus={name: invented_world, articles: 450, questions: 1200, dev_questions: 120, test_questions: 20}",
    "data.evaluate={dev: dev}",
    "evaluation.measures=[top1]",
    "sources=[{name: random, as: far, depth: 20, seed: 4}]",
    "draw.positives={policy: first}",
    "draw.negatives=[{from: far, k: 3, weight: uniform, window: 10, short: fewer}]",
    "towers.new={layers: 1, width: 32, heads: 2, feed_forward: 64, vocabulary: 1500}",
    "training.max_steps=200",
    "training.learning_rate=5.0e-3",
    "training.logging_steps=20",
)
TOPICS = (
    *READS,
    *PLAIN,
    "towers.title=none",
    "towers.question_length=12",
    "towers.passage_length=24",
    "draw.positives={policy: random1}",
    "draw.negatives=[{from: bm25, k: 3, weight: uniform, short: fewer}]",
    "towers.new={layers: 2, width: 64, heads: 2, feed_forward: 128, vocabulary: 400}",
    "training.max_steps=250",
    "training.learning_rate=3.0e-3",
    "training.logging_steps=50",
)
LABELS = """labels=[{name: known_positives, tiers: [gold, answer_match], siblings: ignore, shared: ignore,
 duplicates: ignore, doubtful: ignore}, {name: ce_below, source: bm25, window: 6, keep: 0.0,
 scores: {cross_encoder: MODEL}}]""".replace("\n", "")


def losses(folder: RunFolder) -> list[float]:
    logged = [json.loads(line) for line in folder.metrics.read_text("utf-8").splitlines()]
    assert "passage_cosine" not in logged[0], "there are no vectors"
    return [entry["loss"] for entry in logged if "loss" in entry]


def test_it_reads_question_and_passage_together(tmp_path: Path, examined: Examined) -> None:
    """In a collection where neither alone says anything: of pairs with passages that training never saw, most are in
    the right order. Not every seed gets there in so few steps; this one does."""
    path = topics.write(tmp_path)
    folder = RunFolder(run(read.load(path, TOPICS), Launch(tmp_path / "home", tmp_path / "run", None, True)))
    found = losses(folder)
    assert found[-1] < 0.5 * found[0], found
    dataset = Dataset(read.load(path, TOPICS), tmp_path / "home", quiet=True)
    ground, seen = mine.ground_of(dataset, "train"), topics.PASSAGES - topics.UNSEEN
    numbers = [(topic, number) for topic in range(len(topics.TOPICS)) for number in range(seen, topics.PASSAGES)]
    unseen = ground.passages.rows_of([topics.name(*each) for each in numbers])
    known = replace(mine.Mined(dataset).knowledge, before=None)
    known = known.with_candidates("unseen", ragged([unseen.tolist()] * len(ground.questions)))
    scores = _score_models.scores_of(str(folder.model), Asked({"unseen": None}), known, ground)
    shares = []
    for row, question in enumerate(ground.questions.ids):
        value_TN = scores.lookup(row, unseen).reshape(len(topics.TOPICS), topics.UNSEEN)
        topic = int(question[1:]) % len(topics.TOPICS)
        others_N = np.delete(value_TN, topic, axis=0).ravel()
        shares.append(float((value_TN[topic][:, None] > others_N[None, :]).mean()))
    assert np.mean(shares) > 0.8, np.mean(shares)
    examined(len(shares), f"questions, {np.mean(shares):.3f} of their unseen pairs in order (chance .5)", at_least=36)


@pytest.mark.slow
def test_it_learns_in_the_invented_world(tmp_path: Path, examined: Examined) -> None:
    """The loss falls, and gold passages of questions that were held out are above random ones more often than chance
    has it, by three standard errors. In so few steps from random weights that is learned of passages alone: against the
    gold passages of other questions they win half the time."""
    recipe = ROOT / "recipes" / "quickstart.yaml"
    folder = RunFolder(run(read.load(recipe, WORLD), Launch(tmp_path / "home", tmp_path / "run", None, True)))
    found = losses(folder)
    assert found[-1] < 0.9 * found[0], found
    dataset = Dataset(read.load(recipe, WORLD), tmp_path / "home", quiet=True)
    mine.Mined(dataset, "dev").make()
    known, ground = mine.Mined(dataset, "dev").knowledge, mine.ground_of(dataset, "dev")
    scores = _score_models.scores_of(str(folder.model), Asked({"far": None}, positives=True), known, ground)
    shares = []
    for row in range(len(ground.questions)):
        gold_1, far_N = known.positives.rows.row(row, "passage")[:1], known.of("far").row(row, "passage")
        shares.append(float((scores.lookup(row, gold_1) > scores.lookup(row, far_N)).mean()))
    error = float(np.std(shares)) / len(shares) ** 0.5
    assert np.mean(shares) > 0.5 + 3 * error, (np.mean(shares), error)
    examined(len(shares), f"questions, {np.mean(shares):.3f} in order (chance .5, standard error {error:.3f})", 80)


def small(folder: Path) -> tuple[Path, tuple[str, ...]]:
    """A recipe for four updates with dropout, positives that rotate and random negatives."""
    return training.recipe(folder), (*READS, "objective=[{name: joint_lh}]", "scale.groups=2")


def test_resumed_is_uninterrupted(tmp_path: Path) -> None:
    path, options = small(tmp_path)
    run(*training.launch(path, tmp_path / "whole", *options))
    half = halfway(path, tmp_path / "whole", tmp_path / "half")
    run(*training.launch(path, half.folder, *options))
    assert training.weights(half.folder) == training.weights(tmp_path / "whole")
    made, _, contract = cross_encoder.load(half.model)
    assert contract.towers.passage_length == 56
    assert run(*training.launch(path, half.folder, *options)) == half.folder, "already trained"
    run(*training.launch(path, tmp_path / "bf16", *options, "training.bf16=true"))
    assert training.weights(tmp_path / "bf16") != training.weights(tmp_path / "whole")
    assert {tensor.dtype for tensor in made.state_dict().values() if tensor.is_floating_point()} == {_full()}


def _full() -> Any:
    import torch

    return torch.float32


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a cross-encoder."""
    path, options = small(tmp_path_factory.mktemp("reader"))
    return run(*training.launch(path, path.parent / "run", *options)) / "model"


def row(folder: Path, reader: Path) -> Row:
    folder.mkdir(exist_ok=True)
    path = folder / "small.yaml"
    path.write_text(smaller((ROOT / "recipes" / "quickstart.yaml").read_text("utf-8")), "utf-8")
    sets = (LABELS.replace("MODEL", str(reader)), "draft=true")
    return Row(read.load(path, sets), path, "trained", folder / "home", folder / "run", quiet=True)


def test_labels_are_a_stage(tmp_path: Path, reader: Path) -> None:
    """Between candidates and training; done once, done again if its store is lost, refused if the model changed, for
    what was trained with it is never thrown away."""
    own = tmp_path / "reader"
    shutil.copytree(reader, own)
    lines: list[str] = []
    Pipeline(row(tmp_path / "row", own), lines.append).run()
    assert [line.split()[0] for line in lines if line.endswith(" ...")][:4] == ["data", "mine", "label", "train"]
    receipt = json.loads((tmp_path / "row" / "run" / "receipts" / "label.json").read_text())
    assert receipt["inputs"][f"model {own}"] == storage.read_manifest(own).digest
    assert any(line.startswith("label") for line in pipeline.status(tmp_path / "row" / "run", tmp_path / "row/home"))
    (place,) = receipt["outputs"]
    store = tmp_path / "row" / "home" / place.partition("/")[2]
    before = storage.read_manifest(store).digest
    storage.remove(store)
    lines.clear()
    Pipeline(row(tmp_path / "row", own), lines.append).run()
    assert sum("kept" in line for line in lines) == 6, lines
    assert any(line.startswith("label") and "done again" in line for line in lines), lines
    assert storage.read_manifest(store).digest == before
    made, tokenizer, _ = cross_encoder.load(own)
    made.model.classifier.bias.data += 1.0
    storage.remove(own)
    cross_encoder.write(own, made, tokenizer)
    with pytest.raises(RecipeError, match="train"):
        Pipeline(row(tmp_path / "row", own), lines.append).run()


def test_the_command_label(tmp_path: Path, reader: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what it did; training finds the scores there; a recipe for a cross-encoder has no row."""
    path = collection.write(tmp_path)
    sets = [LABELS.replace("MODEL", str(reader)).replace("window: 6", "window: 3"), "draw.negatives[0].short=random"]
    words: list[object] = [path, "--home", tmp_path / "home", "--quiet"]
    words += [word for one in sets for word in ("--set", one)]
    said("mine", *words)
    assert "`mpr label RECIPE` runs it" in capsys.readouterr().out
    assert not list((tmp_path / "home").rglob("*-scores-*")), "candidates alone ask no model"
    said("label", *words)
    told = capsys.readouterr().out
    assert "label 1 ce_below" in told
    assert "scores " in told
    (store,) = (tmp_path / "home").rglob("*-scores-*")
    said("label", *words, "--split", "tset", code=2)
    assert "known: train, test" in capsys.readouterr().err
    changed = (store / "manifest.json").stat().st_mtime_ns
    run(
        read.load(path, (*sets, "training.save_strategy='no'")), Launch(tmp_path / "home", tmp_path / "run", None, True)
    )
    assert (store / "manifest.json").stat().st_mtime_ns == changed
    said("reproduce", path, *(word for one in READS for word in ("--set", one)), code=2)
    assert "a cross-encoder cannot search, so it has no row of its own" in capsys.readouterr().err
