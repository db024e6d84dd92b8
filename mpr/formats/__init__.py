"""CATALOGUE: one file per file format: readers that yield records with true line numbers, writers that return lines.

In: an open file or its lines. Out: the records of `mpr/records.py` (passages, questions, groups of positives and
negatives), judgements, and hits of a ranking.

A reader is strict: a malformed line stops the run with its line number, its byte offset and a remedy. A format never
opens a path for writing. To offer a new format to users, add a file here and a line in `mpr/corpora/local.py`.

Door: the file with the name of the format.
"""
