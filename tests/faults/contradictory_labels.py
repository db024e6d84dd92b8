"""Recipes whose labels contradict something: one another, the sources, what terms of the objective look at. For fault
22."""

from __future__ import annotations

from tests.faults.contradictory_searches import LIVE, NQ, SELF, TREC, WORLD

LABEL = "{name: known_positives, tiers: [gold], siblings: ignore, shared: ignore, duplicates: ignore, doubtful: ignore}"
MATCH = "{name: answer_match, source: bm25, depth: 100}"
FILE = "scores: {file: s.tsv, format: tsv}"
WINDOW = "{name: rank_window, source: bm25, first: 1, last: 9}"
BELOW = f"{{name: ce_below, source: bm25, window: 5, keep: 0.1, {FILE}}}"
ABOVE = f"{{name: ce_above, source: bm25, window: 5, promote: 0.9, up_to: 1, questions: all, {FILE}}}"
TEACHER = f"{{name: teacher, missing: drop, {FILE}}}"
GROUPS = f"{{name: groups, source: bm25, depth: 9, relevant: 2, hard: 1, semi: 1, hard_until: 5, seed: 1, {FILE}}}"
LEXICAL = ("{name: bm25_score, k1: 0.9, b: 0.4, title: true, stopwords: none, stemmer: none, "
           "normalise: question_length}")  # fmt: skip
ASKED = "{name: teacher_live, model: runs/colbert/model}"
GUARD = "{name: guard, by: teacher_live, than: max, absolute: 0.1}"
SELF_GUARD = GUARD.replace("teacher_live", "self")
MARGIN = "{name: margin, source: bm25, window: 9, than: min, share: 0.95}"
WASSERSTEIN = "objective=[{name: wasserstein}]"
CROSS = LABEL.replace("[gold]", "[gold, cross_encoder]")
DEM = "{name: pairwise, phi: hinge, target: lexical, target_factor: 0.1}"
CACHE = "scale.negative_cache={size: 100, policy: lru}"

# rule -> (recipe, what is set in it, key that is refused, part of the message)
CASES: dict[str, list[tuple[str, list[str], str, str]]] = {
    "labels fit": [
        (TREC, ["labels[0].tiers=[gold, gold]"], "labels[0].tiers[1]", "'gold' is listed twice"),
        (TREC, [f"labels=[{LABEL}, {LABEL}]"], "labels", "must have known_positives exactly once"),
        (TREC, [f"labels=[{MATCH}, {LABEL}]"], "labels[0].name", "known_positives comes first"),
        (TREC, [f"labels=[{LABEL}, {WINDOW}, {WINDOW}]"], "labels[2].name", "is the same label as before"),
    ],
    "labels have sources": [
        (TREC, [f"labels=[{LABEL}, {MATCH}]"], "labels[1].source", "no mined source is called 'bm25'"),
        (TREC, [*LIVE, f"labels=[{LABEL}, {MATCH.replace('bm25', 'self')}]"], "labels[1].source", "no mined source"),
        (TREC, [f"labels=[{LABEL}, {WINDOW.replace('bm25', 'bm26')}]"], "labels[1].source", "no source is called"),
    ],
    "grey is ignored": [
        (TREC, [f"labels=[{LABEL.replace('doubtful: ignore', 'doubtful: negative')}, {BELOW}]"],
         "labels[0].doubtful", "'ce_below' finds pairs that are neither"),
        (TREC, [f"labels=[{LABEL.replace('doubtful: ignore', 'doubtful: positive')}, {TEACHER}]"],
         "labels[0].doubtful", "these would be positive"),
    ],
    "labels follow": [
        (TREC, [f"labels=[{CROSS}, {BELOW}, {ABOVE}]"], "labels[2].name", "'ce_below' has taken away"),
        (TREC, [f"labels=[{LABEL}, {ABOVE}]"], "labels[0].tiers", "does not count cross_encoder"),
        (TREC, [f"labels=[{LABEL}, {TEACHER}, {TEACHER.replace('drop', 'refuse')}]"],
         "labels[2].name", "gives teacher_QP, which 'teacher' gives too"),
    ],
    "columns fit": [
        (NQ, ["objective[0].columns=own", "objective[0].view=positive"], "objective[0].columns", "rows of questions"),
        (NQ, ["objective[0].columns=others", "draw.in_batch=false"], "objective[0].columns", "of other rows"),
        (NQ, ["objective[0].columns=own", "draw.negatives=[]"], "objective[0].columns", "drawn for the row itself"),
        (NQ, ["objective[0].columns=own", CACHE], "objective[0].columns", "were drawn for no row"),
    ],
    "targets reach": [
        (TREC, [f"labels=[{LABEL}, {LEXICAL}]", f"objective=[{DEM}]"], "objective[0]", "own candidates and positives"),
        (TREC, [f"labels=[{LABEL}, {GROUPS}]", "objective=[{name: pairwise, phi: logistic, pairs: grades}]"],
         "objective[0]", "grades_QP is known of a question's own"),
        (TREC, [f"labels=[{LABEL}, {TEACHER}]", "objective=[{name: kl, target: teacher, columns: own}]",
                "draw.negatives[0].short=random"], "objective[0]", "not known of the random passages"),
        (TREC, [*SELF, "draw.negatives=[{from: self, k: 2, weight: top, short: fewer}]", "draw.in_batch=false",
                f"labels=[{LABEL}, {LEXICAL}]", f"objective=[{DEM}]"],
         "objective[0]", "not of what the model finds in it"),
    ],
    "step teacher is asked": [
        (WORLD, [f"labels=[{LABEL}, {ASKED}]"], "labels[1]", "scores every step for no term"),
        (WORLD, [f"labels=[{LABEL}, {TEACHER}, {ASKED}]",
                 "objective=[{name: pairwise, phi: square, target: teacher, columns: own}]"],
         "labels[2]", "scores every step for no term"),
    ],
    "whole steps fit": [
        (WORLD, [WASSERSTEIN, "scale={processes: 2, gather: false}"], "objective[0]", "each process has its own alone"),
        (WORLD, ["objective=[{name: wasserstein, view: positive}]"], "objective[0].view", "looks at rows of questions"),
        (WORLD, [WASSERSTEIN, CACHE], "objective[0]", "remembered ones have none"),
    ],
    "guards fit": [
        (WORLD, [f"labels=[{LABEL}, {GUARD}]"], "labels[1].by", "no label of this recipe asks a teacher"),
        (NQ, [f"labels=[{LABEL}, {SELF_GUARD}]", CACHE], "labels[1]", "enter a loss as one score"),
        (WORLD, [f"labels=[{LABEL}, {SELF_GUARD}]", "draw.negatives=[]", "draw.in_batch=false"],
         "labels[1]", "there are no negatives in the step"),
    ],
    "margins fit": [
        (TREC, [f"labels=[{LABEL}, {MARGIN}]"], "labels[1].source", "came with the records"),
        (TREC, [f"labels=[{LABEL}, {MARGIN.replace('0.95', f'0.95, then: positive, tier: llm, {FILE}')}]"],
         "labels[0].tiers", "does not count llm"),
    ],
}  # fmt: skip
