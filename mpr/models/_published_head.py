"""What follows the transformer in a published encoder: pooling, a linear layer, a layer norm, vectors of length one.

Two layouts say so. castorini/ance-msmarco-passage files a linear layer and a layer norm under names of its own beside
the weights of a RoBERTa. sentence-transformers lists modules in `modules.json`, each with a folder. A part that we do
not know is refused: a vector without it would be another vector, and nobody would see it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mpr.errors import DataError, RecipeError, excerpt
from mpr.models import weight_files
from mpr.models._sentence_layout import SWITCHES
from mpr.recipe.keys_towers import Towers

MODULES = "modules.json"
_ANCE = ("embeddingHead.weight", "embeddingHead.bias", "norm.weight", "norm.bias")
_KINDS = ("Transformer", "Pooling", "Dense", "LayerNorm", "Normalize")
_STRAIGHT = "torch.nn.modules.linear.Identity"


@dataclass
class Head:
    """The parts that a folder has; None: it does not say."""

    projection: torch.nn.Linear | None = None
    norm: torch.nn.LayerNorm | None = None
    pooling: str | None = None
    normalize: bool | None = None
    where: str = ""

    def refuse_other_use(self, towers: Towers, key: str) -> None:
        """The recipe uses the encoder as its publisher does."""
        for name in ("pooling", "normalize"):
            theirs, ours = getattr(self, name), getattr(towers, name)
            if theirs is not None and theirs != ours:
                said = {True: "true", False: "false"}.get(theirs, theirs)
                what = f"the encoder of {key} was published with {name}: {said} ({MODULES})"
                raise RecipeError(what, where=self.where, key=f"towers.{name}", fix=f"set it to {said}")


def of_folder(folder: Path) -> Head:
    """What follows the transformer whose files these are."""
    found = _of_modules(folder) if (folder / MODULES).is_file() else Head()
    tensors = weight_files.tensors(folder, _ANCE)
    if not tensors:
        return found
    if lost := [name for name in _ANCE if name not in tensors]:
        what = f"has a part of ANCE's head only: {', '.join(lost)} is missing"
        raise DataError(what, where=str(folder), fix="download it again")
    weight, bias, scale, shift = (tensors[name] for name in _ANCE)
    found.projection, found.norm = _linear(weight, bias), _norm(scale, shift)
    return found


def _of_modules(folder: Path) -> Head:
    found = Head(normalize=False, where=str(folder / MODULES))
    for kind, place in _modules(folder):
        if kind == "Pooling":
            found.pooling = _pooling(place)
        elif kind == "Dense":
            _refuse_order(found.projection is None and found.norm is None, folder)
            config = weight_files.json_file(place / "config.json")
            if config.get("activation_function", _STRAIGHT) != _STRAIGHT:
                what = f"ends with {excerpt(str(config['activation_function']))} after its linear layer"
                raise DataError(what, where=str(place / "config.json"), fix="only linear layers without one are read")
            weights = weight_files.tensors(place, ("linear.weight", "linear.bias"))
            if "linear.weight" not in weights:
                raise DataError("has no weights of its linear layer", where=str(place), fix="download it again")
            found.projection = _linear(weights["linear.weight"], weights.get("linear.bias"))
        elif kind == "LayerNorm":
            _refuse_order(found.norm is None, folder)
            weights = weight_files.tensors(place, ("norm.weight", "norm.bias"))
            if len(weights) != 2:
                raise DataError("has no weights of its layer norm", where=str(place), fix="download it again")
            found.norm = _norm(weights["norm.weight"], weights["norm.bias"])
        elif kind == "Normalize":
            found.normalize = True
    return found


def _modules(folder: Path) -> Iterator[tuple[str, Path]]:
    """Kind and folder of every module, in their order; the transformer is the first and lies at the top."""
    content = weight_files.json_file(folder / MODULES, list)
    for number, entry in enumerate(content):
        kind = str(entry.get("type", "")).rpartition(".")[2] if isinstance(entry, dict) else ""
        path = str(entry.get("path", "")) if isinstance(entry, dict) else ""
        fix = f"known: {', '.join(_KINDS)}, the transformer first and at the top"
        if kind not in _KINDS or (kind == "Transformer") != (number == 0) or (number == 0 and path):
            what = f"module {number} is {excerpt(kind)!r} in {excerpt(path)!r}, which is not read"
            raise DataError(what, where=str(folder / MODULES), fix=fix)
        if Path(path).name != path:
            what = f"names {excerpt(path)}, which is no folder beside it"
            raise DataError(what, where=str(folder / MODULES), fix=fix)
        yield kind, folder / path


def _pooling(place: Path) -> str:
    """Of its switches exactly one is on, and it is one of ours; newer files name the kind."""
    config = weight_files.json_file(place / "config.json")
    on = [name for name in SWITCHES if config.get(name) is True]
    kind = SWITCHES[on[0]] if len(on) == 1 else None
    if not on and isinstance(config.get("pooling_mode"), str):
        kind = {"cls": "cls", "mean": "mean", "lasttoken": "last"}.get(config["pooling_mode"])
    if kind is None:
        what = f"pools in a way that is not ours: {', '.join(on) or excerpt(str(config.get('pooling_mode')))}"
        raise DataError(what, where=str(place / "config.json"), fix="use an encoder with cls, mean or last")
    return kind


def _refuse_order(is_first: bool, folder: Path) -> None:
    if not is_first:
        what = "has more after its transformer than one linear layer and then one layer norm"
        raise DataError(what, where=str(folder / MODULES), fix="use another encoder")


def _linear(weight: torch.Tensor, bias: torch.Tensor | None) -> torch.nn.Linear:
    made = torch.nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    made.weight = torch.nn.Parameter(weight)
    made.bias = torch.nn.Parameter(torch.zeros(len(weight)) if bias is None else bias)
    return made


def _norm(weight: torch.Tensor, bias: torch.Tensor) -> torch.nn.LayerNorm:
    made: Any = torch.nn.LayerNorm(len(weight))
    made.weight, made.bias = torch.nn.Parameter(weight), torch.nn.Parameter(bias)
    return made  # type: ignore[no-any-return]
