"""How a transformer computes attention: by the recipe's word, through transformers, and by nothing that a model names.

`auto` leaves what transformers chose when the encoder was opened. The other names are transformers' own. A kernel that
is not there is refused here: asked for flash attention where the package is missing, transformers would look for the
code in a repository.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mpr.errors import RecipeError

_KEY = "towers.attention"
_FLAGS = {"sdpa": "_supports_sdpa", "flash_attention_2": "_supports_flash_attn"}


def use(transformers: Iterable[Any], wanted: str) -> None:
    """From now on each of them computes attention so."""
    if wanted == "auto":
        return
    if wanted == "flash_attention_2":
        from transformers.utils import is_flash_attn_2_available

        if not is_flash_attn_2_available():
            what = "flash_attention_2 needs the package flash-attn and a GPU, and one of them is missing"
            raise RecipeError(what, key=_KEY, fix="install it with pip, or use sdpa")
    for transformer in transformers:
        name = type(transformer).__name__
        if not getattr(transformer, _FLAGS.get(wanted, ""), True):
            what = f"{name} has no {wanted} in this version of transformers"
            raise RecipeError(what, key=_KEY, fix="use auto")
        if of(transformer) != wanted:
            transformer.set_attn_implementation(wanted)
        if of(transformer) != wanted:
            what = f"{name} computes attention in one way only, {of(transformer)}"
            raise RecipeError(what, key=_KEY, fix="use auto")


def of(transformer: Any) -> str:
    """How it computes attention."""
    return str(transformer.config._attn_implementation)
