"""What a recipe reads, as stores on disk: passages, questions, known pairs and tokens.

In: a recipe and the files of its collection. Out: committed, memory-mapped stores whose names are digests of what they
were made of: passages, splits of questions with their positives, token ids, candidates and scores of pairs.

What is missing is built, what is there is verified and opened. `Dataset` names the parts: its corpus (the files of the
collection and the store of all passages), its splits (questions, positives, and the passages that they refer to), and
tokens of both. No file here trains, searches or judges; `pair_labels` holds what is known of pairs, as sources and
labels say it, so that a batch can be built from it.

Door: `dataset.Dataset` (all stores of a recipe), `passages`, `questions`, `tokens`, `token_batches` (ids to tensors),
`candidates`, `positives`, `pair_scores`, `pair_labels`, `audit`, `pinning` (the lock of a recipe).
"""
