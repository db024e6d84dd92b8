"""Recipes for a cross-encoder that ask for what only vectors can do. For fault 22."""

from __future__ import annotations

from tests.faults.contradictory_searches import LIVE, TREC

READER = [
    "task=cross_encoder", "towers.share=true", "towers.title=join", "towers.question_length=64", "draw.in_batch=false",
    "scale.gather=false",
]  # fmt: skip
"""What makes a recipe for a cross-encoder of TREC; without contradictions."""

POOL = "{split: trec_dev, questions: 100, candidates: 30}"

# rule -> (recipe, what is set in it, key that is refused, part of the message)
CASES: dict[str, list[tuple[str, list[str], str, str]]] = {
    "one transformer reads both": [
        (TREC, [*READER, "towers.share=false"], "towers.share", "are read by one transformer"),
        (TREC, [*READER, "towers.pooling=mean"], "towers.pooling", "read off the first token"),
        (TREC, [*READER, "towers.normalize=true"], "towers.normalize", "no vectors"),
        (TREC, [*READER, "towers.projection=64"], "towers.projection", "no vectors"),
        (TREC, [*READER, "towers.lora={rank: 8, alpha: 16, dropout: 0.1, modules: [query]}"], "towers.lora", "vectors"),
        (TREC, [*READER, "towers.title=pair"], "towers.title", "pair is the question and the passage"),
        (TREC, [*READER, "towers.question_length=256"], "towers.passage_length", "question alone may have 256"),
    ],
    "only own passages": [
        (TREC, [*READER, "draw.in_batch=true"], "draw.in_batch", "every passage of the step with every question"),
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
    ],
}  # fmt: skip
