"""Sizes computed from a shape are those of the modules that transformers and peft build."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    PreTrainedConfig,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from mpr.errors import RecipeError
from mpr.recipe import _backbones
from mpr.recipe._backbones import Backbone
from mpr.recipe.keys_towers import NewEncoder, Towers
from tests import shipped
from tests.conftest import Examined

BERT_NAMES = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "vocab_size")
BUILT = {
    "bert": (BertConfig, BertModel, {"add_pooling_layer": False}),
    "roberta": (RobertaConfig, RobertaModel, {"add_pooling_layer": False}),
    "xlm-roberta": (XLMRobertaConfig, XLMRobertaModel, {"add_pooling_layer": False}),
    "distilbert": (DistilBertConfig, DistilBertModel, {}),
}


def built(shape: Backbone) -> Any:
    """The module of that shape, without its memory."""
    if shape.family == "distilbert":
        names = {"n_layers": shape.layers, "dim": shape.width, "n_heads": shape.heads, "hidden_dim": shape.feed_forward}
        names |= {"vocab_size": shape.vocabulary}
    else:
        sizes = (shape.layers, shape.width, shape.heads, shape.feed_forward, shape.vocabulary)
        names = dict(zip(BERT_NAMES, sizes, strict=True)) | {"type_vocab_size": shape.segments}
    config, model, options = BUILT[shape.family]
    with torch.device("meta"):
        return model(config(**names, max_position_embeddings=shape.positions), **options)


SHAPES = [
    *_backbones.PUBLISHED.values(),
    Backbone(2, 128, 2, 512, 20_000, 512),
    Backbone(1, 32, 2, 64, 400, 600),
    Backbone(3, 48, 3, 100, 333, 77, segments=1),
    Backbone(12, 768, 12, 3072, 50_265, 514, segments=1, family="roberta"),
    Backbone(2, 64, 4, 128, 1_000, 514, segments=1, family="xlm-roberta"),
    Backbone(3, 48, 3, 100, 333, 77, segments=0, family="distilbert"),
]


def test_parameters(examined: Examined) -> None:
    for shape in SHAPES:
        model = built(shape)
        assert sum(weight.numel() for weight in model.parameters()) == shape.parameters, shape
        layers = model.transformer.layer if shape.family == "distilbert" else model.encoder.layer
        assert sum(weight.numel() for weight in layers.parameters()) == shape.layer_parameters
        linears = {
            name: (module.in_features, module.out_features)
            for name, module in layers[0].named_modules()
            if isinstance(module, torch.nn.Linear)
        }
        assert linears == {name: sizes for name in shape.all_linears for sizes in shape.linears(name).values()}
    examined(len(SHAPES), "encoders built", at_least=10)


@pytest.mark.parametrize(
    "shape, modules",
    [
        (SHAPES[-6], ["query", "value"]),
        (SHAPES[-6], ["dense"]),
        (SHAPES[-6], ["output.dense", "intermediate.dense"]),
        (SHAPES[-6], ["attention.output.dense", "key"]),
        (SHAPES[-1], ["q_lin", "lin1"]),
    ],
)
def test_module_names_mean_what_peft_means(shape: Backbone, modules: list[str]) -> None:
    adapted = get_peft_model(built(shape), LoraConfig(r=3, target_modules=modules))
    learning = sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)
    layers = {name: sizes for module in modules for name, sizes in shape.linears(module).items()}
    assert layers
    assert learning == shape.layers * 3 * sum(map(sum, layers.values()))
    assert not shape.linears("nothing")


def towers(**options: Any) -> Towers:
    rest = {"share": True, "pooling": "cls", "normalize": False, "title": "pair"}
    return Towers.model_validate(rest | {"question_length": 32, "passage_length": 128} | options)


def test_random_weights() -> None:
    new = NewEncoder(layers=2, width=128, heads=2, feed_forward=512, vocabulary=4000)
    assert _backbones.of(towers(new=new)) == Backbone(2, 128, 2, 512, 4000, 512)
    assert _backbones.of(towers(new=new, passage_length=700)) == Backbone(2, 128, 2, 512, 4000, 700)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_folder_s_own_configuration(shape: Backbone, tmp_path: Path) -> None:
    config: PreTrainedConfig = built(shape).config
    config.save_pretrained(tmp_path)
    assert _backbones.of(towers(base=str(tmp_path))) == shape


def test_what_is_unknown_stays_unknown(tmp_path: Path) -> None:
    assert _backbones.of(towers(base="somebody/some-model")) is None
    assert _backbones.of(towers(base="a" * 3_000)) is None, "no file system has a name of this length"
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "modernbert", "hidden_size": 768}), "utf-8")
    assert _backbones.of(towers(base=str(tmp_path))) is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"model_type": "bert"}', '{"model_type": "bert", "hidden_size": "x"}']
)
def test_a_broken_configuration_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text, "utf-8")
    with pytest.raises(RecipeError, match=r"config\.json towers\.base: is not the configuration of an encoder"):
        _backbones.of(towers(base=str(tmp_path)))


def test_longest_text() -> None:
    """RoBERTa's positions begin behind its padding id, 1: 514 of them hold 512 tokens."""
    model = built(SHAPES[-3])
    assert model.config.pad_token_id == 1
    assert (SHAPES[-3].positions, SHAPES[-3].longest) == (514, 512)
    assert (SHAPES[0].positions, SHAPES[0].longest) == (512, 512)


def test_every_shipped_encoder_is_known(examined: Examined) -> None:
    for recipe in shipped.recipes().values():
        assert _backbones.of(recipe.towers) is not None
    examined(len(shipped.recipes()), "recipes")
