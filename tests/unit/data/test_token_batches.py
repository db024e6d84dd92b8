"""How a pair becomes one text, against transformers' tokenizers, which are given both texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import processors

from mpr.data import tokens
from mpr.data.token_batches import PairTexts
from mpr.errors import DataError, RecipeError
from mpr.models.templates import PairTemplate
from tests.conftest import Examined
from tests.unit.framings import FRAMINGS, bare, bert, ending, roberta, texts

QUESTION, LENGTH = 14, 30


def pairs_of(folder: Path, backend: Any, both: list[tuple[str, str]], question: int, length: int) -> PairTexts:
    """Texts tokenised apart, as the kit keeps them."""
    stores = [
        tokens.build(folder / f"{side}", [("", pair[side]) for pair in both], backend, cap=64, receipt={})
        for side in (0, 1)
    ]
    return PairTexts(stores[0], stores[1], PairTemplate.of(backend), question, length)


def test_the_frame_is_read_off_the_tokenizer() -> None:
    assert PairTemplate.of(bert().backend_tokenizer) == PairTemplate((2,), (3,), (3,), (0, 0, 0, 1, 1), 0)
    assert PairTemplate.of(roberta().backend_tokenizer) == PairTemplate((0,), (2, 2), (2,), (0, 0, 0, 0, 0), 1)
    assert PairTemplate.of(bare().backend_tokenizer).special == 0
    assert PairTemplate.of(ending().backend_tokenizer) == PairTemplate((), (1,), (1,), (0, 0, 0, 0, 0), 0)


@pytest.mark.parametrize("name", FRAMINGS)
def test_a_pair_is_what_the_tokenizer_makes_of_it(name: str, tmp_path: Path, examined: Examined) -> None:
    """Ids, mask and segments of every pair; what is too long is cut from the passage alone."""
    tokenizer = FRAMINGS[name]()
    both = [(one, other) for one, other in texts(3) if len(tokenizer(one, add_special_tokens=False).input_ids) <= 9]
    made = pairs_of(tmp_path, FRAMINGS[name]().backend_tokenizer, both, QUESTION, LENGTH)
    rows = np.arange(len(both))
    found, lengths = made.tokens(rows, rows), made.lengths(rows, rows)
    cut = 0
    for row, (question, passage) in enumerate(both):
        encoded = tokenizer(  # in a list, because of a single pair an empty passage would be taken for none
            [question], [passage], truncation="only_second", max_length=LENGTH, return_token_type_ids=True
        )
        wanted = encoded.encodings[0]
        count = len(wanted.ids)
        assert found["input_ids"][row, :count].tolist() == wanted.ids, (question, passage)
        assert found["attention_mask"][row].sum() == count == lengths[row]
        assert (found["input_ids"][row, count:] == made.template.pad).all()
        if "token_type_ids" in found:
            assert found["token_type_ids"][row, :count].tolist() == wanted.type_ids
            assert not found["token_type_ids"][row, count:].any()
        else:
            assert not any(wanted.type_ids)
        cut += len(tokenizer(question, passage).input_ids) > LENGTH
    assert ("token_type_ids" in found) == (name in ("bert", "bare"))
    examined(cut, "pairs that were cut", at_least=8)
    examined(len(both), "pairs", at_least=40)


def test_a_long_question_leaves_room_for_the_passage(tmp_path: Path) -> None:
    backend = bert().backend_tokenizer
    made = pairs_of(tmp_path, backend, [("kalo " * 40, "mi"), ("kalo", "mi " * 40)], QUESTION, LENGTH)
    words = [list(map(int, counts)) for counts in made.words(np.arange(2), np.arange(2))]
    assert words == [[QUESTION - 2, 1], [1, LENGTH - 3 - 1]]
    ids = made.tokens(np.array([0]), np.array([1]))["input_ids"][0].tolist()  # any question with any passage
    assert len(ids) == LENGTH
    assert ids[QUESTION - 1] == 3, "the separator"


@pytest.mark.parametrize("question, length, key", [(2, 30, "passage_length"), (20, 21, "passage_length"),
                                                   (14, 65, "towers")])  # fmt: skip
def test_lengths_that_leave_no_room(question: int, length: int, key: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=key):
        pairs_of(tmp_path, bert().backend_tokenizer, [("kalo", "mi")], question, length)


def test_titles_are_part_of_the_passage(tmp_path: Path) -> None:
    backend = bert().backend_tokenizer
    apart = tokens.build(tmp_path / "titles", [("kalo", "mi")], backend, cap=64, receipt={})
    with pytest.raises(RecipeError, match=r"towers\.title.*title: join or none"):
        PairTexts(apart, apart, PairTemplate.of(backend), QUESTION, LENGTH)


def test_frames_that_are_none() -> None:
    backend = bare().backend_tokenizer
    end = backend.token_to_id("<|endoftext|>")
    for pair, what in (("$B $A", "one behind the other"), ("$A:0 <|endoftext|>:0 <|endoftext|>:1 $B:1", "segments")):
        backend.post_processor = processors.TemplateProcessing("$A", pair, [("<|endoftext|>", end)])
        assert json.loads(backend.to_str())["post_processor"]
        with pytest.raises(DataError, match=what):
            PairTemplate.of(backend)
