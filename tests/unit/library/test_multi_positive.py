"""Several positives in the real trainer of sentence-transformers, beside its own losses and beside the kit's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from mpr import catalogue, objectives
from mpr.errors import DataError, RecipeError
from mpr.library.multi_positive import CachedMultiPositiveLoss, MultiPositiveCollator, MultiPositiveLoss
from mpr.recipe import _defaults
from tests.conftest import Examined
from tests.unit.tiny_models import difference, published, without_dropout

pytestmark = pytest.mark.usefixtures("one_thread")

ANCHORS = ["ka lo", "mi ren", "tu vas", "zel or", "ni be", "lo mi"]
PAIRS = {"anchor": ANCHORS, "positive": [f"{text} vas zel" for text in ANCHORS]}
SEVERAL = {  # one, two or three positives of each, in columns
    **PAIRS,
    "positive_1": ["ka or", None, "tu tu", "", "ni ni or", "mi mi"],
    "positive_2": [None, None, "vas vas be", None, "be be", None],
    "negative": [f"{text} ka ka ka" for text in reversed(ANCHORS)],
}
LISTS = {
    "query": ANCHORS,
    "positives": [[cell for cell in row if cell] for row in
                  zip(*(SEVERAL[name] for name in ("positive", "positive_1", "positive_2")), strict=True)],
    "negatives": [[text] for text in SEVERAL["negative"]],
}  # fmt: skip
OF_SCORES = [name for name in catalogue.names("objectives") if name != "wasserstein"]  # which needs grades


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return without_dropout(published(tmp_path_factory.mktemp("still")))


def opened(base: Path) -> SentenceTransformer:
    """A new copy of the same weights, mean pooling; dropout stays on."""
    encoder = Transformer(str(base), max_seq_length=24)
    return SentenceTransformer(modules=[encoder, Pooling(32, "mean")], device="cpu")


def trained(base: Path, folder: Path, rows: dict[str, Any], loss: Any, **more: Any) -> list[float]:
    """The loss of every update by the real trainer. From the second on it depends on all gradients before."""
    model, seen = opened(base), []
    made = loss(model)
    forward = made.forward

    def recorded(*arguments: Any) -> Any:
        found = forward(*arguments)
        seen.append(float(found.detach()))
        return found

    made.forward = recorded
    arguments = SentenceTransformerTrainingArguments(
        str(folder), num_train_epochs=2, per_device_train_batch_size=3, learning_rate=1e-2, report_to=[],
        save_strategy="no", disable_tqdm=True, use_cpu=True, seed=5, logging_strategy="no", bf16=False, fp16=False,
    )  # fmt: skip
    SentenceTransformerTrainer(model, arguments, Dataset.from_dict(rows), loss=made, **more).train()
    return seen


def block(model: SentenceTransformer) -> dict[str, Any]:
    return {"data_collator": MultiPositiveCollator(model.preprocess)}


@pytest.mark.parametrize("objective", ["nll", "joint_lh", "lse_pair"])
def test_one_positive_is_the_ranking_loss_of_sentence_transformers(base: Path, tmp_path: Path, objective: str) -> None:
    """Dropout on: one forward of the same texts in the same order, so the very same dice."""
    theirs = trained(base, tmp_path / "theirs", PAIRS, MultipleNegativesRankingLoss)
    ours = trained(base, tmp_path / "ours", PAIRS, lambda model: MultiPositiveLoss(model, objective),
                        **block(opened(base)))  # fmt: skip
    assert len(theirs) == 4
    assert difference(ours, theirs) < 1e-5
    assert theirs[0] - theirs[-1] > 0.01, "something was learned"


@pytest.mark.long
@pytest.mark.parametrize("objective", ["lse_pair", "joint_lh", "bce"])
def test_cached_equals_plain_and_columns_equal_lists(still: Path, tmp_path: Path, objective: str) -> None:
    params: dict[str, Any] = {"scaling": "probability"} if objective == "bce" else {}
    about = block(opened(still))
    columns = {name: [cell or "" for cell in cells] for name, cells in SEVERAL.items()}  # their card takes no None
    plain = trained(
        still, tmp_path / "plain", columns, lambda model: MultiPositiveLoss(model, objective, **params), **about
    )
    params["mini_batch_size"] = 2
    cached = trained(
        still, tmp_path / "cached", LISTS, lambda model: CachedMultiPositiveLoss(model, objective, **params), **about
    )
    assert difference(plain, cached) < 1e-5
    assert plain[0] - plain[-1] > 0.01, "something was learned"


def test_cached_repeats_dropout(base: Path) -> None:
    """The gradient is that of the very vectors that the loss was computed from."""
    model = opened(base).train()
    rows = [dict(zip(SEVERAL, row, strict=True)) for row in zip(*SEVERAL.values(), strict=True)]
    batch = MultiPositiveCollator(model.preprocess)(rows)
    sides = [{name.removeprefix(f"{side}_"): value for name, value in batch.items() if name.startswith(side)}
             for side in ("question", "passage")]  # fmt: skip
    gradients = []
    for size in (4, 400):  # 400: one chunk a side, so a plain step with the dice in the same places
        torch.manual_seed(1)
        model.zero_grad()
        loss = CachedMultiPositiveLoss(model, mini_batch_size=size)
        vectors = loss(sides, batch["label"])
        vectors.backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
        torch.manual_seed(1)
        replayed = [model(side)["sentence_embedding"] for side in sides]
        if size == 400:
            model.zero_grad()
            loss.compute_loss_from_embeddings(replayed, batch["label"]).backward()
            plain = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
            assert max(difference(one, other) for one, other in zip(gradients[-1], plain, strict=True)) < 1e-6
    assert all(len(found) == len(gradients[0]) for found in gradients)


# What a batch says


def relations(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[int]]]:
    """The distinct passages and the cells of a batch."""
    seen: list[list[str]] = []

    def preprocess(texts: list[str], **_: Any) -> dict[str, Any]:
        seen.append(texts)
        return {"input_ids": torch.zeros(len(texts), 1)}

    batch = MultiPositiveCollator(preprocess)(rows)
    assert list(batch) == ["question_input_ids", "passage_input_ids", "label"]
    return seen[1], batch["label"].tolist()


def test_a_text_that_is_right_is_negative_nowhere() -> None:
    passages, cells = relations([
        {"query": "one", "positives": ["a", "b"], "negatives": ["c"]},
        {"query": "two", "positives": ["b"], "negatives": []},  # shared with the first
        {"query": "three", "positives": ["c  c"], "negatives": ["a"]},
        {"query": "four", "positives": ["c c"], "negatives": ["c c", "d"]},  # white space makes no other text
    ])  # fmt: skip
    assert passages == ["a", "b", "c  c", "c", "d"]
    assert cells == [[1, 1, -1, -1, -1], [-1, 1, -1, -1, -1], [-1, -1, 1, -1, -1], [-1, -1, 1, -1, -1]]


def test_rows_of_one_question_ignore_each_other() -> None:
    passages, cells = relations([
        {"anchor": "one", "positive": "a", "negative": "c"},
        {"anchor": " one", "positive": "b", "negative": "d"},
        {"anchor": "two", "positive": "e", "negative": "a"},
    ])  # fmt: skip
    assert passages == ["a", "b", "e", "c", "d"]
    assert cells == [[1, 0, -1, -1, -1], [0, 1, -1, -1, -1], [-1, -1, 1, -1, -1]]


def test_columns_without_our_names_go_by_their_places() -> None:
    passages, cells = relations(
        [{"title": "one", "body": "a", "other": "b"}, {"title": "two", "body": "c", "other": None}]
    )
    assert (passages, cells) == (["a", "c", "b"], [[1, -1, -1], [-1, 1, -1]])


@pytest.mark.parametrize(
    "row, message",
    [
        ({"anchor": "a", "positive": "b", "positve_1": "c"}, r"'positve_1' is neither .* \(did you mean 'positive'\?"),
        ({"anchor": "a", "negative": "b"}, "there are no positives"), ({"anchor": "a"}, "no column of positives"),
        ({"anchor": "a", "positive": ""}, "'a' has no positive"), ({"anchor": "a", "positives": []}, "has no positive"),
        ({"anchor": "a", "positive": 3}, "positive: int is no text"), ({"anchor": None, "positive": "b"}, "NoneType"),
        ({"anchor": "a", "positive": "b", "label": 1}, "'label' is neither"),
    ],
)  # fmt: skip
def test_rows_that_are_no_block_are_refused(row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        relations([row])


def test_prompts_go_by_the_columns_of_the_data_set(base: Path) -> None:
    seen: list[Any] = []

    def preprocess(texts: list[str], prompt: str | None, task: str | None) -> dict[str, Any]:
        seen.append(prompt)
        return {"input_ids": torch.zeros(len(texts), 1)}

    MultiPositiveCollator(preprocess, prompts={"query": "q: ", "positives": "p: "})([
        {"query": "one", "positives": ["a"], "dataset_name": "x"}])  # fmt: skip
    assert seen == ["q: ", "p: "]


# What the loss refuses


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"objective": "lse_pare"}, "did you mean 'lse_pair'"), ({"temprature": 1.0}, "did you mean 'temperature'"),
        ({"similarity": "cosin"}, "did you mean 'cosine'"), ({"objective": "kl", "target": "teacher"}, "'kl' needs"),
        ({"objective": "bce", "bias": 1.0}, "bce.scaling: is missing"),
        ({"temperature": -1.0}, "greater than 0, not -1.0"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused_with_the_right_ones(arguments: dict[str, Any], message: str) -> None:
    for kind in (MultiPositiveLoss, CachedMultiPositiveLoss):
        with pytest.raises(RecipeError, match=message):
            kind(None, **arguments)


def test_a_batch_of_another_collator_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"data_collator=MultiPositiveCollator\(model\.preprocess\)"):
        trained(base, tmp_path, PAIRS, MultiPositiveLoss)
    with pytest.raises(RecipeError, match="mini_batch_size"):
        CachedMultiPositiveLoss(None, mini_batch_size=0)


def test_every_objective_of_scores_alone_is_a_loss(examined: Examined) -> None:
    torch.manual_seed(0)
    vectors, label = [torch.randn(3, 8), torch.randn(7, 8)], torch.full((3, 7), -1, dtype=torch.int8)
    label[0, :2] = label[1, 2] = label[2, 3:6] = 1
    tried = 0
    for name in OF_SCORES:
        loss = MultiPositiveLoss(None, name, similarity="dot")
        meant = objectives.when_named(name)
        sum_Q, weight_Q = objectives.load(name, **meant)(vectors[0] @ vectors[1].T, label == 1, label == -1, width=8)
        assert float(loss.compute_loss_from_embeddings(vectors, label)) == pytest.approx(
            float(sum_Q.sum() / weight_Q.sum())
        )
        assert loss.get_config_dict()["objective"] == name
        tried += 1
    examined(tried, "objectives", at_least=8)


def test_a_name_alone_means_the_same_in_a_recipe(examined: Examined) -> None:
    for name in OF_SCORES:
        recipe: dict[str, Any] = {"objective": name}
        _defaults.spelled_out(recipe)
        [entry] = recipe["objective"]
        assert MultiPositiveLoss(None, name).params == objectives.checked(**entry), name
    divided = MultiPositiveLoss(None, "lse_pair").params, MultiPositiveLoss(None, "lse_pair", temperature=0.05).params
    assert [found.divide_by_positives for found in divided] == [True, False], "with parameters, the formula's defaults"
    examined(len(OF_SCORES), "objectives", at_least=8)
