"""Choice: in which order an entry of `draw.negatives` takes the candidates of a row.

The order is that of log-weight plus Gumbel noise, the largest first: a draw without replacement, each with probability
proportional to its weight. Only differences of log-weights count. A weight of zero is minus infinity, and such a
candidate is not in the order at all. Everything stays in log space: inner products of 60 to 90 make every plain
exponential 0.

| weight | log-weight of a candidate with score s, at rank r |
|---|---|
| `uniform` | 0 |
| `softmax` | s / temperature |
| `simans` | -a (s - anchor - b)^2 |
| `simans_laplace` | -tau abs(s - anchor) |
| `rance` | log of what `rance` fits to the share of relevant passages at each rank |
| `margin_bins` | -log of the number of pairs in the pair's bin of teacher margins |

`top` has no weight: it is the order of the source. What weights go by besides rank and score is `Evidence`, handed to
the drawer:

* `simans` and `simans_laplace`: the scores of a question's positives by the source's own retriever; the anchor is made
  of them. Those that are not known are left out; a question without any is refused.
* `rance`: of each rank, the share of the questions of a validation run that have a relevant passage there.
* `margin_bins`: scores of a teacher. Drawn are pairs of a positive and a candidate that are both scored: of every
  positive that counts under policy `random1`, where the pair decides which positive the row has, and of the drawn
  positives under the others.

**The sign of b.** SimANS's paper (Zhou et al. 2022, arXiv 2210.11773) has (s - anchor - b): candidates at anchor + b
are the likeliest. The published code of its Wikipedia and document runs has (s - anchor + b), so that the b = 1 which
the paper gives for NQ lies one BELOW the positive there. Here it is the paper's; to do what that code did, negate b.

Shapes: R rows of a step, N pairs (row, passage) or candidates, D positives that count (of all questions), O owners.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpr.batches.pairs import Pairs, Rows
from mpr.errors import DataError, RecipeError
from mpr.recipe.keys_draw import ANCHORED, PAIRED, SCORED, Negatives
from mpr.runtime import randomness
from mpr.storage.ragged import Integers, Ragged

Floats = NDArray[np.float64]
Lookup = Callable[[Any, Any], NDArray[Any]]
"""(questions, passages) -> their scores, NaN where unknown; `mpr/data/pair_scores.py` has one."""


@dataclass(frozen=True)
class Evidence:
    """What some weights go by. Sources are named by their `as`."""

    anchors: Mapping[str, Lookup] = field(default_factory=dict)
    """Source -> scores of positives by its retriever."""
    profiles: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Source -> share of validation questions with a relevant passage at each rank, from the first rank on."""
    teacher: Lookup | None = None


@dataclass(frozen=True)
class Anchors:
    """The known scores of each question's positives, and how one number is made of them."""

    known: Ragged
    how: str

    @classmethod
    def of(cls, entry: Negatives, drawable: Ragged, evidence: Evidence) -> Anchors:
        """Refuses questions whose candidates could not be compared with any positive."""
        given = entry.simans or entry.laplace
        assert given is not None, "the rules of a recipe see to it"
        passage_D, lookup = drawable.columns["passage"], evidence.anchors.get(entry.from_)
        found_D = np.nan if lookup is None else lookup(drawable.owners(), passage_D)
        score_D = np.broadcast_to(np.asarray(found_D, dtype=np.float64), passage_D.shape)
        known = Ragged(drawable.offsets, {"score": score_D}).kept(np.isfinite(score_D))
        without = int(np.count_nonzero((drawable.lengths() > 0) & (known.lengths() == 0)))
        if without:
            what = f"weight {entry.weight} compares candidates with positives, and source '{entry.from_}' has no score"
            what += f" of any positive of {without:,} questions"
            fix = "use a dense or bm25 source, which scores all of them, or another weight"
            raise DataError(what, key="draw.negatives", fix=fix)
        return cls(known, given.anchor)

    def __call__(self, rows: Rows, seed: int) -> Floats:
        """The anchor of each row."""
        scores, offset_R = self.known.columns["score"], self.known.offsets[rows.question_R]
        count_R = self.known.lengths(rows.question_R)
        if self.how == "random":
            bits_R = randomness.bits(seed, "anchor", rows.bits(seed, "anchors"))
            return np.asarray(scores[offset_R + (bits_R % count_R.astype(np.uint64)).astype(np.int64)])
        _, place_N = self.known.places(rows.question_R)
        starts_R = np.cumsum(count_R) - count_R
        reduce = {"mean": np.add, "min": np.minimum, "max": np.maximum}[self.how].reduceat
        found_R = reduce(scores[place_N], starts_R)
        return np.asarray(found_R / count_R if self.how == "mean" else found_R)


class Choice:
    """The candidates of one entry, and what they are weighed by."""

    def __init__(
        self, number: int, entry: Negatives, candidates: Mapping[str, Ragged], drawable: Ragged, evidence: Evidence
    ) -> None:
        self.number, self.entry, self.drawable = number, entry, drawable
        self.table = _checked(entry, candidates, len(drawable))
        self.teacher = evidence.teacher
        self.anchors = Anchors.of(entry, drawable, evidence) if entry.weight in ANCHORED else None
        self.log_weight_of_rank = _profile(entry, self.table, evidence) if entry.weight == "rance" else None
        if entry.weight == PAIRED and self.teacher is None:
            what = "weight margin_bins draws by the margins of a teacher, and nothing gives its scores"
            raise RecipeError(what, key="draw.negatives", fix="add a label `teacher`")

    def ranked(self, rows: Rows, seed: int) -> Pairs:
        """Candidates of each row in the order in which they are to be taken."""
        found, place_N = self._listed(rows.question_R)
        if self.entry.weight == "top":
            return found
        # The number of the entry keeps two entries of one source independent of one another.
        seen_N = rows.bits(seed, f"negatives {self.number}")[found.row_N]
        if self.entry.weight == "uniform":  # noise alone: its order is that of the bits it is made of
            key_N = ~randomness.bits(seed, "negative", seen_N, found.passage_N)
            return found.at(np.lexsort((key_N, found.row_N)))
        log_weight_N = self._log_weights(rows, seed, found, place_N)
        noise_N = randomness.gumbel(seed, "negative", seen_N, found.passage_N)
        order = np.lexsort((-(log_weight_N + noise_N), found.row_N))
        return found.at(order[log_weight_N[order] > -np.inf])

    def _listed(self, question_R: Integers) -> tuple[Pairs, Integers]:
        """The candidates within the window as the source lists them, and their places in the table."""
        width_R = self.table.lengths(question_R)
        if self.entry.window is not None:
            width_R = np.minimum(width_R, self.entry.window)
        row_N, place_N = self.table.places(question_R, width_R)
        return Pairs(row_N, np.asarray(self.table.columns["passage"][place_N], dtype=np.int64)), place_N

    def _log_weights(self, rows: Rows, seed: int, found: Pairs, place_N: Integers) -> Floats:
        entry, columns = self.entry, self.table.columns
        if self.log_weight_of_rank is not None:
            return self.log_weight_of_rank[np.asarray(columns["rank"][place_N], dtype=np.int64) - 1]
        score_N = columns["score"][place_N]
        if self.anchors is None:
            return softmax(score_N, entry.temperature or 1.0)
        anchor_N = self.anchors(rows, seed)[found.row_N]
        if entry.simans is not None:
            return simans(score_N, anchor_N, entry.simans.a, entry.simans.b)
        assert entry.laplace is not None, "the rules of a recipe see to it"
        return simans_laplace(score_N, anchor_N, entry.laplace.tau)

    # Pairs of a positive and a candidate

    def ranked_pairs(self, rows: Rows, seed: int, positive: Pairs, known: Pairs) -> tuple[Pairs, Integers]:
        """Pairs in the order in which they are to be taken: row and candidate, and the positive of each."""
        pairs, positive_N, margin_N = self._scored(rows.question_R, positive, known)
        log_weight_N = margin_bins(margin_N, pairs.row_N, self.entry.bins or 1)
        seen_N = rows.bits(seed, f"negatives {self.number}")[pairs.row_N]
        noise_N = randomness.gumbel(seed, "pair", seen_N, positive_N, pairs.passage_N)
        order = np.lexsort((-(log_weight_N + noise_N), pairs.row_N))
        return pairs.at(order), positive_N[order]

    def pairs_of(self, question_R: Integers, known: Pairs) -> Integers:
        """Number of scored pairs of all drawable positives of these questions."""
        return self._scored(question_R, Pairs.of(self.drawable, question_R), known)[0].count(len(question_R))

    def _scored(self, question_R: Integers, positive: Pairs, known: Pairs) -> tuple[Pairs, Integers, Floats]:
        """Every scored candidate with every scored positive of its row: the pair, its positive, its margin."""
        listed, _ = self._listed(question_R)
        candidate = listed.first(listed.count(len(question_R)), known)
        (positive, high_N), (candidate, low_N) = (self._known(question_R, each) for each in (positive, candidate))
        times_N = positive.count(len(question_R))[candidate.row_N]
        first_N = np.searchsorted(positive.row_N, candidate.row_N)
        which_M = np.repeat(np.arange(len(times_N)), times_N)
        within_M = np.arange(len(which_M)) - np.repeat(np.cumsum(times_N) - times_N, times_N)
        partner_M = first_N[which_M] + within_M
        return candidate.at(which_M), positive.passage_N[partner_M], high_N[partner_M] - low_N[which_M]

    def _known(self, question_R: Integers, pairs: Pairs) -> tuple[Pairs, Floats]:
        """Those that the teacher scored, with their scores."""
        assert self.teacher is not None
        score_N = np.asarray(self.teacher(question_R[pairs.row_N], pairs.passage_N), dtype=np.float64)
        known_N = np.isfinite(score_N)
        return pairs.at(known_N), score_N[known_N]


def _checked(entry: Negatives, candidates: Mapping[str, Ragged], questions: int) -> Ragged:
    """Refuses before the first step what would otherwise go wrong at some later one."""
    table = candidates.get(entry.from_)
    if table is None:
        raise RecipeError(f"no candidates of source '{entry.from_}'", key="draw.negatives", fix="mine them first")
    if len(table) != questions:
        what = f"candidates of source '{entry.from_}' are for {len(table):,} questions, the split has {questions:,}"
        raise DataError(what, key="sources", fix="mine them again for this split")
    if entry.weight in SCORED:
        missing = int(np.count_nonzero(~np.isfinite(table.columns["score"])))
        if missing:
            what = f"weight {entry.weight} needs scores, {missing:,} candidates of source '{entry.from_}' have none"
            raise DataError(what, key="draw.negatives", fix="use top or uniform, or candidates with scores")
    return table


def _profile(entry: Negatives, table: Ragged, evidence: Evidence) -> Floats:
    """Log-weight of each rank."""
    share_R, params = evidence.profiles.get(entry.from_), entry.rance
    assert params is not None, "the rules of a recipe see to it"
    if share_R is None:
        what = f"weight rance goes by where a validation run finds what is relevant, none is there for '{entry.from_}'"
        raise RecipeError(what, key="draw.negatives", fix="use another weight")
    if len(share_R) < params.window:
        what = f"a window of {params.window} ranks is wider than the {len(share_R)} of the validation run"
        raise RecipeError(what, key="draw.negatives.rance.window", fix="narrow it, or search deeper")
    if not ((np.asarray(share_R) >= 0) & (np.asarray(share_R) <= 1)).all():
        raise DataError("a share of validation questions is not from 0 to 1", key="draw.negatives", fix="measure again")
    width_Q = table.lengths() if entry.window is None else np.minimum(table.lengths(), entry.window)
    _, place_N = table.places(np.arange(len(table)), width_Q)
    deepest = int(table.columns["rank"][place_N].max(initial=0))
    if deepest > len(share_R):
        what = (
            f"candidates of source '{entry.from_}' go down to rank {deepest:,}, the validation run to {len(share_R):,}"
        )
        raise DataError(what, key="draw.negatives.window", fix="search as deep in both, or narrow the window")
    return rance(share_R, params.c, params.window, params.degree)


# Log-weights, as functions of arrays


def softmax(score_N: Any, temperature: float) -> Floats:
    """In proportion to exp(score / temperature)."""
    return np.asarray(score_N, dtype=np.float64) / temperature


def simans(score_N: Any, anchor_N: Any, a: float, b: float) -> Floats:
    """A bell around anchor + b whose standard deviation is 1 / sqrt(2a); a = 0 is uniform."""
    return np.asarray(-a * (np.asarray(score_N, dtype=np.float64) - anchor_N - b) ** 2)


def simans_laplace(score_N: Any, anchor_N: Any, tau: float) -> Floats:
    """A peak at the anchor, as SimANS's script for MS MARCO passages draws (tau 3)."""
    return np.asarray(-tau * np.abs(np.asarray(score_N, dtype=np.float64) - anchor_N))


def rance(share_R: Any, c: float, window: int, degree: int) -> Floats:
    """Log-weights of ranks from the share of validation questions with a relevant passage at each of them.

    (1 - share) / ln(r - 1 + c) is high where few passages are relevant, and where a relevant one would gain most. Its
    means over centred windows, and through them a polynomial: this smooths what a few dozen questions say. The first
    and the last of the polynomial's values hold for the ranks that no window is centred on. The least of the means is
    what weighs nothing; where the polynomial falls below it, it is cut off at nothing. Where nothing weighs anything,
    all ranks weigh the same. (Prakash et al. 2021, RANCE; `c` is 2 there, the window 9 and the degree 4.)
    """
    share_R = np.asarray(share_R, dtype=np.float64)
    gain_R = (1 - share_R) / np.log(np.arange(len(share_R)) + c)
    mean_M = np.convolve(gain_R, np.full(window, 1 / window), mode="valid")
    place_M = np.arange(len(mean_M))
    fitted_M = np.polynomial.Polynomial.fit(place_M, mean_M, degree)(place_M) if len(mean_M) > degree else mean_M
    weight_R = np.maximum(np.pad(fitted_M, window // 2, mode="edge") - mean_M.min(), 0.0)
    if weight_R.max() <= 1e-12:  # what rounding leaves of a share of 1 everywhere
        return np.zeros(len(share_R))
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(weight_R))


def margin_bins(margin_N: Any, owner_N: Integers, bins: int) -> Floats:
    """A bin of each owner's as likely as any other, and within it a pair as likely as any other (TAS-B).

    Bins are of equal width, from the least to the greatest margin of the owner; those without a pair do not count.
    """
    margin_N, size = np.asarray(margin_N, dtype=np.float64), int(owner_N.max(initial=-1)) + 1
    least_O, most_O = np.full(size, np.inf), np.full(size, -np.inf)
    np.minimum.at(least_O, owner_N, margin_N)
    np.maximum.at(most_O, owner_N, margin_N)
    width_N = (most_O - least_O)[owner_N]
    share_N = (margin_N - least_O[owner_N]) / np.where(width_N > 0, width_N, 1.0)
    bin_N = owner_N * bins + np.minimum((share_N * bins).astype(np.int64), bins - 1)
    return np.asarray(-np.log(np.bincount(bin_N, minlength=size * bins)[bin_N]))
