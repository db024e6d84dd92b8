"""What a training step looks like from outside the loss curve, and when it looks ill.

Shapes: Q rows of this process, P passages of the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

SATURATED = 0.999  # share of the softmax that the best passage of a row takes
COLLAPSED = 0.99  # mean cosine between passages of a batch
STUCK = 1e-3  # relative change of the loss over PATIENCE logs
PATIENCE = 10


def observe(scores_QP: Tensor, positives_QP: Tensor, negatives_QP: Tensor, gradient_QP: Tensor) -> dict[str, float]:
    """Numbers of one block; `gradient_QP` is the gradient of its loss with respect to its scores."""
    scores_QP, cells = scores_QP.float(), max(scores_QP.numel(), 1)
    rows_Q = positives_QP.any(dim=1)
    found = {"ignored_share": 1.0 - float((positives_QP | negatives_QP).sum()) / cells}
    if not bool(rows_Q.any()):
        return found
    low_QP = scores_QP.masked_fill(~positives_QP, float("inf"))[rows_Q]
    high_QP = scores_QP.masked_fill(~positives_QP, float("-inf"))[rows_Q]
    found["weakest_positive"] = float(low_QP.amin(dim=1).mean())
    found["strongest_positive"] = float(high_QP.amax(dim=1).mean())
    found["positives_in_row"] = float(positives_QP[rows_Q].sum(dim=1).float().mean())
    found |= _pull(gradient_QP[rows_Q].abs() * positives_QP[rows_Q])
    negatives = scores_QP[negatives_QP]
    if negatives.numel():
        shares = torch.tensor([0.05, 0.5, 0.95], device=negatives.device)
        low, middle, high = torch.quantile(negatives[: 1 << 22], shares).tolist()
        found |= {"negatives_p05": low, "negatives_p50": middle, "negatives_p95": high}
    taken_QP = scores_QP.masked_fill(~(positives_QP | negatives_QP), float("-inf"))[rows_Q].softmax(dim=1)
    found["saturated_share"] = float((taken_QP.amax(dim=1) > SATURATED).float().mean())
    return found


def _pull(pull_QP: Tensor) -> dict[str, float]:
    """How a row's pull on its positives is divided: the share of the one that is pulled most, and evenness in 0..1."""
    total_Q = pull_QP.sum(dim=1, keepdim=True)
    share_QP = pull_QP / total_Q.clamp_min(torch.finfo(pull_QP.dtype).tiny)
    several_Q = (pull_QP > 0).sum(dim=1) > 1
    if not bool(several_Q.any()):
        return {}
    return {"gradient_share_of_first": float(share_QP[several_Q].amax(dim=1).mean())}


def spread(vectors: Tensor) -> float:
    """Mean cosine between different vectors: near 1 means that the encoder says the same of every text."""
    unit = torch.nn.functional.normalize(vectors.float(), dim=1)
    count = len(unit)
    return float(((unit.sum(dim=0) ** 2).sum() - count) / max(count * (count - 1), 1))


@dataclass
class Health:
    """Looks at the logged numbers and says, once each, what seems wrong and what to try."""

    said: set[str] = field(default_factory=set)
    losses: list[float] = field(default_factory=list)

    def complaints(self, logs: Mapping[str, Any]) -> list[str]:
        found = {}
        if logs.get("saturated_share", 0.0) > 0.95:
            found["saturated"] = (
                "scores are saturated: in 95 % of the rows one passage takes all of the softmax, so gradients vanish; "
                "raise the temperature, normalise the vectors or lower the learning rate"
            )
        if logs.get("passage_cosine", 0.0) > COLLAPSED:
            found["collapsed"] = (
                "vectors have collapsed: passages of a batch have a mean cosine above 0.99; "
                "lower the learning rate, warm up longer, or look for an objective without negatives"
            )
        if isinstance(logs.get("loss"), float):
            self.losses.append(logs["loss"])
            recent = self.losses[-PATIENCE:]
            if len(recent) == PATIENCE and max(recent) - min(recent) < STUCK * abs(recent[-1]):
                found["stuck"] = (
                    f"the loss has moved less than 0.1 % over {PATIENCE} logs; with bce scaling: softmax it hardly can "
                    "(it lies between 0.68 and 0.71 per pair): try scaling: probability, or a higher learning rate"
                )
        fresh = {name: text for name, text in found.items() if name not in self.said}
        self.said |= set(fresh)
        return list(fresh.values())
