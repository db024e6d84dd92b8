"""Masks of attention without a look at the padding.

transformers leaves a mask out where no text has padding, because attention without one is faster. To find out, it reads
the padding back from the device, once a forward, and the program waits until the GPU has computed all that came before.
Whoever cut the texts knows the answer already, and gives it here.

The functions that make masks are registered in place of transformers' own, by the interface that it has for that. They
differ only inside `padding_known`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

KINDS = ("sdpa", "eager", "flash_attention_2")
SKIPS = ("allow_is_causal_skip", "allow_is_bidirectional_skip")

_has_padding: bool | None = None  # None: nobody knows, transformers looks
_ours: dict[str, Callable[..., Any]] = {}


@contextmanager
def padding_known(has_padding: bool) -> Iterator[None]:
    """For forwards of texts of which some, or none, have padding."""
    global _has_padding
    _register()
    before, _has_padding = _has_padding, has_padding
    try:
        yield
    finally:
        _has_padding = before


def _register() -> None:
    """Only where transformers is in use, and once."""
    masks = sys.modules.get("transformers.masking_utils")
    if masks is None or _ours:
        return
    for kind in KINDS:
        made = masks.ALL_MASK_ATTENTION_FUNCTIONS[kind]
        _ours[kind] = _without_looking(made)
        masks.AttentionMaskInterface.register(kind, _ours[kind])


def _without_looking(made: Callable[..., Any]) -> Callable[..., Any]:
    def mask(*places: Any, **named: Any) -> Any:
        if _has_padding is None:
            return made(*places, **named)
        if not _has_padding:
            return made(*places, **{**named, "attention_mask": None})
        return made(*places, **{**named, **{skip: False for skip in SKIPS if skip in named}})

    return mask
