"""Texts without padding: all of a side one behind the other in one row, each attending to itself alone.

Whatever a transformer computes token by token has no padding then. Attention is told where texts begin and end. With
`flash_attention_2` transformers' own path for rows of several texts does that, in one kernel. With `sdpa` that is done
by `_apart` below: texts lie by length, so those of one length are a batch as they lie, without a mask and uncopied.

Positions begin anew at every text, at the number from which the encoder counts. An encoder that counts them along the
row whatever it is told (MPNet's relative positions) cannot be packed, and one that nobody compared is not: `PACKABLE`
of mpr/recipe/keys_towers.py has those whose loss and gradient are tested to be the padded step's.

Shapes: N texts, L tokens of the longest, T tokens of all texts, D size of the hidden vectors, H heads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mpr.errors import MprError, RecipeError
from mpr.models import attention, lengths
from mpr.models.lengths import Tokens
from mpr.models.transfer import sent
from mpr.recipe.keys_towers import PACKABLE

_NAME = "sdpa_packed"  # of `_apart` among transformers' attention functions


def prepare(transformers: Iterable[Any]) -> None:
    """From now on each of them reads packed rows too; padded batches give what they gave."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

    def mask(*places: Any, **named: Any) -> Any:  # of a padded batch, by whatever makes them for torch's attention
        return ALL_MASK_ATTENTION_FUNCTIONS["sdpa"](*places, **named)

    AttentionInterface.register(_NAME, _apart)
    AttentionMaskInterface.register(_NAME, mask)
    for transformer in transformers:
        family, by = transformer.config.model_type, attention.of(transformer)
        if family not in PACKABLE:
            what = f"texts of '{family}' cannot be packed into one row, or nobody has compared it with padding"
            raise RecipeError(what, key="scale.groups", fix=f"give a number; packed is for {', '.join(PACKABLE)}")
        if by == "sdpa":
            transformer.set_attn_implementation(_NAME)
        elif by not in ("flash_attention_2", _NAME):
            what = f"attention by {by} cannot tell the texts of one row apart"
            raise RecipeError(what, key="scale.groups", fix="set towers.attention to sdpa or flash_attention_2")


def encode(backbone: Any, transformer: Any, tokens: Tokens, pooling: str) -> Tensor:
    """One hidden vector of each text, in the order of the texts; `backbone` is the transformer with its adapters.

    A text without any token counts as one token of padding: every process must have something to compute.
    """
    tokens = lengths.measured(tokens)
    ids_NL, (width_N, count_N) = tokens["input_ids"], tokens[lengths.SIZES]
    if (width_N != count_N).any():
        raise MprError("texts with padding before or inside them cannot be packed", fix="pad them behind their end")
    rows = lengths.longest_first(np.maximum(width_N, 1).tolist())
    length_N = np.maximum(width_N, 1)[rows]
    end_N = np.cumsum(length_N)
    place_T = np.arange(end_N[-1]) - np.repeat(end_N - length_N, length_N)
    index_T = sent(torch.from_numpy(np.repeat(rows, length_N) * ids_NL.shape[1] + place_T), ids_NL.device)
    first = _first_position(transformer)
    if first is None:
        position_T = sent(torch.from_numpy(place_T), ids_NL.device)
    else:  # as RoBERTa counts: padding has no number, wherever it stands
        real_NL = ids_NL != first - 1
        position_T = (real_NL.cumsum(dim=1) * real_NL + first - 1).flatten()[index_T]
    hidden_TD = backbone(
        input_ids=ids_NL.flatten()[index_T][None],
        position_ids=position_T[None],
        **_boundaries(transformer, length_N.tolist(), ids_NL.device),
    ).last_hidden_state[0]
    return lengths.in_order([_pooled(hidden_TD, length_N.tolist(), pooling)], [rows])


def _first_position(transformer: Any) -> int | None:
    """From which positions are counted, where their table has a row for padding before it."""
    for name, part in transformer.named_modules():
        if name.endswith("position_embeddings") and isinstance(part, torch.nn.Embedding):
            return None if part.padding_idx is None else part.padding_idx + 1
    return None


def _boundaries(transformer: Any, length_N: list[int], device: torch.device) -> dict[str, Any]:
    """What tells the attention where texts begin and end."""
    by = attention.of(transformer)
    if by == _NAME:
        # Of four dimensions, so that no mask is made of it; `_apart` does not look at it.
        return {"attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device), "text_lengths": length_N}
    if by != "flash_attention_2":
        raise MprError(f"attention by {by} cannot tell texts apart", fix="call packing.prepare first")
    bound_N = sent(torch.from_numpy(np.concatenate([[0], np.cumsum(length_N)]).astype(np.int32)), device)
    longest = max(length_N)
    return {
        "attention_mask": None,
        "cu_seq_lens_q": bound_N,
        "cu_seq_lens_k": bound_N,
        "max_length_q": longest,
        "max_length_k": longest,
    }


def _pieces(length_N: Sequence[int]) -> Iterator[tuple[slice, tuple[int, int]]]:
    """Texts of one length lie together: their places in the row, how many there are, and their length."""
    start = 0
    for length, texts in groupby(length_N):
        count = len(list(texts))
        yield slice(start, start + count * length), (count, length)
        start += count * length


def _apart(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    text_lengths: Sequence[int] | None = None,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """torch's attention on a padded batch, or on the texts of one row, each by itself."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if text_lengths is None:
        found, _ = sdpa_attention_forward(module, query, key, value, attention_mask, is_causal=is_causal, **more)
        return found, None
    causal = bool(getattr(module, "is_causal", True) if is_causal is None else is_causal)
    parts = []
    for piece, shape in _pieces(text_lengths):
        rows = (part_1HTD[0, :, piece] for part_1HTD in (query, key, value))
        texts = (part_HTD.reshape(len(part_HTD), *shape, -1).transpose(0, 1) for part_HTD in rows)
        mask = _near(shape[1], sliding_window, causal, query.device) if sliding_window else None
        found, _ = sdpa_attention_forward(module, *texts, mask, is_causal=causal, **more)
        parts.append(found.flatten(0, 1))
    return torch.cat(parts)[None], None


def _near(length: int, window: int, causal: bool, device: torch.device) -> Tensor | None:
    """Which tokens of a text see one another where they see no further than a window; None: all do."""
    if length <= window:
        return None
    place_L = torch.arange(length, device=device)
    behind_LL = place_L[:, None] - place_L
    near_LL = behind_LL.abs() < window
    return near_LL & (behind_LL >= 0) if causal else near_LL


def _pooled(hidden_TD: Tensor, length_N: Sequence[int], pooling: str) -> Tensor:
    """One vector of each text's tokens, in 32 bits."""
    with torch.autocast(hidden_TD.device.type, enabled=False):
        hidden_TD = hidden_TD.to(torch.promote_types(hidden_TD.dtype, torch.float32))
        parts = []
        for piece, shape in _pieces(length_N):
            texts_NLD = hidden_TD[piece].reshape(*shape, -1)
            parts.append(texts_NLD.mean(dim=1) if pooling == "mean" else texts_NLD[:, 0 if pooling == "cls" else -1])
        return torch.cat(parts)
