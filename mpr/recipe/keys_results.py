"""Keys of a recipe about what follows training: vectors, search, measures, and the numbers of a row."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mpr.catalogue import Parameters

Count = Annotated[int, Field(ge=1)]
Measure = Annotated[str, Field(pattern=r"^(top|recall|ndcg|mrr|map|success)[1-9][0-9]*$")]


class Encoding(Parameters):
    """How vectors are computed and kept: for the evaluation, and those of passages that training leaves as they are."""

    compute: Literal["float32", "float16", "bfloat16"] = "float32"
    """Precision of the encoders; the ranking of a model may differ a little between them."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Precision in which vectors are stored and searched."""


class Feedback(Parameters):
    """Pseudo-relevance feedback: a second search with the question's vector moved towards what the first one found."""

    documents: Count
    """How many of the first passages are taken to be relevant."""
    weight: Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
    """Factor of the mean of their vectors, which is added to the question's."""


class Search(Parameters):
    """How passages are found for the evaluation."""

    index: str
    """`exact`, or a faiss factory string such as `HNSW32` (never for a paper's row)."""
    depth: Count
    """Passages kept per question."""
    settings: str | None = None
    """How far a faiss index looks, in faiss's words: `nprobe=32`, `efSearch=128`; null: as faiss does by itself."""
    fetch: Count | None = None
    """Candidates that a faiss index proposes per question before their written scores decide; null: `depth`."""
    feedback: Feedback | None = None
    """A second search with moved questions; null: none."""


class Evaluation(Parameters):
    """What is measured."""

    measures: Annotated[tuple[Measure, ...], Field(min_length=1)]
    """`topK`: share of questions with an answer in the first K passages. `recallK`, `ndcgK`, `mrrK`, `mapK`,
    `successK`: against judgements."""
    match: Literal["string", "regex", "judgements"]
    """What makes a passage right: it contains an answer string, matches an answer pattern, or is judged relevant."""


class Published(Parameters):
    """The row's published numbers; null where they are not known to us. Never filled from memory."""

    source: str | None
    """Where the numbers were read."""
    values: dict[str, float | None]
    """Measure -> value in percent."""


class Band(Parameters):
    """Our own measured band of one measure, written by the kit."""

    mean: float
    """Mean over the seeds, in percent."""
    low: float
    """A run below it is refused."""
    high: float
    """A run above it is refused too: it is not this recipe."""
    seeds: Annotated[int, Field(ge=3)]
    """How many runs it was computed from."""
