"""Verdicts on published encoders, by hand."""

from __future__ import annotations

import pytest

from mpr.rows import published
from tests import shipped

TAS_B = shipped.recipes()["checkpoints/tas_b_msmarco"]  # mrr10 34.44 and recall1000 97.71 of dev, within 0.2


@pytest.mark.parametrize(
    "mean, word",
    [
        (0.3444, "exact"), (0.34444, "exact"), (0.34436, "exact"), (0.34446, "within"), (0.3464, "within"),
        (0.3424, "within"), (0.34641, "off"), (0.3, "off"), (0.4, "off"), (None, "unknown"),
    ],
)  # fmt: skip
def test_how_near_a_value_is(mean: float | None, word: str) -> None:
    assert published.verdicts(TAS_B, "dev", {"mrr10": mean})["mrr10"] == word


def test_values_belong_to_their_evaluation() -> None:
    assert published.values(TAS_B, "dev") == {"mrr10": 34.44, "recall1000": 97.71}
    assert published.values(TAS_B, "dl20") == {"ndcg10": 68.54, "map1000": 46.98, "recall1000": 87.27}
    means = dict.fromkeys(TAS_B.evaluation.measures, 0.6854)
    words = {"mrr10": "unknown", "ndcg10": "exact", "map1000": "off", "recall1000": "off"}
    assert published.verdicts(TAS_B, "dl20", means) == words


def test_one_word_for_several() -> None:
    assert published.worst(["exact", "unknown"]) == "exact"
    assert published.worst(["exact", "within"]) == "within"
    assert published.worst(["off", "exact", "unknown"]) == "off"
    assert published.worst([]) == published.worst(["unknown"]) == "unknown"
