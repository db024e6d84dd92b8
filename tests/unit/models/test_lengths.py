"""Groups by length: the same vectors, the fewest padded tokens, and every row once."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mpr.models import lengths, towers
from tests.conftest import Examined
from tests.parity.steps import Encoder
from tests.unit.tiny_models import batch, published, random_rows, settings, tokenizer_of


def _padded(needed: list[int], groups: list[list[int]], price: int) -> int:
    return sum(len(rows) * max(needed[row] for row in rows) + price for rows in groups)


def _fewest(needed: list[int], most: int, price: int) -> int:
    """By trying every way to cut the sorted widths."""
    ordered = sorted(needed, reverse=True)
    best = None
    for parts in range(1, most + 1):
        for cuts in itertools.combinations(range(1, len(ordered)), parts - 1):
            pieces = [ordered[start:end] for start, end in itertools.pairwise([0, *cuts, len(ordered)])]
            cost = sum(len(piece) * piece[0] + price for piece in pieces)
            best = cost if best is None else min(best, cost)
    assert best is not None
    return best


def test_groups_are_the_best_there_are(examined: Examined) -> None:
    dice = random.Random(2)
    tried = 0
    for _ in range(300):
        needed = [dice.randint(1, dice.choice((3, 12, 60))) for _ in range(dice.randint(1, 9))]
        for most in (1, 2, 3, 5):
            for price in (0, 7, 100):
                found = lengths.groups(needed, most, price)
                assert sorted(itertools.chain.from_iterable(found)) == list(range(len(needed)))
                assert 1 <= len(found) <= most
                assert _padded(needed, found, price) == _fewest(needed, most, price), (needed, most, price, found)
                tried += 1
    examined(tried, "batches against every way to cut them", at_least=3000)


def test_a_group_that_saves_little_is_not_made() -> None:
    assert lengths.groups([10, 9, 2, 1], 2, price=0) == [[0, 1], [2, 3]]
    assert lengths.groups([10, 9, 2, 1], 2, price=15) == [[0, 1], [2, 3]]
    assert lengths.groups([10, 9, 2, 1], 2, price=17) == [[0, 1, 2, 3]]
    assert lengths.groups([1, 9, 2, 10], 2, price=0) == [[3, 1], [2, 0]]
    assert lengths.groups([7, 7, 7], 3, price=0) == [[0, 1, 2]]
    assert lengths.groups([], 3) == [[]]


def test_large_batches_are_quick() -> None:
    """Few widths, however many rows."""
    dice = random.Random(1)
    needed = [dice.randint(1, 256) for _ in range(20_000)]
    found = lengths.groups(needed, 8, 0)
    assert len(found) == 8
    assert sum(map(len, found)) == 20_000


def test_chunks_hold_every_row_and_the_longest_first(examined: Examined) -> None:
    needed = [3, 9, 1, 9, 4, 2, 7]
    for size in range(1, 9):
        found = lengths.chunks(needed, size)
        assert sorted(itertools.chain.from_iterable(found)) == list(range(7))
        assert [len(rows) for rows in found[:-1]] == [size] * (len(found) - 1)
        assert [needed[row] for row in itertools.chain.from_iterable(found)] == sorted(needed, reverse=True)
    examined(8, "sizes")


def test_only_padding_behind_every_text_is_cut() -> None:
    tokens = batch([[5, 6, 7], [8], [9, 10]])
    assert lengths.widths(tokens) == [3, 1, 2]
    assert lengths.cut(tokens, [2, 1])["input_ids"].tolist() == [[9, 10], [8, 0]]
    assert lengths.cut(tokens, [1])["attention_mask"].tolist() == [[1]]
    left = batch([[5, 6, 7], [8]], left=True)
    assert lengths.widths(left) == [3, 3]
    assert lengths.cut(left, [1])["input_ids"].tolist() == [[0, 0, 8]]
    empty = {"input_ids": torch.zeros(2, 4, dtype=torch.long), "attention_mask": torch.zeros(2, 4, dtype=torch.long)}
    assert lengths.cut(empty, [0])["input_ids"].shape == (1, 1)


def test_vectors_and_gradients_are_those_of_one_forward(examined: Examined) -> None:
    torch.manual_seed(3)
    encoder = Encoder().double()
    tokens = batch([[1 + (3 * row + place) % 40 for place in range(1 + row * 5 % 14)] for row in range(23)])
    together_ND = encoder(**tokens)
    weights_ND = torch.randn_like(together_ND)
    (together_ND * weights_ND).sum().backward()
    expected = [p.grad.clone() for p in encoder.parameters()]  # type: ignore[union-attr]
    for most in (1, 2, 4, 30):
        encoder.zero_grad()
        encoder.forwards = encoder.tokens = 0
        found_ND = lengths.encode(encoder, tokens, most, price=0)
        assert encoder.forwards == min(most, 14)
        assert encoder.tokens < tokens["input_ids"].numel() or most == 1
        torch.testing.assert_close(found_ND, together_ND, rtol=1e-13, atol=1e-13)
        (found_ND * weights_ND).sum().backward()
        for parameter, gradient in zip(encoder.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-11, atol=1e-11)
    examined(4, "numbers of groups")


@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert", "qwen3"])
def test_real_encoders(tmp_path: Path, family: str, examined: Examined) -> None:
    """To rounding: other widths are other orders of summation."""
    folder, tokenizer = published(tmp_path / family, family), tokenizer_of(family)
    encoder = towers.build(settings(base=str(folder)), tokenizer, 1).eval().passage
    tokens = batch(random_rows(tokenizer.get_vocab_size(), count=20))
    with torch.no_grad():
        together_ND = encoder(**tokens)
        for most in (1, 2, 5):
            found_ND = lengths.encode(encoder, tokens, most, price=0)
            assert (found_ND - together_ND).abs().max() < 2e-5 * together_ND.abs().max()
    examined(3 * len(together_ND), "vectors")


def test_what_was_measured_goes_along(examined: Examined) -> None:
    """Sizes of a part are those of its rows, and nobody looks at the mask again."""
    tokens = lengths.measured(batch([[5, 6, 7], [8], [9, 10]]))
    assert tokens[lengths.SIZES].tolist() == [[3, 1, 2], [3, 1, 2]]
    blind = {**tokens, "attention_mask": torch.zeros_like(tokens["attention_mask"])}
    assert lengths.widths(blind) == [3, 1, 2]
    part = lengths.cut(blind, [2, 1])
    assert part[lengths.SIZES].tolist() == [[2, 1], [2, 1]]
    assert part["input_ids"].tolist() == [[9, 10], [8, 0]]
    left = lengths.measured(batch([[5, 6, 7], [8]], left=True))
    assert left[lengths.SIZES].tolist() == [[3, 3], [3, 1]]
    examined(3, "batches")


def test_the_price_of_a_group_is_that_of_the_device(monkeypatch: pytest.MonkeyPatch, examined: Examined) -> None:
    """Tokens in the time of 80 launches a layer, by the peaks of the data sheets: computed here for BERT-base."""
    assert lengths.budget("auto", torch.device("cpu"), 768) == (4, 256)
    assert lengths.budget(2, torch.device("cpu"), 768) == (2, 256)
    expected = {"Tesla T4": 300, "NVIDIA A100-SXM4-40GB": 1440, "NVIDIA H100 80GB HBM3": 4565, "NVIDIA H200": 4565}
    for name, price in {**expected, "something else": 1440}.items():
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device, name=name: name)
        lengths._gpu_price.cache_clear()
        most, found = lengths.budget("auto", torch.device("cuda:0"), 768)
        assert most == 8
        assert found == pytest.approx(price, rel=0.01), name
    lengths._gpu_price.cache_clear()
    assert lengths.groups([256] * 30 + [100] * 30, 4, price=4565) == [list(range(30)), list(range(30, 60))]
    assert lengths.groups([110] * 30 + [100] * 30, 4, price=4565) == [list(range(60))]
    examined(len(expected) + 1, "GPUs")


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "mpnet", "electra", "modernbert", "qwen3"])
def test_padding_is_not_looked_for_in_a_mask(
    tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch, examined: Examined
) -> None:
    """Same vectors, bit for bit, whether transformers looks at the padding or is told; told, it does not look."""
    from transformers import masking_utils

    folder, tokenizer = published(tmp_path / family, family), tokenizer_of(family)
    encoder = towers.build(settings(base=str(folder)), tokenizer, 1).eval().passage
    rows = random_rows(tokenizer.get_vocab_size(), count=12)
    texts = [batch(rows), batch([row[:3] for row in rows if len(row) >= 3])]  # with padding, and without any
    with torch.no_grad():
        expected = [encoder(**each) for each in texts]
    looked = []
    for name in ("_ignore_bidirectional_mask_sdpa", "_ignore_causal_mask_sdpa"):
        made = getattr(masking_utils, name)

        def asked(mask: torch.Tensor | None, *rest: int, made: Callable[..., bool] = made, **named: int) -> bool:
            looked.append(mask is not None)
            return bool(made(mask, *rest, **named))

        monkeypatch.setattr(masking_utils, name, asked)
    with torch.no_grad():
        found = [lengths.encode(encoder, each, most=1) for each in texts]
        assert not any(looked)
        again = [encoder(**each) for each in texts]  # elsewhere transformers looks as before
    for one, other, third in zip(expected, found, again, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, third)
    assert any(looked) or family in ("mpnet",), "these build their masks in another way"
    examined(2 * len(texts[0]["input_ids"]), "vectors")
