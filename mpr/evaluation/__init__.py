"""From rankings to scores, and from scores to a comparison of systems.

In: a ranking, and either answers to look for or judgements. Out: scores with one value for each question, paired tests
between two systems, intervals, and rankings fused from several.

Equal scores have one order everywhere. A mean says over how many questions it is. Nothing here needs a model.

Door: `ranking` (TREC run files), `judgements`, `evaluate` (ranking to scores), `scores`, `comparison`, `significance`,
`fusion` (several rankings to one), `ranking_table` (a ranking with its texts).
"""
