"""Fault 18: out of memory while encoding. Refused by default; `fallback` keeps the ranking and is in the receipt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mpr.errors import RecipeError
from mpr.search import encode
from mpr.search.vectors import VectorStore
from tests.conftest import Examined
from tests.unit.encodings import task

ERRORS = {
    "torch": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "cpu": lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 2147483648 bytes"),
    "python": MemoryError,
}


class Small(torch.nn.Module):
    """An encoder on a device that holds so many tokens."""

    def __init__(self, inner: Any, room: int, error: Any) -> None:
        super().__init__()
        self.inner, self.room, self.error, self.sizes = inner, room, error, list[tuple[int, int]]()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        if input_ids.numel() > self.room:
            raise self.error()
        self.sizes.append(tuple(input_ids.shape))  # type: ignore[arg-type]
        return self.inner(input_ids=input_ids, attention_mask=attention_mask)

    def __getattr__(self, name: str) -> Any:
        return super().__getattr__(name) if name != "hidden" else self.inner.hidden


def tight(made: encode.Task, room: int, error: Any) -> Small:
    """Puts the task's model on a small device."""
    small = Small(made.model.towers.passage, room, error)
    made.model.towers.passage = small  # type: ignore[assignment]
    return small


def ranking(store: VectorStore) -> Any:
    """Every text's neighbours, by score down and row up."""
    vectors = np.empty((len(store), store.width), dtype=np.float64)
    for shard in store.shards:
        vectors[shard.rows] = shard.block(0, len(shard.rows))
    scores = vectors @ vectors.T
    return np.argsort(-scores, axis=1, kind="stable")


@pytest.mark.parametrize("kind", ERRORS)
def test_refused_by_default(tmp_path: Path, kind: str) -> None:
    made = task(tmp_path)
    tight(made, 100, ERRORS[kind])
    with pytest.raises(
        RecipeError, match="out of memory while encoding 3 texts of 40 tokens; nothing was changed"
    ) as caught:
        encode.run(made, tmp_path / "store")
    assert "allow fallback" in str(caught.value)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("kind", ERRORS)
def test_fallback_keeps_the_ranking_and_is_recorded(tmp_path: Path, kind: str, examined: Examined) -> None:
    expected = ranking(encode.run(task(tmp_path), tmp_path / "whole"))
    made = task(tmp_path, fallback=True)
    small = tight(made, 50, ERRORS[kind])
    store = encode.run(made, tmp_path / "parts")
    receipt = store.manifest.receipt
    split = sum(len(block.rows) * block.width > 50 for number in range(6) for block in made.plan.blocks_of(number))
    assert receipt["fallback"] == {"allowed": True, "split_blocks": split}
    assert split >= 15
    widths = {block.width for number in range(6) for block in made.plan.blocks_of(number)}
    assert {width for _, width in small.sizes} == widths, "parts are as wide as their block"
    assert np.array_equal(ranking(store), expected)
    examined(split, "blocks computed in parts", at_least=15)


def test_a_text_that_never_fits_is_refused(tmp_path: Path) -> None:
    made = task(tmp_path, fallback=True)
    tight(made, 30, ERRORS["torch"])
    with pytest.raises(RecipeError, match=r"encoding 1 texts of 40 tokens.*one text is too much"):
        encode.run(made, tmp_path / "store")


def test_other_errors_are_not_taken_for_it(tmp_path: Path) -> None:
    made = task(tmp_path, fallback=True)
    small = tight(made, 30, lambda: RuntimeError("shape mismatch"))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        encode.run(made, tmp_path / "store")
    assert not small.sizes
