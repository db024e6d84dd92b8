"""A cross-encoder: one transformer that reads a question and a passage together and gives the pair one score.

It is transformers' model for the classification of sequences with a single output, under whose names it is saved. The
score comes out in 32 bits whatever the transformer computes in. On the block of a step it fills those cells that exist
(`mpr/batches/pair_collate.py`); the other cells are neither positive nor negative, so objectives never look at them.

Shapes: N pairs, L tokens, Q questions and P passages of the block.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mpr.errors import RecipeError
from mpr.models import lengths, pretrained, towers
from mpr.models.contract import Base
from mpr.models.towers import Tokens
from mpr.recipe import keys, rules
from mpr.recipe.strict_yaml import dotted

IDENTITY = "torch.nn.modules.linear.Identity"  # what sentence-transformers is told to do with the score: nothing


class Head(torch.nn.Linear):
    """The last layer, in 32 bits: of a score that 16 bits hold, two digits are left."""

    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            kind = torch.promote_types(input.dtype, torch.float32)
            bias = None if self.bias is None else self.bias.to(kind)
            return functional.linear(input.to(kind), self.weight.to(kind), bias)


class CrossEncoder(towers.Recomputing, torch.nn.Module):
    """`groups`: pairs are scored in at most so many groups of similar length (mpr/models/lengths.py)."""

    def __init__(self, settings: keys.Towers, model: Any, base: Base | None = None, groups: int = 1) -> None:
        super().__init__()
        self.settings, self.base, self.groups = settings, base, groups
        self.model = with_head(model)
        accepted = inspect.signature(model.forward).parameters
        self.reads_segments = "token_type_ids" in accepted and getattr(model.config, "type_vocab_size", 0) > 1

    def forward(self, pair: Tokens) -> Tensor:
        """The score of every pair."""
        return lengths.encode(self.score, pair, self.groups)

    def score(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """The same in one forward of all of them."""
        more = {} if token_type_ids is None or not self.reads_segments else {"token_type_ids": token_type_ids}
        scores_N1: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask, **more).logits
        return scores_N1[:, 0]

    @property
    def _no_split_modules(self) -> set[str]:
        """Kinds of layers that must stay whole when weights are sharded; accelerate asks for them by this name."""
        return set(self.model._no_split_modules or ())

    def recomputed(self) -> list[Any]:
        return [self.model]


def with_head(model: Any) -> Any:
    """The model with its last layer in 32 bits, and with what other programs must know of its score."""
    last = [name for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)][-1]
    layer: torch.nn.Linear = model.get_submodule(last)
    assert layer.out_features == 1, "the last layer gives the score"
    head = Head(layer.in_features, 1, bias=layer.bias is not None, device="meta")  # nothing is drawn for it
    head.weight, head.bias = layer.weight, layer.bias
    model.set_submodule(last, head)
    model.config.sentence_transformers = {"activation_fn": IDENTITY}
    return model


def build(settings: keys.Towers, tokenizer: Any, seed: int, groups: int = 1) -> CrossEncoder:
    """The cross-encoder of a recipe, ready to learn. `tokenizer` is the `tokenizers.Tokenizer` of
    mpr/data/_vocabulary.py.

    What a base has no weights for, such as the last layer, is a function of the seed alone.
    """
    for path, what, fix in rules.of_task(settings, keys.CROSS_ENCODER):
        raise RecipeError(what, key=dotted(path), fix=fix)
    with torch.random.fork_rng(devices=[]):
        if settings.new is not None:
            return CrossEncoder(settings, _blank(settings, settings.new, tokenizer, seed), None, groups).train()
        towers.draw_from(seed, "head")
        found = pretrained.load_scorer(str(settings.base), settings.revision)
    towers.refuse_other_tokenizer(found, tokenizer, "towers.base")
    towers.refuse_misfit(settings, found.model, tokenizer)
    return CrossEncoder(settings, found.model, found.base, groups).train()


def _blank(settings: keys.Towers, new: keys.NewEncoder, tokenizer: Any, seed: int) -> Any:
    from transformers import BertForSequenceClassification

    config = towers.blank_config(settings, new, tokenizer)
    config.num_labels = 1
    towers.draw_from(seed, "backbone")
    return BertForSequenceClassification(config)
