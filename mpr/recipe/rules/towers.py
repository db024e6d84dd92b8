"""Rules about `towers:`: what contradicts what before any weight is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mpr.errors import excerpt, nearest
from mpr.recipe import _backbones
from mpr.recipe.keys import Recipe, Towers
from mpr.recipe.rules.training import Finding


def encoder_is_named_once(recipe: Recipe) -> Iterator[Finding]:
    towers = recipe.towers
    if (towers.base is None) == (towers.new is None):
        yield ("towers", "base"), "give exactly one of base and new", "a pretrained encoder, or one from random weights"
    if towers.new is not None:
        if towers.revision is not None:
            yield ("towers", "revision"), "belongs to a pretrained base", "remove it"
        if towers.new.width % towers.new.heads:
            yield ("towers", "new", "heads"), f"does not divide the width of {towers.new.width}", "choose a divisor"
        if towers.lora is not None and recipe.start is None:
            yield ("towers", "lora"), "random weights cannot be adapted, they must be learned", "remove it"


def lora_fits(recipe: Recipe) -> Iterator[Finding]:
    towers, backbone = recipe.towers, _backbones.of(recipe.towers)
    if towers.lora is None:
        return
    if towers.share and towers.lora.towers != "both":
        yield ("towers", "lora", "towers"), "there is only one tower (share: true)", "use both"
    for number, module in enumerate(towers.lora.modules):
        if backbone is not None and not backbone.linears(module):
            known = sorted({name.rpartition(".")[2] for name in backbone.all_linears})
            fix = nearest(module, known) or f"known: {', '.join(known)}"
            yield ("towers", "lora", "modules", number), f"the encoder has no linear layer called '{module}'", fix


def lengths_fit(recipe: Recipe) -> Iterator[Finding]:
    backbone = _backbones.of(recipe.towers)
    for key in ("question_length", "passage_length"):
        length = getattr(recipe.towers, key)
        if backbone is not None and length > backbone.longest:
            yield ("towers", key), f"the encoder reads at most {backbone.longest} tokens", "ask for fewer"


def towers_agree(recipe: Recipe) -> Iterator[Finding]:
    """See `contradictions`."""
    yield from contradictions(recipe.towers)


def contradictions(towers: Towers) -> Iterator[Finding]:
    """What would otherwise show only in what is learned; also asked by `towers.build`, which a recipe need not call."""
    if towers.passage_base is not None and (towers.share or towers.base is None):
        what = "belongs to separate towers that both start from pretrained encoders"
        yield ("towers", "passage_base"), what, "remove it, or set share: false and base"
    if towers.passage_revision is not None and towers.passage_base is None:
        yield ("towers", "passage_revision"), "belongs to passage_base", "remove it"
    if towers.lora is not None and towers.lora.towers != "both" and towers.projection is not None:
        what = "starts from random weights, which the tower that lora leaves frozen could never learn"
        yield ("towers", "projection"), what, "adapt both towers, or leave the projection out"
    if towers.train == "question" and towers.share:
        yield ("towers", "train"), "there is only one tower (share: true)", "set share: false, or train both"
    if towers.train == "question" and towers.lora is not None and towers.lora.towers != "question":
        yield ("towers", "lora", "towers"), "the passage tower does not learn (train: question)", "use question"


def unlike(before: Towers, now: Towers, *, starting: bool = False) -> Iterator[tuple[str, str, str]]:
    """(key, one value, the other) wherever towers are not used in the same way; who learned does not matter.

    `starting`: training that begins with the first may add adapters, and give each side a copy of a shared encoder.
    """
    unused = {"train"}
    if starting and before.share:
        unused |= {"share"}
    if starting and before.lora is None:
        unused |= {"lora"}
    one, other = (each.model_dump(mode="json", exclude=unused) for each in (before, now))
    yield from _differences(one, other)


def _differences(before: dict[str, Any], now: dict[str, Any], inside: str = "") -> Iterator[tuple[str, str, str]]:
    for key, one in before.items():
        other = now[key]
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _differences(one, other, f"{inside}{key}.")
        elif one != other:
            yield inside + key, _shown(one), _shown(other)


def _shown(value: Any) -> str:
    return excerpt(value) if isinstance(value, str) else json.dumps(value)


CHECKS = (encoder_is_named_once, lora_fits, lengths_fit, towers_agree)
