"""The keys of a recipe's `draw`: what enters a training step.

A weight that needs numbers has them in a mapping of its own, which is given if the weight is chosen and only then.
`mpr/batches/choice.py` has the formulas.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mpr.catalogue import Parameters

ANCHORED = ("simans", "simans_laplace")  # weights that compare a candidate's score with that of a positive
SCORED = ("softmax", *ANCHORED)  # weights that need scores of candidates
PAIRED = "margin_bins"  # the weight that draws pairs of a positive and a candidate

Count = Annotated[int, Field(ge=1)]
Anchor = Literal["mean", "random", "min", "max"]
NotNegative = Annotated[float, Field(ge=0.0)]


class Positives(Parameters):
    """Which of a question's positives enter a step."""

    policy: Literal["first", "random1", "up_to", "all", "one_row_per_positive"]
    """`first`: the first listed. `random1`: one, a different one each epoch, in turn. `up_to`: at most m together.
    `all`: every one together. `one_row_per_positive`: each (question, positive) pair is a row of its own."""
    m: Count | None = None
    """For `up_to`: how many at most."""
    beyond: Literal["first", "rotate"] | None = None
    """For `up_to`, when a question has more than m: always the first m, or in turn so that every one is seen."""
    cap: Count | None = None
    """Only the first `cap` listed positives exist for this recipe; null: all."""
    append: Literal["if_none_retrieved", "always"] | None = None
    """Where every step searches anew: positives that the search missed are added if it found none of the question's
    (ADORE), or always (CODER)."""


class Simans(Parameters):
    """For weight `simans`: a bell around the score of the question's positives."""

    a: NotNegative
    """Sharpness: the bell's standard deviation is 1 / sqrt(2a); 0 is uniform."""
    b: float
    """Where the bell stands, from the anchor: above 0, at scores higher than it. The sign is the paper's."""
    anchor: Anchor
    """Of the scores of a question's positives that count: their mean, one at random, the lowest or the highest."""


class Laplace(Parameters):
    """For weight `simans_laplace`: a peak at the score of the question's positives."""

    tau: NotNegative
    """Sharpness: how fast the log-weight falls with the distance from the anchor."""
    anchor: Anchor
    """Of the scores of a question's positives that count: their mean, one at random, the lowest or the highest."""


class Rance(Parameters):
    """For weight `rance`: how ranks are weighed by where a validation run has its relevant passages."""

    c: Annotated[float, Field(gt=1.0)]
    """Added to the rank counted from 0, under the logarithm of the gain."""
    window: Count
    """Ranks that are averaged, an odd number."""
    degree: Count
    """Of the polynomial."""


class Negatives(Parameters):
    """How many candidates of one source become negatives of a question in a step, and which."""

    from_: Annotated[str, Field(alias="from")]
    """Name of a source: its `as`."""
    k: Count | None = None
    """How many per question."""
    group: Count | None = None
    """Instead of k: as many as fill the question's group (positives and negatives) to this size."""
    all: bool = False
    """Instead of k: every candidate, or every one within the window."""
    weight: Literal["top", "uniform", "softmax", "simans", "simans_laplace", "rance", "margin_bins"]
    """`top`: the best ranked. `uniform`: all alike. `softmax`: in proportion to exp(score / temperature). `simans`,
    `simans_laplace`: the nearer to the score of a positive, the likelier. `rance`: by rank, as a validation run says.
    `margin_bins`: pairs of a positive and a candidate, all margins of a teacher alike."""
    window: Count | None = None
    """Only the first `window` candidates are considered; null: all."""
    temperature: Annotated[float, Field(gt=0.0)] | None = None
    """For `softmax`."""
    simans: Simans | None = None
    """For `simans`."""
    laplace: Laplace | None = None
    """For `simans_laplace`."""
    rance: Rance | None = None
    """For `rance`."""
    bins: Count | None = None
    """For `margin_bins`: how many bins of equal width between the least and the greatest margin of a question."""
    short: Literal["fewer", "random"]
    """When there are too few candidates: use what there is, or fill with random passages. Both are counted."""
    fallback: str | None = None
    """Another source, by its `as`, whose candidates fill open places first, all alike; null: none."""

    @property
    def of_fallback(self) -> Negatives:
        """The entry that open places are filled by."""
        return self.model_validate({"from": self.fallback, "k": 1, "weight": "uniform", "short": "fewer"})


class Clusters(Parameters):
    """For `questions: cluster`: questions that enter a step together, by k-means over their vectors."""

    k: Count
    """Number of clusters."""
    model: Annotated[str, Field(min_length=1)]
    """Whose vectors: `start`, the weights that training starts from; the folder of a trained model; one on the Hub,
    `org/name@<commit>`; or `stage:<name>`, that of an earlier stage."""
    iterations: Count
    """Of k-means."""
    per_batch: Count = 1
    """Clusters that the questions of a step come from, in equal parts."""

    @property
    def pins(self) -> dict[str, str]:
        """What a plan says of the model."""
        name, _, commit = self.model.partition("@")
        return {} if name == "start" else {name: f"commit {commit}" if commit else "not pinned"}


class Draw(Parameters):
    """What enters a training step."""

    questions: Literal["shuffle", "sequential", "cluster"]
    """Order of questions within an epoch. `cluster`: those of a step are similar (TAS-B)."""
    clusters: Clusters | None = None
    """For `cluster`."""
    positives: Positives
    """Which positives."""
    negatives: tuple[Negatives, ...]
    """Which negatives, source by source; an empty list: only other questions' passages."""
    in_batch: bool
    """Passages of the other questions of the step are negatives too."""
    block: Literal["distinct", "as_drawn"] = "distinct"
    """A passage that several rows of a step draw. `distinct`: it is encoded and scored once. `as_drawn`: once for each
    of them, as in DPR and Tevatron, where the copy of a row's own positive is then one of its negatives."""
