"""What a training step looks like from outside the loss curve, and when it looks ill.

Shapes: Q rows of this process, P passages of the step, N values.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, distributed

SATURATED = 0.999  # share of the softmax that the best passage of a row takes
COLLAPSED = 0.99  # mean cosine between passages of a batch
STUCK = 1e-3  # relative change of the loss over PATIENCE logs
PATIENCE = 10
SHOWN = 3  # positives of a row whose share of the gradient is logged


def observe(
    scores_QP: Tensor, positives_QP: Tensor, negatives_QP: Tensor, gradient_QP: Tensor, divisor: float | None = 1.0
) -> dict[str, float]:
    """Numbers of one block, over its rows that have a positive; docs/training.md says what each means.

    `gradient_QP` is the gradient of the loss with respect to the scores; the first term divides scores by `divisor`
    before its softmax; None: it has no softmax.
    """
    rows_Q = positives_QP.any(dim=1)
    if not bool(rows_Q.any()):
        return {}
    scores_QP, positives_QP, negatives_QP = scores_QP.float()[rows_Q], positives_QP[rows_Q], negatives_QP[rows_Q]
    low_QP = scores_QP.masked_fill(~positives_QP, float("inf"))
    high_QP = scores_QP.masked_fill(~positives_QP, float("-inf"))
    found = {
        "weakest_positive": float(low_QP.amin(dim=1).mean()),
        "strongest_positive": float(high_QP.amax(dim=1).mean()),
        "positives_in_row": float(positives_QP.sum(dim=1).float().mean()),
    }
    found |= _pull(gradient_QP[rows_Q].abs().float() * positives_QP, positives_QP, low_QP.argmin(dim=1))
    negatives_N = scores_QP[negatives_QP]
    if len(negatives_N):
        found |= dict(zip(("negatives_p05", "negatives_p50", "negatives_p95"), quantiles(negatives_N), strict=True))
    if divisor is not None:
        taken_QP = (scores_QP / divisor).masked_fill(~(positives_QP | negatives_QP), float("-inf")).softmax(dim=1)
        found["saturated_share"] = float((taken_QP.amax(dim=1) > SATURATED).float().mean())
    return found


def _pull(pull_QP: Tensor, positives_QP: Tensor, weakest_Q: Tensor) -> dict[str, float]:
    """How a row's pull on its positives is divided, in rows with several: shares in falling order of pull, and the
    share of the positive with the lowest score. Rows that pull at nothing have no shares."""
    total_Q, count_Q = pull_QP.sum(dim=1), positives_QP.sum(dim=1)
    share_QP = pull_QP / total_Q[:, None]
    sorted_QP = share_QP.sort(dim=1, descending=True).values
    found = {}
    for place in range(min(SHOWN, pull_QP.shape[1])):
        rows_Q = (total_Q > 0) & (count_Q >= max(place + 1, 2))
        if bool(rows_Q.any()):
            found[f"gradient_share_{place + 1}"] = float(sorted_QP[rows_Q, place].mean())
    several_Q = (total_Q > 0) & (count_Q >= 2)
    if bool(several_Q.any()):
        weakest_Q1 = share_QP.gather(1, weakest_Q[:, None])[several_Q]
        found["gradient_share_of_weakest"] = float(weakest_Q1.mean())
    return found


def quantiles(values_N: Tensor, shares: Sequence[float] = (0.05, 0.5, 0.95)) -> list[float]:
    """Interpolated between neighbours, as numpy does; of any number of values, which torch.quantile refuses."""
    sorted_N = values_N.sort().values
    found = []
    for share in shares:
        place = share * (len(sorted_N) - 1)
        low, high = sorted_N[int(place)], sorted_N[min(int(place) + 1, len(sorted_N) - 1)]
        found.append(float(low + (high - low) * (place - int(place))))
    return found


def spread(vectors_ND: Tensor) -> float:
    """Mean cosine between different vectors: near 1 means that the encoder says the same of every text."""
    unit_ND = torch.nn.functional.normalize(vectors_ND.float(), dim=1)
    count = len(unit_ND)
    return float(((unit_ND.sum(dim=0) ** 2).sum() - count) / max(count * (count - 1), 1))


@dataclass
class StepSums:
    """Numbers of the steps since the last log, summed on the device so that a step never waits for them.

    `same` are equal on every process; `parts` are of this process alone, and summed over processes when they are read.
    """

    same: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, Any] = field(default_factory=dict)
    steps: int = 0
    since: float | None = None
    """When the first step after the last log began, or the last log was; None before any step."""

    def start(self) -> None:
        """A step begins. The clock is not part of a checkpoint: a resumed run measures itself."""
        if self.since is None:
            self.since = time.monotonic()

    def pause(self, seconds: float) -> None:
        """Time that was spent on something else than steps."""
        if self.since is not None:
            self.since += seconds

    def add(self, same: Mapping[str, Any], parts: Mapping[str, Any]) -> None:
        self.steps += 1
        for sums, values in ((self.same, same), (self.parts, parts)):
            for name, value in values.items():
                value = value.detach() if isinstance(value, Tensor) else value
                sums[name] = sums[name] + value if name in sums else value

    def read(self, processes: int = 1) -> dict[str, float]:
        """Means a step over all processes, shares and speeds; starts anew. Every process must call it together."""
        now = time.monotonic()
        seconds = max(now - (now if self.since is None else self.since), 1e-9)
        sums = {name: float(value) for name, value in self.same.items()} | self._added(processes)
        found = {name: value / self.steps for name, value in sums.items()}
        places, positive, available = (found.pop(name) for name in ("places", "positives", "positives_available"))
        found |= {"positives_seen": positive, "positives_available": available}
        found["positives_seen_share"] = positive / max(available, 1.0)
        if guarded := found.get("cells_guarded", 0.0):  # they were negatives when the step was drawn
            found |= {"cells_negative": found["cells_negative"] - guarded}
            found |= {"cells_ignored": found["cells_ignored"] + guarded}
        cells = positive + found["cells_negative"] + found["cells_ignored"]
        found["ignored_share"] = found["cells_ignored"] / max(cells, 1.0)
        found["padding_share"] = 1.0 - found["tokens"] / max(places, 1.0)
        found["examples_per_second"] = sums["examples"] / seconds
        found["tokens_per_second"] = sums["tokens"] / seconds
        self.same, self.parts, self.steps, self.since = {}, {}, 0, now
        return found

    def _added(self, processes: int) -> dict[str, float]:
        if processes == 1:
            return {name: float(value) for name, value in self.parts.items()}
        device = next((value.device for value in self.parts.values() if isinstance(value, Tensor)), None)
        names = sorted(self.parts)
        total_N = torch.tensor([float(self.parts[name]) for name in names], dtype=torch.float64, device=device)
        distributed.all_reduce(total_N)
        return dict(zip(names, total_N.tolist(), strict=True))


@dataclass
class Health:
    """Looks at the logged numbers and says, once each, what seems wrong and what to try."""

    said: set[str] = field(default_factory=set)
    losses: list[float] = field(default_factory=list)

    def complaints(self, logs: Mapping[str, Any]) -> list[str]:
        found = {}
        if logs.get("saturated_share", 0.0) > 0.95:
            found["saturated"] = (
                "scores are saturated: in 95 % of the rows one passage takes all of the softmax, and the others teach "
                "nothing; raise the temperature, normalise the vectors or lower the learning rate"
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
