"""Every training system of `recipes/systems/` at work: the committed recipe on the planted collection.

Only size differs from the file: where texts come from, a tiny encoder, steps, batches, depths and cuts. What makes the
system (sources, labels, weights, refresh, objectives, who learns, the order of stages) is as the file says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from mpr import storage
from mpr.recipe import read, strict_yaml
from mpr.rows._stages import Row
from mpr.rows.pipeline import Pipeline
from mpr.training import run_folder
from tests import planted
from tests.conftest import Examined

FOLDER = Path(__file__).parents[2] / "recipes" / "systems"
SYSTEMS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
MEASURE = "recall5"
QUESTIONS, BATCH, EPOCHS = 240, 16, 4
LONGER = {"ance": 4, "rance": 4, "tas_b": 3}  # systems without negatives from the rest of the step learn slowly here
SPLITS = {"nq_train": "answered", "official_train": "train", "nq_generated": "generated", "dl19": "dev"}
BM25 = "{name: bm25, as: bm25, depth: 20, k1: 0.9, b: 0.4, title: true, stopwords: none, stemmer: none}"
TRIPLES = "triples.tsv"
# A cross-encoder this small does not learn to read within seconds, so a planted judge stands in for what it would say
# where a threshold goes by it. It is trained all the same, and asked where its order alone counts (CL-DRD).
BY_THRESHOLD, JUDGE = ("ce_above", "ce_below"), "{file: judge.tsv, format: tsv}"
ENCODER = "{layers: 1, width: 32, heads: 2, feed_forward: 64, vocabulary: 400}"
TRAINING = {
    "per_device_train_batch_size": BATCH, "learning_rate": 3e-3, "warmup_steps": 0.1, "gradient_accumulation_steps": 1,
    "fp16": "false", "logging_steps": 1,
}  # fmt: skip
AT_MOST = {  # sizes in an entry of sources, draw.negatives and labels
    "depth": 30, "window": 20, "k": 6, "first": 21, "last": 30, "hard_until": 12, "relevant": 6, "hard": 4, "semi": 4,
}  # fmt: skip
Set = tuple[str, Any]


def collection(folder: Path) -> str:
    """The planted collection under the names of its splits; `answered` is `train` with answers, as NQ has them."""
    files = {role: (f"{role}.jsonl", f", judgements: {role}.qrels") for role in planted.ASKED}
    files |= {"unlabelled": ("unlabelled.jsonl", ""), "answered": ("train.answered.jsonl", files["train"][1])}
    splits = ", ".join(f"{role}: {{file: {file}, format: questions{more}}}" for role, (file, more) in files.items())
    passages = "{file: passages.tsv, format: plain_tsv, passages: 200}"
    return f"{{name: local, folder: '{folder}', passages: {passages}, splits: {{{splits}}}}}"


def overrides(path: Path, folder: Path) -> list[str]:
    """The `--set` arguments that make a system small."""
    epochs = EPOCHS * LONGER.get(path.stem, 1)
    document: dict[str, Any] = strict_yaml.parse(path.read_bytes(), str(path)).value
    made: list[Set] = [
        ("data.corpus", collection(folder)),
        ("draft", "true"),  # nobody pins the planted collection
        ("data.evaluate", "{test: test}"),
        ("evaluation", f"{{measures: [{MEASURE}, mrr10], match: judgements}}"),
        ("search.depth", 100),
        ("encoding", "{dtype: float32, compute: float32}"),
        ("published", "{source: null, values: {}}"),
        ("paper", "null"),
        ("towers.base", "null"),
        ("towers.revision", "null"),
        ("towers.new", ENCODER),
        ("towers.pooling", "mean"),
        ("towers.question_length", 12),
        ("towers.passage_length", 24),
        *_smaller(document, "", epochs),
    ]
    for number, stage in enumerate(document.get("plan", ())):
        made += _smaller(stage, f"plan.{number}.", epochs)
    return [f"{key}={value}" for key, value in made]


def _smaller(written: dict[str, Any], place: str, epochs: int) -> Iterator[Set]:
    """What is written at the top of a recipe, or of a stage, in small."""
    steps = epochs * QUESTIONS // BATCH
    if "train" in written.get("data", {}):
        yield f"{place}data.train", SPLITS[written["data"]["train"]]
    if "unlabelled" in written.get("data", {}):
        yield f"{place}data.unlabelled", "unlabelled"
    if written.get("task") == "cross_encoder":
        yield f"{place}towers.pooling", "cls"
    if written.get("task") == "late_interaction":
        yield f"{place}towers.pooling", "none"
    if written.get("towers", {}).get("projection"):
        yield f"{place}towers.projection", 16
    lengths = {"num_train_epochs": epochs, "max_steps": steps, "eval_steps": steps // 2}
    for key, value in {**TRAINING, **lengths}.items():
        if key in written.get("training", {}):
            yield f"{place}training.{key}", value
    scale = written.get("scale", {})
    if scale.get("cache"):
        yield f"{place}scale.cache", "{questions: 8, passages: 16}"
    if scale.get("negative_cache"):
        yield f"{place}scale.negative_cache.size", 100
    if (written.get("refresh") or {}).get("every", 1) > 1:
        yield f"{place}refresh.every", steps // 3
    if written.get("validation"):
        yield f"{place}validation.split", SPLITS[written["validation"]["split"]]
    draw = written.get("draw", {})
    if draw.get("clusters"):
        yield f"{place}draw.clusters.k", 6
    for key, entries in (
        ("sources", written.get("sources")),
        ("draw.negatives", draw.get("negatives")),
        ("labels", written.get("labels")),
    ):
        for number, entry in enumerate(entries or ()):
            yield from _less(entry, f"{place}{key}.{number}")


def _less(entry: dict[str, Any], place: str) -> Iterator[Set]:
    """An entry of sources, negatives or labels in small."""
    if entry.get("name") == "file":
        yield place, BM25 if entry["as"] != "random" else "{name: random, as: random, depth: 20, seed: 4}"
        return
    for file, keys in ((place, entry), (f"{place}.scores", entry.get("scores", {}))):
        if "file" in keys:
            yield f"{file}.file", TRIPLES
            yield from ((f"{file}.{key}", "null") for key in ("md5", "url") if key in keys)
    if entry.get("name") in BY_THRESHOLD:
        yield f"{place}.scores", JUDGE
    for key in ("dtype", "compute"):
        if key in entry:
            yield f"{place}.{key}", "float32"
    for inside, values in (("", entry), ("fill.", entry.get("fill", {}))):
        for key, most in AT_MOST.items():
            if values.get(key, 0) > most:
                yield f"{place}.{inside}{key}", most


@dataclass(frozen=True)
class Made:
    """A system that was reproduced in small."""

    row: Row

    @cached_property
    def stages(self) -> dict[str, Path]:
        """The folder of each training."""
        return {one.stage: run_folder.of_stage(self.row.folder, one) for one in self.row.recipe.stages}

    def losses(self, stage: str) -> list[float]:
        rows = map(json.loads, (self.stages[stage] / "metrics.jsonl").read_text("utf-8").splitlines())
        return [row["loss"] for row in rows if "loss" in row]

    def measure(self) -> float:
        return float(Pipeline(self.row).run().document["scores"]["test"]["measures"][MEASURE]["mean"])


def small(name: str, system: str, place: Path) -> Made:
    path = FOLDER / f"{name}.yaml"
    recipe = read.load(path, overrides(path, place / "planted"))
    return Made(Row(recipe, path, system, place / "home", place / f"{name}-{system}", quiet=True))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection, and a home that the systems share."""
    folder = tmp_path_factory.mktemp("systems")
    planted.write(folder / "planted")
    return folder


MARKS = {"dpr": (), **dict.fromkeys(("coder", "gradcache", "negative_cache", "simans", "ltre"), pytest.mark.long)}


@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, pytest.mark.slow)) for name in SYSTEMS])
def test_a_system_learns(name: str, place: Path, examined: Examined) -> None:
    """The whole row by the pipeline of `mpr reproduce`: the loss of every stage falls, and the model of the last finds
    more than it did before the first."""
    trained, untrained = small(name, "trained", place), small(name, "untrained", place)
    found, before = trained.measure(), untrained.measure()
    assert found > before + 0.04, (found, before)
    stages = trained.row.recipe.stages
    for stage in stages:
        losses = trained.losses(stage.stage)
        fell = np.mean(losses[-8:]) < 0.97 * np.mean(losses[:4])
        assert fell or stage.task == "cross_encoder", (stage.stage, losses)
    frozen = [stage for stage in stages if stage.towers.train == "question"]
    tensors = sum(_unmoved(trained.stages, stage) for stage in frozen)
    seen = f"stages; recall@5 {before:.3f} untrained, {found:.3f} trained, {tensors} frozen tensors the same"
    examined(len(trained.stages), seen, at_least=1)


def _unmoved(stages: dict[str, Path], frozen: Any) -> int:
    """Tensors of the passage tower that are, byte for byte, those that the stage started from."""
    now, before = (_passage_tower(stages[one] / "model") for one in (frozen.stage, frozen.start.removeprefix("stage:")))
    assert now.keys() == before.keys()
    assert all(np.array_equal(now[name], before[name]) for name in now)
    assert len(now) > 10
    return len(now)


def _passage_tower(model: Path) -> dict[str, Any]:
    """Tensors of the tower of passages, which may be that of questions as well."""
    folders = sorted(model.glob("document_*")) or [model]
    files = [path for folder in folders for path in folder.rglob("*.safetensors")]
    return {name: tensor for path in files for name, tensor in load_file(path).items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rocketqa", "pair"])
def test_labels_by_the_cross_encoder_that_was_trained(name: str, place: Path, examined: Examined) -> None:
    """No judge stands in: labels go by what the stage before says, with thresholds that it passes as it is."""
    path = FOLDER / f"{name}.yaml"
    document: dict[str, Any] = strict_yaml.parse(path.read_bytes(), str(path)).value
    judged = [
        (f"plan.{number}.labels.{place_of}", label)
        for number, stage in enumerate(document["plan"])
        for place_of, label in enumerate(stage.get("labels", ()))
        if label["name"] in BY_THRESHOLD
    ]
    passed = {"keep": 0.999, "promote": 0.001}
    sets = [f"{where}.scores={{cross_encoder: 'stage:CE', probability: true}}" for where, _ in judged]
    sets += [f"{where}.{key}={value}" for where, label in judged for key, value in passed.items() if key in label]
    recipe = read.load(path, [*overrides(path, place / "planted"), *sets])
    row = Row(recipe, path, "trained", place / "home", place / f"{name}-by-its-own", quiet=True)
    Made(row).measure()
    receipts = {one.stem: json.loads(one.read_text("utf-8")) for one in (row.folder / "receipts").glob("label-*.json")}
    scorer = storage.read_manifest(Made(row).stages["CE"] / "model").digest
    assert all(receipt["inputs"]["model stage:CE"] == scorer for receipt in receipts.values())
    examined(len(receipts), "stages labelled by it", at_least=2)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_takes_several_positives(name: str, place: Path) -> None:
    """Every training of it with up to three positives of a question together, where it does not take all anyway; and
    NLL, which takes one, exchanged with JointLH."""
    path = FOLDER / f"{name}.yaml"
    document: dict[str, Any] = strict_yaml.parse(path.read_bytes(), str(path)).value
    written = {"": document, **{f"plan.{number}.": one for number, one in enumerate(document.get("plan", ()))}}
    several = [
        f"{where}draw.positives.{key}"
        for where, one in written.items()
        if one.get("draw", {}).get("positives", {}).get("policy") in ("first", "random1")
        for key in ("policy=up_to", "m=3", "beyond=rotate")
    ]
    several += [
        f"{where}draw.positives.{key}=null"
        for where, one in written.items()
        if where and one.get("draw", {}).get("positives", {}).get("policy") == "all"
        for key in ("m", "beyond")
    ]
    several += [
        f"{where}objective.{number}={_joint(entry)}"
        for where, one in written.items()
        for number, entry in enumerate(one.get("objective", ()))
        if entry["name"] == "nll"
    ]
    recipe = read.load(path, [*overrides(path, place / "planted"), *several])
    drawn = {stage.draw.positives.policy for stage in recipe.stages}
    assert drawn <= {"up_to", "all"}, drawn


def _joint(nll: dict[str, Any]) -> str:
    made = {**nll, "name": "joint_lh", "copositives": "mask", "reduce": "mean"}
    return "{" + ", ".join(f"{key}: {value}" for key, value in made.items()) + "}"
