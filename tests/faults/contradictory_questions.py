"""Recipes that contradict themselves about questions nobody labelled, or about positives that a program made. For fault
22."""

from __future__ import annotations

from tests.faults.contradictory_labels import ABOVE, CROSS, LABEL, WINDOW
from tests.faults.contradictory_searches import LIVE, TREC, WORLD

JUDGED = ("{name: llm, source: bm25, window: 5, answer_matches: true, relevant: 1, at_most: null, "
          "judgements: {file: j.jsonl}}")  # fmt: skip
UNLABELLED = "data.unlabelled=dev_truth"
FOUND = f"labels=[{CROSS}, {ABOVE}]"

# rule -> (recipe, what is set in it, key that is refused, part of the message)
CASES: dict[str, list[tuple[str, list[str], str, str]]] = {
    "unlabelled fits": [
        (WORLD, ["data.unlabelled=dve", FOUND], "data.unlabelled", "no split 'dve'"),
        (WORLD, ["data.unlabelled=train", FOUND], "data.unlabelled", "is trained on with its labels"),
        (WORLD, ["data.unlabelled=test", FOUND], "data.unlabelled", "is also evaluated"),
        (WORLD, ["data.unlabelled=dev", FOUND], "data.unlabelled", "is also validated on"),
        (WORLD, [UNLABELLED, f"labels=[{LABEL}, {WINDOW}]"], "data.unlabelled", "finds positives for questions"),
        (WORLD, [UNLABELLED, f"labels=[{LABEL}, {ABOVE}]"], "labels[0].tiers", "counts none of cross_encoder"),
    ],
    "augmented counts": [
        (WORLD, ["data.augment={file: a.jsonl}"], "labels[0].tiers", "does not count augmented"),
        (TREC, [*LIVE, "data.augment={file: a.jsonl}", "labels[0].tiers=[gold, augmented]"],
         "data.augment", "would find augmented passages"),
    ],
    "llm counts": [
        (WORLD, [f"labels=[{CROSS}, {JUDGED}]"], "labels[0].tiers", "does not count llm"),
    ],
}  # fmt: skip
