"""Recipes whose draws contradict something: what a weight needs, what there is to draw from. For fault 22."""

from __future__ import annotations

from tests.faults.contradictory_searches import LLM, TREC

# rule -> (recipe, what is set in it, key that is refused, part of the message)
CASES: dict[str, list[tuple[str, list[str], str, str]]] = {
    "negatives fit": [
        (TREC, ["draw.negatives[0].group=8"], "draw.negatives[0].k", "exactly one of k, group and all"),
        (LLM, ["draw.negatives[0].group=null"], "draw.negatives[0].k", "exactly one of k, group and all"),
        (TREC, ["draw.negatives[0].all=true"], "draw.negatives[0].k", "exactly one of k, group and all"),
        (TREC, ["draw.negatives[0].k=null", "draw.negatives[0].all=true", "draw.negatives[0].short=random"],
         "draw.negatives[0].short", "cannot be too few"),
        (LLM, ["draw.negatives[0].group=4"], "draw.negatives[0].group", "4 positives leave no room"),
        (TREC, ["draw.negatives[0].window=2", "draw.negatives[0].k=3"], "draw.negatives[0].k", "the window of 2"),
        (TREC, ["draw.negatives[0].k=101"], "draw.negatives[0].k", "the candidates that data.corpus keeps of 100"),
        (TREC, ["data.corpus.candidates=0"], "draw.negatives[0].k", "the candidates that data.corpus keeps of 0"),
    ],
    "fallbacks fit": [
        (TREC, ["draw.negatives[0].fallback=bm25"], "draw.negatives[0].fallback", "has too few already"),
        (TREC, ["draw.negatives[0].k=null", "draw.negatives[0].all=true", "draw.negatives[0].short=fewer",
                "sources=[{name: file, as: bm25}, {name: file, as: random}]", "draw.negatives[0].fallback=random"],
         "draw.negatives[0].fallback", "no place stays open"),
    ],
    "block fits": [
        (TREC, ["draw.block=as_drawn", "draw.in_batch=false"], "draw.block", "no row sees what others drew"),
        (TREC, ["draw.block=as_drawn", "scale.negative_cache={size: 8, policy: lru}"],
         "draw.block", "remembers a passage once"),
    ],
    "weights fit": [
        (TREC, ["draw.negatives[0].temperature=1.0"], "draw.negatives[0].temperature", "goes with weight softmax"),
        (TREC, ["draw.negatives[0].weight=softmax"], "draw.negatives[0].temperature", "goes with weight softmax"),
        (TREC, ["draw.negatives[0].weight=simans"], "draw.negatives[0].simans", "goes with weight simans,"),
        (TREC, ["draw.negatives[0].simans={a: 0.5, b: 0.0, anchor: mean}"], "draw.negatives[0].simans", "only with it"),
        (TREC, ["draw.negatives[0].weight=simans_laplace", "draw.negatives[0].simans={a: 0.5, b: 0.0, anchor: mean}"],
         "draw.negatives[0].laplace", "goes with weight simans_laplace"),
        (TREC, ["draw.negatives[0].weight=rance"], "draw.negatives[0].rance", "goes with weight rance"),
        (TREC, ["draw.negatives[0].weight=rance", "draw.negatives[0].rance={c: 2.0, window: 8, degree: 4}"],
         "draw.negatives[0].rance.window", "has no middle"),
        (TREC, ["draw.negatives[0].bins=10"], "draw.negatives[0].bins", "goes with weight margin_bins"),
    ],
    "pairs fit": [
        (TREC, ["draw.negatives[0].weight=margin_bins", "draw.negatives[0].bins=10"],
         "draw.negatives[0].weight", "which no label of this recipe gives"),
        (TREC, ["draw.negatives=[{from: bm25, k: 1, weight: margin_bins, bins: 9, short: fewer},"
                " {from: bm25, k: 2, weight: margin_bins, bins: 9, short: fewer}]"],
         "draw.negatives[1].weight", "a second entry that draws pairs"),
    ],
    "clusters fit": [
        (TREC, ["draw.questions=cluster"], "draw.clusters", "goes with questions: cluster"),
        (TREC, ["draw.clusters={k: 9, model: start, iterations: 5}"], "draw.clusters", "and only with it"),
        (TREC, ["draw.questions=cluster", "draw.clusters={k: 9, model: start, iterations: 5, per_batch: 3}"],
         "draw.clusters.per_batch", "does not divide the 16 questions"),
        (TREC, ["draw.questions=cluster", "draw.clusters={k: 2, model: start, iterations: 5, per_batch: 4}"],
         "draw.clusters.per_batch", "is more than the 2 clusters"),
        (TREC, ["draft=true", "data.corpus.variant=dpr", "draw.questions=cluster",
                "draw.clusters={k: 1126, model: start, iterations: 5}"],
         "draw.clusters.k", "is more than the 1,125 questions"),
    ],
}  # fmt: skip
