"""For programs of users: training in one call, and several positives in the trainer of sentence-transformers.

In: a `datasets.Dataset`, rows of Python, or a file; a base model; a `SentenceTransformer`. Out: a run folder with a
trained model, or a loss and a collator that another trainer calls.

`fit` writes a recipe and runs it by the same engine as `mpr train`, so the same files are left. `multi_positive` is for
those who stay with sentence-transformers' trainer: it needs the extra `sentence-transformers`, and takes from mpr what
a loss is and how rows become blocks of questions and distinct passages. Objectives alone, for a loop of one's own, are
`mpr.objectives.load`.

Door: `fit.fit` (also `from mpr import fit`), `multi_positive` (`MultiPositiveCollator`, `MultiPositiveLoss`,
`CachedMultiPositiveLoss`).
"""
