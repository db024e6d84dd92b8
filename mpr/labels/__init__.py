"""CATALOGUE: one file per labeller: whether a passage of a step is positive, negative or ignored, or how much.

    applied(params, known, ground) -> known      # mpr/data/pair_labels.py; `known_positives` has none, it comes first

What a file offers besides is said by constants: `PROVIDES`, the targets of objectives that it gives; `FINDS_POSITIVES`,
if a question without any may get one; `MAKES_GREY`, if it knows of pairs that are neither. A file imports numpy and
whatever else its work needs inside its functions, because a recipe is checked without them.

Door: the file with the name of the label; `_scores` and `_scoring` (scores of pairs by a file or a model) are shared
by the files of this folder alone.
"""
