"""CATALOGUE: the rules by which rankings are scored, and metrics in the form that Hugging Face's `evaluate` loads.

In: rankings, judgements, texts and answers. Out: numbers for each question.

`answers` decides whether a text contains an answer, `trec_eval` computes measures such as nDCG over judgements, and
`ranks` computes measures over the rank of the first positive. The other files are metric modules that can be loaded
by their path without mpr being installed: each wraps one of these rules.

Door: `answers`, `trec_eval`, `ranks`, and the metric modules by path.
"""
