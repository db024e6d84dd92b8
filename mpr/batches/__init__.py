"""A training step: which questions and passages it has, and which of its pairs are positive or negative.

In: known positives, candidates, and the number of a draw. Out: a batch, that is padded token ids and two boolean
matrices, `positives_QP` and `negatives_QP`. A pair that is true in neither matrix is ignored by every loss.

A draw is a pure function of (seed, draw number): `draw` chooses rows and passages, in the order that `choice` gives to
candidates; `relations` builds the two matrices by five rules; `targets` looks up what objectives need besides scores;
`collate` makes tensors. No worker count, batch size or resume changes them.

Door: `draw.Drawer`, `relations.build`, `collate.Collator` (texts) and `collate.PairCollator` (question and passage as
one text), `choice.Evidence`, `targets.Targets`.
"""
