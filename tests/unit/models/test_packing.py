"""Texts without padding: loss and gradients are those of the padded step, for every family that is let in."""

from __future__ import annotations

import copy
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import modeling_flash_attention_utils as flash

from mpr.errors import RecipeError
from mpr.models import attention, packing
from mpr.models.towers import Encoder
from mpr.recipe.keys import Cache
from mpr.recipe.keys_towers import PACKABLE
from mpr.runtime.processes import ALONE
from mpr.training import _block
from mpr.training._loss import Terms
from tests.conftest import Examined
from tests.parity import steps
from tests.unit.framings import FRAMINGS
from tests.unit.tiny_models import FAMILIES, SMALL, batch, random_rows

POOLING = ("cls", "mean", "last")
ASKED = 1e-6
WINDOW = 6  # shorter than most texts, so that one that ignores it is noticed
_DECODER: dict[str, Any] = {**SMALL, "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 64}
_AS_BERT = {**SMALL, "max_position_embeddings": 66, "pad_token_id": 1}
CONFIGS: dict[str, Any] = {  # of the families that tests elsewhere do not have
    "camembert": transformers.CamembertConfig(vocab_size=99, **_AS_BERT),
    "xlm-roberta": transformers.XLMRobertaConfig(vocab_size=99, **_AS_BERT),
    "eurobert": transformers.EuroBertConfig(vocab_size=99, **_DECODER, pad_token_id=0),
    "llama": transformers.LlamaConfig(vocab_size=99, **_DECODER),
    "mistral": transformers.MistralConfig(vocab_size=99, **_DECODER, sliding_window=WINDOW),
    "qwen2": transformers.Qwen2Config(
        vocab_size=99, **_DECODER, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1
    ),
}


def transformer(family: str, dropout: bool = False) -> Any:
    """A small one from random weights, far enough from nothing that every part of it shows."""
    if family in FAMILIES:
        framing, of = FAMILIES[family]
        config = of(len(FRAMINGS[framing]()))
    else:
        config = copy.deepcopy(CONFIGS[family])
    config.use_cache = False
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = transformers.AutoModel.from_config(config)
        for parameter in model.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
    return model.train(dropout)


def rows(transformer: Any, pad: int) -> dict[str, torch.Tensor]:
    """Texts of many lengths, several of one length, one without any token, one with the padding token inside."""
    known = random_rows(transformer.config.vocab_size, count=9, longest=20)
    tokens = batch([*known, known[0][::-1], [9, pad, 11, 8]], pad=pad)
    return {
        name: torch.cat([part, torch.full_like(part[:1], pad * (name == "input_ids"))]) for name, part in tokens.items()
    }


def pad_of(transformer: Any) -> int:
    return int(getattr(transformer.config, "pad_token_id", 0) or 0)


def step(encoder: Encoder, vectors_ND: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Loss and gradients of a softmax over the texts that have tokens."""
    encoder.zero_grad()
    real_ND = torch.nn.functional.normalize(vectors_ND[:-1])
    loss = torch.logsumexp(real_ND @ real_ND.T, dim=1).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach(), {
        name: part.grad.clone() for name, part in encoder.named_parameters() if part.grad is not None
    }


def worst(one: tuple[Any, dict[str, Any]], other: tuple[Any, dict[str, Any]]) -> float:
    """Largest difference of the losses and of all gradients, in parts of the largest gradient or of 1."""
    assert one[1].keys() == other[1].keys()
    largest = max([1.0, *(float(part.abs().max()) for part in other[1].values())])
    gaps = [float((one[1][name] - other[1][name]).abs().max()) / largest for name in other[1]]
    return max(float((one[0] - other[0]).abs()), *gaps)


@pytest.mark.parametrize("family", PACKABLE)
def test_loss_and_gradients_are_the_padded_ones(family: str, examined: Examined) -> None:
    found = 0.0
    for dtype, asked in ((torch.float32, ASKED), (torch.float64, 1e-12)):
        padded, packed = transformer(family).to(dtype), transformer(family).to(dtype)
        packing.prepare([packed])
        tokens = rows(padded, pad_of(padded))
        for pooling in POOLING if dtype == torch.float32 else ("mean",):
            one, other = Encoder(padded, pooling, False), Encoder(packed, pooling, False)
            expected = step(one, one(**tokens))
            gap = worst(step(other, other.packed(tokens)), expected)
            assert gap < asked, (pooling, dtype, gap)
            found = max(found, gap) if dtype == torch.float32 else found
    assert worst(step(other, other(**tokens)), expected) == 0, "padded batches are what they were"
    examined(4, f"steps of {family}, largest difference in 32 bits {found:.1e}")


@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert", "qwen3", "mistral"])
def test_a_wrong_row_is_noticed(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts that see one another, and positions that run on."""
    padded, packed = transformer(family), transformer(family)
    packing.prepare([packed])
    tokens = rows(padded, pad_of(padded))
    one, other = Encoder(padded, "mean", False), Encoder(packed, "mean", False)
    expected = step(one, one(**tokens))
    monkeypatch.setattr(packing, "_boundaries", lambda _, length_N, device: {"text_lengths": [sum(length_N)]})
    assert worst(step(other, other.packed(tokens)), expected) > 1e-3
    monkeypatch.undo()
    if family in ("bert", "roberta"):  # rotary positions only count differences
        begun = packing._first_position(packed)
        monkeypatch.setattr(packing, "_first_position", lambda _: 1 if begun is None else None)
        assert worst(step(other, other.packed(tokens)), expected) > 1e-3


def _varlen(
    query_THD: torch.Tensor,
    key_TKD: torch.Tensor,
    value_TKD: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    causal: bool,
    softmax_scale: float,
    dropout_p: float = 0.0,
    window_size: tuple[int, int] = (-1, -1),
) -> torch.Tensor:
    """What flash-attn's function of many texts promises, by plain products: text for text, head for head."""
    bounds = cu_seqlens_q.tolist()
    assert cu_seqlens_k.tolist() == bounds
    assert max_seqlen_q == max_seqlen_k == max(end - start for start, end in pairwise(bounds))
    share = query_THD.shape[1] // key_TKD.shape[1]
    found = torch.zeros_like(query_THD)
    for start, end in pairwise(bounds):
        place = torch.arange(end - start)
        behind = place[:, None] - place
        hidden = (behind < 0) & causal
        if window_size[0] >= 0:
            hidden |= (behind > window_size[0]) | (-behind > window_size[1])
        for head in range(query_THD.shape[1]):
            query, key, value = (
                part[start:end, head // (1 if part is query_THD else share)] for part in (query_THD, key_TKD, value_TKD)
            )
            scores = (softmax_scale * query @ key.T).masked_fill(hidden, -torch.inf)
            found[start:end, head] = scores.softmax(dim=-1) @ value
    return found


@pytest.mark.parametrize("family", PACKABLE)
def test_flash_attention_is_told_where_texts_end(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers' own path, with plain products in the place of the kernel, which needs a GPU."""
    supported = dict.fromkeys(("dropout_p", "window_size", "max_seqlen_q", "max_seqlen_k"), True)
    known = dict.fromkeys(("deterministic", "softcap", "s_aux", "learnable_sink", "block_table", "page_table",
                           "cache_seqlens"), False) | supported  # fmt: skip

    def process(**given: Any) -> dict[str, Any]:
        return dict(flash._process_flash_attention_kwargs(**given, supports_mapping=known))

    functions = ((None, _varlen, None, None, None), (process, None))
    monkeypatch.setattr(flash, "lazy_import_flash_attention", lambda *_: functions)
    padded, packed = transformer(family), transformer(family)
    packed.config._attn_implementation = "flash_attention_2"
    packing.prepare([packed])
    assert attention.of(packed) == "flash_attention_2"
    tokens, one, other = rows(padded, pad_of(padded)), Encoder(padded, "mean", False), Encoder(packed, "mean", False)
    assert worst(step(other, other.packed(tokens)), step(one, one(**tokens))) < ASKED


def test_chunks_repeat_their_dropout(examined: Examined) -> None:
    """The second pass of the gradient cache draws what the first one drew; and noise there is."""
    towers, made = steps.transformers_of("packed", dropout=0.2), []

    def watched(**sides: Any) -> tuple[Any, Any]:
        found: tuple[Any, Any] = towers(**sides)
        made.append([side.detach() for side in found if side is not None])
        return found

    batch, cache = steps.collator()([1]), Cache(questions=2, passages=3)
    _block.cached_step(watched, batch, Terms([steps.term("joint_lh")]), ALONE, cache, gather=False)
    first, second = made[: len(made) // 2], made[len(made) // 2 :]
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))
    assert not torch.equal(towers(question=batch["question"])[0], towers(question=batch["question"])[0])
    examined(len(first), "chunks", at_least=5)


def test_what_cannot_be_packed_is_refused() -> None:
    with pytest.raises(RecipeError, match="texts of 'mpnet' cannot be packed"):
        packing.prepare([transformer("mpnet")])
    eager = transformer("bert")
    attention.use([eager], "eager")
    with pytest.raises(RecipeError, match="attention by eager cannot tell the texts of one row apart"):
        packing.prepare([eager])


def test_attention_by_name(tmp_path: Path) -> None:
    """The vectors are the same up to rounding, and no saved configuration says how they were computed."""
    model, tokens = transformer("bert"), rows(transformer("bert"), 0)
    by_default = model(**tokens).last_hidden_state
    assert attention.of(model) == "sdpa"
    attention.use([model], "eager")
    assert attention.of(model) == "eager"
    torch.testing.assert_close(model(**tokens).last_hidden_state[:-1], by_default[:-1], rtol=1e-4, atol=1e-5)
    attention.use([model], "auto")
    assert attention.of(model) == "eager"
    attention.use([model], "sdpa")
    packing.prepare([model])
    model.save_pretrained(tmp_path)
    assert "attn" not in (tmp_path / "config.json").read_text("utf-8")
    assert attention.of(transformers.AutoModel.from_pretrained(tmp_path)) == "sdpa"


@pytest.mark.parametrize("wanted, what", [
    ("flash_attention_2", "needs the package flash-attn and a GPU"),
    ("sdpa", "MPNetModel has no sdpa"),
])  # fmt: skip
def test_attention_that_is_not_there(wanted: str, what: str) -> None:
    with pytest.raises(RecipeError, match=what):
        attention.use([transformer("mpnet")], wanted)
