"""A tiny model and invented texts of many lengths, ready to be encoded."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from mpr.data import tokens
from mpr.data.tokens import TokenStore, passage_texts
from mpr.models import towers, towers_folder
from mpr.records import Passage
from mpr.search import encode
from mpr.search.encode import Options, Task
from mpr.search.inference import Model
from mpr.search.padding import Constants
from mpr.search.shards import Integers
from tests.unit.framings import bert, words
from tests.unit.tiny_models import settings

BERT = bert().backend_tokenizer
SMALL = Constants(block_tokens=120, shards=6, least=300, most=4_000)
PROMPTS = {"question_prompt": "ka-lo: ", "passage_prompt": "mi (ren) "}


def texts(count: int = 60, seed: int = 5) -> list[Passage]:
    dice = random.Random(seed)
    return [
        Passage(f"p{row}", words(dice, dice.randint(1, 60)), words(dice, dice.randint(0, 3))) for row in range(count)
    ]


def model_folder(folder: Path, **changes: Any) -> Path:
    towers_folder.write(folder, towers.build(settings(**{**PROMPTS, **changes}), BERT, 1), BERT)
    return folder


def token_store(
    folder: Path, passages: list[Passage], *, tokenizer: Any = BERT, cap: int = 64, **changes: Any
) -> TokenStore:
    """As `Dataset` makes it for passages."""
    how = {"title": "pair", "prompt": PROMPTS["passage_prompt"], **changes}
    pairs = passage_texts(iter(passages), how["title"], how["prompt"])
    return tokens.build(folder, pairs, tokenizer, cap=cap, receipt=how)


def ids(rows: Integers) -> list[str]:
    return [f"p{row}" for row in rows.tolist()]


def task(folder: Path, count: int = 60, **options: Any) -> Task:
    """A task in `folder`, whose model and tokens are made where they are not there yet."""
    if not (folder / "model").exists():
        model_folder(folder / "model")
    if not (folder / "tokens").exists():
        token_store(folder / "tokens", texts(count))
    made = Options(**{"constants": SMALL, "quiet": True, "dtype": "float32", **options})
    model = Model.opened(folder / "model")
    return encode.Task.of(model, "passage", model.side("passage", TokenStore(folder / "tokens")), ids, made)


def sums(folder: Path) -> dict[str, str]:
    """Checksum of every file of a store; its own manifest tells times and machine and is not among them."""
    from mpr import storage

    return {name: entry["sha256"] for name, entry in storage.verify(folder).files.items()}
