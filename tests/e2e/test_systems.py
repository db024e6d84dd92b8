"""Every training system of `recipes/systems/` at work: the committed recipe on the planted collection.

Only size differs from the file: where texts come from, a tiny encoder, steps, batches, depths and cuts. What makes the
system (sources, labels, weights, refresh, objectives, who learns, the order of stages) is as the file says.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mpr import recipe_file, recipe_plan, storage
from mpr.pipeline import Pipeline
from mpr.recipe import Recipe
from mpr.result import Result
from mpr.stages import Row
from tests import planted
from tests.conftest import Examined

FOLDER = Path(__file__).parents[2] / "recipes" / "systems"
SYSTEMS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
QUESTIONS, BATCH, EPOCHS = 240, 16, 4
STEPS = EPOCHS * QUESTIONS // BATCH
SPLITS = {"nq_train": "train", "official_train": "train", "nq_generated": "generated", "dl19": "dev"}
BM25 = "{name: bm25, as: bm25, depth: 20, k1: 0.9, b: 0.4, title: true, stopwords: none, stemmer: none}"
ENCODER = "{layers: 1, width: 32, heads: 2, feed_forward: 64, vocabulary: 400}"
TEACHER = {"file": "triples.tsv", "format": "triples"}
AT_MOST = {  # sizes in any entry of sources, draw.negatives and labels
    "depth": 30, "window": 20, "k": 6, "first": 21, "last": 30, "hard_until": 12, "relevant": 6, "hard": 4, "semi": 4,
}  # fmt: skip
Set = tuple[str, Any]


def collection(folder: Path) -> str:
    splits = ", ".join(
        f"{role}: {{file: {role}.jsonl, format: questions"
        + ("}" if role == "unlabelled" else f", judgements: {role}.qrels}}")
        for role in planted.ASKED
    )
    passages = "{file: passages.tsv, format: plain_tsv, passages: 200}"
    return f"{{name: local, folder: '{folder}', passages: {passages}, splits: {{{splits}}}}}"


def overrides(recipe: Recipe, folder: Path) -> list[str]:
    """The `--set` arguments that make a system small."""
    made: list[Set] = [
        ("data.corpus", collection(folder)),
        ("data.evaluate", "{test: test}"),
        ("evaluation", "{measures: [recall5, mrr10], match: judgements}"),
        ("search.depth", 100),
        ("encoding", "{dtype: float32, compute: float32}"),
        ("published", "{source: null, values: {}}"),
        ("paper", "null"),
        ("towers.base", "null"),
        ("towers.revision", "null"),
        ("towers.new", ENCODER),
        ("towers.question_length", 12),
        ("towers.passage_length", 24),
    ]
    stages = recipe_plan.stages_of(recipe)
    if recipe.plan:  # what stands above the plan is a recipe too
        made += _smaller(recipe.model_copy(update={"plan": ()}), "")
    for number, stage in enumerate(stages):
        made += _smaller(stage, f"plan.{number}." if recipe.plan else "")
    return [f"{key}={value}" for key, value in dict(made).items()]


def _smaller(stage: Recipe, place: str) -> Iterator[Set]:
    training = stage.training
    yield f"{place}data.train", SPLITS[stage.data.train]
    yield f"{place}towers.pooling", "cls" if stage.task == "cross_encoder" else "mean"
    if stage.towers.projection is not None:
        yield f"{place}towers.projection", 32
    yield f"{place}training.num_train_epochs", EPOCHS if "num_train_epochs" in training else None
    yield f"{place}training.max_steps", STEPS if "max_steps" in training else None
    for key, value in {"learning_rate": 3e-3, "warmup_steps": 0.1, "per_device_train_batch_size": BATCH,
                       "gradient_accumulation_steps": 1, "eval_steps": STEPS // 2, "fp16": "false"}.items():  # fmt: skip
        yield f"{place}training.{key}", value if key in training else None
    for name in ("cache", "negative_cache"):
        if getattr(stage.scale, name) is not None:
            small = "{questions: 8, passages: 16}" if name == "cache" else "{size: 100, policy: lru}"
            yield f"{place}scale.{name}", small
    if stage.refresh is not None and stage.refresh.every > 1:
        yield f"{place}refresh.every", STEPS // 3
    if stage.validation is not None:
        yield f"{place}validation.split", SPLITS[stage.validation.split]
    if stage.draw.clusters is not None:
        yield f"{place}draw.clusters.k", 6
    for key, entries in (("sources", stage.sources), ("draw.negatives", stage.draw.negatives), ("labels", stage.labels)):
        for number, entry in enumerate(entries):
            yield from _less(entry, f"{place}{key}.{number}")


def _less(entry: Any, place: str) -> Iterator[Set]:
    content = entry.model_dump(by_alias=True)
    if content.get("name") == "file":
        yield place, BM25
        return
    if content.get("name") == "triples":
        yield f"{place}.file", TEACHER["file"]
    if content.get("scores") and content["scores"]["file"] is not None:
        yield f"{place}.scores.file", TEACHER["file"]
    for key in ("dtype", "compute"):
        if key in content:
            yield f"{place}.{key}", "float32"
    for inside, values in (("", content), ("fill.", content.get("fill") or {})):
        for key, most in AT_MOST.items():
            if isinstance(value := values.get(key), int) and value > most:
                yield f"{place}.{inside}{key}", most
