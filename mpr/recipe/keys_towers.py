"""Keys of `towers`: the encoders of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mpr.catalogue import Parameters
from mpr.recipe.keys_draw import Count

Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]

PACKABLE = (
    "bert",
    "camembert",
    "distilbert",
    "electra",
    "eurobert",
    "llama",
    "mistral",
    "modernbert",
    "qwen2",
    "qwen3",
    "roberta",
    "xlm-roberta",
)
"""Families of encoders, as transformers calls them, that read texts without padding as they read them with it."""


class NewEncoder(Parameters):
    """A BERT-shaped encoder with random weights; its WordPiece vocabulary is learned from the corpus."""

    layers: Count
    """Transformer layers."""
    width: Count
    """Size of the hidden vectors, and of the embedding."""
    heads: Count
    """Attention heads; divides `width`."""
    feed_forward: Count
    """Inner size of the feed-forward block."""
    vocabulary: Annotated[int, Field(ge=300)]
    """Number of word pieces to learn."""


class Lora(Parameters):
    """Low-rank adapters instead of full fine-tuning (peft)."""

    rank: Count
    """Inner size of the adapters."""
    alpha: Count
    """Scaling numerator of the adapters."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)]
    """Dropout inside the adapters."""
    modules: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of the linear layers to adapt, such as `query` and `value` for BERT."""
    towers: Literal["both", "question", "passage"] = "both"
    """Which towers get adapters; the other stays frozen."""


class Towers(Parameters):
    """The question and the passage encoder."""

    base: str | None = None
    """Pretrained encoder: a Hub id or a folder."""
    revision: Commit | None = None
    """Commit of the Hub repository (40 hex digits, in quotes)."""
    passage_base: str | None = None
    """Pretrained passage encoder, where it is not `base` as well: DPR published its two encoders one by one."""
    passage_revision: Commit | None = None
    """Commit of the repository of `passage_base`."""
    new: NewEncoder | None = None
    """Instead of `base`: an encoder from random weights."""
    share: bool
    """true: one encoder for questions and passages; false: two."""
    train: Literal["both", "question"] = "both"
    """Who learns. `question`: passages are encoded once, with the weights that training starts from, and stay so."""
    pooling: Literal["cls", "mean", "last", "none"]
    """How token vectors become one vector. `none`: they do not, every token keeps its own (late interaction)."""
    normalize: bool
    """Scale vectors to length one, so that the inner product is the cosine."""
    projection: Count | None = None
    """Size of a linear layer on top; null: none."""
    title: Literal["pair", "join", "none"]
    """`pair`: title and text as a sentence pair with segment ids 0 (DPR); `join`: with a space between; `none`."""
    question_prompt: str = ""
    """Text put before every question."""
    passage_prompt: str = ""
    """Text put before every passage (before the title, if any)."""
    question_length: Annotated[int, Field(ge=4, le=8192)]
    """Tokens of a question, special tokens included; of a cross-encoder, the most that a question takes of a pair."""
    passage_length: Annotated[int, Field(ge=4, le=8192)]
    """Tokens of a passage, special tokens included; of a cross-encoder, tokens of question and passage together."""
    pair_cut: Literal["end", "longest_first"] = "end"
    """With `title: pair`, what is cut where title and text are too long: the `end` of the pair; `longest_first`, the
    longer of the two, as DPR does."""
    last_slot: Literal["pad", "sep"] = "pad"
    """What stands in the last place of a text that is shorter than its length. `sep`: the last special token once more,
    and it is attended to, as in DPR. Every text is then padded to its full length and costs as much."""
    question_apostrophe: Literal["keep", "straight"] = "keep"
    """`straight`: a typographic apostrophe (U+2019) of a question is read as ', as DPR does."""
    lora: Lora | None = None
    """Low-rank adapters; null: all weights learn."""
    weights: Literal["float32", "bfloat16"] = "float32"
    """How the frozen weights under `lora` are held in training. `bfloat16`: in half the memory, rounded, and the model
    is the rounded one for good. What learns is 32-bit in either case."""
    attention: Literal["auto", "sdpa", "flash_attention_2", "eager"] = "auto"
    """How attention is computed in training. `auto`: as transformers chooses, which is `sdpa` (torch's) where the model
    has it; `flash_attention_2` needs the package flash-attn, a GPU and 16 bits; `eager`: plain products."""
