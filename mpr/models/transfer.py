"""Numbers on their way to a device.

A GPU computes while the program goes on. A copy from ordinary memory makes the program wait until everything before it
is computed; a copy from pinned memory does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device, without waiting for it."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def all_sent(values: Any, device: torch.device) -> Any:
    """The same of every tensor in a batch; what is no tensor stays."""
    if isinstance(values, Tensor):
        return sent(values, device)
    if isinstance(values, Mapping):
        return {name: all_sent(value, device) for name, value in values.items()}
    return values
