"""Rules about `task:`, `towers:` and `start:`: what learns, what it starts from, and models that are named by a stage.

A cross-encoder reads question and passage together. A late-interaction model reads them one by one and compares their
tokens, so passages of other rows are there to be scored, as they are for towers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mpr.errors import excerpt, nearest
from mpr.recipe import _backbones, model_names, stages
from mpr.recipe.keys import CROSS_ENCODER, DUAL_ENCODER, LATE_INTERACTION, PACKED, SCORERS, Recipe
from mpr.recipe.keys_towers import PACKABLE, Towers
from mpr.recipe.model_names import START
from mpr.recipe.strict_yaml import Finding

_NO_VECTORS = "a pair has a score, and no vectors"
ONLY: dict[str, tuple[tuple[str, object, str], ...]] = {  # task -> key of `towers`, its one value, and why
    CROSS_ENCODER: (
        ("share", True, "question and passage are read by one transformer"),
        ("pooling", "cls", "the score is read off the first token"),
        ("normalize", False, _NO_VECTORS),
        ("projection", None, _NO_VECTORS),
        ("lora", None, "adapters are put on encoders of vectors only"),
        ("pair_cut", "end", "what is too long is cut from the passage, whose title is a part of it"),
        ("last_slot", "pad", "it belongs to texts that are read one by one"),
    ),
    LATE_INTERACTION: (
        ("share", True, "questions and passages are read by one encoder"),
        ("pooling", "none", "every token keeps its vector"),
        ("lora", None, "adapters are put on encoders of whole texts only"),
        ("last_slot", "pad", "every token of a text is compared"),
    ),
}
_PINNED = re.compile(r"[^@]+@[0-9a-f]{40}")


def towers_fit_the_task(recipe: Recipe) -> Iterator[Finding]:
    """See `of_task`."""
    yield from of_task(recipe.towers, recipe.task)


def of_task(towers: Towers, task: str) -> Iterator[Finding]:
    """Keys of `towers` that are about another kind of model; also asked where a recipe is not at hand."""
    if task == DUAL_ENCODER and towers.pooling == "none":
        yield ("towers", "pooling"), "vectors of whole texts are compared (task: dual_encoder)", "use cls, mean or last"
    for key, only, why in ONLY.get(task, ()):
        if getattr(towers, key) != only:
            fix = f"set it to {'null' if only is None else str(only).lower()}"
            yield ("towers", key), f"{why} (task: {task})", fix
    if task != CROSS_ENCODER:
        return
    if towers.title == "pair":
        what = "a cross-encoder's pair is the question and the passage (task: cross_encoder)"
        yield ("towers", "title"), what, "use join or none"
    if towers.question_length >= towers.passage_length:
        what = f"is of question and passage together, the question alone may have {towers.question_length} tokens"
        yield ("towers", "passage_length"), what, "raise it, or lower question_length"


def only_own_passages(recipe: Recipe) -> Iterator[Finding]:
    """A cross-encoder has no block of scores beyond the pairs that were drawn."""
    if recipe.is_cross_encoder and recipe.draw.in_batch:
        what = "a cross-encoder would have to read every passage of the step with every question"
        yield ("draw", "in_batch"), what, "set it to false, and draw negatives"


def nothing_that_needs_vectors(recipe: Recipe) -> Iterator[Finding]:
    """What is about the vectors of whole texts, or about searching with them."""
    if recipe.task not in SCORERS:
        return
    who = SCORERS[recipe.task]
    if recipe.scale.gather:
        yield ("scale", "gather"), f"{who} has no passages to share", "set it to false"
    for key in ("cache", "negative_cache"):
        if getattr(recipe.scale, key) is not None:
            yield ("scale", key), f"{_NO_VECTORS}: there is nothing to remember", "remove it"
    if recipe.refresh is not None:
        yield ("refresh",), f"{who} cannot search", "remove it"
    if recipe.start is not None:
        yield ("start",), f"{who} does not go on from another model", "remove it; in a plan, `start: base`"
    if recipe.validation is not None:
        yield ("validation",), f"is a search among passages, and {who} cannot search", "remove it"
    if recipe.draw.clusters is not None and recipe.draw.clusters.model == START:
        fix = "name a trained model, `stage:<name>` in a plan"
        yield ("draw", "clusters", "model"), f"{who} has no vectors of questions", fix
    for number, term in enumerate(recipe.objective):
        if getattr(term, "view", "query") != "query":
            yield ("objective", number, "view"), f"{who} has no rows of passages", "use view: query"
        if getattr(term, "sqrt_width", False):
            yield ("objective", number, "sqrt_width"), f"{_NO_VECTORS} whose size could count", "set it to false"


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


def precision_fits(recipe: Recipe) -> Iterator[Finding]:
    """What computes in 16 bits, and what may be held in them."""
    towers, training = recipe.towers, recipe.training
    rounded = towers.weights == "bfloat16"
    if rounded and training.get("fp16"):
        what = "a forward in fp16 overflows on what bfloat16 weights can hold"
        yield ("training", "fp16"), what, "use bf16, or towers.weights: float32"
    if towers.attention == "flash_attention_2" and not (rounded or training.get("bf16") or training.get("fp16")):
        what = "flash_attention_2 computes in 16 bits, and this training is in 32"
        yield ("towers", "attention"), what, "set training.bf16: true (fp16 on a GPU without bf16), or use sdpa"


def packing_fits(recipe: Recipe) -> Iterator[Finding]:
    """Texts of a side in one row, without padding."""
    if recipe.scale.groups != PACKED:
        return
    towers, family, path = recipe.towers, _backbones.family(recipe.towers), ("scale", "groups")
    if recipe.task != DUAL_ENCODER:
        yield path, f"only texts that become one vector each can be packed (task: {recipe.task})", "give a number"
    if towers.last_slot == "sep":
        yield path, "towers.last_slot: sep fills every text up on purpose", "give a number, or set last_slot: pad"
    if towers.attention == "eager":
        yield path, "attention by eager cannot tell the texts of one row apart", "use sdpa or flash_attention_2"
    if recipe.training.get("torch_compile"):
        yield ("training", "torch_compile"), "would compile every packed step anew: no two have one shape", "remove it"
    if family is not None and family not in PACKABLE:
        what = f"texts of '{family}' cannot be packed into one row, or nobody has compared it with padding"
        yield path, what, f"give a number; packed is for {', '.join(PACKABLE)}"


def lengths_fit(recipe: Recipe) -> Iterator[Finding]:
    backbone = _backbones.of(recipe.towers)
    for key in ("question_length", "passage_length"):
        length = getattr(recipe.towers, key)
        if backbone is not None and length > backbone.longest:
            yield ("towers", key), f"the encoder reads at most {backbone.longest} tokens", "ask for fewer"


def towers_agree(recipe: Recipe) -> Iterator[Finding]:
    """See `of_towers`."""
    yield from of_towers(recipe.towers)


def of_towers(towers: Towers) -> Iterator[Finding]:
    """What would otherwise show only in what is learned; also asked by `towers.build`, which a recipe need not call."""
    if towers.passage_base is not None and (towers.share or towers.base is None):
        what = "belongs to separate towers that both start from pretrained encoders"
        yield ("towers", "passage_base"), what, "remove it, or set share: false and base"
    if towers.passage_revision is not None and towers.passage_base is None:
        yield ("towers", "passage_revision"), "belongs to passage_base", "remove it"
    if towers.lora is not None and towers.lora.towers != "both" and towers.projection is not None:
        what = "starts from random weights, which the tower that lora leaves frozen could never learn"
        yield ("towers", "projection"), what, "adapt both towers, or leave the projection out"
    if towers.pair_cut == "longest_first" and towers.title != "pair":
        yield ("towers", "pair_cut"), "there is no pair of title and text to cut", "remove it, or set title: pair"
    if towers.weights != "float32" and towers.lora is None:
        what = "weights that learn are held in 32 bits: in 16, small steps would be rounded away"
        yield ("towers", "weights"), what, "add towers.lora, or remove it; training.bf16 computes in 16 bits"
    if towers.train == "question" and towers.share:
        yield ("towers", "train"), "there is only one tower (share: true)", "set share: false, or train both"
    if towers.train == "question" and towers.lora is not None and towers.lora.towers != "question":
        yield ("towers", "lora", "towers"), "the passage tower does not learn (train: question)", "use question"


def unlike(before: Towers, now: Towers, *, starting: bool = False) -> Iterator[tuple[str, str, str]]:
    """(key, one value, the other) wherever towers are not used in the same way; who learned does not matter.

    `starting`: training that begins with the first may add adapters, and give each side a copy of a shared encoder.
    """
    unused = {"train", "attention"}
    if starting and before.share:
        unused |= {"share"}
    if starting and before.lora is None:
        unused |= {"lora", "weights"}
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


def start_is_pinned(recipe: Recipe) -> Iterator[Finding]:
    start = recipe.start
    if start is None or recipe.draft or model_names.stage(start) is not None:
        return
    if Path(start).is_dir():
        yield ("start",), "is a local folder, which no commit pins", "set draft: true"
    elif not _PINNED.fullmatch(start):
        fix = "say org/name@ and the 40 hex digits of a commit, or set draft: true"
        yield ("start",), "is not pinned to a commit", fix


def stages_are_earlier(recipe: Recipe) -> Iterator[Finding]:
    """A stage may use the models of those before it, wherever a model is named."""
    known = recipe.earlier
    for path, name in stages.references(recipe):
        if name == recipe.stage:
            yield path, f"'{name}' is this very stage", "name an earlier one, or `self` for the model under training"
        elif name not in known:
            fix = nearest(name, known) or (f"earlier: {', '.join(known)}" if known else "stages belong to a plan")
            yield path, f"no earlier stage is called '{name}'", fix


def models_of_sources_fit(recipe: Recipe) -> Iterator[Finding]:
    for number, source in enumerate(recipe.sources):
        model = getattr(source, "model", None)
        if model == START and recipe.start is None:
            what = "this training starts from no model that could search"
            yield ("sources", number, "model"), what, "name a model, or give start"
        here = model == START or model_names.stage(model) is not None
        if here and getattr(source, "revision", None) is not None:
            yield ("sources", number, "revision"), f"says where a model comes from, '{model}' is here", "remove it"


def start_agrees(recipe: Recipe) -> Iterator[Finding]:
    """The towers of a stage are those of the stage that it starts from, but for what may be added to them."""
    name = model_names.stage(recipe.start)
    before = None if name is None else recipe.earlier.get(name)
    if before is None:
        return
    for key, trained, asked in unlike(before.towers, recipe.towers, starting=True):
        path = tuple(key.split("."))
        what = f"is {asked} here and {trained} in stage '{name}', which this one starts from"
        yield ("towers", *path), what, "leave it as it is there, or start from elsewhere (start: base)"


def models_are_of_their_kind(recipe: Recipe) -> Iterator[Finding]:
    """What vectors are wanted of, what reads pairs, and what may teach a step; of stages, whose task is known here."""
    for path, name in stages.references(recipe):
        before = recipe.earlier.get(name)
        if before is None:
            continue
        wanted: tuple[str, ...] = (DUAL_ENCODER,)
        fix = "name a stage that trains a dual encoder"
        if path[0] == "labels" and path[-1] == "cross_encoder":
            wanted, fix = (CROSS_ENCODER,), "name a stage with task: cross_encoder"
        elif path[0] == "labels":
            wanted, fix = (LATE_INTERACTION, *wanted), "name a late-interaction model or a dual encoder"
        if before.task not in wanted:
            what = f"stage '{name}' trains {SCORERS.get(before.task, 'a dual encoder')}"
            if path[0] == "labels" and before.task == CROSS_ENCODER:
                what += ", which would have to read every passage of a step with every question"
            yield path, what, fix


def frozen_passages_have_learned(recipe: Recipe) -> Iterator[Finding]:
    """Vectors that stay for the whole training must come from a model that can tell passages apart."""
    if recipe.towers.train == "question" and recipe.towers.new and recipe.start is None and not recipe.draft:
        what = "passages would be encoded by random weights, for good"
        yield ("towers", "train"), what, "start from a trained model (start), or train both"
