"""Policies of the relation block, as a recipe's label `known_positives` gives them."""

from __future__ import annotations

from typing import Any

from mpr.labels.known_positives import Params


def policy_of(siblings: Any, shared: Any, duplicates: Any, doubtful: Any) -> Params:
    """What becomes of each kind of known positive that was not drawn; of tier `gold`."""
    return Params(tiers=("gold",), siblings=siblings, shared=shared, duplicates=duplicates, doubtful=doubtful)
