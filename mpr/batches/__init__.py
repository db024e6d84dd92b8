"""A training step: which questions and passages it has, and which of its pairs are positive or negative.

In: known positives, candidates, and the number of a draw. Out: a batch, that is padded token ids and two boolean
matrices, `positives_QP` and `negatives_QP`. A pair that is true in neither matrix is ignored by every loss.

A draw is a pure function of (seed, draw number): `draw` chooses rows and passages, `relations` builds the two
matrices by five rules, `collate` makes tensors. No worker count, batch size or resume changes them.

Door: `draw.Drawer`, `relations.build`, `collate.Collator`.
"""
