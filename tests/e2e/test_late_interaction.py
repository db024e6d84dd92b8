"""A late-interaction model from its recipe to a teacher: it learns, stops and goes on; and trainings that ask it in
every step do the same, whatever is between two of their updates."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mpr import storage
from mpr.data import tokens
from mpr.data.dataset import Dataset
from mpr.data.token_batches import Side
from mpr.errors import DataError, RecipeError
from mpr.models import late_interaction, pretrained, towers_folder
from mpr.models.templates import Template
from mpr.recipe import read as recipe_file
from mpr.rows._stages import Row
from mpr.rows.pipeline import Pipeline
from mpr.training import step_teacher
from mpr.training.launch import Launch, run
from mpr.training.run_folder import RunFolder
from mpr.training.step_teacher import Scorer, StepTeacher
from tests import planted
from tests.conftest import Examined
from tests.e2e.test_systems import ENCODER, collection
from tests.faults import training
from tests.faults.test_06_resume import halfway
from tests.published import ROOT, said, smaller

TOKENS = ("task=late_interaction", "towers.pooling=none", "towers.projection=16")
LABELS = (
    "labels=[{name: known_positives, tiers: [gold, answer_match], siblings: ignore, shared: ignore, duplicates: ignore,"
    " doubtful: ignore}, {name: teacher_live, model: MODEL}]"
)
OTHERS = "objective=[{name: pairwise, phi: square, target: live, columns: others}, {name: joint_lh}]"
ALL = "objective=[{name: kl, target: live, temperature: 0.5}]"


def losses(folder: RunFolder) -> list[float]:
    logged = [json.loads(line) for line in folder.metrics.read_text("utf-8").splitlines()]
    return [entry["loss"] for entry in logged if "loss" in entry]


def test_it_learns_to_tell_passages_apart(tmp_path: Path, examined: Examined) -> None:
    """On the planted collection: the loss falls, and for questions that training never saw positives are above other
    passages far more often than after a single update."""
    planted.write(tmp_path / "planted")
    recipe = ROOT / "recipes" / "quickstart.yaml"
    sets = (
        *TOKENS,
        "draft=true",
        f"data.corpus={collection(tmp_path / 'planted')}",
        "data.train=train",
        "data.evaluate={test: test}",
        "evaluation={measures: [mrr10], match: judgements}",
        "labels.0.tiers=[gold]",
        "validation=null",
        "training.eval_strategy='no'",
        "training.eval_on_start=false",
        f"towers.new={ENCODER}",
        "towers.title=none",
        "towers.question_length=12",
        "towers.passage_length=24",
        "sources=[]",
        "draw.negatives=[]",
        "objective=[{name: joint_lh, temperature: 0.1}]",
        "training.per_device_train_batch_size=16",
        "training.max_steps=90",
        "training.learning_rate=3.0e-3",
    )
    folder = RunFolder(run(recipe_file.load(recipe, sets), Launch(tmp_path / "home", tmp_path / "run", None, True)))
    found = losses(folder)
    assert found[-1] < 0.8 * found[0], found
    dataset = Dataset(recipe_file.load(recipe, sets), tmp_path / "home", quiet=True)
    begun = run(
        recipe_file.load(recipe, (*sets, "training.max_steps=1")),
        Launch(tmp_path / "home", tmp_path / "begun", None, True),
    )
    shares = [in_order(dataset, model) for model in (begun / "model", folder.model)]
    assert np.mean(shares[1]) > 0.75 > 0.1 + np.mean(shares[0]), [np.mean(each) for each in shares]
    what = f"questions, {np.mean(shares[1]):.3f} of their pairs in order, {np.mean(shares[0]):.3f} after one update"
    examined(len(shares[1]), what, at_least=60)


def in_order(dataset: Dataset, model: Path) -> list[float]:
    """Of each question of the test split, how many pairs of a positive and another passage are in the right order."""
    scorer, split, passages = Scorer.opened(model), dataset.split("test"), dataset.passages_of("test")
    stores = (
        tokens.of_questions(split, scorer.settings, scorer.tokenizer, dataset.bar),
        tokens.of_passages(passages, scorer.settings, scorer.tokenizer, dataset.bar),
    )
    template = Template.of(scorer.tokenizer)
    sides = [Side(store, template, length) for store, length in zip(stores, (12, 24), strict=True)]
    asked = StepTeacher("it", scorer, sides[0], sides[1], 0, torch.device("cpu"), "float32")
    scores_QP = asked.scores(np.arange(len(split)), np.arange(len(passages))).numpy()
    shares = []
    for row, scores_P in enumerate(scores_QP):
        is_positive_P = np.isin(np.arange(len(passages)), split.positives.rows.row(row, "passage"))
        shares.append(float((scores_P[is_positive_P][:, None] > scores_P[~is_positive_P][None]).mean()))
    return shares


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A recipe with dropout, and folders of a late-interaction model and of a dual encoder trained by it. Both read
    shorter texts than their students do."""
    path = training.recipe(tmp_path_factory.mktemp("teachers"))
    shorter = ("towers.question_length=9", "towers.passage_length=13", "towers.title=join")
    run(*training.launch(path, path.parent / "tokens", *TOKENS, *shorter))
    run(*training.launch(path, path.parent / "dual", *shorter, "towers.normalize=false"))
    return path, path.parent / "tokens" / "model", path.parent / "dual" / "model"


def test_resumed_is_uninterrupted(place: tuple[Path, Path, Path], tmp_path: Path) -> None:
    path, model, _ = place
    half = halfway(path, model.parent, tmp_path / "half")
    shorter = ("towers.question_length=9", "towers.passage_length=13", "towers.title=join")
    run(*training.launch(path, half.folder, *TOKENS, *shorter))
    assert training.weights(half.folder) == training.weights(model.parent)
    projections = [(each / "projection.safetensors").read_bytes() for each in (half.model, model)]
    assert projections[0] == projections[1]
    made, _, found = late_interaction.load(half.model)
    assert (found.towers.projection, made.settings.pooling) == (16, "none")
    assert run(*training.launch(path, half.folder, *TOKENS, *shorter)) == half.folder, "already trained"


@pytest.mark.long
@pytest.mark.parametrize("kind, more", [
    ("tokens", (OTHERS,)),
    ("tokens", (ALL, "training.gradient_accumulation_steps=2")),
    ("tokens", (OTHERS, "scale.cache={questions: 1, passages: 2}")),
    ("tokens", (*TOKENS, OTHERS)),
    ("dual", (OTHERS, "training.gradient_accumulation_steps=2")),
    ("dual", (ALL, "draw.in_batch=false", "data.repair.without_positives=drop")),
])  # fmt: skip
def test_a_training_that_is_taught_resumes_exactly(
    kind: str, more: tuple[str, ...], place: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    """With accumulation, with the gradient cache, and where the student compares tokens itself. The teacher's bytes
    stay what they were, and they are part of what the run is."""
    path, model, other = place if kind == "tokens" else (place[0], place[2], place[1])
    before = storage.read_manifest(model).digest
    sets = (LABELS.replace("MODEL", str(model)), *more)
    run(*training.launch(path, tmp_path / "whole", *sets))
    half = halfway(path, tmp_path / "whole", tmp_path / "half")
    run(*training.launch(path, half.folder, *sets))
    assert training.weights(half.folder) == training.weights(tmp_path / "whole")
    assert storage.verify(model).digest == before
    identity = json.loads((half.folder / "run.json").read_text())
    assert identity["data"]["model of the live teacher"] == before
    elsewhere = run(*training.launch(path, tmp_path / "other", LABELS.replace("MODEL", str(other)), *more))
    assert training.weights(elsewhere) != training.weights(half.folder), "what another teacher says is heard"


def test_a_trained_model_of_its_own_kind_is_no_base(place: tuple[Path, Path, Path]) -> None:
    """Its projection lies beside the encoder, where nobody who looks for an encoder would see it."""
    with pytest.raises(DataError, match="is a trained model of its own kind, task: late_interaction"):
        pretrained.load(str(place[1]), None)


def test_the_teacher_reads_as_its_contract_says(place: tuple[Path, Path, Path], examined: Examined) -> None:
    """Its own lengths and titles, where the student has others: against the texts themselves, one pair at a time."""
    path, model, _ = place
    sets = (*training.OPTIONS, LABELS.replace("MODEL", str(model)), OTHERS)
    dataset = Dataset(recipe_file.load(path, sets), path.parent / "home", quiet=True)
    dataset.prepare_training()
    asked = StepTeacher.of(dataset, 0, torch.device("cpu"))
    assert asked is not None
    assert not any(part.training for part in asked.scorer.module.modules())
    assert not any(parameter.requires_grad for parameter in asked.scorer.module.parameters())
    split, passages = dataset.split("train"), dataset.passages_of("train")
    found_QP = asked.scores(np.arange(len(split)), np.arange(len(passages)))
    made, tokenizer, _ = late_interaction.load(model)

    def read(text: str, length: int) -> dict[str, torch.Tensor]:
        tokenizer.enable_truncation(length)
        ids = torch.tensor([tokenizer.encode(text).ids])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    longest = 0
    for row, question in enumerate(split):
        for column, passage in enumerate(passages):
            given = read(question.text, 9), read(f"{passage.title} {passage.text}", 13)
            with torch.no_grad():
                expected = float(made(*given))
            assert float(found_QP[row, column]) == pytest.approx(expected, rel=1e-5)
            longest = max(longest, given[1]["input_ids"].shape[1])
    assert longest == 13, "some are cut"
    examined(found_QP.numel(), "pairs", at_least=40)


def test_another_teacher_is_another_run(place: tuple[Path, Path, Path], tmp_path: Path) -> None:
    path, model, other = place
    own = tmp_path / "own"
    shutil.copytree(model, own)
    sets = (LABELS.replace("MODEL", str(own)), OTHERS)
    run(*training.launch(path, tmp_path / "run", *sets))
    storage.remove(own)
    shutil.copytree(other, own)
    with pytest.raises(RecipeError, match=r"data\.model of the live teacher: "):
        run(*training.launch(path, tmp_path / "run", *sets))


def test_a_teacher_that_is_not_there_or_is_no_teacher(place: tuple[Path, Path, Path], tmp_path: Path) -> None:
    path, model, _ = place
    with pytest.raises(DataError, match=r"labels\.model: there is no folder '.*nowhere'"):
        run(*training.launch(path, tmp_path / "run", LABELS.replace("MODEL", str(tmp_path / "nowhere")), OTHERS))
    with pytest.raises(DataError, match=r"of a late-interaction model.*what is wanted is a dual encoder"):
        towers_folder.load(model)
    assert step_teacher.model_digest(Dataset(recipe_file.load(path), tmp_path / "home", quiet=True)) == {}


def test_a_row_names_its_teacher(place: tuple[Path, Path, Path], tmp_path: Path, capsys: Any) -> None:
    """In the receipt of the training; a recipe for a model that compares tokens has no row."""
    model, path = place[1], tmp_path / "small.yaml"
    path.write_text(smaller((ROOT / "recipes" / "quickstart.yaml").read_text("utf-8")), "utf-8")
    sets = (LABELS.replace("MODEL", str(model)), OTHERS, "draft=true")
    row = Row(recipe_file.load(path, sets), path, "trained", tmp_path / "home", tmp_path / "run", quiet=True)
    Pipeline(row).run()
    receipt = json.loads((tmp_path / "run" / "receipts" / "train.json").read_text())
    assert receipt["inputs"]["model of the live teacher"] == storage.read_manifest(model).digest
    unseen = ("validation=null", "training.eval_strategy='no'", "training.eval_on_start=false")
    said("reproduce", path, *(word for one in (*TOKENS, *unseen) for word in ("--set", one)), code=2)
    assert "a late-interaction model cannot search, so it has no row of its own" in capsys.readouterr().err
