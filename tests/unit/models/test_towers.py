"""Encoders against plain transformers and published classes, padding, seeds; what does not fit is refused."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from mpr.errors import DataError, RecipeError
from mpr.models import towers
from mpr.models.towers import Encoder, pooled
from mpr.recipe import _backbones
from tests.conftest import Examined
from tests.unit.framings import bert
from tests.unit.tiny_models import (
    DROPOUT,
    FAMILIES,
    NEW,
    batch,
    difference,
    dpr_pair,
    published,
    random_rows,
    random_states,
    settings,
    tokenizer_of,
)

BERT = bert().backend_tokenizer


def by_hand(hidden_LD: torch.Tensor, pooling: str) -> torch.Tensor:
    """Pooling of one text without padding."""
    return {"cls": hidden_LD[0], "last": hidden_LD[-1], "mean": sum(hidden_LD) / len(hidden_LD)}[pooling]  # type: ignore[return-value]


# ---- vectors


@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_are_those_of_the_plain_model(tmp_path: Path, family: str, examined: Examined) -> None:
    """Text by text and without any padding through AutoModel, pooled by hand; the batch may not matter."""
    folder, tokenizer = published(tmp_path / family, family), tokenizer_of(family)
    plain = transformers.AutoModel.from_pretrained(folder).eval()
    rows = random_rows(tokenizer.get_vocab_size())
    worst, compared = 0.0, 0
    for pooling in ("cls", "mean", "last"):
        for normalize in (False, True):
            built = towers.build(
                settings(base=str(folder), pooling=pooling, normalize=normalize, projection=12), tokenizer, 1
            ).eval()
            linear = built.question.projection
            assert linear is not None
            with torch.no_grad():
                found, _ = built(question=batch(rows))
                for row, vector in zip(rows, found, strict=True):
                    ids = torch.tensor([row])
                    expected = (
                        by_hand(plain(input_ids=ids).last_hidden_state[0], pooling) @ linear.weight.T + linear.bias
                    )
                    expected = expected / expected.norm() if normalize else expected
                    worst = max(worst, difference(vector, expected))
                    compared += 1
            assert built.width == 12
    print(f"{family}: largest difference {worst:.1e}")
    assert worst < 1e-5
    transformer = built.question.transformer
    assert transformer.config._attn_implementation == ("sdpa" if transformer._supports_sdpa else "eager")
    examined(compared, f"vectors of {family}, largest difference {worst:.1e}", at_least=48)


@pytest.mark.parametrize("family", FAMILIES)
def test_neighbours_do_not_matter(tmp_path: Path, family: str, examined: Examined) -> None:
    tokenizer = tokenizer_of(family)
    built = towers.build(settings(base=str(published(tmp_path / family, family))), tokenizer, 1).eval()
    rows = random_rows(tokenizer.get_vocab_size(), count=12)
    with torch.no_grad():
        alone = torch.cat([built(passage=batch([row]))[1] for row in rows])
        for others in (rows, [*rows, random_rows(tokenizer.get_vocab_size(), 1, 60)[0] * 9][:13]):
            together = built(passage=batch([row[:60] for row in others]))[1][: len(rows)]
            worst = difference(alone, together)
            assert worst < 1e-5
    examined(2 * len(rows), f"texts of {family} beside others, largest difference {worst:.1e}")


def test_a_causal_encoder_may_be_padded_on_the_left(tmp_path: Path) -> None:
    """Its positions are relative, so the vectors must be the same; pooling finds the first and the last token."""
    folder, tokenizer = published(tmp_path / "qwen3", "qwen3"), tokenizer_of("qwen3")
    rows = random_rows(tokenizer.get_vocab_size())
    for pooling in ("cls", "mean", "last"):
        built = towers.build(settings(base=str(folder), pooling=pooling), tokenizer, 1).eval()
        with torch.no_grad():
            right, left = built(question=batch(rows))[0], built(question=batch(rows, left=True))[0]
        assert difference(right, left) < 1e-5


@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
def test_pooling_ignores_padding_wherever_it_is(pooling: str, examined: Examined) -> None:
    dice = np.random.default_rng(0)
    for number in range(200):
        length = int(dice.integers(1, 9))
        mask = torch.zeros(4, length, dtype=torch.long)
        hidden = torch.full((4, length, 3), float("nan"))  # what stands at padding may be anything
        for row in range(4):
            start = int(dice.integers(0, length))
            stop = int(dice.integers(start + 1, length + 1))
            mask[row, start:stop] = 1
            hidden[row, start:stop] = torch.from_numpy(dice.standard_normal((stop - start, 3))).float()
        hidden.requires_grad_()
        found = pooled(hidden, mask, pooling)
        for row in range(4):
            assert difference(found[row], by_hand(hidden[row, mask[row].bool()], pooling)) < 1e-6, number
        found.sum().backward()
        assert hidden.grad is not None
        assert torch.isfinite(hidden.grad).all()
        assert not hidden.grad[mask == 0].any()
    examined(800, "pooled texts")


def test_no_segments_are_given() -> None:
    """Whatever the second segment's embedding is, it has no influence."""
    built = towers.build(settings(), BERT, 1).eval()
    rows = batch(random_rows(40))
    before = built(question=rows)[0]
    built.question.transformer.embeddings.token_type_embeddings.weight.data[1] += 100.0
    assert torch.equal(before, built(question=rows)[0])


def test_sides_and_width() -> None:
    built = towers.build(settings(share=False), BERT, 1).eval()
    rows, others = batch(random_rows(40)), batch(random_rows(40, count=3))
    assert built(question=rows)[1] is None
    assert built(passage=rows)[0] is None
    questions, passages = built(question=rows, passage=others)
    assert (questions.shape, passages.shape, built.width) == ((8, 32), (3, 32), 32)
    assert torch.equal(passages, built(passage=others)[1])
    assert "BertLayer" in built._no_split_modules  # what accelerate shards whole


def test_vectors_are_32_bit_under_autocast() -> None:
    for normalize in (False, True):
        built = towers.build(settings(projection=8, normalize=normalize), BERT, 1).eval()
        rows = batch(random_rows(40))
        exact = built(question=rows)[0]
        with torch.autocast("cpu", torch.bfloat16):
            found = built(question=rows)[0]
        assert found.dtype == torch.float32
        assert 0 < difference(exact.detach(), found.detach()) < 0.1  # the transformer did compute in 16 bits
    if normalize:
        assert difference(found.detach().norm(dim=1), torch.ones(8)) < 1e-6


# ---- random weights


@pytest.mark.parametrize("start", ["new", "base"])
def test_random_weights_follow_from_the_seed_alone(tmp_path: Path, start: str, examined: Examined) -> None:
    changes = {} if start == "new" else {"base": str(published(tmp_path / "base"))}
    wanted = settings(share=False, projection=8, **changes)
    torch.manual_seed(1)
    first = towers.build(wanted, BERT, 7).state_dict()
    for state in range(3):
        torch.manual_seed(100 + state)
        np.random.seed(state)
        random.seed(state)
        before = random_states()
        again = towers.build(wanted, BERT, 7).state_dict()
        assert random_states() == before  # nor is any generator moved
        assert all(torch.equal(first[name], again[name]) for name in first)
    other = towers.build(wanted, BERT, 8).state_dict()
    drawn = [name for name, tensor in first.items() if tensor.dim() == 2 and (start == "new" or "projection" in name)]
    assert all(not torch.equal(first[name], other[name]) for name in drawn)
    examined(len(drawn), "matrices that another seed changes", at_least=20 if start == "new" else 2)


def test_parts_are_drawn_independently() -> None:
    """A projection or another number of layers above must not change what is below."""
    plain = towers.build(settings(), BERT, 7).question.transformer.state_dict()
    projected = towers.build(settings(projection=8), BERT, 7).question.transformer.state_dict()
    assert all(torch.equal(plain[name], projected[name]) for name in plain)


def test_separate_towers_start_equal_and_part() -> None:
    built = towers.build(settings(share=False, projection=8), BERT, 1)
    pairs = list(zip(built.question.parameters(), built.passage.parameters(), strict=True))
    assert all(torch.equal(one, other) and one.data_ptr() != other.data_ptr() for one, other in pairs)
    built(question=batch(random_rows(40)))[0].sum().backward()
    assert all(other.grad is None for _, other in pairs)
    shared = towers.build(settings(), BERT, 1)
    assert shared.question is shared.passage
    assert shared.shared
    names = [name for name, _ in shared.trainable()]
    assert len(built.trainable()) == 2 * (len(names) + 2)
    assert not [name for name in names if name.startswith("passage")]


def test_new_encoders_have_the_shape_that_the_plan_counts(examined: Examined) -> None:
    tokenizer = type(BERT).from_str(BERT.to_str())
    tokenizer.add_tokens([f"word{number}" for number in range(300 - BERT.get_vocab_size())])
    shapes = [
        {"layers": layers, "width": width, "heads": 2, "feed_forward": inner, "vocabulary": 300}
        for layers in (1, 3)
        for width in (8, 24)
        for inner in (16, 40)
    ]
    for shape in shapes:
        for length in (40, 600):
            wanted = settings(new=shape, passage_length=length)
            counted = _backbones.of(wanted)
            assert counted is not None
            built = towers.build(wanted, tokenizer, 1)
            assert sum(parameter.numel() for _, parameter in built.trainable()) == counted.parameters
    examined(2 * len(shapes), "shapes")


def test_dropout_is_that_of_the_configuration(tmp_path: Path) -> None:
    folder = tmp_path / "quiet"
    transformers.BertModel(
        transformers.BertConfig(
            vocab_size=BERT.get_vocab_size(), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=64, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )
    ).save_pretrained(folder)  # fmt: skip
    rows = batch(random_rows(40))
    for wanted, noisy in ((settings(), True), (settings(base=str(folder)), False)):
        built = towers.build(wanted, BERT, 1)
        assert built.training
        assert torch.equal(built(question=rows)[0], built(question=rows)[0]) != noisy
        config = built.question.transformer.config
        assert config.hidden_dropout_prob == (DROPOUT if noisy else 0.0)


# ---- DPR


@pytest.mark.parametrize("projection", [0, 16])
def test_published_dpr_encoders_are_towers(tmp_path: Path, projection: int, examined: Examined) -> None:
    question, context = dpr_pair(tmp_path, projection)
    wanted = settings(
        base=str(question), passage_base=str(context), share=False, pooling="cls", projection=projection or None
    )
    built = towers.build(wanted, BERT, 1).eval()
    rows = batch(random_rows(40, count=16))
    worst = 0.0
    with torch.no_grad():
        for role, folder in {"question": question, "passage": context}.items():
            kind = transformers.DPRQuestionEncoder if role == "question" else transformers.DPRContextEncoder
            expected = kind.from_pretrained(folder).eval()(**rows).pooler_output
            found = built(**{role: rows})[0 if role == "question" else 1]
            worst = max(worst, difference(found, expected))
        careless = transformers.AutoModel.from_pretrained(context).eval()(**rows).pooler_output
    assert worst < 1e-6
    assert difference(built(passage=rows)[1].detach(), careless) > 0.1  # AutoModel makes noise of a context encoder
    assert type(built.question.transformer) is transformers.BertModel
    assert built.question.transformer.config.model_type == "bert"
    examined(32, f"vectors, largest difference {worst:.1e}")


def test_dpr_encoders_in_the_wrong_place_are_refused(tmp_path: Path) -> None:
    question, context = map(str, dpr_pair(tmp_path, 16))
    pair = {"base": question, "passage_base": context, "share": False, "projection": 16}
    for changes, message in (
        ({"passage_base": None}, r"towers\.base: 'DPRQuestionEncoder' is DPR's question encoder"),
        ({"base": context, "passage_base": question}, r"towers\.base: 'DPRContextEncoder' is DPR's context encoder"),
        ({"passage_base": question}, r"towers\.passage_base: 'DPRQuestionEncoder' is DPR's question encoder"),
        (
            {"projection": None},
            r"towers\.projection: the checkpoint ends with a projection to 16, the recipe says None",
        ),
        ({"projection": 8}, "set it to 16"),
        ({"share": True}, r"towers\.passage_base: belongs to separate towers"),
        ({"passage_base": None, "passage_revision": "0" * 40}, r"towers\.passage_revision: belongs to passage_base"),
    ):
        with pytest.raises(RecipeError, match=message):
            towers.build(settings(**(pair | changes)), BERT, 1)
    for base in (question, context):
        towers.build(settings(base=base, projection=16), BERT, 1)  # one encoder for both is a choice


# ---- what does not fit


def test_texts_and_tokens_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    base, roberta = str(published(tmp_path / "bert")), str(published(tmp_path / "roberta", "roberta"))
    for changes, tokenizer, message in (
        ({"base": base, "passage_length": 65}, BERT, r"towers\.passage_length: the encoder reads at most 64 tokens"),
        ({"base": roberta, "question_length": 65}, tokenizer_of("roberta"), "reads at most 64 tokens"),
        ({"base": base}, tokenizer_of("roberta"), "another tokenizer"),
        ({"base": base, "passage_base": roberta, "share": False}, BERT, r"towers\.passage_base: 'roberta' has another"),
    ):
        with pytest.raises(RecipeError, match=message):
            towers.build(settings(**changes), tokenizer, 1)
    (tmp_path / "bert" / "tokenizer.json").unlink()
    larger = type(BERT).from_str(BERT.to_str())
    larger.add_tokens(["[NEW]"])
    with pytest.raises(DataError, match="the encoder knows"):
        towers.build(settings(base=base), larger, 1)
    for family, longest in (("bert", 64), ("roberta", 64), ("mpnet", 64)):
        folder = str(published(tmp_path / f"{family} whole", family))
        towers.build(settings(base=folder, passage_length=longest), tokenizer_of(family), 1).eval()(
            passage=batch([[7] * longest], pad=1)
        )


def test_pairs_of_unlike_encoders_are_refused(tmp_path: Path) -> None:
    base = published(tmp_path / "base")
    wide = tmp_path / "wide"
    transformers.BertModel(
        transformers.BertConfig(
            vocab_size=BERT.get_vocab_size(), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=16,
        )
    ).save_pretrained(wide)  # fmt: skip
    pair = {"base": str(base), "passage_base": str(wide), "share": False}
    with pytest.raises(RecipeError, match=r"towers\.passage_base: makes vectors of 16 numbers, base of 32"):
        towers.build(settings(**pair), BERT, 1)
    assert towers.build(settings(**pair, projection=8), BERT, 1).width == 8
    with pytest.raises(RecipeError, match=r"towers\.passage_base: belongs to separate towers"):
        towers.build(settings(passage_base=str(wide), share=False, new=NEW), BERT, 1)


def test_an_encoder_stands_alone() -> None:
    """For whoever brings a transformer of their own."""
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    encoder = Encoder(transformers.BertModel(config, add_pooling_layer=False), "mean", True)
    assert encoder(**batch([[1, 2], [3]])).shape == (2, 8)
    assert encoder.double()(**batch([[1, 2], [3]])).dtype == torch.float64
    assert encoder.bfloat16()(**batch([[1, 2], [3]])).dtype == torch.float32
