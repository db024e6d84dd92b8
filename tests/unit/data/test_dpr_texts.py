"""What DPR's code does to a text, written down from its description: which of two texts is cut, the last place of a
padded one, and the apostrophes of a question. The ids of words are those of transformers' tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from mpr.data import tokens
from mpr.data.token_batches import Side
from mpr.data.tokens import PADDING
from mpr.errors import RecipeError
from mpr.models import lengths, towers
from mpr.models.templates import Template
from mpr.records import Passage
from mpr.search import padding
from mpr.search.inference import Model
from tests.conftest import Parity
from tests.unit.framings import bare, bert, texts
from tests.unit.grounds import asked, ground, silent
from tests.unit.tiny_models import settings

CLS, SEP, PAD = 2, 3, 0


def as_dpr(tokenizer: Any, title: str, text: str, length: int) -> list[int]:
    """A pair loses the last token of its longer part, one after the other, and of equal ones that of the text; then
    padding up to the length, and the last place is [SEP], whatever was there."""
    head, body = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in (title, text))
    special = 3 if title else 2
    while len(head) + len(body) > length - special:
        (head if len(head) > len(body) else body).pop()
    found = [CLS, *head, SEP, *body, SEP] if title else [CLS, *body, SEP]
    found += [PAD] * (length - len(found))
    return [*found[:-1], SEP]


def test_ids_and_mask_are_those_of_dpr(tmp_path: Path, parity: Parity) -> None:
    tokenizer = bert()

    def has_words(text: str) -> bool:
        return bool(tokenizer(text, add_special_tokens=False)["input_ids"])

    pairs = [(title, text) for title, text in texts(5) if has_words(text) and (not title or has_words(title))]
    store = tokens.build(tmp_path / "tokens", pairs, tokenizer.backend_tokenizer, cap=64, receipt={})
    template, seen = Template.of(tokenizer.backend_tokenizer), {"padded": 0, "title cut": 0, "text cut": 0}
    for length in range(4, 41, 3):
        side = Side(store, template, length, "longest_first", "sep")
        assert (padding.lengths(side) == length).all()
        found = side.tokens(np.arange(len(pairs)))
        for (title, text), ids, mask in zip(pairs, found["input_ids"], found["attention_mask"], strict=True):
            expected = as_dpr(tokenizer, title, text, length)
            assert ids.tolist() == expected, (title, text, length)
            assert mask.tolist() == [int(token != PAD) for token in expected]
            seen["padded"] += PAD in expected
            plain = Side(store, template, length).tokens(np.array([pairs.index((title, text))]))["input_ids"][0]
            seen["title cut"] += bool(title) and PAD not in expected and plain.tolist() != expected
            seen["text cut"] += PAD not in expected and plain.tolist() == expected
    assert min(seen.values()) > 30, seen
    against = "facebookresearch/DPR: BertTensorizer, on transformers' word pieces"
    parity("token ids of titles and texts, nll_m1_released (texts that differ)", against, len(pairs) * 13, 0, 0)


def test_the_last_place_moves_a_vector_as_one_more_token_at_that_position_does(tmp_path: Path) -> None:
    """In the groups of a training step and alone: BERT's attention asks where a token stands, not how far it is."""
    tokenizer, length = bert(), 24
    store = tokens.build(tmp_path / "tokens", texts(6)[:20], tokenizer.backend_tokenizer, cap=64, receipt={})
    template = Template.of(tokenizer.backend_tokenizer)
    rows = np.array([3, PADDING, 5, 7, 11])
    torch.manual_seed(4)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertModel(BertConfig(vocab_size=tokenizer.backend_tokenizer.get_vocab_size(), **sizes)).eval()

    def encoder(**given: Any) -> Any:
        return model(**given).last_hidden_state[:, 0]

    with torch.no_grad():
        found = lengths.encode(encoder, Side(store, template, length, last_slot="sep").tokens(rows), most=4, price=0)
        for row, vector in zip(rows.tolist(), found, strict=True):
            if row == PADDING:
                continue
            ids = Side(store, template, length).tokens(np.array([row]))["input_ids"][0].tolist()
            places = [*range(len(ids)), length - 1][: length if len(ids) == length else None]
            more = [*ids, SEP] if len(ids) < length else ids
            alone = model(torch.tensor([more]), position_ids=torch.tensor([places[: len(more)]]))
            assert torch.allclose(vector, alone.last_hidden_state[0, 0], atol=1e-5)
            if len(ids) < length:
                plain = model(torch.tensor([ids])).last_hidden_state[0, 0]
                assert not torch.allclose(vector, plain, atol=1e-3)


def test_a_tokenizer_that_ends_texts_with_nothing_has_no_last_place(tmp_path: Path) -> None:
    backend = bare().backend_tokenizer
    store = tokens.build(tmp_path / "tokens", [("", "kalo")], backend, cap=16, receipt={})
    with pytest.raises(RecipeError, match="no special token at the end") as caught:
        Side(store, Template.of(backend), 9, last_slot="sep")
    assert caught.value.problems[0].key == "towers.last_slot"


def test_a_straight_apostrophe_in_questions_alone(tmp_path: Path) -> None:
    """A store of its own, which a model that was trained without it refuses; a passage and a prompt are left alone."""
    backend = bert().backend_tokenizer
    texts = [Passage("p0", "kalo\u2019mi")]
    groups = [asked("q0", "p0", "ren\u2019tu"), asked("q1", "p0", "\u2019ka \u2018lo"), asked("q2", "p0", "vas'zel")]
    here = ground(tmp_path, texts, groups)
    kept, straight = (
        settings(question_prompt="or\u2019 "),
        settings(question_prompt="or\u2019 ", question_apostrophe="straight"),
    )
    found = [tokens.of_questions(here.questions, settled, backend, silent) for settled in (kept, straight)]
    assert found[0].folder != found[1].folder
    for store, words in zip(found, (["ren\u2019tu", "\u2019ka \u2018lo"], ["ren'tu", "'ka \u2018lo"]), strict=True):
        for row, text in enumerate([*words, "vas'zel"]):
            expected = backend.encode(f"or\u2019 {text}", add_special_tokens=False).ids
            assert store.text.row(row, "id").tolist() == expected
    passages = [tokens.of_passages(here.passages, settled, backend, silent).folder for settled in (kept, straight)]
    assert passages[0] == passages[1]
    model = Model.of(towers.build(straight, backend, 1), backend, "straight")
    assert model.side("question", found[1]).store is found[1]
    with pytest.raises(RecipeError, match="texts were tokenised with 'question', the model expects"):
        model.side("question", found[0])
