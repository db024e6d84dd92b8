"""A cross-encoder: one transformer that reads a question and a passage together and gives the pair one score.

It is transformers' model for the classification of sequences with a single output, under whose names it is saved. The
score comes out in 32 bits whatever the transformer computes in. On the block of a step it fills those cells that exist
(`mpr/batches/collate.py`); the other cells are neither positive nor negative, so objectives never look at them.

Its folder has files that transformers and sentence-transformers' CrossEncoder open unchanged:

```
config.json, model.safetensors             a model for the classification of sequences with one output
tokenizer.json, tokenizer_config.json      it frames pairs, question first, as the model was trained to read them
mpr.json, manifest.json                    the contract: task, lengths, title, frame
```

Shapes: N pairs, L tokens, Q questions and P passages of the block.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from mpr import storage
from mpr.catalogue import Parameters
from mpr.errors import DataError
from mpr.models import contract, lengths, pretrained, towers
from mpr.models.contract import Base, ScorerContract
from mpr.models.lengths import Groups, Tokens
from mpr.models.templates import PairTemplate, tokenizer_files
from mpr.recipe import keys_towers, rules
from mpr.recipe.keys import CROSS_ENCODER
from mpr.runtime.progress import ours_alone

IDENTITY = "torch.nn.modules.linear.Identity"  # what sentence-transformers is told to do with the score: nothing


class Frame(Parameters):
    """Special tokens around and between question and passage, and the segment of each of the five parts."""

    prefix: tuple[int, ...]
    """Before the question."""
    between: tuple[int, ...]
    """Between question and passage."""
    suffix: tuple[int, ...]
    """Behind the passage."""
    segments: tuple[int, int, int, int, int]
    """Of prefix, question, between, passage and suffix."""

    @classmethod
    def of(cls, template: PairTemplate) -> Frame:
        return cls(**{key: getattr(template, key) for key in cls.model_fields})


class PairContract(ScorerContract):
    """What training fixed of a cross-encoder."""

    task: Literal["cross_encoder"] = "cross_encoder"
    frame: Frame
    """How a pair becomes one text."""

    def content(self) -> dict[str, Any]:
        content = super().content()
        content["tokenizer"], content["base"] = content.pop("tokenizer"), content.pop("base")  # behind the frame
        return content


class Head(torch.nn.Linear):
    """The last layer, in 32 bits: of a score that 16 bits hold, two digits are left."""

    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            kind = torch.promote_types(input.dtype, torch.float32)
            bias = None if self.bias is None else self.bias.to(kind)
            return functional.linear(input.to(kind), self.weight.to(kind), bias)


class CrossEncoder(towers.Recomputing, torch.nn.Module):
    """`groups`: pairs are scored in at most so many groups of similar length (mpr/models/lengths.py)."""

    def __init__(self, settings: keys_towers.Towers, model: Any, base: Base | None = None, groups: Groups = 1) -> None:
        super().__init__()
        self.settings, self.base, self.groups = settings, base, groups
        self.model = with_head(model)
        accepted = inspect.signature(model.forward).parameters
        self.reads_segments = "token_type_ids" in accepted and getattr(model.config, "type_vocab_size", 0) > 1

    def forward(self, pair: Tokens) -> Tensor:
        """The score of every pair."""
        most = lengths.budget(self.groups, pair["input_ids"].device, self.model.config.hidden_size)
        return lengths.encode(self.score, pair, *most)

    def score(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """The same in one forward of all of them."""
        more = {} if token_type_ids is None or not self.reads_segments else {"token_type_ids": token_type_ids}
        scores_N1: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask, **more).logits
        return scores_N1[:, 0]

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


def build(settings: keys_towers.Towers, tokenizer: Any, seed: int, groups: Groups = 1) -> CrossEncoder:
    """The cross-encoder of a recipe, ready to learn. `tokenizer` is the `tokenizers.Tokenizer` of
    mpr/data/_vocabulary.py.

    What a base has no weights for, such as the last layer, is a function of the seed alone.
    """
    towers.refuse_first(rules.of_task(settings, CROSS_ENCODER))
    with torch.random.fork_rng(devices=[]):
        if settings.new is not None:
            from transformers import BertForSequenceClassification

            config = towers.blank_config(settings, settings.new, tokenizer)
            config.num_labels = 1
            towers.draw_from(seed, "backbone")
            return CrossEncoder(settings, BertForSequenceClassification(config), None, groups).train()
        towers.draw_from(seed, "head")
        found = pretrained.load_scorer(str(settings.base), settings.revision)
    towers.refuse_other_tokenizer(found, tokenizer, "towers.base")
    towers.refuse_misfit(settings, found.model, tokenizer)
    return CrossEncoder(settings, found.model, found.base, groups).train()


def write(target: Path, model: CrossEncoder, tokenizer: Any, receipt: Mapping[str, Any] | None = None) -> None:
    """Commits a model folder."""
    template = PairTemplate.of(tokenizer)
    segments = ("token_type_ids",) if model.reads_segments and template.segmented else ()
    found = PairContract.of(model.settings, model.base, tokenizer, frame=Frame.of(template))
    inputs = ("input_ids", "attention_mask", *segments)
    with storage.stage(target, contract.KIND, receipt) as stage:
        with ours_alone():
            model.model.save_pretrained(stage.folder)
        for name, data in tokenizer_files(tokenizer, model.settings.passage_length, inputs):
            stage.write(name, data)
        stage.write(contract.FILE, found.to_bytes())


def load(folder: Path) -> tuple[CrossEncoder, Any, PairContract]:
    """Model, tokenizer and contract of a folder, every byte verified, for scoring."""
    folder = Path(folder)
    storage.verify(folder, contract.KIND)
    found = contract.parsed(PairContract, folder, CROSS_ENCODER)
    with torch.random.fork_rng(devices=[]):  # what is about to be filled is drawn first
        model = CrossEncoder(found.towers, pretrained.opened_scorer(folder), found.base)
    tokenizer = found.opened_tokenizer(folder)
    if Frame.of(PairTemplate.of(tokenizer)) != found.frame:
        what = "is not that of tokenizer.json"
        raise DataError(what, where=str(folder / contract.FILE), key="frame", fix="restore the folder")
    return model.eval(), tokenizer, found
