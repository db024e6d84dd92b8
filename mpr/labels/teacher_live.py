"""A teacher that is asked in every step: scores of all cells of the block, for `kl` and `pairwise` with `target: live`.

Stored scores (`teacher`) are of pairs that were known before training. What a question has to do with the passages of
other rows shows only in the step; a frozen model whose vectors of questions and passages are made apart can say it
then, at the price of encoding the step's texts once more. TAS-B (Hofstätter et al. 2021, arXiv 2104.06967) asks a
ColBERT about them. The model is one of late interaction or a dual encoder, and reads texts by its own contract: its
tokenizer and lengths need not be the student's. It changes no candidate and no positive
(`mpr/training/step_teacher.py`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mpr.catalogue import Parameters

PROVIDES = ("live_QP",)


class Params(Parameters):
    """Who is asked."""

    model: Annotated[str, Field(min_length=1)]
    """A late-interaction model or a dual encoder: the folder of a trained one, `runs/<run>/model`, one on the Hub,
    `org/name@<commit>`, or that of an earlier stage, `stage:<name>`."""
    compute: Literal["float32", "float16", "bfloat16"] = "float32"
    """What it computes in; scores are added up in 32 bits."""

    @property
    def pins(self) -> dict[str, str]:
        """What a plan says of the model."""
        name, _, commit = self.model.partition("@")
        return {name: f"commit {commit}" if commit else "not pinned"}
