"""Log-weights of candidates: what `draw.negatives[].weight` means, as functions of arrays.

A drawer adds Gumbel noise to log-weights and takes the largest; so only differences count, and a weight of zero is
minus infinity. Everything stays in log space: inner products of 60 to 90 make every plain exponential 0.

| weight | log-weight of a candidate with score s, at rank r |
|---|---|
| `uniform` | 0 |
| `softmax` | s / temperature |
| `simans` | -a (s - anchor - b)^2 |
| `simans_laplace` | -tau abs(s - anchor) |
| `rance` | log of what `rance` fits to the share of relevant passages at each rank |
| `margin_bins` | -log of the number of pairs in the pair's bin of teacher margins |

`top` has no weight: it takes the best ranked. The anchor is a score of the question's positives by the same retriever.

**The sign of b.** SimANS's paper (Zhou et al. 2022, arXiv 2210.11773) has (s - anchor - b): candidates at anchor + b
are the likeliest. The published code of its Wikipedia and document runs has (s - anchor + b), so that the b = 1 which
the paper gives for NQ lies one BELOW the positive there. Here it is the paper's; to do what that code did, negate b.

Shapes: N candidates or pairs of several rows, R ranks from the first on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


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
