"""CATALOGUE: one file per objective. `load(name, **params)` gives a function of a relation block's scores.

Shapes: Q questions, P passages of the block.

    objective(scores_QP, positives_QP, negatives_QP, **targets) -> (sum_Q, weight_Q)

The loss of a batch is the total of `sum_Q` over the total of `weight_Q`. Keeping the two apart is what makes several
processes, micro-batches and cached chunks give exactly the gradient of one process on the whole batch.

Door: `objectives.load` from a name and keys, in anybody's training loop; `objectives.checked`, the keys alone;
`objectives.when_named`, the keys that a mere name stands for; `objectives.bound` from an entry of a recipe. The keys of
an objective are the `Params` of its file; `Objective` is their base.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, cast

from pydantic import ValidationError

from mpr import catalogue
from mpr.catalogue import Parameters
from mpr.errors import Problem, RecipeError, nearest


class Objective(Parameters):
    """Base of the `Params` of every objective."""

    when_named: ClassVar[dict[str, Any]] = {}
    """What somebody means who gives only the name, in a recipe of their own or to `mpr.library`. It has every key that
    must be there. Defaults are the formula of the paper, which is not always the best start for other data."""

    @property
    def has_softmax(self) -> bool:
        """Whether the passages of a row share a softmax."""
        return True

    @property
    def learns(self) -> dict[str, float]:
        """Numbers of the objective that are learned with the model, by the names under which it takes them as
        `learned`, and where they start."""
        return {}

    @property
    def rows_apart(self) -> bool:
        """Whether the loss is a sum over rows; otherwise it looks at all rows of a step together."""
        return True

    def divisor(self, width: int) -> float:
        """What scores of vectors of this size are divided by: only the objective knows which of its keys say it.

        The log, the negative cache and the leaderboard ask for it.
        """
        return 1.0


def load(name: str, **params: Any) -> Callable[..., Any]:
    """The objective of that name with its parameters checked and bound; it takes scores and two masks.

    The parameters are the keys that a recipe has under `objective`. A wrong one is refused with the nearest right one.
    """
    return bound(name, checked(name, **params))


def checked(name: str, **params: Any) -> Any:
    """The parameters of an objective, or one refusal of all that are wrong."""
    kind = catalogue.params("objectives", name)
    try:
        return kind(**params)
    except ValidationError as error:
        raise RecipeError([_problem(name, list(kind.model_fields), found) for found in error.errors()]) from None


def _problem(name: str, known: list[str], found: Any) -> Problem:
    key = ".".join(map(str, (name, *found["loc"])))
    if found["type"] == "extra_forbidden":
        fix = f"{nearest(str(found['loc'][0]), known)} known: {', '.join(known)}".strip()
        return Problem("unknown parameter", key=key, fix=fix)
    if found["type"] == "missing":
        return Problem("is missing", key=key, fix=f"see mpr/objectives/{name}.py")
    return Problem(f"{str(found['msg']).removeprefix('Value error, ')}, not {found['input']!r}", key=key)


def when_named(name: str) -> dict[str, Any]:
    """The parameters that are meant where only the name is given, but for the temperature."""
    return dict(cast(type[Objective], catalogue.params("objectives", name)).when_named)


def bound(name: str, params: Parameters) -> Callable[..., Any]:
    """The objective of that name with parameters that were checked before, such as an entry of a recipe."""
    return partial(catalogue.find("objectives", name).objective, params)
