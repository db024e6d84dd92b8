"""Shapes of encoders that are known without loading them: what a plan and the rules need.

The numbers of published models are those of their configuration files on the Hub. Parameters are computed from them by
the formula below, which a test checks against the modules that transformers builds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpr.errors import RecipeError
from mpr.recipe.keys_towers import Towers

BERT_LINEARS = {  # the linear layers of a transformer layer: name -> sizes in and out, in letters of `_size`
    "attention.self.query": "ww",
    "attention.self.key": "ww",
    "attention.self.value": "ww",
    "attention.output.dense": "ww",
    "intermediate.dense": "wf",
    "output.dense": "fw",
}
DISTILBERT_LINEARS = {
    "attention.q_lin": "ww",
    "attention.k_lin": "ww",
    "attention.v_lin": "ww",
    "attention.out_lin": "ww",
    "ffn.lin1": "wf",
    "ffn.lin2": "fw",
}


@dataclass(frozen=True)
class Backbone:
    """Shape of a BERT-like encoder."""

    layers: int
    width: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    segments: int = 2
    family: str = "bert"

    @property
    def longest(self) -> int:
        """Most tokens of a text. RoBERTa counts positions from its padding id + 1, which costs two."""
        return self.positions - (2 if self.family in ("roberta", "xlm-roberta") else 0)

    @property
    def embedding_parameters(self) -> int:
        return (self.vocabulary + self.positions + self.segments + 2) * self.width  # +2: scale and shift of LayerNorm

    @property
    def layer_parameters(self) -> int:
        """All transformer layers: attention, feed-forward, two LayerNorms each, biases included."""
        attention = 4 * (self.width * self.width + self.width)
        feed_forward = 2 * self.width * self.feed_forward + self.feed_forward + self.width
        return self.layers * (attention + feed_forward + 4 * self.width)

    @property
    def parameters(self) -> int:
        """Without a pooler, which dense retrievers do not use."""
        return self.embedding_parameters + self.layer_parameters

    @property
    def all_linears(self) -> Mapping[str, str]:
        return DISTILBERT_LINEARS if self.family == "distilbert" else BERT_LINEARS

    def linears(self, module: str) -> dict[str, tuple[int, int]]:
        """Linear layers of a layer that a module name means, by peft's rule (its end): name -> (in, out)."""
        size = {"w": self.width, "f": self.feed_forward}
        return {
            name: (size[letters[0]], size[letters[1]])
            for name, letters in self.all_linears.items()
            if f".{name}".endswith(f".{module}")
        }


_BERT_BASE = Backbone(12, 768, 12, 3072, 30_522, 512)
_DISTILBERT_BASE = Backbone(6, 768, 12, 3072, 30_522, 512, segments=0, family="distilbert")
PUBLISHED = {
    "google-bert/bert-base-uncased": _BERT_BASE,
    "bert-base-uncased": _BERT_BASE,
    "sentence-transformers/all-MiniLM-L6-v2": Backbone(6, 384, 12, 1536, 30_522, 512),
    "distilbert/distilbert-base-uncased": _DISTILBERT_BASE,
    "sentence-transformers/msmarco-distilbert-base-tas-b": _DISTILBERT_BASE,
    "castorini/ance-msmarco-passage": Backbone(12, 768, 12, 3072, 50_265, 514, segments=1, family="roberta"),
    "facebook/dpr-question_encoder-single-nq-base": _BERT_BASE,
    "facebook/dpr-question_encoder-multiset-base": _BERT_BASE,
}
_BERT_KEYS = (
    "num_hidden_layers",
    "hidden_size",
    "num_attention_heads",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
    "type_vocab_size",
)
_KEYS = {  # names of the numbers above in the configuration of each family that the formula holds for
    "bert": _BERT_KEYS,
    "roberta": _BERT_KEYS,
    "xlm-roberta": _BERT_KEYS,
    "distilbert": ("n_layers", "dim", "n_heads", "hidden_dim", "vocab_size", "max_position_embeddings"),
}


def of(towers: Towers) -> Backbone | None:
    """The shape of a recipe's encoder; None for one that is not in the table and not on disk, or of another family."""
    if towers.new is not None:
        new = towers.new
        longest = max(towers.question_length, towers.passage_length)
        return Backbone(new.layers, new.width, new.heads, new.feed_forward, new.vocabulary, max(512, longest))
    if towers.base in PUBLISHED:
        return PUBLISHED[towers.base]
    config = Path(towers.base or "") / "config.json"
    return _read(config) if towers.base is not None and os.path.isfile(config) else None  # a name may be too long


def _read(config: Path) -> Backbone | None:
    """From the `config.json` of a model folder."""
    try:
        found: dict[str, Any] = json.loads(config.read_text("utf-8"))
        family = str(found["model_type"])
        if family not in _KEYS:
            return None
        numbers = [int(found[name]) for name in _KEYS[family]]
        numbers += [0] * (len(_BERT_KEYS) - len(numbers))  # DistilBERT has no segments
    except (ValueError, KeyError, TypeError) as error:
        what = f"is not the configuration of an encoder: {error!r}"
        raise RecipeError(what, where=str(config), key="towers.base") from error
    layers, width, heads, feed_forward, vocabulary, positions, segments = numbers
    return Backbone(layers, width, heads, feed_forward, vocabulary, positions, segments, family)
