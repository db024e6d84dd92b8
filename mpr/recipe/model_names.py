"""How a recipe names a model: a folder, `org/name@<commit>` on the Hub, or one of the words below.

`mpr/models/locate.py` finds the folder; here are only the words, for those who read recipes without opening
anything.
"""

from __future__ import annotations

START = "start"  # the weights that this training starts from
SELF = "self"  # the model under training
_STAGE = "stage:"


def stage(reference: str | None) -> str | None:
    """The stage of the plan that a reference names; None for any other reference."""
    return reference.removeprefix(_STAGE) if reference is not None and reference.startswith(_STAGE) else None


def of_stage(name: str) -> str:
    """The reference to the model of a stage."""
    return f"{_STAGE}{name}"


def is_elsewhere(reference: str) -> bool:
    """Whether it is a folder or on the Hub, and not part of what is being trained."""
    return reference not in (START, SELF) and stage(reference) is None
