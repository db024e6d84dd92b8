"""How far a first pass in low precision can be from the true score, so that nothing is lost by it.

Let q, p be the true vectors and q', p' what the first pass multiplies (the same, rounded to its type). Then

    |q.p - q'.p'|     <=  |q - q'| |p|  +  |q'| |p - p'|            Cauchy-Schwarz; both differences are measured
    |q'.p' - sum|     <=  gamma |q'| |p'|,  gamma = D u / (1 - D u)   whatever the order of the 32-bit sum (Higham 2002,
                                                                     section 3.1); taken twice, for hardware that
                                                                     rounds a product or drops the last bit
    |sum - approx|    <=  2^-8 |sum|                                 where the result itself is rounded to bfloat16

and the written score differs from q.p by one rounding to 32 bits. So each passage has an interval that must contain its
written score. A passage is dropped only when its interval ends below the k-th best lower end.

Shapes: Q questions, B passages of a block, N pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNIT = 2.0**-24  # half a unit in the last place of a 32-bit number
BFLOAT16 = 2.0**-8  # eight bits of significand, so the nearest is within 2^-8
TINY = 2.0**-125  # what a product or a sum may lose where small numbers are flushed to zero
LARGEST = 2.0**126  # |q||p| beyond which a 32-bit score may overflow


@dataclass(frozen=True)
class Norms:
    """Length of the true vectors, and of what rounding to the type of the first pass took from them."""

    length: NDArray[np.float64]
    lost: NDArray[np.float64]

    @classmethod
    def of(cls, true: NDArray[np.float32], rounded: NDArray[np.float32]) -> Norms:
        return cls(_lengths(true), _lengths(true.astype(np.float64) - rounded))


def _lengths(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """In 64 bits: squares of small 32-bit numbers would vanish and make a bound too narrow."""
    squares_N: NDArray[np.float64] = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    return np.asarray(np.sqrt(squares_N) * (1 + 1e-9), dtype=np.float64)


@dataclass(frozen=True)
class Bound:
    """|written score - approx| <= absolute + relative |approx|, for each question and every passage of a block."""

    absolute_Q: NDArray[np.float64]
    relative: float

    @classmethod
    def of(cls, questions: Norms, block: Norms, width: int, rounded_result: bool) -> Bound:
        """`block` has the largest length and loss of its passages, or one of each for each question."""
        question_Q, passage_Q = questions.length + questions.lost, block.length + block.lost
        rounding_Q = questions.lost * block.length + question_Q * block.lost
        gamma = 2 * (width + 8) * UNIT / (1 - (width + 8) * UNIT)
        summing_Q = (gamma + 4 * UNIT) * question_Q * passage_Q
        flushed_Q = width * TINY * (1 + question_Q + passage_Q)
        relative = 8 * UNIT + (1.01 * BFLOAT16 if rounded_result else 0.0)
        return cls((rounding_Q + summing_Q + flushed_Q) * (1 + 2.0**-20), relative)

    def least(self, floor_Q: NDArray[np.float32]) -> NDArray[np.float32]:
        """The smallest approximate score whose interval reaches `floor_Q`, or a little less."""
        reach_Q = floor_Q.astype(np.float64) - self.absolute_Q
        lower_Q = reach_Q - 1.25 * self.relative * np.abs(reach_Q)
        return np.where(np.isneginf(floor_Q), -np.inf, lower_Q).astype(np.float32)

    def ends(
        self, approx_N: NDArray[np.float32], question_N: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Both ends of the interval of each pair. `relative` has room for the rounding of these sums themselves."""
        margin_N = (self.absolute_Q[question_N] + self.relative * np.abs(approx_N)).astype(np.float32)
        return approx_N - margin_N, approx_N + margin_N
