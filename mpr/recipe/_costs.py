"""What a row will cost on a GPU, and on disk, predicted from formulas. `docs/plan.md` derives each of them.

These are predictions before anything ran, not measurements. Unknown stays unknown (None). What the processor does, and
the memory that it takes, is in `mpr/recipe/_host_costs.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mpr.corpora import Collection
from mpr.recipe import _backbones, model_names, schedule
from mpr.recipe._backbones import Backbone
from mpr.recipe.gpus import GPUS, UTILISATION, WITHOUT_BF16
from mpr.recipe.keys import DUAL_ENCODER, PACKED, Recipe

TOKENS_PER_WORD = 1.35  # BERT's word pieces a word of English Wikipedia, and
BYTES_PER_WORD = 6.3  # bytes with the space; both measured, see docs/plan.md
BYTES_PER_PASSAGE = 64.0  # id, title, offsets and hashes in the passage store
BYTES_PER_TOKEN_ROW = 33.0  # title tokens and offsets in the token store
SPECIAL_AND_TITLE_TOKENS = 7.0
BYTES = {"float32": 4.0, "float16": 2.0, "bfloat16": 2.0}


@dataclass(frozen=True)
class Memory:
    """Predicted bytes on each GPU while training."""

    states: float
    """Weights, gradients, Adam's moments, and their copies."""
    activations: float
    """What the forward pass of one step keeps for the backward pass."""

    @property
    def total(self) -> float:
        return self.states + self.activations


def is_half(recipe: Recipe) -> bool:
    """Whether matrix products run in 16 bits."""
    if not recipe.trains:  # then only encoding is predicted
        return recipe.encoding.compute != "float32"
    return bool(recipe.training.get("fp16") or recipe.training.get("bf16")) or recipe.towers.weights == "bfloat16"


def towers(recipe: Recipe) -> int:
    """Number of encoders."""
    return 1 if recipe.towers.share else 2


def learning_parameters(recipe: Recipe, backbone: Backbone) -> int:
    """Parameters that get a gradient: all, those of the question tower, or those of the adapters."""
    if recipe.towers.lora is not None:
        return lora_parameters(recipe, backbone)
    return backbone.parameters * (1 if recipe.towers.train == "question" else towers(recipe))


def lora_parameters(recipe: Recipe, backbone: Backbone) -> int:
    """Two thin matrices for every adapted linear layer: rank times in, and rank times out."""
    lora = recipe.towers.lora
    if lora is None:
        return 0
    adapted = 1 if recipe.towers.share or lora.towers != "both" else 2
    layers = {name: sizes for module in lora.modules for name, sizes in backbone.linears(module).items()}
    return adapted * backbone.layers * lora.rank * sum(inner + outer for inner, outer in layers.values())


def encoded_passages(recipe: Recipe) -> int | None:
    """Passages of a step that the encoder reads: none where their vectors are there already."""
    return 0 if recipe.towers.train == "question" else schedule.passages_per_step(recipe)


def refreshed_passages(recipe: Recipe, offered: Collection) -> int | None:
    """Passages that the model under training encodes to mine for itself, in all versions of its candidates together.

    None of those that do not learn: they are encoded once. Unknown where texts come with the records.
    """
    if recipe.own is None or recipe.towers.train == "question":
        return 0
    made = schedule.refreshes(recipe)
    if made is None or offered.size is None or offered.split(recipe.data.train).inline:
        return None
    return len(made.versions()) * offered.size


def encoded_questions(recipe: Recipe, questions: int) -> int:
    """Questions that are read by themselves: none of a cross-encoder, which reads each with a passage."""
    return 0 if recipe.is_cross_encoder else questions


def memory(recipe: Recipe, backbone: Backbone) -> Memory | None:
    """The sum of everything that is alive at some time of a step: an upper bound of the peak."""
    passages = encoded_passages(recipe)
    if passages is None:
        return None
    half, learning = is_half(recipe), learning_parameters(recipe, backbone)
    adapters = 0 if recipe.towers.lora is None else learning
    states = BYTES[recipe.towers.weights] * towers(recipe) * backbone.parameters + 4.0 * adapters + 12.0 * learning
    if half and recipe.towers.weights == "float32":  # autocast keeps a copy in 16 bits
        states += 2.0 * towers(recipe) * backbone.layer_parameters
    if recipe.scale.processes > 1:
        states += 4.0 * learning  # the buckets in which gradients travel
    if recipe.scale.negative_cache is not None:
        states += 4.0 * recipe.scale.negative_cache.size * (recipe.towers.projection or backbone.width)
    tokens = _tokens_at_once(recipe, -(-passages // recipe.scale.processes))
    per_layer = activation_bytes(backbone, half)
    kept = backbone.layers * per_layer
    if _recomputes(recipe):
        kept = backbone.layers * 4.0 * backbone.width + per_layer  # the input of every layer, and one layer at a time
    activations = tokens * (kept + embedding_bytes(backbone))
    if recipe.step_teacher is not None:
        teacher, read = _teacher(recipe), schedule.passages_per_step(recipe)
        if teacher is None or read is None:
            return None
        (stage, shape), questions = teacher, int(recipe.training["per_device_train_batch_size"])
        states += 4.0 * towers(stage) * shape.parameters
        texts = questions * stage.towers.question_length + read * stage.towers.passage_length
        activations += texts * activation_bytes(shape, half=False)
    return Memory(states, activations)


def _teacher(recipe: Recipe) -> tuple[Recipe, Backbone] | None:
    """The model that is asked in every step, where it is a stage's: of any other the size is not known here."""
    name = model_names.stage(recipe.step_teacher.model)
    stage = None if name is None else recipe.earlier.get(name)
    backbone = None if stage is None else _backbones.of(stage.towers)
    return None if stage is None or backbone is None else (stage, backbone)


def _tokens_at_once(recipe: Recipe, passages: int) -> int:
    """Tokens whose activations are alive together on one process, every text at its full length."""
    questions = encoded_questions(recipe, int(recipe.training["per_device_train_batch_size"]))
    length = recipe.towers
    if recipe.scale.cache is None:
        return questions * length.question_length + passages * length.passage_length
    questions, passages = min(questions, recipe.scale.cache.questions), min(passages, recipe.scale.cache.passages)
    return max(questions * length.question_length, passages * length.passage_length)


def _recomputes(recipe: Recipe) -> bool:
    training: dict[str, Any] = recipe.training
    return bool(training.get("gradient_checkpointing") or training.get("activation_checkpointing"))


def activation_bytes(backbone: Backbone, half: bool) -> float:
    """Bytes that a transformer layer keeps for the backward pass, per token, without stored attention maps."""
    masks = 2.0 * backbone.width
    if half:  # autocast: one copy of the input for each of query, key and value; LayerNorm stays in 32 bits
        return 24.0 * backbone.width + 4.0 * backbone.feed_forward + masks
    return 32.0 * backbone.width + 8.0 * backbone.feed_forward + masks


def embedding_bytes(backbone: Backbone) -> float:
    """The same for the embeddings: the input of their LayerNorm and a dropout mask."""
    return 5.0 * backbone.width


def training_flops(recipe: Recipe, backbone: Backbone, offered: Collection | None = None) -> float | None:
    """Operations of the whole training, every text at its full length; where texts are packed and it is known what is
    offered, passages at their typical length."""
    passages, steps = encoded_passages(recipe), schedule.likely_steps(recipe)
    questions = schedule.questions_per_step(recipe)
    if passages is None or steps is None or questions is None:
        return None
    forward = encoded_questions(recipe, questions) * forward_flops(backbone, recipe.towers.question_length)
    length: float = recipe.towers.passage_length
    if offered is not None and recipe.scale.groups == PACKED:
        length = typical_tokens(recipe, offered)
    forward += passages * forward_flops(backbone, length)
    times = 3.0 if recipe.towers.lora is None else 2.0  # frozen weights need no gradient of their own
    times += (recipe.scale.cache is not None) + _recomputes(recipe)  # each is one more forward pass
    asked = 0.0
    if recipe.step_teacher is not None:
        teacher, read = _teacher(recipe), schedule.passages_per_step(recipe)
        if teacher is None or read is None:
            return None
        (stage, shape), readers = teacher, recipe.scale.processes if recipe.scale.gather else 1
        asked = questions * forward_flops(shape, stage.towers.question_length)
        asked += readers * read * forward_flops(shape, stage.towers.passage_length)  # every process reads them all
    return steps * (forward * times + asked)


def forward_flops(backbone: Backbone, length: float) -> float:
    """Operations of one text: two a weight and token, and two matrix products in attention."""
    attention = 4.0 * length * backbone.width * backbone.layers
    return length * (2.0 * backbone.layer_parameters + attention)


def typical_tokens(recipe: Recipe, offered: Collection) -> float:
    """Tokens of a passage when it is encoded, the special ones and those of its title included."""
    whole = float(recipe.towers.passage_length)
    if recipe.towers.last_slot == "sep":  # every text fills its length
        return whole
    return min(whole, offered.words * TOKENS_PER_WORD + SPECIAL_AND_TITLE_TOKENS)


def hours(recipe: Recipe, backbone: Backbone, offered: Collection) -> dict[str, float] | None:
    """Hours of training, of the refreshes within it, and then to encode the corpus, on GPUs of each kind.

    Training runs in the precision of `training`, a refresh in that of its source, the rest in that of `encoding`.
    """
    training = training_flops(recipe, backbone, offered) if recipe.trains else 0.0
    if training is None:
        return None
    passage, found, several = forward_flops(backbone, typical_tokens(recipe, offered)), {}, recipe.scale.processes
    for device in GPUS:
        in_bf16 = recipe.training.get("bf16") or recipe.towers.weights == "bfloat16"
        learns_in = "bfloat16" if in_bf16 else "float16" if is_half(recipe) else "float32"
        if (speed := speed_of(device, learns_in)) is None:
            continue
        if recipe.trains:
            found[f"train on {several} x {device}"] = training / speed / several
        refreshed = refreshed_passages(recipe, offered)
        if refreshed and (speed := speed_of(device, recipe.own.compute)) is not None:
            found[f"refresh on {several} x {device}"] = refreshed * passage / speed / several
        searched = 0 if recipe.task != DUAL_ENCODER or offered.size is None else offered.size
        if searched and (speed := speed_of(device, recipe.encoding.compute)) is not None:
            found[f"encode on 1 x {device}"] = searched * passage / speed
    return found


def mining_hours(row: Recipe, offered: Collection) -> dict[str, float]:
    """Hours to encode the corpus for sources that search with a model of this row, in all its stages, each model once.

    Those of other models are not known here; those of the model under training are its refreshes.
    """
    found = {}
    for stage in row.stages:
        for source in stage.sources:
            model = getattr(source, "model", None)
            name = model_names.stage(model)
            maker = stage if model == model_names.START else stage.earlier.get(name) if name is not None else None
            backbone = None if maker is None else _backbones.of(maker.towers)
            if maker is None or backbone is None or offered.size is None:
                continue
            passage = forward_flops(backbone, typical_tokens(maker, offered))
            for device in GPUS:
                if (speed := speed_of(device, source.compute)) is not None:  # type: ignore[attr-defined]
                    found[f"mine with {model} on 1 x {device}"] = offered.size * passage / speed
    return found


def speed_of(device: str, precision: str) -> float | None:
    """Operations an hour that a GPU is assumed to reach; None: it does not have this precision."""
    if precision == "bfloat16" and device in WITHOUT_BF16:
        return None
    peak = GPUS[device].single if precision == "float32" else GPUS[device].half
    return peak * 1e12 * UTILISATION * 3600.0


def disk(recipe: Recipe, backbone: Backbone | None, offered: Collection) -> dict[str, float | None]:
    """Bytes of what the row leaves on disk."""
    size, words = offered.size, offered.words
    texts = None if size is None else size * (words * BYTES_PER_WORD + BYTES_PER_PASSAGE)
    tokens = None if size is None else size * (words * TOKENS_PER_WORD * 4.0 + BYTES_PER_TOKEN_ROW)
    vectors = checkpoint = None
    if backbone is not None:
        width = recipe.encoding.width or recipe.towers.projection or backbone.width
        vectors = None if size is None else size * width * BYTES[recipe.encoding.dtype]
        if recipe.task != DUAL_ENCODER:
            vectors = 0.0
        checkpoint = 12.0 * learning_parameters(recipe, backbone)
    found = {"texts": texts, "tokens": tokens, "vectors": vectors}
    return found | {"one checkpoint": checkpoint} if recipe.trains else found
