"""CATALOGUE: one file per labeller: whether a passage of a step is positive, negative or ignored, or how much.

    applied(params, known, ground) -> known      # mpr/data/pair_labels.py; `known_positives` has none, it comes first
    in_step(params, scores_OP, positives_OP, negatives_OP, live_OP) -> negatives_OP      # for one that acts in the step

What a file offers besides is said by constants: `PROVIDES`, the targets of objectives that it gives; `FINDS_POSITIVES`,
if a question without any may get one; `MAKES_GREY`, if it knows of pairs that are neither positive nor negative;
`TIER`, that of the positives it finds; `LOOKS_AT_POSITIVES`, if it needs the source's scores of those that are known. A
file imports numpy and whatever else its work needs inside its functions, because a recipe is checked without them.

Door: the file with the name of the label. Scores of pairs are shared by several labels: `_score_files` has the key
`scores` of a recipe and reads score files, `_score_models` runs a cross-encoder, and both keep their scores in a store
of `mpr/data/pair_scores.py`. They are not the scores of a run, which `mpr/evaluation/scores.py` measures.
"""
