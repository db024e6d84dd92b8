"""Questions that stand in two splits: learning on what is measured is the quietest way to a wrong number."""

from __future__ import annotations

import unicodedata

from mpr.data.questions import SplitStore
from mpr.metrics.answers import tokens


def normalised(text: str) -> str:
    """A question as its words: case, punctuation, Unicode form and white space do not make it another one."""
    words = [token for token in tokens(unicodedata.normalize("NFKC", text)) if token[0].isalnum()]
    return " ".join(words) or text  # a question of signs only is itself


def shared(train: SplitStore, other: SplitStore) -> list[tuple[str, str]]:
    """(training id, other id) of every question of `other` that stands in `train` too, by its words."""
    known = {normalised(text): identifier for text, identifier in zip(train.texts, train.ids, strict=True)}
    pairs = zip(other.texts, other.ids, strict=True)
    return [(known[words], identifier) for text, identifier in pairs if (words := normalised(text)) in known]
