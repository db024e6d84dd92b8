"""The folder of a late-interaction model: an encoder that transformers opens unchanged, and its projection beside it.

```
config.json, model.safetensors             the encoder
projection.safetensors                     `linear.weight`, the layer behind it, under the name that ColBERT gives it
tokenizer.json, tokenizer_config.json
mpr.json, manifest.json                    the contract: task, lengths, prompts, titles, tokenizer
```

A folder of two towers has the same kind and another task: each reader refuses what the others wrote.
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
from mpr.models import contract, late_interaction, pretrained, templates
from mpr.models.contract import Base
from mpr.models.late_interaction import PUBLISHED, LateInteraction
from mpr.models.towers_folder import KIND, save_tensors, tokenizer_files
from mpr.recipe.keys import Towers

TASK = "late_interaction"
PROJECTION = "projection.safetensors"


class TokenContract(Parameters):
    """What training fixed."""

    format: Literal[1] = 1
    """Version of this file."""
    task: Literal["late_interaction"] = "late_interaction"
    """What the model is for."""
    mpr: str
    """Version of mpr that wrote it."""
    towers: Towers
    """The recipe's towers, with names instead of folders: lengths, prompts, titles."""
    tokenizer: str
    """Digest of the tokenizer's definition."""
    base: Base | None
    """Where the first weights came from; null: random."""


def write(target: Path, model: LateInteraction, tokenizer: Any, receipt: Mapping[str, Any] | None = None) -> None:
    """Commits a model folder."""
    found = TokenContract(
        mpr=__version__,
        towers=contract.public(model.settings, (model.base, None)),
        tokenizer=templates.digest(tokenizer),
        base=model.base,
    )
    length = max(model.settings.question_length, model.settings.passage_length)
    with storage.stage(target, KIND, receipt) as stage:
        model.backbone.save_pretrained(stage.folder)
        if model.projection is not None:
            save_tensors({PUBLISHED: model.projection.weight}, stage, PROJECTION)
        for name, data in tokenizer_files(tokenizer, length):
            stage.write(name, data)
        content = json.dumps(found.model_dump(mode="json"), indent=1, ensure_ascii=False)
        stage.write(contract.FILE, (content + "\n").encode())


def load(folder: Path) -> tuple[LateInteraction, Any, TokenContract]:
    """Model, tokenizer and contract of a folder, every byte verified, for scoring."""
    from tokenizers import Tokenizer

    folder = Path(folder)
    storage.verify(folder, KIND)
    found = contract.parsed(TokenContract, folder, TASK)
    with torch.random.fork_rng(devices=[]):  # what is about to be filled is drawn first
        backbone = pretrained.opened(folder)
    wanted = found.towers.projection
    projection = None if wanted is None else late_interaction.linear(_weight(folder))
    if projection is not None and projection.weight.shape != (wanted, backbone.config.hidden_size):
        what = f"has the shape {tuple(projection.weight.shape)}, the contract says {wanted} numbers a token"
        raise DataError(what, where=str(folder / PROJECTION), fix="restore the folder")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    if templates.digest(tokenizer) != found.tokenizer:
        what = "is not that of tokenizer.json"
        raise DataError(what, where=str(folder / contract.FILE), key="tokenizer", fix="restore the folder")
    return LateInteraction(found.towers, backbone, projection, found.base).eval(), tokenizer, found


def _weight(folder: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(folder / PROJECTION)[PUBLISHED]
    except (SafetensorError, KeyError, OSError) as error:
        what = f"is not the projection of this model: {error}"
        raise DataError(what, where=str(folder / PROJECTION), fix="restore the folder") from error
