"""Pretrained encoders: found on disk or on the Hub, checked, and loaded as plain transformers in 32 bits.

What is read is data: weights are safetensors, or what torch's weights-only reader makes of an old pickle
(mpr/models/weight_files.py), and code that a repository brings along is never run. A checkpoint must fill every weight
of the encoder and have none left over for it: transformers would draw what is missing at random, which is how a DPR
context encoder opened by AutoModel becomes noise.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mpr import storage
from mpr.errors import DataError, RecipeError, excerpt
from mpr.models import _published_head, contract, locate, weight_files
from mpr.models._published_head import Head
from mpr.models.contract import Base, base_name
from mpr.models.weight_files import INDEX, PICKLE, WEIGHTS
from mpr.recipe.keys import DUAL_ENCODER
from mpr.runtime.progress import ours_alone

_FILES = ("config.json", "tokenizer.json", WEIGHTS, INDEX, "model-*-of-*.safetensors")
_HEAD = (_published_head.MODULES, *(f"[0-9]_*/{name}" for name in ("config.json", WEIGHTS, PICKLE)))
_DPR = {  # class of the checkpoint -> (what its weights are filed under, the tower that it is)
    "DPRQuestionEncoder": ("question_encoder", "question"),
    "DPRContextEncoder": ("ctx_encoder", "passage"),
}
_COUNTERS = ("position_ids", "token_type_ids")  # numbers in a row that old checkpoints carry


@dataclass(frozen=True)
class Pretrained:
    """An encoder as it was published."""

    model: Any
    projection: torch.nn.Linear | None
    base: Base
    folder: Path
    role: str = ""
    """`question` or `passage` if it was published as one of them."""
    head: Head = field(default_factory=Head)
    """What follows it, where that was asked for."""


def load(name: str, revision: str | None, key: str = "towers.base", *, whole: bool = False) -> Pretrained:
    """The encoder of that folder or Hub repository; `key` is the recipe's key that named it. `whole`: with the layers
    that follow it where it was published; otherwise it is a start for training, and they stay behind."""
    folder = located(name, revision, key, _HEAD if whole else (), pickle=True)
    if (folder / contract.FILE).is_file() and contract.task(folder) != DUAL_ENCODER:
        what = f"is a trained model of its own kind, task: {contract.task(folder)}"
        raise DataError(what, where=str(folder), key=key, fix="name the encoder that it was trained from")
    base = _origin(name, revision, folder)
    model = opened(folder)
    if model.config.model_type != "dpr":
        head = _published_head.of_folder(folder) if whole else Head()
        return Pretrained(model, head.projection, base, folder, head=head)
    prefix, role = _DPR[type(model).__name__]
    inner = getattr(model, prefix)
    return Pretrained(_plain_bert(inner.bert_model), getattr(inner, "encode_proj", None), base, folder, role)


def load_scorer(name: str, revision: str | None, key: str = "towers.base") -> Pretrained:
    """The same as a model that gives a text one score. Of the layers on top of its encoder, those that are not in the
    folder are drawn from torch's generator."""
    folder = located(name, revision, key, pickle=True)
    base = _origin(name, revision, folder)
    return Pretrained(opened_scorer(folder, fresh=True), None, base, folder)


def _origin(name: str, revision: str | None, folder: Path) -> Base:
    local = Path(name).is_dir()
    commit = None if local else revision or folder.name  # the cache names a snapshot by its commit
    return Base(name=base_name(name), local=local, revision=commit, sha256=weight_files.digest(folder))


def located(name: str, revision: str | None, key: str, more: tuple[str, ...] = (), *, pickle: bool = False) -> Path:
    """The folder itself, or a snapshot of the Hub repository with nothing in it but what is read; `more` files too.
    `pickle`: where it has no safetensors, its tensors in their old form."""
    if Path(name).is_dir():
        if revision is not None:
            raise RecipeError("a folder has no revision", key=key, fix="remove the revision, or name a Hub repository")
        return Path(name)
    locate.refuse_missing_folder(name, key, revision)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    try:
        with locate.bars(quiet=False):
            wanted = [*_FILES, *more]
            found = snapshot_download(name, revision=revision, allow_patterns=wanted, **locate.without_retries())
            folder = Path(found)
            if pickle and not any(folder.glob("*.safetensors")):  # an old checkpoint
                snapshot_download(name, revision=revision, allow_patterns=[PICKLE], **locate.without_retries())
    except HFValidationError as error:
        what = f"'{name}' is neither a folder nor the name of a Hub repository"
        raise DataError(what, key=key, fix="check the path") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        what = f"'{name}' at {revision or 'its newest revision'} is not on this machine and the Hub is out of reach"
        raise DataError(what, key=key, fix="go online once, or give a folder") from error
    except HfHubHTTPError as error:
        what = f"'{name}' cannot be read from the Hub: {error}"
        raise DataError(what, key=key, fix="check name, revision and token") from error
    if not (folder / "config.json").is_file():  # the tokenizer alone may have been fetched, and the client minds it not
        what = f"'{name}' at {revision or folder.name} is on this machine only in part: config.json is missing"
        raise DataError(what, key=key, fix="go online once, or give a folder")
    return folder


def save_tensors(tensors: Mapping[str, torch.Tensor], stage: storage.Stage, name: str) -> None:
    """A file of these tensors in a folder under construction."""
    from safetensors.torch import save_file

    plain = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    save_file(plain, stage.folder / name, {"format": "pt"})


def opened(folder: Path) -> Any:
    """The model in a folder, every weight of it from the file, in 32 bits."""
    weight_files.of(folder)
    config = _config(folder)
    kind = _class(config, folder)
    options = {"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(kind).parameters else {}
    model, found = _from_folder(kind, config, folder, **options)
    _refuse_gaps(model, found["missing_keys"], found["unexpected_keys"], folder)
    if getattr(config, "use_cache", False):
        config.use_cache = False  # of keys and values of earlier tokens, for generating
    return model


def opened_scorer(folder: Path, *, fresh: bool = False) -> Any:
    """The model in a folder with one output on top of its encoder; `fresh`: what is above the encoder may be missing,
    as it is in most published encoders."""
    import transformers

    weight_files.of(folder)
    config = _config(folder)
    kind = transformers.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING.get(type(config), None)
    if kind is None:
        what = f"transformers has no '{config.model_type}' that classifies texts"
        raise DataError(what, where=str(folder / "config.json"), fix="use another base")
    config.num_labels, config.problem_type = 1, None
    model, found = _from_folder(kind, config, folder, ignore_mismatched_sizes=True)
    if other := sorted(str(entry[0]) for entry in found["mismatched_keys"]):
        what = f"has a head of another size, made for another task: {', '.join(other[:3])}"
        raise DataError(what, where=str(folder), fix="use the encoder that it was made of, or one with a single score")
    if not hasattr(model, "classifier"):
        what = f"{kind.__name__} reads its score off the last token, not the first"
        raise DataError(what, where=str(folder), fix="use an encoder that reads in both directions")
    # Both must cover the encoder, and unless it is `fresh` what is on top of it too.
    prefix = f"{model.base_model_prefix}."
    missing = [key for key in found["missing_keys"] if not fresh or key.startswith(prefix)]
    missing = [key.removeprefix(prefix) for key in missing]
    if fresh:
        missing = [key for key in missing if key.split(".")[0] != "pooler"]
    encoder = getattr(model, model.base_model_prefix)
    _refuse_gaps(encoder, missing, [key.removeprefix(prefix) for key in found["unexpected_keys"]], folder)
    return model


def _from_folder(kind: Any, config: Any, folder: Path, **options: Any) -> tuple[Any, dict[str, Any]]:
    """The model in 32 bits, and what transformers says of the keys."""
    [first, *_] = weight_files.of(folder)
    how: dict[str, Any] = {"use_safetensors": True, "local_files_only": True}
    if first.name == PICKLE:
        how = {"state_dict": weight_files.unpickled(first)}
    try:
        with ours_alone():
            model, found = kind.from_pretrained(
                None if first.name == PICKLE else str(folder),
                config=config,
                dtype=torch.float32,
                output_loading_info=True,
                **how,
                **options,
            )
    except Exception as error:
        what = f"cannot be loaded as {kind.__name__}: {excerpt(str(error), 300)}"
        raise DataError(what, where=str(folder), fix="config.json must describe the weights beside it") from error
    return model, found


def _config(folder: Path) -> Any:
    """Its configuration, if it is that of a text encoder which transformers itself knows."""
    from transformers import AutoConfig

    where = str(folder / "config.json")
    plain = weight_files.json_file(folder / "config.json")
    mapped = plain.get("auto_map") or {}
    is_mapping = isinstance(mapped, dict)
    foreign = sorted({"AutoConfig", "AutoModel"} & mapped.keys()) if is_mapping else [excerpt(str(mapped))]
    if foreign:
        what = f"needs code of its own ({foreign[0]}), and mpr runs no code that comes with a model"
        raise DataError(what, where=where, key="auto_map", fix="use a model that transformers knows")
    try:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:
        what = f"is no configuration that this version of transformers knows: {excerpt(str(error), 200)}"
        raise DataError(what, where=where, fix="check model_type and the values of all keys") from error
    _refuse_foreign_kernels(plain, where)
    if config._attn_implementation == "flash_attention_2":
        config._attn_implementation = None  # where it is not installed, transformers would load it from a repository
    if getattr(config, "is_encoder_decoder", False):
        what = f"'{config.model_type}' is an encoder with a decoder"
        raise DataError(what, where=where, fix="use a model that is only an encoder")
    return config


def _refuse_foreign_kernels(plain: Mapping[str, Any], where: str, depth: int = 8) -> None:
    """transformers can load code from a repository that such a key names, at any depth of a configuration."""
    for key, value in plain.items():
        if isinstance(value, dict) and depth:
            _refuse_foreign_kernels(value, where, depth - 1)
        if key.endswith(("attn_implementation", "experts_implementation")) and value not in _ATTENTION:
            what = f"asks for {excerpt(str(value))}, and mpr runs no code that a model names"
            raise DataError(
                what, where=where, key=key, fix=f"remove the key, or write one of {', '.join(_ATTENTION[1:])}"
            )


_ATTENTION = (None, "eager", "sdpa", "flash_attention_2")


def _class(config: Any, folder: Path) -> Any:
    import transformers

    if config.model_type == "dpr":
        names = [name for name in config.architectures or () if name in _DPR]
        if not names:
            what = f"architectures {config.architectures} is neither {' nor '.join(_DPR)}"
            raise DataError(what, where=str(folder / "config.json"), fix="readers are no encoders")
        return getattr(transformers, names[0])
    try:
        kind = transformers.MODEL_MAPPING[type(config)]
    except KeyError as error:
        what = f"'{config.model_type}' is no encoder that AutoModel knows"
        raise DataError(what, where=str(folder / "config.json"), fix="use another base") from error
    return kind[0] if isinstance(kind, tuple) else kind


def _refuse_gaps(model: Any, missing: Iterable[str], unexpected: Iterable[str], folder: Path) -> None:
    """Coverage both ways. Heads of other tasks and poolers that we do not build may be left over; layers may not."""
    parts = {name for name, _ in model.named_children()}
    prefix = f"{model.base_model_prefix}."
    left = [key for key in unexpected if key.removeprefix(prefix).split(".")[0] in parts - {"pooler"}]
    for what, keys in (
        ("lacks weights of the encoder, which would be random", sorted(missing)),
        ("has weights of the encoder that its config.json has no place for", sorted(left)),
    ):
        keys = [key for key in keys if not key.endswith(_COUNTERS)]
        if keys:
            total = sum(1 for _ in model.parameters())
            shown = ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
            fix = "config.json and weights must belong together"
            raise DataError(f"{what}: {len(keys)} (the encoder has {total}): {shown}", where=str(folder), fix=fix)


def _plain_bert(model: Any) -> Any:
    """The BERT inside a DPR encoder, with a configuration of its own, so that it is saved as what it is."""
    from transformers import BertConfig, BertModel

    given = model.config.to_dict()
    shared = {name: given[name] for name in BertConfig().to_dict() if name in given and name not in _NOT_SHARED}
    plain = BertModel(BertConfig(**shared), add_pooling_layer=False)
    plain.load_state_dict(model.state_dict(), strict=True)
    return plain.eval()


_NOT_SHARED = ("model_type", "architectures", "transformers_version", "dtype")
