"""The passages that share the question's rarest words, by BM25 as Lucene computes it (through bm25s).

The index is built once for a collection and kept beside its passages; `mpr/search/bm25.py` has the formula. k1 0.9 and
b 0.4 are the values of Pyserini's baselines, with which DPR's hard negatives were mined.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from mpr import sources
from mpr.catalogue import Parameters

if TYPE_CHECKING:
    from mpr.search.bm25 import LexicalIndex, Settings
    from mpr.storage.ragged import Ragged


class Params(Parameters):
    """How passages are indexed, and how many are proposed."""

    as_: Annotated[str, Field(alias="as", min_length=1)]
    """Name of this source in `draw`."""
    depth: Annotated[int, Field(ge=1, le=10_000)]
    """Passages looked at per question; known positives among them are then taken out."""
    k1: Annotated[float, Field(ge=0.0)]
    """How soon more occurrences of a word stop counting."""
    b: Annotated[float, Field(ge=0.0, le=1.0)]
    """How much long passages are held back."""
    title: bool
    """The title is indexed together with the text."""
    stopwords: Literal["english", "none"]
    """Words that are left out."""
    stemmer: Literal["english", "none"]
    """`english`: Snowball's stemmer."""


class Source(sources.Source):
    @property
    def origin(self) -> dict[str, Any]:
        return self._settings.origin(self.ground.passages)

    def __call__(self, rows: Any) -> Ragged:
        from mpr.data.candidates import proposals

        asked = (self.ground.questions[int(row)].text for row in rows)
        return proposals([self._index.top(text, self.params.depth) for text in asked])

    def scored(self, question_N: Any, passage_N: Any) -> Any:
        import numpy as np

        scores_N = np.zeros(len(question_N), dtype=np.float32)
        for question in np.unique(question_N):
            own_N = question_N == question
            scores_N[own_N] = self._index.scores_of(self.ground.questions[int(question)].text, passage_N[own_N])
        return scores_N

    @cached_property
    def _settings(self) -> Settings:
        from mpr.search.bm25 import Analysis, Settings

        params = self.params
        return Settings(params.k1, params.b, params.title, Analysis(params.stopwords, params.stemmer))

    @cached_property
    def _index(self) -> LexicalIndex:
        from mpr.search import bm25

        return bm25.beside(self.ground.passages, self._settings, self.ground.bar)
