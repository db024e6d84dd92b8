"""Towers of random weights and blocks of random tokens, for benchmarks of memory and speed that need no values."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

VOCABULARY = 30_522


@dataclass(frozen=True)
class Shape:
    """BERT encoders of a size, and where and in what they compute."""

    layers: int
    width: int
    shared: bool
    device: str
    autocast: str = "none"  # none | bfloat16 | float16
    groups: Any = 1  # a number, or `auto`

    @property
    def heads(self) -> int:
        return self.width // 32 if self.width < 512 else self.width // 64

    def towers(self, length: int) -> Any:
        from transformers import BertConfig, BertModel

        from mpr.models.towers import DualEncoder, Encoder
        from mpr.recipe import keys_towers

        config = BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=4 * self.width,
        )
        torch.manual_seed(0)
        question = Encoder(BertModel(config, add_pooling_layer=False), "cls", normalize=False)
        passage = question if self.shared else Encoder(BertModel(config, add_pooling_layer=False), "cls", False)
        new = {"layers": self.layers, "width": self.width, "heads": self.heads, "feed_forward": 4 * self.width}
        settings = keys_towers.Towers.model_validate(
            {
                "new": {**new, "vocabulary": VOCABULARY},
                "share": self.shared,
                "pooling": "cls",
                "normalize": False,
                "title": "none",
                "question_length": length,
                "passage_length": length,
            }
        )
        return DualEncoder(settings, question, passage, self.groups).to(self.device).train()

    def context(self) -> AbstractContextManager[Any]:
        kind = getattr(torch, self.autocast, torch.float32)
        return torch.autocast(self.device, kind, enabled=self.autocast != "none")


def block(
    questions: int,
    positives: int,
    length: int,
    device: str,
    *,
    negatives: int = 1,
    question_length: int | None = None,
    spread: float = 0.0,
) -> dict[str, Any]:
    """Questions with their own positives and negatives, no passage shared. `spread`: texts take from (1 - spread) of
    their length to all of it, evenly; 0 fills every text."""
    passages = questions * (positives + negatives)
    owner_P = torch.arange(passages) % questions
    positives_QP = (owner_P == torch.arange(questions)[:, None]) & (torch.arange(passages) < questions * positives)
    return {
        "question": _tokens(questions, question_length or length, spread, device),
        "passage": _tokens(passages, length, spread, device),
        "positives_QP": positives_QP.to(device),
        "negatives_QP": (~positives_QP).to(device),
    }


def _tokens(texts: int, length: int, spread: float, device: str) -> dict[str, torch.Tensor]:
    ids_NL = torch.randint(1000, VOCABULARY, (texts, length))
    needed_N = (length * (1 - spread * torch.linspace(0, 1, texts))).round().clamp(min=1).long()[torch.randperm(texts)]
    mask_NL = (torch.arange(length)[None, :] < needed_N[:, None]).long()
    return {"input_ids": (ids_NL * mask_NL).to(device), "attention_mask": mask_NL.to(device)}


def terms(name: str, **options: Any) -> Any:
    """The terms of an objective of one term."""
    from pydantic import TypeAdapter

    from mpr.recipe.keys import ObjectivePart
    from mpr.training._loss import Terms

    return Terms([TypeAdapter(ObjectivePart).validate_python({"name": name, **options})])


def stepping(shape: Shape, model: Any, batch: dict[str, Any], objective: Any, chunk: int | None) -> Callable[[], None]:
    """Forward and backward of the block; in chunks of so many texts if given."""
    from mpr.recipe.keys import Cache
    from mpr.runtime.processes import Place
    from mpr.training import _block as scale

    def step() -> None:
        if chunk is not None:
            cache = Cache(questions=chunk, passages=chunk)
            scale.cached_step(model, batch, objective, Place(), cache, gather=False, autocast=shape.context)
        else:
            with shape.context():
                found = scale.block_loss(model, batch, objective, Place(), gather=False)
            found.loss.backward()

    return step
