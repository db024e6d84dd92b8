"""wasserstein: against the closed form with square roots by eigenvectors, and by hand in the simplest cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mpr import objectives
from mpr.errors import RecipeError


def _softmax(values: Any) -> Any:
    share = np.exp(values - values.max())
    return share / share.sum()


def _reference(scores: Any, grades: Any, members: Any, counted: Any, heat: float, target_heat: float) -> float:
    """Dowson and Landau's formula as Givens and Shortt (1984) write it, with a square root by eigenvectors."""
    sides = []
    for values, divisor in ((scores, heat), (grades, target_heat)):
        shares = np.zeros(values.shape)
        for row in range(len(values)):
            shares[row, members[row]] = _softmax(values[row, members[row]] / divisor)
        sides.append(shares[counted])
    covariances = [np.atleast_2d(np.cov(side, rowvar=False)) for side in sides]
    between = float(((sides[0].mean(axis=0) - sides[1].mean(axis=0)) ** 2).sum())
    first = _root(covariances[0])
    cross = _root(first @ covariances[1] @ first)
    return between + float(np.trace(covariances[0] + covariances[1])) - 2.0 * float(np.trace(cross))


def _root(matrix: Any) -> Any:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(min=0.0))) @ vectors.T


@pytest.mark.parametrize("seed", range(4))
def test_equals_the_closed_form(seed: int) -> None:
    dice = np.random.default_rng(seed)
    questions, passages = 5 + seed, 4 + 3 * seed
    kinds = dice.integers(0, 4, (questions, passages))  # 0: positive, 3: ignored
    kinds[1, kinds[1] == 0] = 1  # a row without a positive counts for nothing
    for row in (0, 2, 3):
        kinds[row, row] = 0
    positives, members = kinds == 0, kinds < 3
    grades = np.where(positives, dice.integers(1, 4, kinds.shape), 0).astype(float)
    scores = 2 * dice.standard_normal(kinds.shape)
    loss = objectives.load("wasserstein", temperature=0.7, target_temperature=1.3)
    masks = torch.from_numpy(positives), torch.from_numpy(members & ~positives)
    sum_Q, weight_Q = loss(torch.from_numpy(scores), *masks, grades_QP=torch.from_numpy(grades))
    expected = _reference(scores, grades, members, positives.any(axis=1), 0.7, 1.3)
    assert float(sum_Q.sum()) == pytest.approx(
        expected, abs=2e-7
    )  # eigenvalues that should be 0 are 1e-16, their root 1e-8
    assert float(weight_Q.sum()) == pytest.approx(1.0)
    assert expected > 1e-3


def test_one_row_is_the_squared_distance() -> None:
    """p = (3/4, 1/4), y = (1/2, 1/2): twice 1/16."""
    scores_QP = torch.tensor([[float(np.log(3.0)), 0.0]])
    positives_QP = torch.tensor([[True, False]])
    sum_Q, _ = objectives.load("wasserstein")(scores_QP, positives_QP, ~positives_QP, grades_QP=torch.zeros(1, 2))
    assert sum_Q.item() == pytest.approx(0.125)


def test_two_rows_by_hand() -> None:
    """Scores say (3/4, 1/4) and (1/4, 3/4), grades say (1/2, 1/2) twice: equal means, C_p = ((1, -1), (-1, 1)) / 8,
    C_y = 0, so the distance is the trace, 1/4."""
    log3 = float(np.log(3.0))
    scores_QP = torch.tensor([[log3, 0.0], [0.0, log3]])
    positives_QP = torch.tensor([[True, False], [False, True]])
    sum_Q, _ = objectives.load("wasserstein")(scores_QP, positives_QP, ~positives_QP, grades_QP=torch.zeros(2, 2))
    assert sum_Q.sum().item() == pytest.approx(0.25)


def test_it_is_zero_where_scores_are_the_grades_and_learns_to_be() -> None:
    grades_QP = torch.tensor([[3.0, 2.0, 0.0, 0.0], [0.0, 1.0, 0.0, 3.0], [0.0, 0.0, 2.0, 1.0]]).double()
    positives_QP = grades_QP > 0
    loss = objectives.load("wasserstein")
    assert loss(grades_QP + 5, positives_QP, ~positives_QP, grades_QP=grades_QP)[0].sum() == pytest.approx(0, abs=1e-7)
    random = torch.Generator().manual_seed(2)  # rows that are all the same would stay so
    scores_QP = torch.randn(3, 4, generator=random, dtype=torch.float64).requires_grad_()
    optimizer = torch.optim.Adam([scores_QP], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        loss(scores_QP, positives_QP, ~positives_QP, grades_QP=grades_QP)[0].sum().backward()
        optimizer.step()
    assert loss(scores_QP, positives_QP, ~positives_QP, grades_QP=grades_QP)[0].sum() < 1e-3


def test_it_does_not_tell_rows_apart() -> None:
    """It compares two distributions: with the right rows in another order they are equal. The page says so."""
    grades_QP = torch.tensor([[3.0, 2.0, 0.0, 0.0], [0.0, 1.0, 0.0, 3.0], [0.0, 0.0, 2.0, 1.0]]).double()
    every_QP = torch.ones(3, 4, dtype=torch.bool)
    loss = objectives.load("wasserstein")
    assert loss(grades_QP[[1, 2, 0]], every_QP, ~every_QP, grades_QP=grades_QP)[0].sum() == pytest.approx(0, abs=1e-7)


def test_it_needs_grades() -> None:
    positives_QP = torch.tensor([[True, False]])
    with pytest.raises(RecipeError, match="needs grades_QP"):
        objectives.load("wasserstein")(torch.zeros(1, 2), positives_QP, ~positives_QP)
