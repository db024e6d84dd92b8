"""What every term of `objective:` has besides the keys of its objective."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from mpr.catalogue import Parameters

Against = Literal["passages", "questions", "copassages", "copassages_of_others"]
Width = Annotated[int, Field(ge=1)]
Factor = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]


class Hardness(Parameters):
    """Negatives weigh the more the higher they score: strength times the score, without a gradient, is added to what
    the softmax sees."""

    strength: Factor
    """Factor of the score, as the model makes it, before any temperature."""
    of: Literal["drawn", "others", "all"]
    """Which negatives: those drawn for the row itself, those that came for other rows, or both."""


TERM: dict[str, Any] = {
    "coefficient": (float, Field(1.0, description="Factor of this term in the sum of terms.")),
    "view": (
        Literal["query", "positive"],
        Field("query", description="Rows of the block: questions, or (PAIR) the positives themselves."),
    ),
    "columns": (
        Literal["all", "own", "others"],
        Field(
            "all",
            description="Cells of a row that the term looks at: `all`; `own`, those drawn for the row itself; "
            "`others`, its own positives against the negatives that came for other rows.",
        ),
    ),
    "against": (
        list[Against] | None,
        Field(
            None,
            description="What a row is compared with. A question: `passages`, and as further negatives other "
            "`questions`, or its positives' own comparison with its negative passages (`copassages`; "
            "`copassages_of_others`: with those alone that came for other rows). A positive (view: positive): "
            "`questions`, `copassages`. null: passages; of a positive both.",
        ),
    ),
    "hardness": (
        Hardness | None,
        Field(None, description="Negatives weigh the more the higher they score; null: by their scores alone."),
    ),
    "widths": (
        list[Width] | None,
        Field(
            None,
            description="Matryoshka: the term is summed over vectors cut to their first so many numbers, from wide "
            "to narrow, scaled to length one again where `towers.normalize`. null: whole vectors alone.",
        ),
    ),
    "width_weights": (
        list[Factor] | None,
        Field(None, description="Factor of each of `widths` in the sum; null: 1."),
    ),
}
