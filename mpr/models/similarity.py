"""Similarity of vectors: inner products, and the best matches of late interaction."""

from __future__ import annotations

import torch
from torch import Tensor


def inner_products(left_ND: Tensor, right_MD: Tensor) -> Tensor:
    """In 32 bits at least, whatever the vectors came in and whatever autocast would do."""
    kind = torch.promote_types(torch.promote_types(left_ND.dtype, right_MD.dtype), torch.float32)
    with torch.autocast(left_ND.device.type, enabled=False):
        return left_ND.to(kind) @ right_MD.to(kind).T
