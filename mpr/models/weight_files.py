"""The files with the weights of a model folder: safetensors, or the pickle of tensors that older checkpoints have.

Old checkpoints (DPR's, ANCE's) were published as `pytorch_model.bin` alone, and the pinned commit has nothing else.
A pickle can run code when Python reads it. This one is read by torch's weights-only reader, which makes tensors and
plain containers and refuses everything else, and only where there are no safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from mpr import storage
from mpr.errors import DataError, excerpt

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLE = "pytorch_model.bin"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def of(folder: Path) -> list[Path]:
    """The safetensors of a folder, each with a header that can be read, or its one pickle."""
    has_safetensors = (folder / WEIGHTS).is_file() or (folder / INDEX).is_file()
    return [folder / PICKLE] if not has_safetensors and (folder / PICKLE).is_file() else safetensors(folder)


def safetensors(folder: Path) -> list[Path]:
    """The safetensors of a folder, each with a header that can be read."""
    from safetensors import SafetensorError, safe_open

    if (folder / INDEX).is_file():
        index = json_file(folder / INDEX).get("weight_map")
        names = sorted(set(index.values())) if isinstance(index, dict) else []
    else:
        names = [WEIGHTS] if (folder / WEIGHTS).is_file() else []
    if not names:
        raise _without_weights(folder)
    for name in names:
        if Path(name).name != name:
            raise DataError(f"names {excerpt(name)}, which is not a file beside it", where=str(folder / INDEX))
        try:
            with safe_open(folder / name, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            what = f"is not a safetensors file: {error}"
            raise DataError(what, where=str(folder / name), fix="convert the weights again") from error
    return [folder / name for name in names]


def _without_weights(folder: Path) -> DataError:
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles:
        what = f"has its weights in a pickle ({pickles[0]}), which can run code when it is read"
        return DataError(what, where=str(folder), fix=f"convert it to {WEIGHTS}")
    if (folder / "adapter_config.json").is_file():
        return DataError("holds an adapter, not an encoder", where=str(folder), fix="merge it into its base first")
    fix = f"{WEIGHTS} is the format that is read, or else {PICKLE} with nothing but tensors"
    return DataError(f"has no {WEIGHTS}", where=str(folder), fix=fix)


def digest(folder: Path) -> str:
    """Identity of the weights: the checksum of the file, or of the list of checksums if there are several."""
    sums = {path.name: storage.remembered_sha256(path) for path in of(folder)}
    return next(iter(sums.values())) if list(sums) in ([WEIGHTS], [PICKLE]) else storage.json_digest(sums)


def unpickled(path: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a pickle, by torch's weights-only reader; anything else in it is refused unread."""
    fix = f"convert it to {WEIGHTS}, or get it again"
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the reader has errors of its own for what it refuses, and many for a broken file
        what = f"cannot be read as a file of tensors and nothing else: {excerpt(str(error), 200)}"
        raise DataError(what, where=str(path), fix=fix) from error
    if not isinstance(found, Mapping) or not all(isinstance(one, torch.Tensor) for one in found.values()):
        raise DataError("is not a list of named tensors", where=str(path), fix=fix)
    return {str(name): tensor for name, tensor in found.items()}


def tensors(folder: Path, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """Those of these tensors that a folder has, in 32 bits."""
    from safetensors import safe_open

    found: dict[str, torch.Tensor] = {}
    for path in of(folder):
        if path.name == PICKLE:
            whole = unpickled(path)
            found |= {name: whole[name].float() for name in names if name in whole}
            continue
        with safe_open(path, framework="pt") as file:
            found |= {name: file.get_tensor(name).float() for name in names if name in file.keys()}  # noqa: SIM118
    return found


def json_file(path: Path, kind: type[Any] = dict) -> Any:
    """A small file of a model folder: one JSON object, or one list."""
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise DataError(what, where=str(path), fix="give the folder of a model") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"is not JSON: {excerpt(str(error))}", where=str(path), fix="download it again") from error
    if not isinstance(value, kind):
        what = "must be one JSON object" if kind is dict else "must be one JSON list"
        raise DataError(what, where=str(path), fix="download it again")
    return value
