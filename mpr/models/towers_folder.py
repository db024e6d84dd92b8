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

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from mpr import storage
from mpr.errors import DataError
from mpr.models import adapters, contract, pretrained, templates
from mpr.models.contract import Base, Contract
from mpr.models.sentence_layout import Layout
from mpr.models.towers import Encoder, Towers
from mpr.storage import Stage

KIND = "model"
_REDO = "restore the folder"
_SPECIAL = {  # names under which other programs look for special tokens
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
}


def write(
    target: Path, towers: Towers, tokenizer: Any, receipt: Mapping[str, Any] | None = None, *, merged: bool = False
) -> None:
    """Commits a model folder; `merged` adds adapters to the weights, so that it needs no base."""
    with storage.stage(target, KIND, receipt) as stage:
        save(towers, stage, tokenizer, merged=merged)


def merge(source: Path, target: Path, base: Path | None = None, passage_base: Path | None = None) -> None:
    """Commits a copy of a model with its adapters added to the weights; `base` and `passage_base` as for `load`."""
    towers, tokenizer, found = load(source, base, passage_base)
    if found.weights != "adapter":
        what = "has no adapters to merge" if found.weights == "full" else "is merged already"
        raise DataError(what, where=str(source), fix="use it as it is")
    manifest = storage.read_manifest(source)
    write(target, towers, tokenizer, {**manifest.receipt, "merged from": manifest.digest}, merged=True)


def save(towers: Towers, stage: Stage, tokenizer: Any, *, merged: bool = False) -> None:
    """The same into a folder under construction."""
    settings = towers.settings
    layout = Layout(settings, towers.question.hidden)
    for name, data in layout.files():
        stage.write(name, data)
    for role in ("question",) if settings.share else ("question", "passage"):
        encoder: Encoder = getattr(towers, role)
        place = layout.place(role)
        _save_transformer(encoder, stage, place, merged)
        length = max(settings.question_length, settings.passage_length)
        for name, data in tokenizer_files(tokenizer, length if settings.share else getattr(settings, f"{role}_length")):
            stage.write(place + name, data)
        for folder in layout.projections(role):
            assert encoder.projection is not None
            weights = {"linear.weight": encoder.projection.weight, "linear.bias": encoder.projection.bias}
            save_tensors(weights, stage, folder + pretrained.WEIGHTS)
    written = Contract.of(
        settings,
        (towers.question.base, towers.passage.base),
        width=towers.width,
        tokenizer=templates.digest(tokenizer),
        weights=_form(towers, merged),
    )
    stage.write(contract.FILE, written.to_bytes())


def _form(towers: Towers, merged: bool) -> Literal["full", "adapter", "merged"]:
    if towers.settings.lora is None:
        return "full"
    return (
        "merged" if merged or not any(adapters.is_on(encoder.backbone) for encoder in towers.encoders()) else "adapter"
    )


def _save_transformer(encoder: Encoder, stage: Stage, place: str, merged: bool) -> None:
    adapted = adapters.is_on(encoder.backbone)
    if merged or not adapted:
        model: Any = adapters.merged(encoder.backbone) if adapted else encoder.backbone
        model.save_pretrained(stage.folder / place)
    if adapted:
        folder = f"{place}adapter/" if merged else place
        stage.write(folder + adapters.CONFIG, adapters.config_bytes(encoder.backbone, encoder.base))
        save_tensors(adapters.tensors(encoder.backbone), stage, folder + adapters.WEIGHTS)


def save_tensors(tensors: Mapping[str, torch.Tensor], stage: Stage, name: str) -> None:
    """A file of these tensors in a folder under construction."""
    from safetensors.torch import save_file

    plain = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    save_file(plain, stage.folder / name, {"format": "pt"})


def tokenizer_files(
    tokenizer: Any, length: int, inputs: tuple[str, ...] = ("input_ids", "attention_mask")
) -> list[tuple[str, bytes]]:
    """The definition as it is, and what transformers needs beside it to use that very definition.

    `inputs`, what the model is given, keeps it from making segment ids: both texts of a pair are segment 0.
    """
    definition = json.loads(tokenizer.to_str()) | {"padding": None, "truncation": None}
    special = {token["content"] for token in definition["added_tokens"] if token["special"]}
    named = {key: token for key, tokens_ in _SPECIAL.items() for token in tokens_ if token in special}
    content = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": list(inputs),
        "model_max_length": length,
        "padding_side": "right",
        "truncation_side": "right",
        "clean_up_tokenization_spaces": False,
        "pad_token": _padding(tokenizer, special),
        **named,
    }
    return [
        ("tokenizer.json", (json.dumps(definition, indent=1, ensure_ascii=False) + "\n").encode()),
        ("tokenizer_config.json", (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()),
    ]


def _padding(tokenizer: Any, special: set[str]) -> str:
    """The token that fills up a batch. Masked, so any special one will do; a word would become a special token."""
    token: str | None = tokenizer.id_to_token(templates.Template.of(tokenizer).pad)
    if token in special:
        return str(token)
    if not special:
        what = "the tokenizer has no special token, and programs that read the model need one for padding"
        raise DataError(what, key="towers.base", fix="add a padding token to tokenizer.json")
    return min(special, key=lambda each: (tokenizer.token_to_id(each), each))


def load(folder: Path, base: Path | None = None, passage_base: Path | None = None) -> tuple[Towers, Any, Contract]:
    """Towers, tokenizer and contract of a model folder, every byte verified, for encoding.

    `base` and `passage_base` are the folders of the encoders that adapters go on, where those are not on the Hub.
    """
    from tokenizers import Tokenizer

    folder = Path(folder)
    storage.verify(folder, KIND)
    found = contract.read(folder)
    settings = found.towers
    with torch.random.fork_rng(devices=[]):  # what is about to be filled is drawn first
        question = _load_encoder(found, folder, "question", base)
        passage = question if settings.share else _load_encoder(found, folder, "passage", passage_base or base)
    towers = Towers(settings, question, passage).eval()
    where = str(folder / contract.FILE)
    if not towers.width == passage.width == found.width:
        what = f"says {found.width}, the encoders make vectors of {towers.width} and {passage.width} numbers"
        raise DataError(what, where=where, key="width", fix=_REDO)
    tokenizer = Tokenizer.from_file(str(folder / Layout(settings, 0).place("question") / "tokenizer.json"))
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
        backbone = adapters.put_back(_base_model(origin, base, place), settings.lora, place)
    else:
        backbone = pretrained.opened(place)
    encoder = Encoder(backbone, settings.pooling, settings.normalize, base=origin)
    if settings.projection is not None:
        encoder.projection = torch.nn.Linear(encoder.hidden, settings.projection)
        _fill(encoder.projection, folder / layout.projections(role)[-1] / pretrained.WEIGHTS)
    return encoder


def _base_model(origin: Base | None, folder: Path | None, place: Path) -> Any:
    """The very encoder that the adapters were trained on, or a refusal."""
    if origin is None:
        raise DataError("holds adapters and its contract names no base", where=str(place), fix=_REDO)
    if folder is None and origin.local:
        what = f"holds adapters for '{origin.name}', which was a folder when they were trained"
        raise DataError(what, where=str(place), fix="say where that folder is, or save the model merged")
    name, revision = (str(folder), None) if folder is not None else (origin.name, origin.revision)
    found = pretrained.load(name, revision)
    if found.base.sha256 != origin.sha256:
        what = f"holds adapters for other weights than those of '{found.base.name}'"
        raise DataError(what, where=str(place), fix="give the base that they were trained on")
    return found.model


def _fill(projection: torch.nn.Linear, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = {name.removeprefix("linear."): tensor for name, tensor in load_file(path).items()}
        projection.load_state_dict(weights, strict=True)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise DataError(f"is not the projection of this model: {error}", where=str(path), fix=_REDO) from error
