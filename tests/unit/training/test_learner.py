"""Training that starts from a trained model: the weights are its own to the bit, and only what may be added is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mpr import storage
from mpr.errors import DataError, RecipeError
from mpr.models import contract, templates, towers, towers_folder
from mpr.models.locate import model_folder
from mpr.models.towers import DualEncoder as Built
from mpr.recipe.keys import DUAL_ENCODER
from mpr.recipe.keys_towers import Lora, Towers
from mpr.search.inference import Model
from mpr.training import learner
from tests.conftest import Examined
from tests.unit.framings import bert
from tests.unit.tiny_models import LORA, batch, moved, published, random_rows, random_states, settings

BERT = bert().backend_tokenizer
ROWS = batch(random_rows(20))


def vectors(built: Built) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat(built.eval()(question=ROWS, passage=ROWS))


def trained(folder: Path, wanted: Towers) -> Path:
    """The folder of a model that was trained with these towers."""
    towers_folder.write(folder, moved(towers.build(wanted, BERT, 1)), BERT)
    return folder


def stood(wanted: Towers, start: Path | None, tokenizer: Any = BERT) -> Any:
    """A dataset as far as a start looks at it."""
    recipe = SimpleNamespace(task=DUAL_ENCODER, towers=wanted, training={"seed": 1}, start=str(start))
    return SimpleNamespace(recipe=recipe, models=SimpleNamespace(start=start), tokenizer=lambda: tokenizer)


@pytest.mark.parametrize("share", [True, False])
def test_weights_are_the_model_s_own(tmp_path: Path, share: bool) -> None:
    wanted = settings(share=share, projection=8)
    model = trained(tmp_path / "model", wanted)
    before = random_states()
    built = learner.towers_of(stood(wanted, model), groups=3)
    assert random_states() == before
    assert (built.training, built.groups, built.shared) == (True, 3, share)
    assert len(built.trainable()) == len(list(built.named_parameters())) > 0
    loaded, _, _ = towers_folder.load(model)
    assert torch.equal(vectors(built), vectors(loaded))
    assert not torch.equal(vectors(built), vectors(towers.build(wanted, BERT, 1)))


def test_without_a_start_it_is_what_towers_says() -> None:
    wanted = settings()
    assert torch.equal(vectors(learner.towers_of(stood(wanted, None))), vectors(towers.build(wanted, BERT, 1)))


def test_shared_weights_part_into_two_copies(tmp_path: Path) -> None:
    model = trained(tmp_path / "model", settings(share=True, projection=8))
    built = learner.towers_of(stood(settings(share=False, projection=8, train="question"), model))
    loaded, _, _ = towers_folder.load(model)
    assert torch.equal(vectors(built), vectors(loaded))
    learning = {name.partition(".")[0] for name, _ in built.trainable()}
    assert learning == {"question"}, "train: question"
    passage = {name: tensor.clone() for name, tensor in built.passage.state_dict().items()}
    moved(built)
    assert all(torch.equal(tensor, passage[name]) for name, tensor in built.passage.state_dict().items())
    assert not torch.equal(vectors(built), vectors(loaded)), "the question tower is another one"


def test_adapters_on_top_are_merged_in_what_is_kept(tmp_path: Path) -> None:
    model, wanted = trained(tmp_path / "model", settings()), settings(lora=Lora(**LORA))
    dataset = stood(wanted, model)
    built = learner.towers_of(dataset)
    loaded, _, _ = towers_folder.load(model)
    assert torch.equal(vectors(built), vectors(loaded)), "fresh adapters change nothing"
    assert all("lora_" in name for name, _ in built.train().trainable())
    learned = vectors(moved(built))
    learner.write(tmp_path / "next", built, dataset, {})
    again, _, found = towers_folder.load(tmp_path / "next")
    assert found.weights == "merged"
    assert torch.allclose(vectors(again), learned, atol=1e-5)
    assert not [name for name in storage.read_manifest(tmp_path / "next").files if "adapter" in name]
    third = learner.towers_of(stood(wanted, tmp_path / "next"))
    assert torch.equal(vectors(third), vectors(again)), "a third training starts from the second's model"
    assert all("lora_" in name for name, _ in third.trainable())


def test_adapters_of_the_model_go_on_learning(tmp_path: Path) -> None:
    wanted = settings(base=str(published(tmp_path / "base")), lora=Lora(**LORA))
    model = trained(tmp_path / "model", wanted)
    dataset = stood(wanted, model)
    built = learner.towers_of(dataset)
    loaded, _, found = towers_folder.load(model, tmp_path / "base")
    assert found.weights == "adapter"
    assert torch.equal(vectors(built), vectors(loaded))
    assert built.trainable()
    assert all("lora_" in name for name, _ in built.trainable())
    learner.write(tmp_path / "next", built, dataset, {})
    assert built.has_adapters, "they fit the base, and stay apart"


def test_every_key_that_does_not_agree_is_named(tmp_path: Path, examined: Examined) -> None:
    model, tried = trained(tmp_path / "model", settings(share=False, projection=8)), 0
    changes: dict[str, Any] = {
        "share": True, "pooling": "cls", "normalize": True, "projection": 16, "title": "join", "question_prompt": "q: ",
        "passage_prompt": "p: ", "question_length": 20, "passage_length": 39, "new.layers": {"layers": 3},
        "new": None,
    }  # fmt: skip
    for key, value in changes.items():
        wanted = {"share": False, "projection": 8}
        if key.startswith("new."):
            wanted |= {"new": {**settings().new.model_dump(), **value}}  # type: ignore[union-attr]
        elif key == "new":
            wanted |= {"base": "somewhere/else"}
        else:
            wanted |= {key: value}
        with pytest.raises(RecipeError) as caught:
            learner.towers_of(stood(settings(**wanted), model))
        keys = {problem.key for problem in caught.value.problems}
        assert keys == ({"towers.new", "towers.base"} if key == "new" else {f"towers.{key}"})
        assert all(problem.where == f"start {model}" for problem in caught.value.problems)
        tried += 1
    examined(tried, "keys that do not agree", at_least=11)


def test_adapters_cannot_be_taken_away_or_changed(tmp_path: Path) -> None:
    base = str(published(tmp_path / "base"))
    model = trained(tmp_path / "model", settings(base=base, lora=Lora(**LORA)))
    for lora in (None, Lora(**LORA | {"rank": 8})):
        with pytest.raises(RecipeError, match=r"towers\.lora"):
            learner.towers_of(stood(settings(base=base, lora=lora), model))


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    model, other = trained(tmp_path / "model", settings()), type(BERT).from_str(BERT.to_str())
    other.add_tokens(["velmora"])
    assert templates.digest(other) != contract.read(model).tokenizer
    with pytest.raises(RecipeError, match="trained with tokenizer"):
        learner.towers_of(stood(settings(), model, other))


def test_names_become_folders(tmp_path: Path, examined: Examined) -> None:
    """`mpr/models/locate.py`: the one place where they do."""
    model = trained(tmp_path / "model", settings())
    models = {"warmup": model, "start": model, "later": tmp_path / "later"}
    for name in (str(model), "stage:warmup", "start"):
        assert model_folder(name, tmp_path, models) == model
    for name, message in (("stage:later", "is not there yet"), ("stage:lost", "no earlier stage is called 'lost'")):
        with pytest.raises(DataError, match=message):
            model_folder(name, tmp_path, models)
    with pytest.raises(DataError, match="starts from no model"):
        model_folder("start", tmp_path, {})
    with pytest.raises(RecipeError, match="neither a folder here nor the name of a Hub repository"):
        model_folder("no such/folder", tmp_path, models)
    examined(7, "names of models", at_least=7)


def test_a_start_with_16_bit_weights_is_encoded_in_32_bits(tmp_path: Path, examined: Examined) -> None:
    """Rounded as training holds them, computed as evaluation does; by both ways to a model before training."""
    base = str(published(tmp_path / "base"))
    wanted = settings(base=base, lora=LORA, weights="bfloat16")
    held = dict(learner.towers_of(stood(wanted, None)).named_parameters())
    for begun in (learner.start_of(stood(wanted, None)), Model.untrained(wanted, BERT, 1).towers):
        for name, parameter in begun.named_parameters():
            assert parameter.dtype == torch.float32, name
            assert torch.equal(parameter, held[name].float()), name
    rounded = [name for name, parameter in held.items() if parameter.dtype == torch.bfloat16]
    examined(len(rounded), "weights that training holds in 16 bits", at_least=20)
