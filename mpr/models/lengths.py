"""Padding cut: the texts of a batch by length, a few groups of them, each only as wide as its longest text.

The vectors are those of one wide forward, up to the rounding of another order of sums. Only dropout differs: what each
text draws depends on the group that it is encoded in, as it depends on its place in the batch anyway.

Shapes: N texts, L tokens, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

Tokens = Mapping[str, Tensor]

PRICE = 256  # tokens that one more forward and backward costs on top of its own: a group must save more than that


def encode(encoder: Callable[..., Tensor], tokens: Tokens, most: int, price: int = PRICE) -> Tensor:
    """The texts' vectors, in their order, from at most so many forwards of the encoder."""
    found = groups(widths(tokens), most, price)
    if len(found) == 1:
        return encoder(**cut(tokens, sorted(found[0])))
    return in_order([encoder(**cut(tokens, rows)) for rows in found], found)


def widths(tokens: Tokens) -> list[int]:
    """Columns that each text needs: up to its last token. Padding before it stays, since it moves positions."""
    mask_NL = tokens["attention_mask"]
    place_L = torch.arange(1, mask_NL.shape[1] + 1, device=mask_NL.device)
    return [int(width) for width in (mask_NL.long() * place_L).amax(dim=1).tolist()] if mask_NL.numel() else []


def cut(tokens: Tokens, rows: Sequence[int]) -> dict[str, Tensor]:
    """These texts alone, without the columns in which all of them are padding."""
    rows_N = torch.as_tensor(rows, device=tokens["attention_mask"].device)
    taken = {name: values_NL[rows_N] for name, values_NL in tokens.items()}
    width = max([1, *widths(taken)])
    return {name: values_NL[:, :width] for name, values_NL in taken.items()}


def in_order(vectors: Sequence[Tensor], rows: Sequence[Sequence[int]]) -> Tensor:
    """Vectors of some rows after those of others, back in the order of the rows."""
    order_N = np.argsort(np.concatenate([np.asarray(part, dtype=np.int64) for part in rows]), kind="stable")
    return torch.cat(list(vectors))[torch.from_numpy(order_N).to(vectors[0].device)]


def longest_first(needed: Sequence[int]) -> list[int]:
    """Rows by falling width. The largest piece of work comes first: what does not fit fails at once."""
    return sorted(range(len(needed)), key=lambda row: (-needed[row], row))


def chunks(needed: Sequence[int], size: int) -> list[list[int]]:
    """The rows in pieces of `size` and a last one of what is left."""
    rows = longest_first(needed)
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def groups(needed: Sequence[int], most: int, price: int = PRICE) -> list[list[int]]:
    """The rows in at most so many groups of similar width, with the fewest padded tokens that so many groups allow.

    A group more must save more than `price` tokens. Rows of one width stay together, so the search is over the widths
    that there are, of which a batch has few, and not over its rows.
    """
    if not needed:
        return [[]]
    rows = longest_first(needed)
    width_K, count_K = np.unique(-np.asarray(needed), return_counts=True)
    end_K = np.cumsum(count_K)
    start_K, width_K = end_K - count_K, -width_K
    # cost_KK[i, j]: tokens of a group of the widths i to j, which is as wide as the first of them
    cost_KK = width_K[:, None] * (end_K[None, :] - start_K[:, None]) + price
    cost_KK = np.where(np.tri(len(width_K), k=-1, dtype=bool), np.iinfo(np.int64).max // 2, cost_KK)
    best_K, cuts = cost_KK[0], []
    for _ in range(most - 1):
        with_cut_KK = np.concatenate([[0], best_K])[: len(width_K), None] + cost_KK
        with_cut_KK[0] = best_K  # no cut at all: what fewer groups cost
        cuts.append(with_cut_KK.argmin(axis=0))
        best_K = with_cut_KK.min(axis=0)
    bounds, end, found = [*start_K.tolist(), len(rows)], len(start_K), []
    for cut_K in reversed(cuts):  # from the last group to the first
        if start := int(cut_K[end - 1]):
            found.append(rows[bounds[start] : bounds[end]])
            end = start
    found.append(rows[: bounds[end]])
    return found[::-1]
