"""A row of a table, end to end: its stages, their receipts, its result and the proof of it.

In: a recipe, a seed, a system (trained, untrained, bm25). Out: a folder in which every stage left its outputs and a
receipt of what it read and wrote, and a `result.json` that is computed from them.

A stage runs again only if what it reads has changed. `verification` hashes every byte and computes every score anew.

Door: `stages.Row`, `pipeline`, `reproduction` (seeds and baselines), `receipts`, `result`, `verification`, `band`.
"""
