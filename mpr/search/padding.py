"""The padding plan: which texts are encoded together and how wide, a function of their lengths and nothing else.

The bits of a vector depend on the width that its text is padded to, and may depend on its neighbours. So blocks are
fixed before anything is computed: texts by falling length, cut into blocks of a fixed number of padded tokens, and
whole blocks into shards. Neither memory nor the number of processes has a say. The longest come first: what does not
fit into memory fails at once.

Shapes: N texts, B blocks, S shards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mpr.data.token_batches import Side
from mpr.storage.ragged import Integers


@dataclass(frozen=True)
class Constants:
    """What a plan is made by, besides the lengths. It is part of what a store of vectors is."""

    block_tokens: int = 4_096
    """Padded tokens that are encoded at once: few enough to stay in a processor's caches, enough to fill its units."""
    multiple: int = 1
    """Widths are rounded up to a multiple of this."""
    shards: int = 32
    """A collection is cut into about so many shards,"""
    least: int = 1 << 18
    """but a shard has at least so many padded tokens"""
    most: int = 1 << 22
    """and at most so many, give or take a block."""

    @classmethod
    def of(cls, device: str) -> Constants:
        """Those for a kind of device; a GPU needs larger blocks to be busy, and widths that its tensor cores like."""
        return cls(block_tokens=32_768, multiple=8) if device == "cuda" else cls()


@dataclass(frozen=True)
class TextBlock:
    """Texts that are encoded together."""

    rows: Integers
    width: int


@dataclass(frozen=True)
class PaddingPlan:
    """All blocks and shards: block b is `order_N[start_B[b]:start_B[b + 1]]`, shard s the blocks from `first_S[s]`.

    Behind the last shard `first_S` has the number of blocks.
    """

    constants: Constants
    order_N: Integers
    start_B: Integers
    width_B: Integers
    first_S: Integers

    @classmethod
    def of(cls, lengths_N: Integers, constants: Constants) -> PaddingPlan:
        """`lengths_N` counts the tokens of each text as they are encoded, special tokens included."""
        order_N = np.argsort(-lengths_N, kind="stable")
        needed_N = lengths_N[order_N]
        needed_N = np.maximum(-(-needed_N // constants.multiple) * constants.multiple, 1)
        starts = [0]
        while starts[-1] < len(order_N):
            each = max(constants.block_tokens // int(needed_N[starts[-1]]), 1)
            starts.append(min(starts[-1] + each, len(order_N)))
        start_B = np.array(starts, dtype=np.int64)
        width_B = needed_N[start_B[:-1]]
        tokens_B = width_B * np.diff(start_B)
        shard = min(max(int(tokens_B.sum()) // constants.shards, constants.least), constants.most)
        before_B = np.cumsum(tokens_B) - tokens_B
        firsts = np.searchsorted(before_B, np.arange(0, int(tokens_B.sum()), shard), side="left")
        first_S = np.append(np.unique(firsts[firsts < len(tokens_B)]), len(tokens_B)).astype(np.int64)
        return cls(constants, order_N, start_B, width_B, first_S)

    @property
    def shards(self) -> int:
        return len(self.first_S) - 1

    @property
    def blocks(self) -> int:
        return len(self.width_B)

    def rows(self, shard: int) -> Integers:
        """The texts of a shard, in the order in which they are kept."""
        first, last = self.first_S[shard], self.first_S[shard + 1]
        return self.order_N[self.start_B[first] : self.start_B[last]]

    def blocks_of(self, shard: int) -> Iterator[TextBlock]:
        for number in range(int(self.first_S[shard]), int(self.first_S[shard + 1])):
            yield self.block(number)

    def block(self, number: int) -> TextBlock:
        return TextBlock(self.order_N[self.start_B[number] : self.start_B[number + 1]], int(self.width_B[number]))

    def tokens(self, shard: int | None = None) -> int:
        """Padded tokens of a shard, or of everything: what is computed."""
        first, last = (0, self.blocks) if shard is None else (self.first_S[shard], self.first_S[shard + 1])
        return int((self.width_B * np.diff(self.start_B))[first:last].sum())

    def facts(self) -> dict[str, Any]:
        """What receipts say."""
        return {**asdict(self.constants), "blocks": self.blocks, "padded_tokens": self.tokens()}


def lengths(side: Side) -> Integers:
    """Tokens of every text of a side as it is encoded: the width that it has alone."""
    title_N, text_N = side.store.title.lengths(), side.store.text.lengths()
    if side.last_slot == "sep":
        return np.full(len(text_N), side.length)
    special = len(side.template.prefix) + len(side.template.suffix)
    between_N = np.where((title_N > 0) & (text_N > 0), len(side.template.between), 0)
    wanted_N: Integers = title_N + between_N + text_N
    return np.minimum(wanted_N, side.length - special) + special
