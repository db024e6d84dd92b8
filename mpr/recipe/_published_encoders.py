"""A recipe without training: `training: none`. Published encoders encode, and are searched with and measured.

The keys that say how something is trained are refused in it, so they have no value that could be read. Code that is
shared with rows that train finds the values below in their place; no result and no digest depends on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mpr.recipe.strict_yaml import Finding, Path_

NONE = "none"
REPAIR = {"without_positives": "drop", "passages_missing": "drop", "positive_as_negative": "drop_negative"}
_POLICIES = dict.fromkeys(("siblings", "shared", "duplicates", "doubtful"), "ignore")
UNREAD: dict[str, Any] = {
    "sources": [],
    "draw": {"questions": "sequential", "positives": {"policy": "first"}, "negatives": [], "in_batch": True},
    "labels": [{"name": "known_positives", "tiers": ["gold", "answer_match"], **_POLICIES}],
    "objective": [{"name": "nll"}],
    "scale": {"processes": 1, "gather": False},
    "training": {},
}
UNREAD_OF_DATA: dict[str, Any] = {"train": "", "repair": REPAIR}
OF_TRAINING: tuple[Path_, ...] = (
    ("sources",), ("draw",), ("labels",), ("objective",), ("scale",), ("refresh",), ("validation",), ("plan",),
    ("task",), ("expected",), ("data", "train"), ("data", "repair"), ("data", "overlap"), ("data", "unlabelled"),
    ("data", "augment"), ("towers", "attention"),
)  # fmt: skip
"""Keys that a recipe without training does not have."""
OF_A_START: tuple[Path_, ...] = (("towers", "train"), ("towers", "lora"), ("towers", "weights"), ("towers", "new"))
"""Nor these, unless `start` is a model of this kit, which was trained with them."""


def is_meant(content: Any) -> bool:
    """Whether a document says that nothing is trained."""
    return isinstance(content, dict) and content.get("training") == NONE


def refused(content: dict[str, Any]) -> Iterator[Finding]:
    """Keys that would do nothing; null stands for a key that is not there."""
    for path in OF_TRAINING if content.get("start") is not None else OF_TRAINING + OF_A_START:
        place: Any = content
        for part in path:
            place = place.get(part) if isinstance(place, dict) else None
        if place is not None:
            what = "is about training, and nothing is trained (training: none)"
            yield path, what, "remove it, or write the arguments of a training"


def filled(content: dict[str, Any]) -> dict[str, Any]:
    """The document with a value wherever the type of a recipe asks for one that it does not have."""
    made = _without_nulls(content, UNREAD) | {"training": {}}
    if isinstance(content.get("data"), dict):
        made["data"] = _without_nulls(content["data"], UNREAD_OF_DATA)
    return made


def _without_nulls(given: dict[str, Any], unread: dict[str, Any]) -> dict[str, Any]:
    """What is given, and the rest of what nobody reads; null stands for a key that is not there."""
    return unread | {key: value for key, value in given.items() if value is not None or key not in unread}
