"""Model folders that anybody may have written: configuration, tokenizer and weights damaged, then loaded and used."""

from __future__ import annotations

import json
import random
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from mpr.models import pretrained, templates
from tests.attack.damage import damaged
from tests.attack.outcome import Attack
from tests.unit.tiny_models import FAMILIES, published

_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 10**9, 1.5, "", "x", "gelu", "\x1b[2J", [], {}, [1], {"a": 1}, "evil/kernel", "../..",
)  # fmt: skip
_KEYS = ("attn_implementation", "_attn_implementation", "auto_map", "quantization_config", "torch_dtype", "dtype")
_FAMILIES = ("bert", "roberta", "distilbert", "mpnet", "electra")


def attack(folder: Path, cases: int, seed: int, start: int = 0) -> Attack:
    """Half of the cases change a value of config.json, the others damage bytes of a file. A foreign file that would be
    run is never run: whatever loads makes vectors of the right size."""
    found = Attack()
    whole = [published(folder / family, family) for family in _FAMILIES if family in FAMILIES]
    for number, dice in found.turns(cases, seed, start):
        model = folder / "damaged"
        shutil.rmtree(model, ignore_errors=True)
        shutil.copytree(whole[number % len(whole)], model)
        name = _damage(dice, model, number % 2 == 0)
        found.case(f"{number} {name}", partial(_used, model))
    return found


def _damage(dice: random.Random, model: Path, is_value: bool) -> str:
    path = model / "config.json"
    if is_value:
        config = json.loads(path.read_text("utf-8"))
        key, value = dice.choice([*config, *_KEYS]), dice.choice(_VALUES)
        if dice.random() < 0.15:
            config.pop(key, None)
        else:
            config[key] = value
        path.write_text(json.dumps(config), "utf-8")
        return f"config.json {key}={value!r}"
    path = dice.choice(sorted(file for file in model.iterdir() if file.is_file()))
    data = path.read_bytes()
    head = min(len(data), 4_000 if path.suffix == ".safetensors" else len(data))
    path.write_bytes(damaged(dice, data[:head]) + data[head:])
    return f"{path.name} {path.read_bytes()[:80]!r}"


def _used(model: Path) -> tuple[int, ...]:
    tokenizer = templates.opened(model / "tokenizer.json")
    templates.Template.of(tokenizer)
    templates.digest(tokenizer)
    loaded = pretrained.load(str(model), None)
    return (sum(parameter.numel() for parameter in loaded.model.parameters()),)
