"""The model that compares tokens: its scores against a double loop, what it is built from and saved as, its loss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file

from mpr import storage
from mpr.errors import DataError, RecipeError
from mpr.models import cross_encoder, late_interaction, towers, towers_folder
from mpr.models.late_interaction import LateInteraction
from mpr.recipe import read, strict_yaml
from mpr.recipe.keys import ObjectivePart
from mpr.runtime.processes import Place
from mpr.training import _block
from mpr.training._loss import Terms
from tests import shipped
from tests.conftest import Examined
from tests.faults.contradictory_searches import TREC
from tests.faults.contradictory_tasks import TOKENS
from tests.unit import tiny_models

SHAPE: dict[str, Any] = {"pooling": "none", "title": "join", "projection": 8}


def settings(**changes: Any) -> Any:
    return tiny_models.settings(**(SHAPE | changes))


def built(folder: Path, family: str = "bert", seed: int = 1, **changes: Any) -> LateInteraction:
    base = tiny_models.published(folder / family, family)
    tokenizer = tiny_models.tokenizer_of(family)
    return late_interaction.build(settings(base=str(base), **changes), tokenizer, seed).eval()


def texts(model: LateInteraction, seed: int, count: int = 7, longest: int = 20) -> list[list[int]]:
    return tiny_models.random_rows(model.backbone.config.vocab_size, count, longest, seed)


def scores(model: LateInteraction, questions: list[list[int]], passages: list[list[int]]) -> Any:
    with torch.no_grad():
        return model(question=tiny_models.batch(questions), passage=tiny_models.batch(passages))


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Largest difference, against the largest score."""
    return tiny_models.difference(one, other) / float(one.abs().max())


def by_loops(model: LateInteraction, question: list[int], passage: list[int]) -> float:
    """One pair by itself, token by token, in 64 bits: the definition."""
    sides = []
    for row in (question, passage):
        with torch.no_grad():
            hidden_LD = model.backbone(**tiny_models.batch([row])).last_hidden_state[0].double()
        vectors = hidden_LD if model.projection is None else hidden_LD @ model.projection.weight.double().T
        sides.append([one / one.norm() if model.settings.normalize else one for one in vectors])
    total = 0.0
    for one in sides[0]:
        total += max(sum(float(a) * float(b) for a, b in zip(one, other, strict=True)) for other in sides[1])
    return total


@torch.no_grad()
@pytest.mark.parametrize(
    "changes", [{}, {"normalize": True}, {"projection": None}, {"normalize": True, "projection": 3}]
)
def test_scores_are_those_of_a_double_loop(changes: dict[str, Any], tmp_path: Path, examined: Examined) -> None:
    model = built(tmp_path, **changes)
    questions, passages = texts(model, 1, 5, 9), texts(model, 2)
    found = scores(model, questions, passages)
    expected = torch.tensor([[by_loops(model, one, other) for other in passages] for one in questions])
    assert float(found.std()) > 0.01
    assert tiny_models.difference(found, expected) < 1e-4 * max(1.0, float(expected.abs().max()))
    examined(found.numel(), "pairs", at_least=35)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_neither_padding_nor_neighbours_change_a_score(family: str, tmp_path: Path, examined: Examined) -> None:
    """Alone, in another order, in groups of similar length, and padded by texts that are longer."""
    model = built(tmp_path, family, normalize=True)
    questions, passages = texts(model, 3, 6, 12), texts(model, 4, 9, 24)
    whole = scores(model, questions, passages)
    longer = scores(model, [*questions, [7] * 30], [*passages, [9] * 40])[:-1, :-1]
    assert apart(whole, longer) < 1e-6
    turned = scores(model, questions[::-1], passages[::-1]).flip(0, 1)
    assert apart(whole, turned) < 1e-6
    alone = torch.cat([torch.cat([scores(model, [q], [p]) for p in passages], 1) for q in questions])
    assert apart(whole, alone) < 1e-6
    many, calls = [*passages, *texts(model, 5, 40, 5)], list[int]()
    in_one = scores(model, questions, many)
    model.groups = 3
    model.backbone.register_forward_hook(lambda *given: calls.append(1))
    assert apart(in_one, scores(model, questions, many)) < 1e-6
    assert len(calls) > 2, "passages were encoded in groups"
    examined(3 * whole.numel() + in_one.numel(), "scores", at_least=400)


def test_a_best_match_is_never_padding() -> None:
    """Where every real product is negative, zeros and large numbers at padding would win."""
    question_QLW = torch.tensor([[[1.0, 0.0], [50.0, 50.0]]])
    passage_PMW = torch.tensor([[[-2.0, 0.0], [-3.0, 1.0], [99.0, 99.0]], [[-4.0, 5.0], [0.0, 0.0], [0.0, 0.0]]])
    real_QL, real_PM = torch.tensor([[True, False]]), torch.tensor([[True, True, False], [True, False, False]])
    found = late_interaction.best_matches(question_QLW, real_QL, passage_PMW, real_PM)
    assert found.tolist() == [[-2.0, -4.0]]


@pytest.mark.parametrize("projection", [8, None])
def test_the_written_folder_is_read_again(projection: int | None, tmp_path: Path) -> None:
    model, tokenizer = built(tmp_path, projection=projection), tiny_models.tokenizer_of("bert")
    late_interaction.write(tmp_path / "model", model, tokenizer, {"updates": 3})
    again, backend, found = late_interaction.load(tmp_path / "model")
    before, after = model.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    questions, passages = texts(model, 1), texts(model, 2)
    assert torch.equal(scores(again, questions, passages), scores(model, questions, passages))
    assert (found.task, found.towers.passage_length, found.towers.base) == ("late_interaction", 40, "bert")
    assert backend.get_vocab() == tokenizer.get_vocab()
    assert str(tmp_path) not in (tmp_path / "model" / "mpr.json").read_text()
    late_interaction.write(tmp_path / "again", again, backend, {"updates": 3})
    same = [storage.read_manifest(tmp_path / name).digest for name in ("model", "again")]
    assert same[0] == same[1]


def test_each_reader_refuses_the_other_kinds(tmp_path: Path) -> None:
    tokenizer = tiny_models.tokenizer_of("bert")
    late_interaction.write(tmp_path / "tokens", built(tmp_path), tokenizer)
    two = towers.build(tiny_models.settings(base=str(tmp_path / "bert")), tokenizer, 1)
    towers_folder.write(tmp_path / "towers", two, tokenizer)
    wanted = r"mpr\.json.*task.*of a late-interaction model, which compares tokens, and what is wanted"
    for load in (towers_folder.load, cross_encoder.load):
        with pytest.raises(DataError, match=wanted):
            load(tmp_path / "tokens")
    with pytest.raises(DataError, match=r"mpr\.json.*task.*of a dual encoder, which makes vectors, and what is wanted"):
        late_interaction.load(tmp_path / "towers")


@pytest.mark.parametrize("name, change, where", [
    ("mpr.json", lambda data: json.dumps(json.loads(data) | {"tokenizer": "0" * 64}).encode(), "tokenizer"),
    ("projection.safetensors", lambda data: data[:20], "is not the projection"),
    ("mpr.json", lambda data: data.replace(b'"projection": 8', b'"projection": 9'), "has the shape"),
])  # fmt: skip
def test_a_folder_whose_parts_do_not_belong_together(name: str, change: Any, where: str, tmp_path: Path) -> None:
    """The manifest would say so first, so it is written anew around the changed file."""
    late_interaction.write(tmp_path / "model", built(tmp_path), tiny_models.tokenizer_of("bert"))
    with storage.stage(tmp_path / "other", "model") as stage:
        for path in sorted((tmp_path / "model").iterdir()):
            data = path.read_bytes()
            if path.name != "manifest.json":
                stage.write(path.name, change(data) if path.name == name else data)
    with pytest.raises(DataError, match=where):
        late_interaction.load(tmp_path / "other")


def colbert(folder: Path, size: int = 8) -> tuple[Path, torch.Tensor]:
    """A checkpoint as ColBERT's own code saves it: `bert.` before the encoder's names, and `linear.weight`."""
    base = tiny_models.published(folder / "colbert")
    weights = {f"bert.{name}": tensor for name, tensor in load_file(base / "model.safetensors").items()}
    weights["linear.weight"] = torch.randn(size, 32, generator=torch.Generator().manual_seed(2))
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    config = json.loads((base / "config.json").read_text()) | {"architectures": ["HF_ColBERT"]}
    (base / "config.json").write_text(json.dumps(config))
    return base, weights["linear.weight"]


def test_a_published_projection_is_taken(tmp_path: Path) -> None:
    base, weight = colbert(tmp_path)
    tokenizer = tiny_models.tokenizer_of("bert")
    model = late_interaction.build(settings(base=str(base)), tokenizer, 1)
    assert model.projection is not None
    assert torch.equal(model.projection.weight, weight)
    assert all(parameter.requires_grad for parameter in model.parameters())
    plain = built(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.backbone.parameters(), plain.backbone.parameters(), strict=True))
    for other in (16, None):
        with pytest.raises(RecipeError, match=r"towers\.projection.*a projection to 8, the recipe says.*set it to 8"):
            late_interaction.build(settings(base=str(base), projection=other), tokenizer, 1)
    save_file(load_file(base / "model.safetensors") | {"linear.weight": torch.zeros(8, 31)}, base / "model.safetensors")
    with pytest.raises(DataError, match="the encoder's vectors have 32 numbers"):
        late_interaction.build(settings(base=str(base)), tokenizer, 1)


def test_what_a_base_lacks_follows_from_the_seed(tmp_path: Path) -> None:
    apart = tiny_models.drawn_by_seed(lambda seed: built(tmp_path, seed=seed))
    assert apart == {"projection.weight"}


def test_scores_come_in_32_bits(tmp_path: Path) -> None:
    model = built(tmp_path)
    questions, passages = texts(model, 1), texts(model, 2)
    with torch.autocast("cpu", torch.bfloat16):
        found = scores(model, questions, passages)
    assert found.dtype == torch.float32
    assert not torch.equal(found, found.bfloat16().float())
    assert tiny_models.difference(found, scores(model, questions, passages)) > 0


@pytest.mark.parametrize("key, value", [("share", False), ("pooling", "mean"), ("lora", tiny_models.LORA)])
def test_towers_that_it_has_no_use_for(key: str, value: Any) -> None:
    with pytest.raises(RecipeError, match=rf"towers\.{key}"):
        late_interaction.build(settings(**{key: value}), tiny_models.tokenizer_of("bert"), 1)


def test_towers_need_one_vector_a_text() -> None:
    with pytest.raises(RecipeError, match=r"towers\.pooling.*use cls, mean or last"):
        towers.build(tiny_models.settings(pooling="none"), tiny_models.tokenizer_of("bert"), 1)


def test_the_loss_is_that_of_the_block(tmp_path: Path) -> None:
    """Against a loss written out: log of the softmax over the row, every passage of the step being a column."""
    model = built(tmp_path)
    questions, passages = texts(model, 1, 2), texts(model, 2, 4)
    positives = torch.tensor([[1, 0, 0, 0], [0, 0, 0, 1]]).bool()
    batch = {"question": tiny_models.batch(questions), "passage": tiny_models.batch(passages)}
    batch |= {"positives_QP": positives, "negatives_QP": ~positives}
    entry: Any = TypeAdapter(ObjectivePart).validate_python({"name": "nll", "temperature": 20.0})
    found = _block.late_interaction_loss(model, batch, Terms([entry]), Place())
    rows = [[by_loops(model, one, other) / 20.0 for other in passages] for one in questions]
    expected = -torch.log_softmax(torch.tensor(rows, dtype=torch.float64), dim=1)[positives].mean()
    assert float(found.loss.detach()) == pytest.approx(float(expected), rel=1e-5)
    found.loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert found.pull().abs().min() > 0


def test_recipes_that_contradict_nothing(examined: Examined) -> None:
    ways: tuple[list[str], ...] = (
        [],
        ["towers.projection=128", "towers.normalize=true"],
        ["draw.in_batch=true", "objective=[{name: joint_lh, columns: others}]"],
        ["scale.processes=2", "draw.in_batch=false"],
    )
    for more in ways:
        document = strict_yaml.parse(shipped.text(TREC).encode(), "r.yaml")
        assert read.from_document(document, "r", [*TOKENS, *more]).task == "late_interaction"
    examined(len(ways), "recipes for a late-interaction model", at_least=4)
