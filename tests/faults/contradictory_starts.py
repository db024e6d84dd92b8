"""Recipes whose weights come from nowhere: of `start`, of stages, of models that stages name. For fault 22."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from mpr.recipe import strict_yaml
from mpr.recipe._stage_document import StageDocument
from mpr.recipe.keys import Recipe
from tests.faults.contradictory_labels import LABEL
from tests.faults.contradictory_searches import FROZEN, LORA, TREC, WORLD

ONE = "sources: [{name: dense, as: x, model: a/b, depth: 9, dtype: float32, compute: float32}], draw: {negatives: []}"
DENSE = "sources=[{name: file, as: bm25}, {name: dense, as: x, model: a/b, depth: 9, dtype: float32, compute: float32}]"
PINNED_STAGE = f'"stage:a", revision: "{"0" * 40}"'
CLUSTERED = "draw: {questions: cluster, clusters: {k: 4, model: stage:a, iterations: 2}}"
UNSEEN = "validation: null, training: {eval_strategy: 'no'}"
READS = (
    f"task: cross_encoder, {UNSEEN}, draw: {{in_batch: false}}, "
    "towers: {pooling: cls, title: join, normalize: false, projection: null}"
)
TOKENWISE = f"task: late_interaction, {UNSEEN}, towers: {{pooling: none}}"
ASKED = '{name: teacher_live, model: "stage:a"}'
LIVE_TERM = "objective: [{name: pairwise, phi: square, target: live, columns: others}]"
BELOW = '{name: ce_below, source: bm25, window: 5, keep: 0.1, scores: {cross_encoder: "stage:a"}}'

# rule -> (recipe, what is set in it, key that is refused, part of the message)
CASES: dict[str, list[tuple[str, list[str], str, str]]] = {
    "start is pinned": [
        (WORLD, ["start=runs/warm-seed42/model"], "start", "is not pinned to a commit"),
        (WORLD, ["start=somebody/model@main"], "start", "is not pinned to a commit"),
        (WORLD, ["start=."], "start", "is a local folder"),
    ],
    "stages are earlier": [
        (WORLD, ["start=stage:warmup"], "start", "no earlier stage is called 'warmup'"),
        (WORLD, [DENSE.replace("a/b", "stage:warmup")], "sources[1].model", "no earlier stage is called 'warmup'"),
        (WORLD, [f"plan=[{{name: a}}, {{name: b, {ONE.replace('a/b', 'stage:b')}}}]"], "plan[1].sources[0].model",
         "'b' is this very stage"),
        (WORLD, [f"plan=[{{name: a, {ONE.replace('a/b', 'stage:b')}}}, {{name: b}}]"], "plan[0].sources[0].model",
         "no earlier stage is called 'b'"),
    ],
    "models of sources fit": [
        (WORLD, [DENSE.replace("a/b", "start")], "sources[1].model", "this training starts from no model"),
        (WORLD, [f"plan=[{{name: a, {ONE.replace('a/b', 'start')}}}]"], "plan[0].sources[0].model", "from no model"),
        (WORLD, [DENSE.replace("a/b", f'start, revision: "{"0" * 40}"')], "sources[1].revision", "'start' is here"),
        (WORLD, [f"plan=[{{name: a}}, {{name: b, {ONE.replace('a/b', PINNED_STAGE)}}}]"], "plan[1].sources[0].revision",
         "'stage:a' is here"),
    ],
    "start agrees": [
        (WORLD, ["plan=[{name: a}, {name: b, towers: {pooling: cls}}]"], "plan[1].towers.pooling",
         "is 'cls' here and 'mean' in stage 'a'"),
        (WORLD, ["plan=[{name: a}, {name: b, towers: {question_length: 16}}]"], "plan[1].towers.question_length",
         "is 16 here and 32 in stage 'a'"),
        (WORLD, ["plan=[{name: a, towers: {new: {layers: 3}}}, {name: b}]"], "towers.new.layers", "is 1 here and 3"),
        (WORLD, ["plan=[{name: a, towers: {share: false}}, {name: b, towers: {share: true}}]"], "plan[1].towers.share",
         "is true here and false in stage 'a'"),
        (TREC, [f"plan=[{{name: a, towers: {{lora: {LORA}}}}}, {{name: b}}]"], "towers.lora", "is null here and"),
        (WORLD, ["plan=[{name: a}, {name: c, towers: {title: join}, start: base}, {name: b, start: a}, "
                 "{name: d, start: c}]"], "towers.title", "is 'pair' here and 'join' in stage 'c'"),
    ],
    "models are of their kind": [
        (WORLD, [f"plan=[{{name: a, {READS}}}, {{name: b, start: base, {ONE.replace('a/b', 'stage:a')}}}]"],
         "plan[1].sources[0].model", "stage 'a' trains a cross-encoder"),
        (WORLD, [f"plan=[{{name: a, {TOKENWISE}}}, {{name: b, start: base, {ONE.replace('a/b', 'stage:a')}}}]"],
         "plan[1].sources[0].model", "stage 'a' trains a late-interaction model"),
        (WORLD, [f"plan=[{{name: a, {TOKENWISE}}}, {{name: b, towers: {{pooling: none}}}}]"],
         "plan[1].start", "stage 'a' trains a late-interaction model"),
        (WORLD, [f"plan=[{{name: a, {READS}}}, {{name: b, start: base, labels: [{LABEL}, {ASKED}], {LIVE_TERM}}}]"],
         "plan[1].labels[1].model", "read every passage of a step with every question"),
        (WORLD, [f"plan=[{{name: a}}, {{name: b, start: base, labels: [{LABEL}, {BELOW}]}}]"],
         "plan[1].labels[1].scores.cross_encoder", "stage 'a' trains a dual encoder"),
        (WORLD, [f"plan=[{{name: a, {READS}}}, {{name: b, start: base, {CLUSTERED}}}]"],
         "plan[1].draw.clusters.model", "stage 'a' trains a cross-encoder"),
    ],
    "frozen passages have learned": [
        (WORLD, [FROZEN, "towers.share=false"], "towers.train", "would be encoded by random weights"),
        (WORLD, ["towers.share=false", "plan=[{name: a, towers: {train: question}}]"], "plan[0].towers.train",
         "would be encoded by random weights"),
    ],
}  # fmt: skip


def recipes(made: strict_yaml.Document) -> Iterator[tuple[Recipe, Callable[[Any], str]]]:
    """The recipe, or those of its stages, before any rule; and how a key of it is written."""
    if not made.value.get("plan"):
        yield Recipe.model_validate_json(json.dumps(made.value)), strict_yaml.dotted
        return
    earlier: list[tuple[str, Recipe | None]] = []
    for number, entry in enumerate(made.value["plan"]):
        stage = StageDocument(made, number, earlier[-1][0] if earlier else "")
        recipe = Recipe.model_validate_json(json.dumps(stage.value))
        recipe._stage, recipe._earlier = entry["name"], tuple(earlier)
        earlier.append((entry["name"], recipe))
        yield recipe, lambda path, stage=stage: strict_yaml.dotted(stage.shown(path))
