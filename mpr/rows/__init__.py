"""A row of a table, end to end: its stages, their receipts, its result and the proof of it.

In: a recipe, a seed, a system (trained, published, untrained, bm25). Out: a folder in which every stage left its
outputs and a receipt of what it read and wrote, and a `result.json` that is computed from them.

A stage runs again only if what it reads has changed. `verification` hashes every byte and computes every score anew.
`mpr reproduce` -> `reproduction` -> `pipeline.Pipeline`, which does the stages of `_stages.Row` one after the other.

Door: `reproduction` (all seeds and baselines of a recipe), `pipeline` (one run: make it, or see how far it is),
`retrieval` (encode, search, evaluate), `receipts`, `result`, `verification`, `forecast`, `band`, `published`
(verdicts).
"""
