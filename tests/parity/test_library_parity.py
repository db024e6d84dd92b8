"""Several positives by the collator and loss for sentence-transformers' trainer, beside the kit's own training.

Both train the same rows from the same weights with the same optimizer; every step has all questions, so the order in
which a step has them does not matter. The kit's way is `fit`: files, stores, draws, its own trainer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MultipleNegativesRankingLoss,
)
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import TrainerCallback, TrainingArguments

from mpr import fit
from mpr.errors import DataError, RecipeError
from mpr.library.multi_positive import CachedMultiPositiveLoss, MultiPositiveCollator, MultiPositiveLoss
from tests.conftest import Parity
from tests.published import said
from tests.unit.tiny_models import difference, published, without_dropout

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("one_thread")]

WORDS = ("ka lo", "mi ren", "tu vas", "zel or", "ni be", "lo mi")
ROWS = [
    {
        "query": text,
        "positives": [f"{text} vas", f"{text} or zel ni", f"be {text}"][: 1 + number % 3],
        "negatives": [f"{text} ka ka"] if number % 2 else [],
    }
    for number, text in enumerate(WORDS)
]
TEST = [{"query": "zel zel", "positives": ["zel zel ni"]}, {"query": "vas vas", "positives": ["vas vas ka"]}]
STEPS, RATE = 3, 1e-2
SHORT = {"towers": {"question_length": 24, "passage_length": 24}}  # the tiny encoder reads 64 tokens


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return without_dropout(published(tmp_path_factory.mktemp("base")))


class Seen(TrainerCallback):  # type: ignore[misc]
    """The losses that a trainer logs, which it rounds, and the lengths of the gradients, which it does not."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.gradients: list[float] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        if "loss" in logs:
            self.losses.append(float(logs["loss"]))
            self.gradients.append(float(logs["grad_norm"]))


def by_fit(base: Path, place: Path, objective: Any, steps: int = STEPS, **more: Any) -> tuple[Path, Seen]:
    seen = Seen()
    arguments = {
        "max_steps": steps, "lr_scheduler_type": "constant", "warmup_steps": 0, "weight_decay": 0.0, "logging_steps": 1,
        "use_cpu": True,
    }  # fmt: skip
    towers = {"question_length": 24, "passage_length": 24, "title": "none"}
    given: dict[str, Any] = {"train": Dataset.from_list(ROWS), "test": TEST, "positives": 3} | more
    sections = {"towers": {"base": str(base), **towers}, **given.pop("recipe", {})}
    folder = fit(
        base, **given, objective=objective, batch_size=len(ROWS), learning_rate=RATE, training=arguments,
        recipe=sections, callbacks=[seen], runs=place / "runs", home=place / "home", quiet=True,
    )  # fmt: skip
    return folder, seen


def by_their_trainer(
    base: Path, place: Path, loss: Any, rows: list[dict[str, Any]] = ROWS, steps: int = STEPS
) -> tuple[SentenceTransformer, Seen]:
    model = SentenceTransformer(modules=[Transformer(str(base), max_seq_length=24), Pooling(32, "mean")], device="cpu")
    arguments = SentenceTransformerTrainingArguments(
        str(place), max_steps=steps, lr_scheduler_type="constant", weight_decay=0.0, learning_rate=RATE,
        logging_steps=1, per_device_train_batch_size=len(ROWS), report_to=[], save_strategy="no", disable_tqdm=True,
        use_cpu=True, optim="adamw_torch", bf16=False, fp16=False,
    )  # fmt: skip
    seen = Seen()
    collator = {"data_collator": MultiPositiveCollator(model.preprocess)} if rows is ROWS else {}
    SentenceTransformerTrainer(
        model, arguments, Dataset.from_list(rows), loss=loss(model), callbacks=[seen], **collator
    ).train()
    return model, seen


def weights_apart(base: Path, folder: Path, model: SentenceTransformer) -> float:
    """How far two trained models are from each other, in parts of the way from where both began."""
    trained = SentenceTransformer(str(folder / "model"), device="cpu").state_dict()
    start = SentenceTransformer(modules=[Transformer(str(base))], device="cpu").state_dict()
    moot = ("pooler", "key.bias")  # without a gradient but for rounding, which Adam makes a step of
    names = [each for each in model.state_dict() if each in trained and not any(part in each for part in moot)]
    assert len(names) > 30
    ours, theirs, before = (
        torch.cat([state[name].flatten() for name in names]) for state in (trained, model.state_dict(), start)
    )
    assert (theirs - before).abs().max() > 1e-2, "something was learned"
    return float((ours - theirs).norm() / (theirs - before).norm())


@pytest.mark.parametrize(
    "name, params, kind",
    [
        ("lse_pair", None, MultiPositiveLoss),  # a name alone means the same to both
        ("joint_lh", {"copositives": "mask", "reduce": "mean"}, CachedMultiPositiveLoss),
    ],
)  # fmt: skip
def test_their_trainer_with_our_loss_equals_our_trainer(
    base: Path, tmp_path: Path, name: str, params: dict[str, Any] | None, kind: Any
) -> None:
    given = name if params is None else {"name": name, "temperature": 0.05, **params}
    folder, ours = by_fit(base, tmp_path, given)
    more = {"mini_batch_size": 4} if kind is CachedMultiPositiveLoss else {}
    model, theirs = by_their_trainer(base, tmp_path / "out", lambda model: kind(model, name, **(params or {}), **more))
    assert len(ours.losses) == len(theirs.losses) == STEPS
    assert difference(ours.losses, theirs.losses) < 1e-4, "logs are rounded"
    assert weights_apart(base, folder, model) < 1e-3


ONE_POSITIVE = [{"anchor": text, "positive": f"{text} vas", "negative": f"{text} ka ka"} for text in WORDS]


def test_a_run_is_that_of_their_trainer_and_their_loss(base: Path, tmp_path: Path, parity: Parity) -> None:
    """Update for update, with nothing of ours on their side. Both plain, both in chunks, ours in chunks alone."""
    updates, chunks = 12, {"scale": {"cache": {"questions": 2, "passages": 4}}}
    theirs = {
        "plain": by_their_trainer(base, tmp_path / "1", MultipleNegativesRankingLoss, ONE_POSITIVE, updates),
        "cached": by_their_trainer(
            base, tmp_path / "2", lambda model: CachedMultipleNegativesRankingLoss(model, mini_batch_size=4),
            ONE_POSITIVE, updates,
        ),
    }  # fmt: skip
    given: dict[str, Any] = {"train": Dataset.from_list(ONE_POSITIVE), "positives": 1, "steps": updates}
    ours = {
        "plain": by_fit(base, tmp_path / "3", {"name": "nll", "temperature": 0.05}, **given),
        "cached": by_fit(base, tmp_path / "4", {"name": "nll", "temperature": 0.05}, **given, recipe=chunks),
    }
    found: dict[str, list[float]] = {"loss": [], "gradient": [], "weights": []}
    for one, other in (("plain", "plain"), ("cached", "cached"), ("cached", "plain")):
        (folder, seen), (model, said_there) = ours[one], theirs[other]
        assert len(seen.losses) == len(said_there.losses) == updates
        found["loss"].append(difference(seen.losses, said_there.losses))
        lengths = zip(seen.gradients, said_there.gradients, strict=True)
        found["gradient"] += [abs(here - there) / there for here, there in lengths]
        found["weights"].append(weights_apart(base, folder, model))
    package, against = "sentence-transformers", "(Cached)MultipleNegativesRankingLoss in SentenceTransformerTrainer"
    parity("loss of every update of fit, logged with 4 digits", against, 3 * updates, max(found["loss"]), 2e-4, package)
    parity("length of every update's gradient (relative)", against, 3 * updates, max(found["gradient"]), 1e-4, package)
    parity("weights after 12 updates (of the way gone)", against, 3, max(found["weights"]), 1e-3, package)


def test_fit_leaves_what_the_commands_leave_and_goes_on_by_them(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = by_fit(base, tmp_path, "lse_pair")
    assert folder == tmp_path / "runs" / "fit-seed42"
    for name in ("run.json", "metrics.jsonl", "model/manifest.json", "recipe/fit.yaml"):
        assert (folder / name).is_file()
    again, seen = by_fit(base, tmp_path, "lse_pair")
    assert (again, seen.losses) == (folder, []), "the same call finds it done"
    with pytest.raises(RecipeError, match="positives"):
        by_fit(base, tmp_path, {"name": "lse_pair", "positives": "min", "temperature": 0.05})
    said(
        "reproduce", folder / "recipe" / "fit.yaml", "--runs", tmp_path / "runs", "--home", tmp_path / "home", "--quiet"
    )
    assert "fit on test: percent over 2 questions" in capsys.readouterr().out
    assert (folder / "result.json").is_file()


def test_rows_and_arguments_that_are_wrong_are_refused(base: Path, tmp_path: Path) -> None:
    about: dict[str, Any] = {"runs": tmp_path / "runs", "home": tmp_path / "home"}
    for rows, message in (
        ([], "train: has no row"), ({"train": ROWS}, r"is several data sets \(train\)"),
        ([{"query": "a", "positves": ["b"], "negatives": []}], "did you mean 'positives'"),
        ([{"query": "a", "positives": []}], "'a' has no positive"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=message):
            fit(base, rows, **about)
    for arguments, message in (
        ({"objective": "lse_pare"}, "did you mean 'lse_pair'"), ({"name": "../a"}, "is no name"),
        ({"training": {"learning_rat": 1.0}}, "did you mean 'learning_rate'"),
        ({"positives": 0}, "greater than or equal"),
        ({"recipe": {"scal": {}}}, "did you mean 'scale'"),
    ):  # fmt: skip
        with pytest.raises(RecipeError, match=message):
            fit(base, ROWS, **about, **arguments)
    assert not (tmp_path / "runs").exists(), "nothing is left of a refused call"


def test_training_arguments_may_be_an_object(base: Path, tmp_path: Path) -> None:
    seen = Seen()
    given = TrainingArguments(str(tmp_path / "unused"), max_steps=1, logging_steps=1, use_cpu=True, weight_decay=0.5)
    folder = fit(
        base,
        ROWS,
        test=TEST,
        training=given,
        recipe=SHORT,
        callbacks=[seen],
        runs=tmp_path,
        home=tmp_path / "home",
        quiet=True,
    )
    run = json.loads((folder / "run.json").read_text("utf-8"))
    assert run["recipe"]["training"]["weight_decay"] == 0.5
    assert run["recipe"]["training"]["max_steps"] == 1
    assert "num_train_epochs" not in run["recipe"]["training"]
    assert len(seen.losses) == 1
