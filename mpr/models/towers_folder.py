"""Model folders: towers and tokenizer as files that sentence-transformers, transformers and servers open unchanged.

```
shared towers                            separate towers
config.json, model.safetensors           query_0_Transformer/     the same, a model in itself
tokenizer.json, tokenizer_config.json    query_1_Pooling/ ...     query_2_Dense/ with a projection
modules.json, 1_Pooling/ ...             document_0_Transformer/ ...
                                         modules.json, router_config.json
mpr.json, manifest.json                  mpr.json, manifest.json
```

With LoRA a transformer is saved as its adapters alone, or on request merged, with the adapters beside in `adapter/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from mpr import storage
from mpr.errors import DataError
from mpr.models import _adapters, contract, pretrained, templates, weight_files
from mpr.models._sentence_layout import Layout
from mpr.models.contract import Base, Contract
from mpr.models.towers import DualEncoder, Encoder
from mpr.runtime.progress import ours_alone
from mpr.storage import Stage

_REDO = "restore the folder"
_SAY_WHERE = (
    "say where that folder is: --base FOLDER of `mpr merge` and of `mpr push --merged`, --passage-base FOLDER for the "
    "base of the passage encoder"
)


def write(
    target: Path, towers: DualEncoder, tokenizer: Any, receipt: Mapping[str, Any] | None = None, *, merged: bool = False
) -> None:
    """Commits a model folder; `merged` adds adapters to the weights, so that it needs no base."""
    with storage.stage(target, contract.KIND, receipt) as stage:
        save(towers, stage, tokenizer, merged=merged)


def merge(source: Path, target: Path, base: Path | None = None, passage_base: Path | None = None) -> None:
    """Commits a copy of a model with its adapters added to the weights; `base` and `passage_base` as for `load`."""
    towers, tokenizer, found = load(source, base, passage_base)
    if found.weights != "adapter":
        what = "has no adapters to merge" if found.weights == "full" else "is merged already"
        raise DataError(what, where=str(source), fix="use it as it is")
    manifest = storage.read_manifest(source)
    write(target, towers, tokenizer, {**manifest.receipt, "merged from": manifest.digest}, merged=True)


def save(towers: DualEncoder, stage: Stage, tokenizer: Any, *, merged: bool = False) -> None:
    """The same into a folder under construction."""
    settings = towers.settings
    layout = Layout(settings, towers.question.hidden)
    for name, data in layout.files():
        stage.write(name, data)
    for role in ("question",) if settings.share else ("question", "passage"):
        encoder: Encoder = getattr(towers, role)
        place = layout.place(role)
        adapted = _adapters.is_on(encoder.backbone)
        if merged or not adapted:
            model: Any = _adapters.merged(encoder.backbone) if adapted else _adapters.in_32_bits(encoder.backbone)
            with ours_alone():
                model.save_pretrained(stage.folder / place)
        if adapted:
            folder = f"{place}adapter/" if merged else place
            stage.write(folder + _adapters.CONFIG, _adapters.config_bytes(encoder.backbone, encoder.base))
            pretrained.save_tensors(_adapters.tensors(encoder.backbone), stage, folder + _adapters.WEIGHTS)
        length = max(settings.question_length, settings.passage_length)
        for name, data in templates.tokenizer_files(
            tokenizer, length if settings.share else getattr(settings, f"{role}_length")
        ):
            stage.write(place + name, data)
        for folder in layout.projections(role):
            assert encoder.projection is not None
            weights = {"linear.weight": encoder.projection.weight, "linear.bias": encoder.projection.bias}
            pretrained.save_tensors(weights, stage, folder + weight_files.WEIGHTS)
    form: Literal["full", "adapter", "merged"] = "full"
    if settings.lora is not None:
        form = "adapter" if towers.has_adapters and not merged else "merged"
    written = Contract.of(
        settings,
        (towers.question.base, towers.passage.base),
        width=towers.width,
        tokenizer=templates.digest(tokenizer),
        weights=form,
    )
    stage.write(contract.FILE, written.to_bytes())


def load(folder: Path, base: Path | None = None, passage_base: Path | None = None) -> tuple[DualEncoder, Any, Contract]:
    """Towers, tokenizer and contract of a model folder, every byte verified, for encoding.

    `base` and `passage_base` are the folders of the encoders that adapters go on, where those are not on the Hub.
    """
    folder = Path(folder)
    storage.verify(folder, contract.KIND)
    found = contract.read(folder)
    settings = found.towers
    with torch.random.fork_rng(devices=[]):  # what is about to be filled is drawn first
        question = _load_encoder(found, folder, "question", base)
        passage = question if settings.share else _load_encoder(found, folder, "passage", passage_base or base)
    towers = DualEncoder(settings, question, passage).eval()
    where = str(folder / contract.FILE)
    if not towers.width == passage.width == found.width:
        what = f"says {found.width}, the encoders make vectors of {towers.width} and {passage.width} numbers"
        raise DataError(what, where=where, key="width", fix=_REDO)
    tokenizer = templates.opened(folder / Layout(settings, 0).place("question") / "tokenizer.json")
    if templates.digest(tokenizer) != found.tokenizer:
        raise DataError("is not the digest of tokenizer.json", where=where, key="tokenizer", fix=_REDO)
    return towers, tokenizer, found


def _load_encoder(found: Contract, folder: Path, role: str, base: Path | None) -> Encoder:
    settings = found.towers
    layout = Layout(settings, 0)
    place = folder / layout.place(role)
    origin = found.question_base if role == "question" else found.passage_base
    adapted = found.weights == "adapter" and settings.lora is not None and settings.lora.towers in ("both", role)
    if adapted:
        assert settings.lora is not None
        bare = _base_model(origin, base, place)
        for parameter in bare.parameters() if settings.weights == "bfloat16" else ():
            parameter.data = parameter.data.bfloat16().float()  # rounded as in training, computed in what encoding says
        backbone = _adapters.put_back(bare, settings.lora, place)
    else:
        backbone = pretrained.opened(place)
    encoder = Encoder(backbone, settings.pooling, settings.normalize, base=origin)
    if settings.projection is not None:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        encoder.projection = torch.nn.Linear(encoder.hidden, settings.projection)
        path = folder / layout.projections(role)[-1] / weight_files.WEIGHTS
        try:
            weights = {name.removeprefix("linear."): tensor for name, tensor in load_file(path).items()}
            encoder.projection.load_state_dict(weights, strict=True)
        except (SafetensorError, RuntimeError, OSError) as error:
            raise DataError(f"is not the projection of this model: {error}", where=str(path), fix=_REDO) from error
    return encoder


def _base_model(origin: Base | None, folder: Path | None, place: Path) -> Any:
    """The very encoder that the adapters were trained on, or a refusal."""
    if origin is None:
        raise DataError("holds adapters and its contract names no base", where=str(place), fix=_REDO)
    if folder is None and origin.local:
        what = f"holds adapters for '{origin.name}', which was a folder when they were trained"
        raise DataError(what, where=str(place), fix=_SAY_WHERE)
    name, revision = (str(folder), None) if folder is not None else (origin.name, origin.revision)
    found = pretrained.load(name, revision)
    if found.base.sha256 != origin.sha256:
        what = f"holds adapters for other weights than those of '{found.base.name}'"
        raise DataError(what, where=str(place), fix="give the base that they were trained on")
    return found.model
