"""Recipes whose searches contradict something: of the evaluation, of a refresh, of every step. For fault 22."""

from __future__ import annotations

TREC, NQ, LLM = "trec_bce_m3", "nq_nll_m1_released", "nq_joint_lh_m4_llm"
MINI, JUDGED, WORLD = "mini/squad_closed_nll_m1", "mini/scifact_joint_lh_all", "quickstart"
ELSE = "{name: dense, as: self, model: a/b, depth: 200, dtype: float32, compute: float32"
SELF = [f"sources=[{ELSE.replace('a/b', 'self')}}}]", "draw.negatives=[]"]
RANCE = "{c: 2.0, window: 9, degree: 4}"
FROZEN = "towers.train=question"
LORA = "{rank: 8, alpha: 16, dropout: 0.1, modules: [query]}"
LIVE = [*SELF, FROZEN, "refresh={every: 1}", "draw.positives={policy: all, append: always}",
        "draw.negatives=[{from: self, all: true, weight: top, short: fewer}]"]  # fmt: skip

# rule -> (recipe, what is set in it, key that is refused, part of the message)
CASES: dict[str, list[tuple[str, list[str], str, str]]] = {
    "search is known": [
        (TREC, ["search.index=exakt"], "search.index", "'exakt' is not an index"),
        (MINI, ["search.index=HNSW 32"], "search.index", "is not an index"),
        (TREC, [*LIVE, "sources[0].index=flat"], "sources[0].index", "'flat' is not an index"),
        (TREC, ["search.index=HNSW32"], "search.index", "a published row is measured with exact search"),
    ],
    "approximate search fits": [
        (TREC, ["search.settings='nprobe=8'"], "search.settings", "belongs to a faiss index"),
        (TREC, ["search.fetch=200"], "search.fetch", "belongs to a faiss index"),
        (WORLD, ["search.index=IVF64,Flat", "search.settings=''"], "search.settings", "sets nothing"),
        (WORLD, ["search.index=IVF64,Flat", "search.settings=nprobe"], "search.settings", "is not name=number"),
        (WORLD, ["search.index=IVF64,Flat", "search.settings='nprobe=0.5'"], "search.settings", "is not name=number"),
        (WORLD, ["search.index=IVF64,Flat", "search.settings='nprob=8'"], "search.settings", "does not know"),
        (WORLD, ["search.index=IVF64,Flat", "search.settings='nprobe=8,nprobe=9'"], "search.settings", "set twice"),
        (WORLD, ["search.index=IVF64,Flat", "search.settings='nprobe=65'"], "search.settings", "65 clusters of 64"),
        (WORLD, ["search.index=IVF64,Flat", "search.settings='nprobe=0'"], "search.settings", "at least 1, not 0"),
        (WORLD, ["search.index=IVF64,Flat", "search.settings='efSearch=32'"], "search.settings", "has no efSearch"),
        (WORLD, ["search.index=IVF64_HNSW32,Flat", "search.settings='efSearch=32'"],
         "search.settings", "has no efSearch"),
        (WORLD, ["search.index=HNSW32", "search.settings='nprobe=8'"], "search.settings", "has no nprobe"),
        (WORLD, ["search.index=PQ16", "search.settings='k_factor_rf=2'"], "search.settings", "has no k_factor_rf"),
        (WORLD, ["search.index=Flat", "search.fetch=9"], "search.fetch", "fewer than the depth of"),
        (WORLD, ["search.index=Flat", "search.fetch=1000000"], "search.fetch", "beyond the corpus of"),
    ],
    "feedback fits": [
        (NQ, ["search.feedback={documents: 1000, weight: 0.5}"], "search.feedback.documents", "beyond the depth"),
    ],
    "refresh fits": [
        (TREC, ["refresh={every: 1}", FROZEN], "refresh", "nothing to search anew"),
        (TREC, [*LIVE, SELF[0][:-1] + f", {SELF[0][9:-1].replace('as: self', 'as: again')}]"],
         "sources[1].model", "a second search"),
        (TREC, [*LIVE, "sources[0].base=x"], "sources[0].base", "says where a model comes from"),
        (TREC, [*LIVE, f'sources[0].revision="{"0" * 40}"'], "sources[0].revision", "says where a model comes from"),
        (TREC, [*LIVE, "encoding={dtype: float16}"], "sources[0].dtype", "encoded once, as float16"),
        (TREC, [*SELF, FROZEN, "sources[0].compute=bfloat16"], "sources[0].compute", "encoded once, as float32"),
        (TREC, [*LIVE, "towers.train=both"], "refresh.every", "needs passage vectors that stay"),
        (TREC, [*LIVE, "refresh.questions=0.5"], "refresh.questions", "searches for its own questions"),
        (TREC, [*LIVE, "refresh.stale=true"], "refresh.stale", "searches for its own questions"),
    ],
    "own draws fit": [
        (TREC, [*SELF, "draw.negatives=[{from: self, k: 1, weight: margin_bins, bins: 9, short: fewer}]"],
         "draw.negatives[0].weight", "what a teacher scored before training"),
        (TREC, ["draw.negatives[0].weight=rance", f"draw.negatives[0].rance={RANCE}"],
         "draw.negatives[0].weight", "where the model under training finds"),
        (TREC, [*SELF, f"draw.negatives=[{{from: self, k: 1, weight: rance, rance: {RANCE}, short: fewer}}]"],
         "draw.negatives[0].weight", "the positives of validation questions"),
    ],
    "step search fits": [
        (TREC, ["draw.positives={policy: all, append: always}"], "draw.positives.append", "belongs to a search in"),
        (TREC, [f"sources=[{ELSE}, index: Flat}}]", "draw.negatives=[]"], "sources[0].index", "belongs to a search in"),
        (TREC, [*LIVE, "draw.positives.append=null"], "draw.positives.append", "is needed by a search"),
        (TREC, [*LIVE, "draw.positives.policy=first"], "draw.positives.policy", "may find any positive"),
        (TREC, [*LIVE, f"sources=[{SELF[0][9:-1]}, {{name: file, as: bm25}}]", "draw.negatives[0].from=bm25"],
         "draw.negatives[0].from", "from the search of the step, 'self', alone"),
        (TREC, [*LIVE, "draw.negatives[0].weight=uniform"], "draw.negatives[0].weight", "the best of what it finds"),
        (TREC, [*LIVE, "draw.negatives[0].window=5"], "draw.negatives[0].window", "the best of what it finds"),
        (TREC, [*LIVE, "draw.negatives[0].all=false", "draw.negatives[0].k=5", "draw.negatives[0].short=random"],
         "draw.negatives[0].short", "the best of what it finds"),
        (TREC, [*LIVE, "draw.negatives=[]"], "draw.negatives", "what every step finds is not used"),
    ],
}  # fmt: skip
