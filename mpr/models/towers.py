"""The question and the passage encoder: a transformer, pooling, and if asked for a projection and normalisation.

Some published encoders end with a layer norm behind their projection (ANCE); it is used as it is, and never trained.

Vectors come out in 32 bits whatever the transformer computes in, and a text's vector does not depend on its neighbours
in the batch. No segment ids are given: a title and its text, a pair for the tokenizer, both are segment 0, as in DPR.

Shapes: N texts, L tokens, D size of the hidden vectors, W size of the vectors that come out.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mpr.errors import DataError, RecipeError
from mpr.models import _adapters, lengths, packing, pretrained, templates
from mpr.models.contract import Base
from mpr.models.lengths import Groups, Tokens
from mpr.recipe import keys, keys_towers, rules
from mpr.recipe.strict_yaml import Finding, dotted
from mpr.runtime import randomness


class Encoder(torch.nn.Module):
    """Texts, as token ids with their mask, to vectors."""

    def __init__(
        self,
        backbone: torch.nn.Module,
        pooling: str,
        normalize: bool,
        projection: torch.nn.Linear | None = None,
        base: Base | None = None,
        norm: torch.nn.LayerNorm | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.projection = projection
        self.norm = norm
        self.pooling, self.normalize, self.base = pooling, normalize, base

    @property
    def transformer(self) -> Any:
        """The plain transformer, under its adapters if it has any."""
        return _adapters.under(self.backbone)

    @property
    def hidden(self) -> int:
        """Size of the transformer's vectors."""
        return int(self.transformer.config.hidden_size)

    @property
    def width(self) -> int:
        """Size of the vectors that come out."""
        return self.hidden if self.projection is None else self.projection.out_features

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden_NLD = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        with torch.autocast(hidden_NLD.device.type, enabled=False):  # what follows is cheap, and every digit counts
            hidden_NLD = hidden_NLD.to(torch.promote_types(hidden_NLD.dtype, torch.float32))
            return self._finished(pooled(hidden_NLD, attention_mask, self.pooling))

    def packed(self, tokens: Tokens) -> Tensor:
        """The same without padding; the encoder must have been prepared for it (mpr/models/packing.py)."""
        return self._finished(packing.encode(self.backbone, self.transformer, tokens, self.pooling))

    def _finished(self, vectors_NW: Tensor) -> Tensor:
        """What follows the pooling."""
        with torch.autocast(vectors_NW.device.type, enabled=False):
            if self.projection is not None:
                weight, bias = (part.to(vectors_NW.dtype) for part in (self.projection.weight, self.projection.bias))
                vectors_NW = functional.linear(vectors_NW, weight, bias)  # sharding wrappers may hold it in 16 bits
            if self.norm is not None:
                vectors_NW = self.norm(vectors_NW)
            return functional.normalize(vectors_NW, dim=-1) if self.normalize else vectors_NW


def pooled(hidden_NLD: Tensor, mask_NL: Tensor, pooling: str) -> Tensor:
    """One vector of each text's tokens, wherever the padding is: left, right or both."""
    present_NL = mask_NL.bool()
    if pooling == "mean":
        # Selected and not multiplied: what stands at padding may be anything, not-a-number included.
        kept_NLD = hidden_NLD.masked_fill(~present_NL[:, :, None], 0.0)
        return kept_NLD.sum(dim=1) / present_NL.sum(dim=1, keepdim=True).clamp(min=1)
    last = mask_NL.shape[1] - 1
    place_N = present_NL.int().argmax(dim=1) if pooling == "cls" else last - present_NL.flip(1).int().argmax(dim=1)
    return hidden_NLD[torch.arange(len(hidden_NLD), device=hidden_NLD.device), place_N]


def cut(vectors_NW: Tensor, width: int, unit: bool) -> Tensor:
    """Their first `width` numbers, in 32 bits or more, and of length one again if `unit`."""
    cut_NW = vectors_NW[:, :width]
    cut_NW = cut_NW.float() if cut_NW.element_size() < 4 else cut_NW
    return functional.normalize(cut_NW, dim=-1) if unit else cut_NW


def inner_products(left_ND: Tensor, right_MD: Tensor) -> Tensor:
    """The similarity of every vector with every other, in 32 bits at least, whatever autocast would do."""
    kind = torch.promote_types(torch.promote_types(left_ND.dtype, right_MD.dtype), torch.float32)
    with torch.autocast(left_ND.device.type, enabled=False):
        return left_ND.to(kind) @ right_MD.to(kind).T


class Recomputing:
    """Keeps one vector per token and layer and computes the rest again in the backward pass, when the Trainer calls for
    it by either name. It is no ABC: FSDP gives modules another class, and those of an ABC have another layout."""

    recomputed: Callable[[], list[Any]]
    """The transformers that do so; every model defines it."""

    def activation_checkpointing_enable(
        self, activation_checkpointing_kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        given = {"use_reentrant": False, **(activation_checkpointing_kwargs or {})}
        for transformer in self.recomputed():
            by_its_name = getattr(transformer, "activation_checkpointing_enable", None)
            try:
                (by_its_name or transformer.gradient_checkpointing_enable)(dict(given), **options)
            except ValueError as error:
                fix = "set it to false, or use scale.cache"
                raise RecipeError(str(error), key="training.gradient_checkpointing", fix=fix) from error

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        """The same by the name that transformers before 5.23 calls."""
        self.activation_checkpointing_enable(gradient_checkpointing_kwargs, **options)

    @property
    def _no_split_modules(self) -> set[str]:
        """Kinds of layers that must stay whole when weights are sharded; accelerate asks for them by this name."""
        return {name for transformer in self.recomputed() for name in transformer._no_split_modules or ()}


class DualEncoder(Recomputing, torch.nn.Module):
    """Both encoders under one forward, so that a distributed wrapper sees one. Shared towers are one module.

    `groups`: a side's texts are encoded in at most so many groups of similar length (mpr/models/lengths.py).
    """

    def __init__(self, settings: keys_towers.Towers, question: Encoder, passage: Encoder, groups: Groups = 1) -> None:
        super().__init__()
        self.groups = groups
        self.settings = settings  # not `config`: transformers' Trainer would write into it
        self.question = question
        self.passage = passage

    @property
    def width(self) -> int:
        """Size of the vectors."""
        return self.question.width

    @property
    def shared(self) -> bool:
        return self.question is self.passage

    def encoders(self) -> tuple[Encoder, ...]:
        """Each encoder once."""
        return (self.question,) if self.shared else (self.question, self.passage)

    @property
    def _no_split_modules(self) -> set[str]:
        return {name for encoder in self.encoders() for name in encoder.transformer._no_split_modules or ()}

    @property
    def has_adapters(self) -> bool:
        return any(_adapters.is_on(encoder.backbone) for encoder in self.encoders())

    def merge_adapters(self) -> None:
        """Adds the adapters to the weights of their encoders."""
        for encoder in self.encoders():
            if _adapters.is_on(encoder.backbone):
                encoder.backbone = _adapters.merged(encoder.backbone)

    def forward(self, question: Tokens | None = None, passage: Tokens | None = None) -> tuple[Any, Any]:
        """Vectors of the questions and of the passages; None for a side that is not given."""
        return (
            None if question is None else self._vectors(self.question, question),
            None if passage is None else self._vectors(self.passage, passage),
        )

    def _vectors(self, encoder: Encoder, texts: Tokens) -> Tensor:
        if self.groups == keys.PACKED:
            return encoder.packed(texts)
        device = texts["input_ids"].device
        return lengths.encode(encoder, texts, *lengths.budget(self.groups, device, encoder.hidden))

    def trainable(self) -> list[tuple[str, torch.nn.Parameter]]:
        """Every parameter that learns, with its name; those of shared towers once."""
        return [(name, parameter) for name, parameter in self.named_parameters() if parameter.requires_grad]

    def recomputed(self) -> list[Any]:
        """A frozen tower is left alone: it keeps nothing anyway, and would be made to."""
        return [
            encoder.transformer
            for encoder in self.encoders()
            if any(parameter.requires_grad for parameter in encoder.parameters())
        ]


def build(
    settings: keys_towers.Towers, tokenizer: Any, seed: int, groups: Groups = 1, *, published: bool = False
) -> DualEncoder:
    """The towers of a recipe, ready to learn. `tokenizer` is the `tokenizers.Tokenizer` of mpr/data/_vocabulary.py.
    `published`: nothing is learned, the encoders are used whole and as their publisher says.

    Random weights are a function of the seed alone, not of any generator's state. Separate towers start from equal
    weights, as two copies of one pretrained encoder do: two random spaces would have nothing in common.
    """
    refuse_first((*rules.of_towers(settings), *rules.of_task(settings, keys.DUAL_ENCODER)))
    with torch.random.fork_rng(devices=[]):
        question = _encoder(settings, tokenizer, "question", seed, published)
        if settings.share:
            passage = question
        elif settings.passage_base is None:
            passage = copy.deepcopy(question)
        else:
            passage = _encoder(settings, tokenizer, "passage", seed, published)
            if question.width != passage.width:
                what = f"makes vectors of {passage.width} numbers, base of {question.width}"
                fix = "use two encoders of one size, or a projection"
                raise RecipeError(what, key="towers.passage_base", fix=fix)
    return learning(settings, question, passage, seed, groups)


def learning(
    settings: keys_towers.Towers, question: Encoder, passage: Encoder, seed: int, groups: Groups = 1
) -> DualEncoder:
    """Encoders as towers of a training: with adapters where the recipe wants them, and what shall not learn frozen.

    Both towers get equal adapters; with adapters on one tower alone, the other is frozen as a whole.
    """
    if settings.lora is not None:
        with torch.random.fork_rng(devices=[]):
            for role, encoder in {"question": question, "passage": passage}.items():
                if settings.lora.towers not in ("both", role):
                    encoder.requires_grad_(False)
                elif not _adapters.is_on(encoder.backbone):
                    draw_from(seed, "adapters")
                    encoder.backbone = _adapters.put_on(encoder.backbone, settings.lora)
    if settings.train == "question":
        passage.requires_grad_(False)
    if settings.weights == "bfloat16":
        for encoder in (question, passage):
            _adapters.hold(encoder.backbone, torch.bfloat16)
    return DualEncoder(settings, question, passage, groups).train()


def refuse_first(findings: Iterable[Finding]) -> None:
    """Raises the first of the problems that rules of the recipe find."""
    for path, what, fix in findings:
        raise RecipeError(what, key=dotted(path), fix=fix)


def _encoder(settings: keys_towers.Towers, tokenizer: Any, role: str, seed: int, published: bool) -> Encoder:
    """One encoder, without adapters."""
    projection = base = norm = None
    if settings.new is not None:
        model = blank(settings, settings.new, tokenizer, seed)
    else:
        key = "passage_base" if role == "passage" else "base"
        revision = settings.passage_revision if role == "passage" else settings.revision
        found = pretrained.load(str(getattr(settings, key)), revision, f"towers.{key}", whole=published)
        _refuse_role(settings, found, role, key)
        if published:
            found.head.refuse_other_use(settings, f"towers.{key}")
            norm = found.head.norm
        model, projection, base = found.model, found.projection, found.base
        refuse_other_tokenizer(found, tokenizer, f"towers.{key}")
    refuse_misfit(settings, model, tokenizer)
    if projection is None and settings.projection is not None:
        if published:
            what = f"'{getattr(settings, key)}' was published without a projection"
            raise RecipeError(what, key="towers.projection", fix="set it to null")
        draw_from(seed, "projection")
        projection = torch.nn.Linear(model.config.hidden_size, settings.projection)
    elif projection is not None and settings.projection != projection.out_features:
        raise other_projection(projection.out_features, settings)
    return Encoder(model, settings.pooling, settings.normalize, projection, base, norm)


def blank(settings: keys_towers.Towers, new: keys_towers.NewEncoder, tokenizer: Any, seed: int) -> Any:
    """An encoder from random weights."""
    from transformers import BertModel

    config = blank_config(settings, new, tokenizer)
    draw_from(seed, "backbone")
    return BertModel(config, add_pooling_layer=False)


def other_projection(size: int, settings: keys_towers.Towers) -> RecipeError:
    """A checkpoint brings a projection of another size than the recipe's."""
    what = f"the checkpoint ends with a projection to {size}, the recipe says {settings.projection}"
    return RecipeError(what, key="towers.projection", fix=f"set it to {size}")


def blank_config(settings: keys_towers.Towers, new: keys_towers.NewEncoder, tokenizer: Any) -> Any:
    """The shape of an encoder from random weights."""
    from transformers import BertConfig

    return BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=new.width,
        num_hidden_layers=new.layers,
        num_attention_heads=new.heads,
        intermediate_size=new.feed_forward,
        max_position_embeddings=max(512, settings.question_length, settings.passage_length),
        pad_token_id=templates.Template.of(tokenizer).pad,
    )


def draw_from(seed: int, purpose: str) -> None:
    """Sets torch's generator as a function of seed and purpose. That of the CPU only: `torch.manual_seed` sets all."""
    torch.default_generator.manual_seed(int(randomness.bits(seed, f"towers {purpose}")) >> 32)


def _refuse_role(settings: keys_towers.Towers, found: pretrained.Pretrained, role: str, key: str) -> None:
    """DPR's encoders come in pairs; one of them in the place of the other works and learns worse, so it is refused."""
    alone = not settings.share and settings.passage_base is None
    if found.role and not settings.share and (found.role != role or alone):
        what = f"'{found.base.name}' is DPR's {'context' if found.role == 'passage' else found.role} encoder"
        fix = "name DPR's question encoder as base and its context encoder as passage_base, or set share: true"
        raise RecipeError(what, key=f"towers.{key}", fix=fix)


def refuse_other_tokenizer(found: pretrained.Pretrained, tokenizer: Any, key: str) -> None:
    """Both towers read ids of one tokenizer."""
    path = found.folder / "tokenizer.json"
    if path.is_file() and templates.digest(type(tokenizer).from_file(str(path))) != templates.digest(tokenizer):
        what = f"'{found.base.name}' has another tokenizer than the one that the texts are tokenised with"
        raise RecipeError(what, key=key, fix="use two encoders with one tokenizer")


def refuse_misfit(settings: keys_towers.Towers, model: Any, tokenizer: Any) -> None:
    """Ids beyond the embeddings and texts beyond the positions would crash on a GPU without a word of why."""
    embeddings = model.get_input_embeddings()
    if not isinstance(embeddings, torch.nn.Embedding) or not hasattr(model.config, "hidden_size"):
        raise DataError(f"{type(model).__name__} is not an encoder of texts", key="towers.base", fix="use another base")
    size = 1 + max(tokenizer.get_vocab().values())
    if size > embeddings.num_embeddings:
        what = f"the tokenizer has {size:,} tokens, the encoder knows {embeddings.num_embeddings:,}"
        raise DataError(what, key="towers.base", fix="tokenizer.json and weights must belong together")
    longest = _longest(model)
    for key in ("question_length", "passage_length"):
        if longest is not None and getattr(settings, key) > longest:
            raise RecipeError(f"the encoder reads at most {longest} tokens", key=f"towers.{key}", fix="ask for fewer")


def _longest(model: Any) -> int | None:
    """Most tokens of a text. A table with a padding row (RoBERTa's) numbers positions from the row after it."""
    for name, part in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(part, torch.nn.Embedding):
            return part.num_embeddings - (0 if part.padding_idx is None else part.padding_idx + 1)
    longest = getattr(model.config, "max_position_embeddings", None)
    return longest if isinstance(longest, int) and longest > 0 else None
