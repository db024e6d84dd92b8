"""Positives that repeat one another count once: the later one of a question is grey, neither positive nor negative.

A positive repeats an earlier one of its question if their texts share most runs of `words` words: the number of runs in
both, divided by the number of runs in either, is at least `threshold` (Jaccard; Broder 1997). Words are lower-cased
runs of letters and digits; the title counts only where there is no text. A text that is shorter than a run is one run.
Passages that say the same word for word, white space aside, are found without this, by `known_positives.duplicates`.

Two copies of one text are no two reasons: a loss over several positives would count the same evidence twice. How many
were found is in the counts of the label; pairs and their similarity are kept beside the split.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from mpr.catalogue import Parameters
from mpr.records import stable_hash

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpr.data.pair_labels import Knowledge
    from mpr.data.pair_scores import Scored
    from mpr.sources import Ground

MAKES_GREY = True
_WORD = re.compile(r"[^\W_]+")


class Params(Parameters):
    """When two texts are the same."""

    words: Annotated[int, Field(ge=1)]
    """Length of a run of words."""
    threshold: Annotated[float, Field(gt=0.0, le=1.0)]
    """Share of common runs from which on the later one repeats the earlier."""


def applied(params: Params, known: Knowledge, ground: Ground) -> Knowledge:
    """The positives that count, without repetitions."""
    from dataclasses import replace

    import numpy as np

    from mpr import __version__
    from mpr.data import pair_scores

    rows, counting_K = known.positives.rows, known.counting
    keys = known.positives.keys()[counting_K]
    receipt = {
        "repeats": params.model_dump(mode="json", exclude={"name"}),
        "passages": ground.passages.manifest.digest,
        "of": pair_scores.digest_of(keys),
        "mpr": __version__,
    }
    split = ground.questions.folder
    repeats = pair_scores.beside(split, "repeats", receipt, lambda: _blocks(params, keys, ground))
    doubtful_K = counting_K & np.isin(known.positives.keys(), repeats.keys)
    questions = len(np.unique(rows.owners()[doubtful_K]))
    fewer = replace(known, positives=known.positives.made_grey(doubtful_K))
    return fewer.noted("near_duplicates", {"repeats": int(doubtful_K.sum()), "questions": questions}, repeats)


def _blocks(params: Params, keys: Any, ground: Ground) -> Iterator[Scored]:
    """Of each question the positives that repeat an earlier one, with their similarity to the most similar."""
    import numpy as np

    from mpr.data.pair_scores import Scored, pairs_of

    question_K, passage_K = (rows.tolist() for rows in pairs_of(keys))
    kept: list[frozenset[int]] = []
    with ground.bar("repeated positives", len(keys)) as progress:
        for place, (question, passage) in enumerate(zip(question_K, passage_K, strict=True)):
            progress(1)
            if place == 0 or question != question_K[place - 1]:
                kept = []
                if place + 1 == len(keys) or question_K[place + 1] != question:
                    continue  # the only one of its question
            found = ground.passages[passage]
            runs = shingles(found.text if found.text.strip() else found.title, params.words)
            nearest = max((similarity(runs, other) for other in kept), default=0.0)
            if nearest < params.threshold:
                kept.append(runs)
            else:
                yield Scored(np.array([question]), np.array([passage]), np.array([nearest], dtype=np.float32))


def shingles(text: str, length: int) -> frozenset[int]:
    """Hashes of the runs of words of a text."""
    words = _WORD.findall(text.lower())
    runs = (" ".join(words[start : start + length]) for start in range(max(1, len(words) - length + 1)))
    return frozenset(map(stable_hash, runs))


def similarity(left: frozenset[int], right: frozenset[int]) -> float:
    """Jaccard's."""
    return len(left & right) / len(left | right)
