"""Low-rank adapters (LoRA, through peft): put on an encoder, taken off it as files, put back, merged.

Adapter weights are always 32-bit, whatever training computes in, because a gradient scaler can only scale those back.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch

from mpr.errors import DataError, RecipeError
from mpr.models.contract import Base
from mpr.recipe.keys_towers import Lora

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


def put_on(model: Any, lora: Lora) -> Any:
    """The encoder with fresh adapters: only they learn. Draws from torch's generator."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type="FEATURE_EXTRACTION",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.modules),
        bias="none",
    )
    linear = {name.rpartition(".")[2] for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)}
    for number, module in enumerate(lora.modules):
        if not any(f".{name}".endswith(f".{module}") for name, _ in model.named_modules()):
            what = f"the encoder has no linear layer called '{module}'"
            raise RecipeError(what, key=f"towers.lora.modules[{number}]", fix=f"known: {', '.join(sorted(linear))}")
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise RecipeError(f"cannot be adapted: {error}", key="towers.lora.modules") from error


def is_on(model: Any) -> bool:
    from peft import PeftModel

    return isinstance(model, PeftModel)


def under(model: Any) -> Any:
    """The encoder itself, under its adapters if it has any."""
    return model.get_base_model() if is_on(model) else model


def merged(model: Any) -> Any:
    """A copy of the encoder, in 32 bits, with the adapters added to its weights; the original goes on learning."""
    return copy.deepcopy(model).float().merge_and_unload()


def in_32_bits(model: Any) -> Any:
    """The encoder, or a copy of it if some of its weights are held in fewer bits."""
    whole = all(parameter.dtype == torch.float32 for parameter in model.parameters())
    return model if whole else copy.deepcopy(model).float()


def hold(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """What does not learn is rounded to this precision and held in it. Adapters stay as they are."""
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)


def tensors(model: Any) -> dict[str, torch.Tensor]:
    """The adapters' weights under the names of peft's files."""
    from peft import get_peft_model_state_dict

    found = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: tensor.detach().cpu().contiguous() for name, tensor in found.items()}


def config_bytes(model: Any, base: Base | None) -> bytes:
    """adapter_config.json. The base is named by its Hub id or the last part of its folder, never by a path."""
    given = model.peft_config["default"].to_dict()
    content = {key: sorted(value) if isinstance(value, set) else value for key, value in given.items()}
    content["base_model_name_or_path"] = None if base is None else base.name
    content["revision"] = None if base is None else base.revision
    content["inference_mode"] = True
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


def put_back(model: Any, lora: Lora, folder: Path) -> Any:
    """The encoder with the adapters that a folder holds, every weight of them."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    adapted = put_on(model, lora)
    expected, found = tensors(adapted), load_file(folder / WEIGHTS)
    if {name: tensor.shape for name, tensor in expected.items()} != {name: each.shape for name, each in found.items()}:
        what = f"does not hold the adapters of rank {lora.rank} on {', '.join(lora.modules)} of this encoder"
        raise DataError(what, where=str(folder / WEIGHTS), fix="restore the folder")
    set_peft_model_state_dict(adapted, found)
    return adapted
