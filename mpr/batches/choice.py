"""Choice: in which order an entry of `draw.negatives` takes the candidates of a row.

The order is that of log-weight plus Gumbel noise, the largest first: a draw without replacement, each with probability
proportional to its weight (`mpr/batches/_weights.py`). `top` is the order of the source. A candidate that weighs
nothing is not in the order at all. What weights go by besides rank and score is `Evidence`, handed to the drawer:

* `simans` and `simans_laplace`: the scores of a question's positives by the source's own retriever. Those that are not
  known are left out of the mean, the least, the greatest and the lot; a question without any is refused.
* `rance`: of each rank, the share of the questions of a validation run that have a relevant passage there.
* `margin_bins`: scores of a teacher. Drawn are pairs of a positive and a candidate that are both scored: of every
  positive that counts under policy `random1`, where the pair decides which positive the row has, and of the drawn
  positives under the others.

Shapes: R rows of a step, N pairs (row, passage), D positives that count (of all questions).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpr.batches import _weights as weights
from mpr.batches.pairs import Integers, Pairs, Rows
from mpr.errors import DataError, RecipeError
from mpr.recipe.keys_draw import ANCHORED, PAIRED, SCORED, Negatives
from mpr.runtime import randomness
from mpr.storage.ragged import Ragged

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
        lookup = evidence.anchors.get(entry.from_, _unknown)
        score_D = np.asarray(lookup(drawable.owners(), drawable.columns["passage"]), dtype=np.float64)
        known = Ragged(drawable.offsets, {"score": score_D}).kept(np.isfinite(score_D))
        without = int(np.count_nonzero((drawable.lengths() > 0) & (known.lengths() == 0)))
        if without:
            what = f"weight {entry.weight} compares candidates with positives, and source '{entry.from_}' has no score"
            what += f" of any positive of {without:,} questions"
            fix = "use a dense or bm25 source, which scores all of them, or another weight"
            raise DataError(what, key="draw.negatives", fix=fix)
        return cls(known, given.anchor)

    def __call__(self, rows: Rows, seed: int) -> NDArray[np.float64]:
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
        self.weight_of_rank = _profile(entry, self.table, evidence) if entry.weight == "rance" else None
        if entry.weight == PAIRED and self.teacher is None:
            what = "weight margin_bins draws by the margins of a teacher, and nothing gives its scores"
            raise RecipeError(what, key="draw.negatives", fix="add a label `teacher`")

    def ranked(self, rows: Rows, seed: int) -> Pairs:
        """Candidates of each row in the order in which they are to be taken."""
        found, place_N = self._listed(rows)
        if self.entry.weight == "top":
            return found
        # The number of the entry keeps two entries of one source independent of one another.
        seen_N = rows.bits(seed, f"negatives {self.number}")[found.row_N]
        if self.entry.weight == "uniform":  # noise alone: its order is that of the bits it is made of
            key_N = ~randomness.bits(seed, "negative", seen_N, found.passage_N)
            return found.at(np.lexsort((key_N, found.row_N)))
        weight_N = self._weights(rows, seed, found, place_N)
        noise_N = randomness.gumbel(seed, "negative", seen_N, found.passage_N)
        order = np.lexsort((-(weight_N + noise_N), found.row_N))
        return found.at(order[weight_N[order] > -np.inf])

    def _listed(self, rows: Rows) -> tuple[Pairs, Integers]:
        """The candidates within the window as the source lists them, and their places in the table."""
        width_R = self.table.lengths(rows.question_R)
        if self.entry.window is not None:
            width_R = np.minimum(width_R, self.entry.window)
        row_N, place_N = self.table.places(rows.question_R, width_R)
        return Pairs(row_N, np.asarray(self.table.columns["passage"][place_N], dtype=np.int64)), place_N

    def _weights(self, rows: Rows, seed: int, found: Pairs, place_N: Integers) -> NDArray[np.float64]:
        entry, columns = self.entry, self.table.columns
        if self.weight_of_rank is not None:
            return self.weight_of_rank[np.asarray(columns["rank"][place_N], dtype=np.int64) - 1]
        score_N = columns["score"][place_N]
        if self.anchors is None:
            return weights.softmax(score_N, entry.temperature or 1.0)
        anchor_N = self.anchors(rows, seed)[found.row_N]
        if entry.simans is not None:
            return weights.simans(score_N, anchor_N, entry.simans.a, entry.simans.b)
        assert entry.laplace is not None, "the rules of a recipe see to it"
        return weights.simans_laplace(score_N, anchor_N, entry.laplace.tau)

    # Pairs of a positive and a candidate

    def ranked_pairs(self, rows: Rows, seed: int, positive: Pairs, known: Pairs) -> tuple[Pairs, Integers]:
        """Pairs in the order in which they are to be taken: row and candidate, and the positive of each."""
        pairs, positive_N, margin_N = self._scored(rows.question_R, positive, known)
        weight_N = weights.margin_bins(margin_N, pairs.row_N, self.entry.bins or 1)
        seen_N = rows.bits(seed, f"negatives {self.number}")[pairs.row_N]
        noise_N = randomness.gumbel(seed, "pair", seen_N, positive_N, pairs.passage_N)
        order = np.lexsort((-(weight_N + noise_N), pairs.row_N))
        return pairs.at(order), positive_N[order]

    def pairs_of(self, question_R: Integers, known: Pairs) -> Integers:
        """Number of scored pairs of all drawable positives of these questions."""
        owner_N, place_N = self.drawable.places(question_R)
        positive = Pairs(owner_N, np.asarray(self.drawable.columns["passage"][place_N], dtype=np.int64))
        return self._scored(question_R, positive, known)[0].count(len(question_R))

    def _scored(
        self, question_R: Integers, positive: Pairs, known: Pairs
    ) -> tuple[Pairs, Integers, NDArray[np.float64]]:
        """Every scored candidate with every scored positive of its row: the pair, its positive, its margin."""
        nothing = np.zeros_like(question_R)
        listed, _ = self._listed(Rows(question_R, nothing, nothing))
        candidate = listed.first(listed.count(len(question_R)), known)
        (positive, high_N), (candidate, low_N) = (self._known(question_R, each) for each in (positive, candidate))
        times_N = positive.count(len(question_R))[candidate.row_N]
        first_N = np.searchsorted(positive.row_N, candidate.row_N)
        which_M = np.repeat(np.arange(len(times_N)), times_N)
        within_M = np.arange(len(which_M)) - np.repeat(np.cumsum(times_N) - times_N, times_N)
        partner_M = first_N[which_M] + within_M
        return candidate.at(which_M), positive.passage_N[partner_M], high_N[partner_M] - low_N[which_M]

    def _known(self, question_R: Integers, pairs: Pairs) -> tuple[Pairs, NDArray[np.float64]]:
        """Those that the teacher scored, with their scores."""
        assert self.teacher is not None
        score_N = np.asarray(self.teacher(question_R[pairs.row_N], pairs.passage_N), dtype=np.float64)
        known_N = np.isfinite(score_N)
        return pairs.at(known_N), score_N[known_N]


def _unknown(question_N: Any, passage_N: Any) -> NDArray[Any]:
    return np.full(len(question_N), np.nan)


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


def _profile(entry: Negatives, table: Ragged, evidence: Evidence) -> NDArray[np.float64]:
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
    return weights.rance(share_R, params.c, params.window, params.degree)
