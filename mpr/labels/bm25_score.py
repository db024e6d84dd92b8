"""BM25 scores of candidates and positives, for the lexical margin of `pairwise` with `target: lexical` (DEM).

    lexical_QP = BM25(question, passage) / number of words of the question

A negative that shares fewer words with the question than the positive does needs a smaller margin of the model's own.
Scores are computed once and kept beside the split; `mpr/search/bm25.py` has the formula and the index. With
`others: computed` a pair that is not kept is scored when it is looked up; the processes of a data loader get index and
questions by the folders that they lie in. Words are
counted after the analysis, each as often as it stands there; a question without a word has the score 0 with every
passage.

Source: RANCE (Prakash, Killingback and Zamani, SIGIR 2021), whose margin is 1 - 0.1 times the difference; its code cuts
the scores to whole numbers first, which we do not.

Shapes: N pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from mpr.catalogue import Parameters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mpr.data.pair_labels import Knowledge
    from mpr.data.pair_scores import PairScores, Scored
    from mpr.data.questions import SplitStore
    from mpr.search.bm25 import LexicalIndex
    from mpr.sources import Ground
    from mpr.storage.ragged import Floats

PROVIDES = ("lexical_QP",)


class Params(Parameters):
    """How passages are indexed, and whether scores are divided."""

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
    normalise: Literal["question_length", "none"]
    """Divide by the number of words of the question, or not."""
    others: Literal["unknown", "computed"] = "unknown"
    """Pairs that nothing proposed before training, such as what the model under training finds: unknown, or computed
    when a step is drawn."""


@dataclass(frozen=True)
class LexicalScorer:
    """Scores of a row of the split with rows of passages."""

    index: LexicalIndex
    questions: SplitStore
    divided: bool
    """By the number of words of the question."""

    @classmethod
    def opened(cls, index: Path, questions: Path, divided: bool) -> LexicalScorer:
        from mpr.data.questions import SplitStore
        from mpr.search.bm25 import LexicalIndex

        return cls(LexicalIndex(index), SplitStore(questions), divided)

    def __reduce__(self) -> Any:
        return LexicalScorer.opened, (self.index.folder, self.questions.folder, self.divided)

    def __call__(self, question: int, passage_N: Any) -> Floats:
        import numpy as np

        text = self.questions[question].text
        divisor = len(self.index.analysis(text)) if self.divided else 1
        return np.asarray(self.index.scores_of(text, passage_N) / np.float32(max(1, divisor)))


@dataclass(frozen=True)
class CompletedScores:
    """A store, and what it does not hold computed when it is looked up."""

    stored: PairScores
    scorer: LexicalScorer

    @classmethod
    def opened(cls, stored: Path, scorer: LexicalScorer) -> CompletedScores:
        from mpr.data.pair_scores import PairScores

        return cls(PairScores.open(stored), scorer)

    def __reduce__(self) -> Any:
        return CompletedScores.opened, (self.stored.folder, self.scorer)

    def lookup(self, question_N: Any, passage_N: Any) -> Floats:
        import numpy as np

        value_N = self.stored.lookup(question_N, passage_N)
        rows_N, texts_N = np.broadcast_arrays(question_N, passage_N)
        open_N = np.isnan(value_N) & (rows_N >= 0) & (texts_N >= 0)  # below 0: no question, or no passage
        for row in np.unique(rows_N[open_N]):
            mine_N = open_N & (rows_N == row)
            value_N[mine_N] = self.scorer(int(row), texts_N[mine_N])
        return value_N


def applied(params: Params, known: Knowledge, ground: Ground) -> Knowledge:
    """With a lexical score for every pair that is known or proposed."""
    from mpr import __version__
    from mpr.data import pair_scores
    from mpr.search import bm25
    from mpr.search.bm25 import Analysis, Settings

    settings = Settings(params.k1, params.b, params.title, Analysis(params.stopwords, params.stemmer))
    keys, split = known.pairs(), ground.questions
    receipt = {
        "scorer": settings.origin(ground.passages),
        "normalise": params.normalise,
        "questions": split.manifest.digest,
        "of": pair_scores.digest_of(keys),
        "mpr": __version__,
    }

    def scorer() -> LexicalScorer:
        index = bm25.beside(ground.passages, settings, ground.bar)
        return LexicalScorer(index, split, params.normalise == "question_length")

    stored = pair_scores.beside(split.folder, "lexical", receipt, lambda: _blocks(keys, scorer(), ground))
    given: Any = CompletedScores(stored, scorer()) if params.others == "computed" else stored
    return known.with_scores("lexical_QP", given).noted("bm25_score", {"pairs": len(stored)}, stored)


def _blocks(keys: Any, scorer: LexicalScorer, ground: Ground) -> Iterator[Scored]:
    """The pairs of one question after another."""
    import numpy as np

    from mpr.data.pair_scores import Scored, pairs_of

    question_N, passage_N = pairs_of(keys)
    rows, starts = np.unique(question_N, return_index=True)
    ends = [*starts[1:].tolist(), len(keys)]
    with ground.bar("BM25 scores", len(rows)) as progress:
        for row, start, end in zip(rows.tolist(), starts.tolist(), ends, strict=True):
            yield Scored(question_N[start:end], passage_N[start:end], scorer(row, passage_N[start:end]))
            progress(1)
