"""A cross-encoder's scores beside the split, against the model on one pair at a time; and what labels make of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from mpr import storage
from mpr.data.pair_labels import Asked, Knowledge
from mpr.data.pair_scores import PairScores, pairs_of
from mpr.errors import DataError, NumbersError, RecipeError, StorageError
from mpr.labels import _score_models
from mpr.models import cross_encoder
from mpr.search.inference import Worker
from mpr.sources import Ground
from tests.conftest import Examined
from tests.unit import scorers, tiny_models
from tests.unit.labelling import knowing, label, listed, tiers
from tests.unit.scorers import ALL, LENGTH, QUESTIONS, scorer, settings


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scorer(tmp_path_factory.mktemp("scorer"))


@pytest.fixture
def split(tmp_path: Path) -> tuple[Ground, Knowledge]:
    return scorers.split(tmp_path)


class Alone:
    """transformers with one pair at a time, unpadded."""

    def __init__(self, folder: Path) -> None:
        self.model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    def __call__(self, ground: Ground, question: int, passage: int) -> float:
        one, other = ground.questions[question].text, ground.passages[passage].text
        given = self.tokenizer(one, other, truncation="only_second", max_length=LENGTH, return_tensors="pt")
        with torch.no_grad():
            return float(self.model(**given).logits)


def content(found: PairScores) -> tuple[bytes, bytes]:
    return np.asarray(found.keys).tobytes(), np.asarray(found.values).tobytes()


def test_scores_are_those_of_one_pair_at_a_time(model: Path, split: Any, examined: Examined) -> None:
    ground, known = split
    found, alone = _score_models.scores_of(str(model), ALL, known, ground), Alone(model)
    assert set(map(int, found.keys)) == set(map(int, known.pairs()))
    assert float(np.std(found.values)) > 0.1
    apart = [
        abs(alone(ground, int(question), int(passage)) - float(value))
        for question, passage, value in zip(*pairs_of(found.keys), found.values, strict=True)
    ]
    assert max(apart) < 1e-6 * float(np.abs(found.values).max())  # rounding of 32 bits is relative
    receipt = storage.read_manifest(found.folder).receipt  # type: ignore[arg-type]
    assert receipt["model"] == storage.read_manifest(model).digest
    assert receipt["questions"] == ground.questions.manifest.digest
    examined(len(apart), f"scores, at most {max(apart):.0e} apart", at_least=80)


def test_it_is_computed_once(model: Path, split: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels that look at the same candidates read one store, whatever those before them made of the candidates."""
    ground, known = split
    near = Asked({"a": 5})
    first = _score_models.scores_of(str(model), near, known, ground)
    assert len(first) == sum(min(5, count) for count in known.of("a").lengths())
    monkeypatch.setattr(Worker, "__call__", None)
    thinned = known.with_candidates("a", known.of("a").kept(known.of("a").columns["rank"] > 2))
    assert _score_models.scores_of(str(model), near, thinned, ground).folder == first.folder
    beside = [path.name for path in first.folder.parent.iterdir()]  # type: ignore[union-attr]
    assert not [name for name in beside if name.endswith("-parts")]


def test_what_names_a_store(model: Path, split: Any, tmp_path: Path, examined: Examined) -> None:
    """Each change of what decides the scores makes another one."""
    ground, known = split
    other = tmp_path / "other"
    tokenizer = tiny_models.tokenizer_of("bert")
    made = cross_encoder.build(settings(title="none", passage_length=30), tokenizer, 2)
    cross_encoder.write(other, made, tokenizer)
    fewer = replace(known, before=knowing([[]] * QUESTIONS, a=[*listed(known.of("a"))[:-1], [0]]))
    named = {
        _score_models.Scoring.of(folder, asked, what, ground, compute, chunk).target.name
        for folder, asked, what, compute, chunk in [
            (model, ALL, known, "float32", 1000),
            (other, ALL, known, "float32", 1000),
            (model, Asked({"a": None}), known, "float32", 1000),
            (model, Asked({"a": 3}), known, "float32", 1000),
            (model, ALL, fewer, "float32", 1000),
            (model, ALL, known, "bfloat16", 1000),
            (model, ALL, known, "float32", 4),
        ]
    }
    examined(len(named), "stores of different names", at_least=7)


def test_a_stopped_pass_goes_on(model: Path, split: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks that are there are not scored again, and the bytes are those of an unbroken pass."""
    ground, known = split
    whole = _score_models.scores_of(str(model), ALL, known, ground, chunk=2)
    expected, place = content(whole), whole.folder
    assert place is not None
    storage.remove(place)
    scored, real = [], _score_models.Scoring._scored

    def stopping(self: Any, first: int, last: int) -> Any:
        if len(scored) == 3:
            raise KeyboardInterrupt
        scored.append(first)
        return real(self, first, last)

    monkeypatch.setattr(_score_models.Scoring, "_scored", stopping)
    with pytest.raises(KeyboardInterrupt):
        _score_models.scores_of(str(model), ALL, known, ground, chunk=2)
    assert scored == [0, 2, 4]
    scored.clear()
    again = _score_models.scores_of(str(model), ALL, known, ground, chunk=2)
    assert scored == [6, 8]
    assert content(again) == expected
    assert storage.verify(place).digest == whole.digest
    other = _score_models.scores_of(str(model), ALL, known, ground)  # in one chunk, other pairs meet
    assert np.array_equal(other.keys, again.keys)
    assert float(np.abs(np.asarray(other.values) - np.asarray(again.values)).max()) < 1e-6


def test_progress_counts_questions(model: Path, split: Any) -> None:
    ground, known = split
    seen: list[Any] = []

    @contextmanager
    def bar(what: str, total: int) -> Iterator[Any]:
        seen.append((what, total))
        yield seen.append

    _score_models.scores_of(str(model), ALL, known, replace(ground, bar=bar), chunk=4)
    assert ("questions scored by model", QUESTIONS) in seen
    assert seen[-3:] == [4, 4, 1]


def test_not_a_number_is_refused_by_name(model: Path, split: Any, tmp_path: Path) -> None:
    ground, known = split
    made, tokenizer, _ = cross_encoder.load(model)
    with torch.no_grad():
        made.model.classifier.bias.fill_(float("nan"))
    cross_encoder.write(tmp_path / "broken", made, tokenizer)
    with pytest.raises(NumbersError, match=r"score of \d+ pairs, the first is passage p\d+ of question q0"):
        _score_models.scores_of(str(tmp_path / "broken"), ALL, known, ground)


def test_where_a_model_is(model: Path, split: Any, tmp_path: Path) -> None:
    ground, known = split
    ground = replace(ground, models={"reader": model})
    assert _score_models.located("stage:reader", ground) == _score_models.located(str(model), ground) == model
    with pytest.raises(DataError, match=r"no earlier stage is called 'writer'.*known: reader"):
        _score_models.located("stage:writer", ground)
    with pytest.raises(RecipeError, match="not pinned to a commit"):
        _score_models.located("some/where", ground)
    (tmp_path / "empty").mkdir()
    with pytest.raises(StorageError):
        _score_models.scores_of(str(tmp_path / "empty"), ALL, known, ground)


@pytest.mark.parametrize("probability", [False, True])
def test_labels_by_a_cross_encoder(probability: bool, model: Path, split: Any, examined: Examined) -> None:
    """Promoted is what transformers scores highest and above one threshold, drawn is what it scores below another, and
    what is between is neither."""
    ground, known = split
    alone = Alone(model)
    rows = listed(known.of("a"))
    value = {(row, one): alone(ground, row, one) for row, passages in enumerate(rows) for one in passages}
    if probability:
        value = {pair: 1 / (1 + np.exp(-score)) for pair, score in value.items()}
    ordered = sorted(value.values())
    low, high = ((ordered[at] + ordered[at + 1]) / 2 for at in (len(ordered) // 3, 3 * len(ordered) // 4))
    scores = {"cross_encoder": str(model), "probability": probability}
    wide = {"source": "a", "scores": scores, "window": 99}
    above = label("ce_above", known, ground, **wide, promote=high, up_to=1, questions="all")
    below = label("ce_below", above, ground, **wide, keep=low)
    for row, passages in enumerate(rows):
        best = max((one for one in passages if value[row, one] > high), key=lambda one: value[row, one], default=None)
        assert [one for one, tier in tiers(below)[row] if tier == "cross_encoder"] == ([] if best is None else [best])
        assert listed(below.of("a"))[row] == [one for one in passages if value[row, one] < low]
        grey = {one for one in passages if value[row, one] >= low} - {best}
        assert {one for one, tier in tiers(below)[row] if tier == "grey"} == grey
    stores = {store.folder for store in below.stores.values()}
    assert len(stores) == 1, "both read one store"
    taught = label("teacher", known, ground, scores=scores, missing="refuse")
    pair = (0, listed(known.positives.rows)[0][0])
    wanted = alone(ground, *pair)
    found = float(taught.scores["teacher_QP"].lookup(*pair))
    assert found == pytest.approx(1 / (1 + np.exp(-wanted)) if probability else wanted, abs=1e-6)
    examined(len(value), "candidates", at_least=60)


def test_half_precision(model: Path, split: Any) -> None:
    ground, known = split
    full, half = (
        _score_models.scores_of(str(model), ALL, known, ground, compute) for compute in ("float32", "bfloat16")
    )
    apart = np.abs(np.asarray(full.values) - np.asarray(half.values))
    assert 0 < float(apart.max()) < 0.1 * float(np.std(full.values)) + 0.05
