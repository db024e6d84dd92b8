"""The folder of a cross-encoder: files that transformers and sentence-transformers' CrossEncoder open unchanged.

```
config.json, model.safetensors             a model for the classification of sequences with one output
tokenizer.json, tokenizer_config.json      it frames pairs, question first, as the model was trained to read them
mpr.json, manifest.json                    the contract: task, lengths, title, frame
```

A folder of two towers has the same kind and another task: each of the two readers refuses what the other wrote.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from mpr import __version__, storage
from mpr.catalogue import Parameters
from mpr.errors import DataError
from mpr.models import contract, pretrained, templates
from mpr.models.contract import Base
from mpr.models.cross_encoder import CrossEncoder
from mpr.models.templates import PairTemplate
from mpr.models.towers_folder import KIND, tokenizer_files
from mpr.recipe.keys import Towers

TASK = "cross_encoder"
_INPUTS = ("input_ids", "attention_mask")


class Frame(Parameters):
    """Special tokens around and between question and passage, and the segment of each of the five parts."""

    prefix: tuple[int, ...]
    """Before the question."""
    between: tuple[int, ...]
    """Between question and passage."""
    suffix: tuple[int, ...]
    """Behind the passage."""
    segments: tuple[int, int, int, int, int]
    """Of prefix, question, between, passage and suffix."""


class PairContract(Parameters):
    """What training fixed."""

    format: Literal[1] = 1
    """Version of this file."""
    task: Literal["cross_encoder"] = "cross_encoder"
    """What the model is for."""
    mpr: str
    """Version of mpr that wrote it."""
    towers: Towers
    """The recipe's towers, with names instead of folders: lengths, prompts, titles."""
    frame: Frame
    """How a pair becomes one text."""
    tokenizer: str
    """Digest of the tokenizer's definition."""
    base: Base | None
    """Where the first weights came from; null: random."""


def write(target: Path, model: CrossEncoder, tokenizer: Any, receipt: Mapping[str, Any] | None = None) -> None:
    """Commits a model folder."""
    template = PairTemplate.of(tokenizer)
    segments = ("token_type_ids",) if model.reads_segments and template.segmented else ()
    found = PairContract(
        mpr=__version__,
        towers=contract.public(model.settings, (model.base, None)),
        frame=_frame(template),
        tokenizer=templates.digest(tokenizer),
        base=model.base,
    )
    with storage.stage(target, KIND, receipt) as stage:
        model.model.save_pretrained(stage.folder)
        for name, data in tokenizer_files(tokenizer, model.settings.passage_length, (*_INPUTS, *segments)):
            stage.write(name, data)
        content = json.dumps(found.model_dump(mode="json"), indent=1, ensure_ascii=False)
        stage.write(contract.FILE, (content + "\n").encode())


def _frame(template: PairTemplate) -> Frame:
    return Frame(prefix=template.prefix, between=template.between, suffix=template.suffix, segments=template.segments)


def load(folder: Path) -> tuple[CrossEncoder, Any, PairContract]:
    """Model, tokenizer and contract of a folder, every byte verified, for scoring."""
    from tokenizers import Tokenizer

    folder = Path(folder)
    storage.verify(folder, KIND)
    found = contract.parsed(PairContract, folder, TASK)
    with torch.random.fork_rng(devices=[]):  # what is about to be filled is drawn first
        model = CrossEncoder(found.towers, pretrained.opened_scorer(folder), found.base)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    frame = _frame(PairTemplate.of(tokenizer))
    for key, same in (("tokenizer", templates.digest(tokenizer) == found.tokenizer), ("frame", frame == found.frame)):
        if not same:
            what = "is not that of tokenizer.json"
            raise DataError(what, where=str(folder / contract.FILE), key=key, fix="restore the folder")
    return model.eval(), tokenizer, found
