"""Predicted costs: against what torch really keeps, counts by hand, stores that were built, and two published times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel

from mpr import corpora
from mpr.data import passages, tokens
from mpr.recipe import _backbones, _costs, gpus, plan, strict_yaml
from mpr.recipe import read as recipe_file
from mpr.recipe._backbones import Backbone
from mpr.recipe.keys import Recipe
from mpr.records import Passage
from tests import shipped
from tests.unit.recipe.test_schedule import with_training

BERT = _backbones.PUBLISHED["google-bert/bert-base-uncased"]
WIDTH, LENGTH, TEXTS = 256, 32, 4


def model(layers: int, **options: Any) -> tuple[BertModel, Backbone]:
    config = BertConfig(
        hidden_size=WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=3 * WIDTH,
        vocab_size=120,
        max_position_embeddings=64,
        attention_probs_dropout_prob=0.0,  # torch's fused attention on a CPU takes none, and then keeps no maps
        **options,
    )
    return BertModel(config, add_pooling_layer=False), Backbone(layers, WIDTH, 4, 3 * WIDTH, 120, 64)


def kept(encoder: BertModel, half: bool) -> int:
    """Bytes of the distinct memory that autograd keeps, without the weights and their 16-bit copies."""
    sizes = {weight.untyped_storage().data_ptr(): 0 for weight in (*encoder.parameters(), *encoder.buffers())}
    shapes = {tuple(weight.shape) for weight in encoder.parameters() if weight.dim() == 2}
    alive = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        copy = tensor.dtype == torch.bfloat16 and bool({tuple(tensor.shape), tuple(tensor.shape)[::-1]} & shapes)
        sizes.setdefault(tensor.untyped_storage().data_ptr(), 0 if copy else tensor.untyped_storage().nbytes())
        alive.append(tensor)
        return tensor

    ids = torch.randint(5, 100, (TEXTS, LENGTH))
    saved = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with saved, torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        encoder.train()(input_ids=ids, attention_mask=torch.ones_like(ids))
    return sum(sizes.values())


@pytest.mark.parametrize("half", [False, True])
def test_activations_are_what_autograd_keeps(half: bool) -> None:
    """Without dropout, whose masks a CPU keeps as floats: two bytes a token, layer and width on a GPU."""
    tokens_of_step = TEXTS * LENGTH
    sizes = [kept(model(layers, hidden_dropout_prob=0.0)[0], half) for layers in (1, 2, 3)]
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0]
    layer = (sizes[1] - sizes[0]) / tokens_of_step
    predicted = _costs.activation_bytes(model(1)[1], half) - 2.0 * WIDTH
    assert predicted <= layer <= 1.04 * predicted, (predicted, layer)  # above it: statistics and the attention mask
    embeddings = sizes[0] / tokens_of_step - layer
    assert embeddings == pytest.approx(_costs.embedding_bytes(model(1)[1]) - WIDTH, rel=0.05)


def test_dropout_masks_are_two_a_layer_and_one_of_the_embeddings() -> None:
    sizes = [[kept(model(layers, hidden_dropout_prob=rate)[0], False) for layers in (1, 2)] for rate in (0.0, 0.1)]
    noise = 4.0 * WIDTH * TEXTS * LENGTH  # a CPU keeps the mask as 32-bit noise
    assert (sizes[1][0] - sizes[0][0], sizes[1][1] - sizes[0][1]) == (3 * noise, 5 * noise)


def test_operations_are_what_torch_counts() -> None:
    encoder, shape = model(2)
    encoder.set_attn_implementation("eager")
    ids = torch.randint(5, 100, (TEXTS, LENGTH))
    with FlopCounterMode(display=False) as counter:
        encoder(input_ids=ids)
    predicted = TEXTS * _costs.forward_flops(shape, LENGTH)
    assert predicted == pytest.approx(counter.get_total_flops(), rel=0.02)
    assert predicted > counter.get_total_flops()  # biases and LayerNorm are counted as if they were matrices


def test_training_is_three_forward_passes() -> None:
    encoder, shape = model(2)
    encoder.set_attn_implementation("eager")
    ids = torch.randint(5, 100, (TEXTS, LENGTH))
    with FlopCounterMode(display=False) as counter:
        encoder(input_ids=ids).last_hidden_state.sum().backward()
    assert 3 * TEXTS * _costs.forward_flops(shape, LENGTH) == pytest.approx(counter.get_total_flops(), rel=0.03)


def changed(name: str, part: str, **values: Any) -> Recipe:
    recipe = shipped.recipes()[name]
    made = type(getattr(recipe, part)).model_validate(getattr(recipe, part).model_dump(by_alias=True) | values)
    return recipe.model_copy(update={part: made})


def test_states_by_hand() -> None:
    one_gpu = _costs.memory(shipped.recipes()["trec_bce_m3"], BERT)  # two towers, fp16
    assert one_gpu is not None
    assert one_gpu.states == 2 * 108_891_648 * 16 + 2 * 85_054_464 * 2
    eight = _costs.memory(shipped.recipes()["trec_nll_m1_released"], BERT)  # two towers, 32-bit, gradient buckets
    assert eight is not None
    assert eight.states == 2 * 108_891_648 * 20
    tied = _costs.memory(shipped.recipes()["nq_joint_lh_m4_llm"], BERT)
    assert tied is not None
    assert tied.states == 108_891_648 * 16 + 85_054_464 * 2


def test_activations_of_a_step_by_hand() -> None:
    found = _costs.memory(shipped.recipes()["trec_bce_m3"], BERT)
    assert found is not None
    tokens_of_step = (16 + 64) * 256
    assert found.activations == tokens_of_step * (12 * (26 * 768 + 4 * 3072) + 5 * 768)
    plain = _costs.memory(with_training("trec_bce_m3", fp16=False), BERT)
    assert plain is not None
    assert plain.activations == tokens_of_step * (12 * (34 * 768 + 8 * 3072) + 5 * 768)


@pytest.mark.parametrize("key", ["gradient_checkpointing", "activation_checkpointing"])
def test_recomputing_keeps_inputs_and_one_layer(key: str) -> None:
    found = _costs.memory(with_training("trec_bce_m3", **{key: True}), BERT)
    assert found is not None
    assert found.activations == (16 + 64) * 256 * (12 * 4 * 768 + (26 * 768 + 4 * 3072) + 5 * 768)
    assert flops(with_training("trec_bce_m3", **{key: True})) == pytest.approx(flops_of("trec_bce_m3") * 4 / 3)


def test_the_cache_holds_one_chunk() -> None:
    cached = changed("trec_bce_m3", "scale", cache={"questions": 8, "passages": 4})
    found = _costs.memory(cached, BERT)
    assert found is not None
    assert found.activations == 8 * 256 * (12 * (26 * 768 + 4 * 3072) + 5 * 768)
    assert flops(cached) == pytest.approx(flops_of("trec_bce_m3") * 4 / 3)


def flops(recipe: Recipe) -> float:
    found = _costs.training_flops(recipe, BERT)
    assert found is not None
    return found


def flops_of(name: str) -> float:
    return flops(shipped.recipes()[name])


def test_lora_learns_little() -> None:
    lora = {"rank": 8, "alpha": 16, "dropout": 0.1, "modules": ("query", "value")}
    recipe = changed("trec_bce_m3", "towers", lora=lora)
    adapters = 2 * 12 * 2 * 8 * (768 + 768)
    assert _costs.lora_parameters(recipe, BERT) == adapters
    found = _costs.memory(recipe, BERT)
    assert found is not None
    assert found.states == 2 * 108_891_648 * 4 + adapters * 16 + 2 * 85_054_464 * 2
    assert flops(recipe) == pytest.approx(flops_of("trec_bce_m3") * 2 / 3)
    one_side = changed("trec_bce_m3", "towers", lora={**lora, "towers": "question"})
    assert _costs.lora_parameters(one_side, BERT) == adapters / 2
    twice = changed("trec_bce_m3", "towers", lora={**lora, "modules": ("query", "value", "self.query")})
    assert _costs.lora_parameters(twice, BERT) == adapters
    offered = corpora.of(recipe.data.corpus)
    assert _costs.disk(recipe, BERT, offered)["one checkpoint"] == adapters * 12


def test_passages_that_stay_cost_no_training() -> None:
    """Of the question tower everything, of the passage tower its weights; of a step the questions alone."""
    recipe = shipped.recipes()["nq_bce_m3"]
    frozen = recipe.model_copy(update={"towers": recipe.towers.model_copy(update={"train": "question"})})
    both, one = _costs.memory(recipe, BERT), _costs.memory(frozen, BERT)
    assert both is not None
    assert one is not None
    assert _costs.learning_parameters(frozen, BERT) * 2 == _costs.learning_parameters(recipe, BERT)
    assert both.states - one.states == pytest.approx((12 + 4 * (recipe.scale.processes > 1)) * BERT.parameters)
    questions = int(recipe.training["per_device_train_batch_size"]) * recipe.towers.question_length
    half = _costs.is_half(recipe)
    a_token = BERT.layers * _costs.activation_bytes(BERT, half) + _costs.embedding_bytes(BERT)
    assert one.activations == pytest.approx(questions * a_token)


SELF = "sources=[{name: dense, as: own, model: self, depth: 200, dtype: float32, compute: float32}]"
NEGATIVES = "draw.negatives=[{from: own, k: 1, weight: uniform, short: fewer}]"


def own(name: str, *more: str) -> Recipe:
    """A recipe whose model mines for itself."""
    document = strict_yaml.parse(shipped.text(name).encode(), "r.yaml")
    return recipe_file.from_document(document, "r", (SELF, NEGATIVES, *more))


@pytest.mark.parametrize(
    "refresh, times",
    [("{every: 100}", 3), ("{every: 100, stale: true}", 2), ("{every: 300}", 1), ("null", 1), ("{every: 99}", 4)],
)
def test_refreshes_by_hand(refresh: str, times: int) -> None:
    """300 updates over 2,451 passages: once before the first, then every so many; never what nobody would read."""
    recipe = own("quickstart", f"refresh={refresh}", "training.max_steps=300", "training.warmup_steps=0")
    shape, offered = _backbones.of(recipe.towers), corpora.of(recipe.data.corpus)
    assert shape is not None
    assert _costs.refreshed_passages(recipe, offered) == times * 2_451
    found, text = _costs.hours(recipe, shape, offered), str(plan.resolve(recipe))
    assert found is not None
    assert found["refresh on 1 x A100"] == pytest.approx(times * found["encode on 1 x A100"])
    assert f"{times} in all, {times * 2_451:,} passages encoded\n" in text


def test_refreshes_that_encode_no_passage_or_nobody_knows_how_many() -> None:
    for name, more, expected in (
        ("quickstart", ["draft=true", "towers.share=false", "towers.train=question", "refresh={every: 9}"], 0),
        ("trec_bce_m3", ["refresh={every: 9}"], None),  # texts that come with the records
    ):
        recipe = own(name, *more)
        assert _costs.refreshed_passages(recipe, corpora.of(recipe.data.corpus)) == expected
    plain = shipped.recipes()["quickstart"]
    assert _costs.refreshed_passages(plain, corpora.of(plain.data.corpus)) == 0


def test_unknown_stays_unknown() -> None:
    everything = shipped.recipes()["mini/scifact_joint_lh_all"]
    shape = _backbones.of(everything.towers)
    assert shape is not None
    offered = corpora.of(everything.data.corpus)
    assert _costs.memory(everything, shape) is None
    assert _costs.hours(everything, shape, offered) is None
    assert _costs.disk(everything, None, offered)["one checkpoint"] is None


def test_devices_that_lack_a_precision_are_left_out() -> None:
    offered = corpora.of(shipped.recipes()["trec_bce_m3"].data.corpus)
    shown = _costs.hours(with_training("trec_bce_m3", fp16="absent", bf16=True), BERT, offered)
    assert shown is not None
    assert {name.rpartition(" ")[2] for name in shown} == {"A100", "H100", "H200"}


def test_times_that_dpr_published() -> None:
    """The README of facebookresearch/DPR: training "about a day" on 8 GPUs of 32 GB, evaluations included; encoding 21
    million passages, padded to 256 tokens, in 40 minutes on 50 servers of two GPUs. V100s are our guess."""
    recipe = shipped.recipes()["nq_nll_m1_released"]
    found = _costs.hours(recipe, BERT, corpora.of(recipe.data.corpus))
    assert found is not None
    assert 24 / 5 < found["train on 8 x V100"] < 24
    padded = 21_015_324 * _costs.forward_flops(BERT, 256) / (15.7e12 * gpus.UTILISATION * 3600)
    assert 66.7 / 2 < padded < 66.7 * 2


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


SENTENCE = "the river rises in a low range of hills and is crossed by nine bridges before it meets the sea"


def test_disk_is_what_the_stores_take(tmp_path: Path) -> None:
    """The constants are means of real text; the stores' own share is checked on texts of known size."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = SENTENCE.split()
    text = " ".join(words * 5)
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="the"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    many = 4_000
    records = (Passage(f"{number:08}", "bridges and the sea", text) for number in range(many))
    store = passages.build(tmp_path / "passages", records, {})
    pairs = (("bridges and the sea", text) for _ in range(many))
    made = tokens.build(tmp_path / "tokens", pairs, tokenizer, cap=512, receipt={})
    extra = size(store.folder) / many - len(text.encode())
    assert extra == pytest.approx(_costs.BYTES_PER_PASSAGE, abs=12)
    row = size(made.folder) / many - 4 * 5 * len(words)
    assert row == pytest.approx(_costs.BYTES_PER_TOKEN_ROW, abs=6)


def test_a_teacher_that_is_asked_in_every_step() -> None:
    """Its weights, one of its layers at a time, and one forward of the step; unknown where it is no stage's."""
    row = recipe_file.load(shipped.ROOT / "recipes" / "systems" / "tas_b.yaml")
    taught = row._stages[-1]
    shape = _backbones.of(taught.towers)
    assert shape is not None
    alone = taught.model_copy(update={"labels": taught.labels[:2], "objective": taught.objective[:1]})
    with_it, without = _costs.memory(taught, shape), _costs.memory(alone, shape)
    assert with_it is not None
    assert without is not None
    assert with_it.states - without.states == 4.0 * shape.parameters
    read = 32 * 30 + 64 * 200
    assert with_it.activations - without.activations == read * _costs.activation_bytes(shape, half=False)
    flops = [_costs.training_flops(one, shape) for one in (taught, alone)]
    step = 32 * _costs.forward_flops(shape, 30) + 64 * _costs.forward_flops(shape, 200)
    assert flops[0] is not None
    assert flops[1] is not None
    assert flops[0] - flops[1] == pytest.approx(700_000 * step)
    stays = {"towers": taught.towers.model_copy(update={"train": "question"})}
    frozen = [_costs.memory(one.model_copy(update=stays), shape) for one in (taught, alone)]
    assert frozen[0] is not None
    assert frozen[1] is not None
    assert frozen[0].activations - frozen[1].activations == read * _costs.activation_bytes(shape, half=False), "as much"
    elsewhere = (*taught.labels[:2], taught.labels[2].model_copy(update={"model": "runs/colbert/model"}))
    unknown = taught.model_copy(update={"labels": elsewhere})
    assert _costs.memory(unknown, shape) is None
    assert _costs.training_flops(unknown, shape) is None
