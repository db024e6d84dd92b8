"""Fault 19: an encoder that answers not-a-number, infinity, zeros or another width. Refused, with the texts' ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mpr.errors import DataError, NumbersError
from mpr.search import encode
from mpr.search.inference import Model, refuse_empty
from mpr.search.padding import lengths
from tests.conftest import Examined
from tests.unit.encodings import ids, model_folder, task, texts, token_store
from tests.unit.framings import FRAMINGS

BAD = {
    "nan": lambda vector: vector.index_fill(0, torch.tensor([3]), float("nan")),
    "infinity": lambda vector: vector.index_fill(0, torch.tensor([0]), float("inf")),
    "minus infinity": lambda vector: vector.index_fill(0, torch.tensor([31]), float("-inf")),
    "zeros": torch.zeros_like,
}
SAYS = {"nan": "not-a-number or infinity", "zeros": "nothing but zeros"}


class Broken(torch.nn.Module):
    """Spoils the vectors of some texts, which it knows by their tokens."""

    def __init__(self, inner: Any, victims: list[list[int]], spoil: Any) -> None:
        super().__init__()
        self.inner, self.victims, self.spoil = inner, victims, spoil

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        found = self.inner(input_ids=input_ids, attention_mask=attention_mask).clone()
        for row, (tokens, mask) in enumerate(zip(input_ids, attention_mask, strict=True)):
            if tokens[mask.bool()].tolist() in self.victims:
                found[row] = self.spoil(found[row])
        return found


def broken(made: encode.Task, rows: list[int], spoil: Any) -> None:
    victims = [made.side.tokens(np.array([row]))["input_ids"][0].tolist() for row in rows]
    made.model.towers.passage = Broken(made.model.towers.passage, victims, spoil)  # type: ignore[assignment]


def test_every_text_of_every_kind(tmp_path: Path, examined: Examined) -> None:
    """Each text in turn has a bad vector; its id is named, and no other."""
    tried = 0
    for kind, spoil in BAD.items():
        for row in range(1, 60, 10):
            made, target = task(tmp_path), tmp_path / f"{kind} {row}"
            broken(made, [row], spoil)
            with pytest.raises(NumbersError) as caught:
                encode.run(made, target)
            message = str(caught.value)
            assert caught.value.exit_code == 3
            assert f"{SAYS.get(kind, SAYS['nan'])} in the vector of 1 texts: p{row} (" in message, message
            assert not (target).exists()
            (shard,) = (number for number in range(6) if row in made.plan.rows(number))
            assert f"shard {shard} of 6" in message
            assert shard in made.unfinished(target).missing(), "the shard was not kept"
            tried += 1
    examined(tried, "bad vectors", at_least=24)


def test_several_are_counted(tmp_path: Path) -> None:
    made = task(tmp_path, constants=encode.Constants(block_tokens=10_000))
    broken(made, list(range(8)), BAD["nan"])
    with pytest.raises(NumbersError, match=r"of 8 texts: (p\d, ){5}\.\.\. \("):
        encode.run(made, tmp_path / "store")


def test_wrong_width(tmp_path: Path) -> None:
    made = task(tmp_path)
    for spoil, size in ((lambda vectors: vectors[:, :-1], "31"), (lambda vectors: vectors[:, 0], "none")):
        worker = made.worker()
        inner = worker.encoder
        worker.encoder = lambda spoil=spoil, inner=inner, **tokens: spoil(inner(**tokens))
        with pytest.raises(NumbersError, match=f"vectors of size {size} where 32 is expected, of 3 texts: p"):
            encode._shard(made, worker, 0, lambda count: None)


def test_what_the_stored_format_cannot_hold(tmp_path: Path) -> None:
    """Finite in 32 bits, infinite or nothing in 16; bfloat16 has the range of float32."""
    for factor, says in ((1e6, SAYS["nan"]), (1e-12, SAYS["zeros"])):
        made = task(tmp_path, dtype="float16")
        broken(made, [17], lambda vector, factor=factor: vector * factor)
        with pytest.raises(NumbersError, match=f"stored as float16: {says} in the vector of 1 texts: p17 "):
            encode.run(made, tmp_path / f"store {factor}")
        made = task(tmp_path, dtype="bfloat16")
        broken(made, [17], lambda vector, factor=factor: vector * factor)
        encode.run(made, tmp_path / f"wide {factor}")


def test_a_text_that_is_only_padding(tmp_path: Path) -> None:
    """Where the tokenizer frames nothing, an empty text would be the vector of a padding token."""
    bare = FRAMINGS["bert"]().backend_tokenizer
    bare.post_processor = None
    from mpr.data import tokens
    from mpr.models import towers, towers_folder
    from tests.unit.tiny_models import settings

    towers_folder.write(tmp_path / "model", towers.build(settings(title="join"), bare, 1), bare)
    store = tokens.build(
        tmp_path / "tokens", [("", "kalo"), ("", " "), ("", "mi ren"), ("", "")], bare, cap=64,
        receipt={"title": "join", "prompt": ""},
    )  # fmt: skip
    model = Model.opened(tmp_path / "model")
    side = model.side("passage", store)
    with pytest.raises(DataError, match="no token at all in 2 texts: p1, p3 "):
        encode.Task.of(model, "passage", side, ids, encode.Options())


def test_special_tokens_alone_have_a_vector(tmp_path: Path) -> None:
    model_folder(tmp_path / "model")
    model = Model.opened(tmp_path / "model")
    side = model.side("passage", token_store(tmp_path / "tokens", texts(3)))
    refuse_empty(side, lengths(side), ids)
