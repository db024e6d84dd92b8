"""Who is positive, negative or ignored for whom, decided by passage id from all that is known about each question.

Each key below names one way in which a known positive of a question can be in the block of a step without having been
drawn as its positive, and says how the objective sees it: `negative` (as the original DPR code does), `ignore` (it
takes no part) or `positive`. `mpr/batches/relations.py` builds the two matrices from this.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mpr.catalogue import Parameters

PROVIDES = ("grades_QP",)  # the grades of the data: of positives alone, a negative has 0
Tier = Literal["gold", "answer_match", "cross_encoder", "llm", "generated", "augmented"]
Kind = Literal["negative", "ignore", "positive"]


class Params(Parameters):
    """Policies of the relation block."""

    tiers: Annotated[tuple[Tier, ...], Field(min_length=1)]
    """Tiers of positives that count as positive; only these are drawn."""
    siblings: Kind
    """A positive of the question that was not drawn for it in this row but reached the block in another way."""
    shared: Kind
    """A positive of the question that another question of the step brought along as its own positive."""
    duplicates: Kind
    """A passage with the same text as a positive of the question, under another id."""
    doubtful: Kind
    """A known positive of a tier that does not count."""
