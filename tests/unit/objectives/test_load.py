"""An objective by name and parameters, in anybody's loop: typos are answered with what was meant."""

from __future__ import annotations

from typing import Any

import pytest

from mpr import objectives
from mpr.errors import RecipeError


@pytest.mark.parametrize(
    "name, params, message",
    [
        ("bec", {}, "did you mean 'bce'?"),
        ("lse_pair", {"temprature": 1.0}, "lse_pair.temprature: unknown parameter (did you mean 'temperature'?"),
        ("lse_pair", {"zzz": 1.0}, "lse_pair.zzz: unknown parameter (known: positives, negatives, divide_by_positives"),
        ("bce", {}, "bce.scaling: is missing (see mpr/objectives/bce.py)"),
        ("lse_pair", {"temperature": 0.0}, "lse_pair.temperature: Input should be greater than 0, not 0.0"),
        ("lse_pair", {"positives": "al"}, "lse_pair.positives: Input should be 'all', 'min' or 'max', not 'al'"),
    ],
)  # fmt: skip
def test_typos_are_answered(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        objectives.load(name, **params)
    assert message in str(caught.value)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        objectives.load("bce", scalling="none", temperature="warm")
    assert str(caught.value).count("\n") == 2
