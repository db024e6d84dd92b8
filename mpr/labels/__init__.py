"""One file per labeller: what decides whether a passage of the block is positive, negative or ignored, or how much.

    applied(params, known, ground) -> known      # mpr/data/pair_labels.py; `known_positives` has none, it comes first

What a file offers besides is said by constants: `PROVIDES`, the targets of objectives that it gives; `FINDS_POSITIVES`,
if a question without any may get one; `MAKES_GREY`, if it knows of pairs that are neither. A file imports numpy and
whatever else its work needs inside its functions, because a recipe is checked without them.
"""
