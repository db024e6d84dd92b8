"""BM25 scores of candidates and positives, for the lexical margin of `pairwise` with `target: lexical` (DEM).

    lexical_QP = BM25(question, passage) / number of words of the question

A negative that shares fewer words with the question than the positive does needs a smaller margin of the model's own.
Scores are computed once and kept beside the split; `mpr/lexical.py` has the formula and the index. Words are counted
after the analysis, each as often as it stands there; a question without a word has the score 0 with every passage.

Source: RANCE (Prakash, Killingback and Zamani, SIGIR 2021), whose margin is 1 - 0.1 times the difference; its code cuts
the scores to whole numbers first, which we do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from mpr.catalogue import Parameters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpr.knowledge import Knowledge
    from mpr.lexical import LexicalIndex
    from mpr.pair_scores import PairScores, Scored
    from mpr.sources import Ground

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


def applied(params: Params, known: Knowledge, ground: Ground) -> Knowledge:
    """With a lexical score for every pair that is known or proposed."""
    from mpr import __version__, lexical, pair_scores, storage
    from mpr.lexical import Analysis, Settings

    settings = Settings(params.k1, params.b, params.title, Analysis(params.stopwords, params.stemmer))
    keys = known.pairs()
    receipt = {
        "scorer": settings.origin(ground.passages),
        "normalise": params.normalise,
        "questions": ground.questions.manifest.digest,
        "of": pair_scores.digest_of(keys),
        "mpr": __version__,
    }
    folder = ground.questions.folder
    target = folder.with_name(f"{folder.name}-lexical-{storage.json_digest(receipt)[:8]}")
    if not target.exists():
        index = lexical.beside(ground.passages, settings, ground.bar)
        pair_scores.write(target, _blocks(params, keys, index, ground), receipt)
    scores = pair_scores.PairScores.open(target)
    given = scores
    if params.others == "computed":
        given = _completed(params, scores, lexical.beside(ground.passages, settings, ground.bar), ground)
    return known.with_scores("lexical_QP", given).noted("bm25_score", {"pairs": len(scores)}, scores)


def _completed(params: Params, scores: PairScores, index: LexicalIndex, ground: Ground) -> PairScores:
    """The stored scores, and those of any other pair computed when they are looked up."""
    import numpy as np

    from mpr.pair_scores import PairScores

    class Completed(PairScores):
        def lookup(self, question_N: Any, passage_N: Any) -> Any:
            value_N = super().lookup(question_N, passage_N)
            rows_N, texts_N = np.broadcast_arrays(question_N, passage_N)
            open_N = np.isnan(value_N) & (rows_N >= 0) & (texts_N >= 0)  # below 0: no question, or no passage
            for row in np.unique(rows_N[open_N]):
                mine_N = open_N & (rows_N == row)
                value_N[mine_N] = _scored(params, index, ground.questions[int(row)].text, texts_N[mine_N])
            return value_N

    return Completed(scores.keys, scores.values, scores.folder, scores.digest)


def _scored(params: Params, index: LexicalIndex, text: str, passage_N: Any) -> Any:
    """Scores of some passages for a question."""
    import numpy as np

    divisor = len(index.analysis(text)) if params.normalise == "question_length" else 1
    return index.scores_of(text, passage_N) / np.float32(max(1, divisor))


def _blocks(params: Params, keys: Any, index: LexicalIndex, ground: Ground) -> Iterator[Scored]:
    """The pairs of one question after another."""
    import numpy as np

    from mpr.pair_scores import Scored, pairs_of

    question_N, passage_N = pairs_of(keys)
    rows, starts = np.unique(question_N, return_index=True)
    ends = [*starts[1:].tolist(), len(keys)]
    with ground.bar("BM25 scores", len(rows)) as progress:
        for row, start, end in zip(rows.tolist(), starts.tolist(), ends, strict=True):
            value_N = _scored(params, index, ground.questions[row].text, passage_N[start:end])
            yield Scored(question_N[start:end], passage_N[start:end], value_N)
            progress(1)
