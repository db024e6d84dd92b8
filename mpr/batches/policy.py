"""What a known positive that was not drawn for its row is to the objective."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """One word for each way in which such a passage can be in the block: `positive`, `ignore` or `negative`.

    `negative` means no exception: the cell is negative if the passage was drawn as a negative of the row or if
    in-batch negatives are on, and ignored otherwise. `mpr/batches/relations.py` says when each applies.
    """

    siblings: str
    shared: str
    duplicates: str
    doubtful: str
