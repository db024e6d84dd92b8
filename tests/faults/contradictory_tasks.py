"""Recipes for models that score pairs which ask for what only vectors of whole texts can do. For fault 22."""

from __future__ import annotations

from tests.faults.contradictory_searches import LIVE, TREC, WORLD

READER = [
    "task=cross_encoder", "towers.share=true", "towers.title=join", "towers.question_length=64", "draw.in_batch=false",
    "scale.gather=false",
]  # fmt: skip
"""What makes a recipe for a cross-encoder of TREC; without contradictions."""

TOKENS = ["task=late_interaction", "towers.share=true", "towers.pooling=none", "scale.gather=false"]
"""The same of a late-interaction model."""

CLUSTERS = ["draw.questions=cluster", "draw.clusters={k: 9, model: start, iterations: 5}"]
POOL = "{split: trec_dev, questions: 100, candidates: 30}"

# rule -> (recipe, what is set in it, key that is refused, part of the message)
CASES: dict[str, list[tuple[str, list[str], str, str]]] = {
    "towers fit the task": [
        (WORLD, ["towers.pooling=none"], "towers.pooling", "vectors of whole texts are compared"),
        (TREC, [*TOKENS, "towers.share=false"], "towers.share", "are read by one encoder"),
        (TREC, [*TOKENS, "towers.pooling=cls"], "towers.pooling", "every token keeps its vector"),
        (TREC, [*TOKENS, "towers.lora={rank: 8, alpha: 16, dropout: 0.1, modules: [query]}"], "towers.lora", "whole"),
        (TREC, [*READER, "towers.share=false"], "towers.share", "are read by one transformer"),
        (TREC, [*READER, "towers.pooling=mean"], "towers.pooling", "read off the first token"),
        (TREC, [*READER, "towers.normalize=true"], "towers.normalize", "no vectors"),
        (TREC, [*READER, "towers.projection=64"], "towers.projection", "no vectors"),
        (TREC, [*READER, "towers.lora={rank: 8, alpha: 16, dropout: 0.1, modules: [query]}"], "towers.lora", "vectors"),
        (TREC, [*TOKENS, "towers.last_slot=sep"], "towers.last_slot", "every token of a text is compared"),
        (TREC, [*READER, "towers.last_slot=sep"], "towers.last_slot", "read one by one"),
        (TREC, [*READER, "towers.pair_cut=longest_first"], "towers.pair_cut", "cut from the passage"),
        (TREC, [*READER, "towers.title=pair"], "towers.title", "pair is the question and the passage"),
        (TREC, [*READER, "towers.question_length=256"], "towers.passage_length", "question alone may have 256"),
    ],
    "only own passages": [
        (TREC, [*READER, "draw.in_batch=true"], "draw.in_batch", "every passage of the step with every question"),
    ],
    "nothing that needs vectors": [
        (TREC, [*READER, "scale.gather=true"], "scale.gather", "no passages to share"),
        (TREC, [*READER, "scale.cache={questions: 8, passages: 8}"], "scale.cache", "nothing to remember"),
        (TREC, [*READER, "scale.negative_cache={size: 100, policy: lru}", "objective=[{name: joint_lh}]"],
         "scale.negative_cache", "nothing to remember"),
        (TREC, [*READER, f"start=a/b@{'0' * 40}"], "start", "does not go on from another model"),
        (TREC, [*LIVE, *READER], "refresh", "a cross-encoder cannot search"),
        (TREC, [*READER, f"validation={POOL}", "training.eval_strategy=epoch"],
         "validation", "a cross-encoder cannot search"),
        (TREC, [*READER, "objective=[{name: joint_lh, view: positive}]"], "objective[0].view", "no rows of passages"),
        (TREC, [*READER, "objective[0].sqrt_width=true"], "objective[0].sqrt_width", "whose size could count"),
        (TREC, [*TOKENS, "scale.gather=true"], "scale.gather", "a late-interaction model has no passages to share"),
        (TREC, [*TOKENS, "scale.cache={questions: 8, passages: 8}"], "scale.cache", "nothing to remember"),
        (TREC, [*TOKENS, "scale.negative_cache={size: 100, policy: lru}", "objective=[{name: joint_lh}]"],
         "scale.negative_cache", "nothing to remember"),
        (TREC, [*TOKENS, f"start=a/b@{'0' * 40}"], "start", "a late-interaction model does not go on from another"),
        (TREC, [*LIVE, *TOKENS], "refresh", "a late-interaction model cannot search"),
        (TREC, [*TOKENS, f"validation={POOL}", "training.eval_strategy=epoch"],
         "validation", "a late-interaction model cannot search"),
        (TREC, [*TOKENS, *CLUSTERS], "draw.clusters.model", "has no vectors of questions"),
        (TREC, [*TOKENS, "objective=[{name: joint_lh, view: positive}]"], "objective[0].view", "no rows of passages"),
    ],
}  # fmt: skip
