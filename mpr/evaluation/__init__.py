"""From rankings to numbers and from numbers to a statement: scores, significance, comparison.

In: a ranking, and either answers to look for or judgements. Out: scores with one value for each question, paired tests
between two runs, intervals, and rankings fused from several.

Ties have one order everywhere. A score says over how many questions it was computed. Nothing here needs a model.

Door: `ranking` (TREC run files), `evaluate` (ranking to scores), `scores`, `comparison`, `significance`, `fusion`.
"""
