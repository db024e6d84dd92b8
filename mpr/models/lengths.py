"""Padding cut: the texts of a batch by length, a few groups of them, each only as wide as its longest text.

The vectors are those of one wide forward, up to the rounding of another order of sums. Only dropout differs: what each
text draws depends on the group that it is encoded in, as it depends on its place in the batch anyway.

A GPU must not be asked how long the texts are: it would have to finish what it is doing first. So texts are measured
while they are on the host (`measured`), and what was found goes along with them, as numbers of the host.

Shapes: N texts, L tokens, D dimensions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mpr.models._attention_masks import padding_known
from mpr.models.transfer import all_sent, sent
from mpr.recipe import gpus
from mpr.storage.ragged import Integers

Tokens = Mapping[str, Any]
"""`input_ids`, `attention_mask`, perhaps `token_type_ids`: texts by tokens. And `sizes`, see `measured`."""
Groups = int | Literal["auto", "packed"]
"""At most so many groups; `auto`: as many as pay for themselves; `packed`: none, see mpr/models/packing.py."""

SIZES = "sizes"
PRICE = 256  # tokens that one more forward and backward costs on a processor: a group must save more than that
MOST = 4  # groups of `auto` on a processor
MOST_ON_GPU = 8
LAUNCHES = 80  # kernels that one layer starts, forward and backward, with autocast; counted in BERT
LAUNCH = 7e-6  # seconds that the program needs to start a kernel


def encode(encoder: Callable[..., Tensor], tokens: Tokens, most: int, price: int = PRICE) -> Tensor:
    """The texts' vectors, in their order, from at most so many forwards of the encoder."""
    tokens = measured(tokens)
    found = groups(widths(tokens), most, price)
    if len(found) == 1:
        return _forward(encoder, cut(tokens, sorted(found[0])))
    return in_order([_forward(encoder, cut(tokens, rows)) for rows in found], found)


def _forward(encoder: Callable[..., Tensor], tokens: Tokens) -> Tensor:
    width, count_N = tokens["input_ids"].shape[1], tokens[SIZES][1]
    with padding_known(bool((count_N < width).any())):
        return encoder(**{name: part for name, part in tokens.items() if name != SIZES})


def budget(wanted: Groups, device: torch.device, hidden: int) -> tuple[int, int]:
    """How many groups there may be, and how many tokens one must save; for layers with so large hidden vectors."""
    most = (MOST if device.type == "cpu" else MOST_ON_GPU) if isinstance(wanted, str) else wanted
    return most, PRICE if device.type != "cuda" else _gpu_price(str(device), hidden)


@functools.cache
def _gpu_price(device: str, hidden: int) -> int:
    """Tokens that a GPU computes, forward and backward, in the time that the program needs to start one more group.

    A layer has 12 hidden^2 weights, each with 6 operations a token, so the number of layers cancels out. A GPU that is
    not in the table counts as an A100. The price is of 16 bits: in 32 bits a GPU is slower, and groups pay even more.
    """
    gpu = gpus.named(torch.cuda.get_device_name(device)) or gpus.GPUS["A100"]
    return round(LAUNCHES * LAUNCH * gpus.UTILISATION * gpu.half * 1e12 / (72 * hidden * hidden))


def measured(tokens: Tokens) -> dict[str, Any]:
    """The texts, and under `sizes`, on the host, how many columns each needs and how many tokens it has.

    A text needs the columns up to its last token. Padding before it stays, since it moves positions.
    """
    if SIZES in tokens:
        return dict(tokens)
    mask_NL = tokens["attention_mask"].cpu().numpy() != 0
    width_N = (mask_NL * np.arange(1, mask_NL.shape[1] + 1)).max(axis=1, initial=0)
    return {**tokens, SIZES: np.stack([width_N, mask_NL.sum(axis=1)]).astype(np.int64)}


def moved(tokens: Tokens, device: torch.device) -> dict[str, Any]:
    """Texts measured and on their way to a device."""
    found: dict[str, Any] = all_sent(measured(tokens), device)
    return found


def widths(tokens: Tokens) -> list[int]:
    """Columns that each text needs."""
    needed: list[int] = measured(tokens)[SIZES][0].tolist()
    return needed


def cut(tokens: Tokens, rows: Sequence[int]) -> dict[str, Any]:
    """These texts alone, without the columns in which all of them are padding."""
    tokens = measured(tokens)
    sizes_2N: Integers = tokens[SIZES][:, list(rows)]
    width = int(sizes_2N[0].max(initial=1))
    taken = {name: values_NL for name, values_NL in tokens.items() if name != SIZES}
    if list(rows) != list(range(len(tokens["input_ids"]))):
        rows_N = sent(torch.as_tensor(rows, dtype=torch.int64), tokens["input_ids"].device)
        taken = {name: values_NL[rows_N] for name, values_NL in taken.items()}
    return {**{name: values_NL[:, :width] for name, values_NL in taken.items()}, SIZES: sizes_2N}


def in_order(vectors: Sequence[Tensor], rows: Sequence[Sequence[int]]) -> Tensor:
    """Vectors of some rows after those of others, back in the order of the rows."""
    order_N = np.argsort(np.concatenate([np.asarray(part, dtype=np.int64) for part in rows]), kind="stable")
    return torch.cat(list(vectors))[sent(torch.from_numpy(order_N), vectors[0].device)]


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
