"""Dense candidates are the best of all inner products, computed here in float64 over vectors made one at a time."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mpr import mine, sources
from mpr.errors import DataError, StorageError
from mpr.inference import Model
from mpr.records import Passage
from tests.conftest import Examined
from tests.unit.encodings import BERT, PROMPTS, model_folder
from tests.unit.framings import words
from tests.unit.grounds import asked, ground, lists, mining, source

PRECISION = {"dtype": "float32", "compute": "float32"}


@pytest.fixture(scope="module")
def stood(tmp_path_factory: pytest.TempPathFactory) -> sources.Ground:
    folder, dice = tmp_path_factory.mktemp("dense"), random.Random(4)
    texts = [Passage(f"p{row}", words(dice, dice.randint(1, 4)), words(dice, dice.randint(0, 1))) for row in range(50)]
    groups = [asked(f"q{row}", f"p{row}", words(dice, dice.randint(1, 3))) for row in range(13)]
    model_folder(folder / "model")
    return ground(folder, texts, groups)


def _made(stood: sources.Ground, **params: Any) -> sources.Source:
    assert stood.folder is not None
    return source(stood, "dense", **{"model": str(stood.folder / "model"), "depth": 7, **PRECISION, **params})


def _vector(model: Model, role: str, title: str, text: str) -> np.ndarray[Any, Any]:
    """One text alone, without padding."""
    prompt = PROMPTS[f"{role}_prompt"]
    pair = (prompt + title, text) if title else (prompt + text,)
    with torch.inference_mode():
        ids = torch.tensor([BERT.encode(*pair).ids])
        found = model.encoder(role)(input_ids=ids, attention_mask=torch.ones_like(ids))
    return np.asarray(found[0], dtype=np.float64)


def test_candidates_are_the_best_inner_products(stood: sources.Ground, examined: Examined) -> None:
    assert stood.folder is not None
    model = Model.opened(stood.folder / "model")
    passages_PW = np.stack([_vector(model, "passage", passage.title, passage.text) for passage in stood.passages])
    made = _made(stood)
    found = made(np.arange(13))
    assert len(set(map(tuple, lists(found)))) > 1
    for row, question in enumerate(stood.questions):
        scores_P = passages_PW @ _vector(model, "question", "", question.text)
        best = np.sort(scores_P)[::-1][:7]
        assert np.allclose(found.row(row, "score"), best, rtol=1e-4, atol=1e-4)
        assert np.allclose(scores_P[found.row(row, "passage")], best, rtol=1e-4, atol=1e-4)
    examined(13 * 50, "inner products", at_least=650)


def test_any_order_and_any_chunk_give_the_same(stood: sources.Ground, tmp_path: Path) -> None:
    whole, again = _made(stood)(np.arange(13)), _made(stood)
    for rows in (np.array([3]), np.arange(13)[::-1], np.array([0, 9])):
        part = again(rows)
        for number, row in enumerate(rows):
            for column in ("passage", "rank", "score"):
                assert np.array_equal(part.row(number, column), whole.row(int(row), column))
    digests = set()
    for chunk in (1, 5, 100):
        work = mining(_made(stood), tmp_path / str(chunk))
        work.propose(chunk, (0, 1))
        work.commit(chunk)
        table = mine.CandidateTable(work.target)
        assert not any(row in passages for row, passages in enumerate(lists(table.negatives)))  # q3's positive is p3
        digests.add(table.manifest.digest)
    assert len(digests) == 1


def test_vectors_are_made_once_for_a_model(stood: sources.Ground) -> None:
    assert stood.folder is not None
    _made(stood)(np.arange(2))
    kept = sorted(path.name for path in stood.folder.iterdir())
    _made(stood, depth=3)(np.arange(2))
    assert sorted(path.name for path in stood.folder.iterdir()) == kept
    other = model_folder(stood.folder / "other", question_prompt="another: ")
    assert _made(stood, model=str(other)).origin != _made(stood).origin
    assert (
        _made(stood, model=str(other))(np.arange(2)).row(0, "score").tolist()
        != _made(stood)(np.arange(2)).row(0, "score").tolist()
    )


def test_what_is_no_model_is_refused(stood: sources.Ground) -> None:
    with pytest.raises(DataError, match="model is not a folder here"):
        _made(stood, model="someone/model")(np.arange(1))
    with pytest.raises(DataError, match="model is not a folder here"):
        _ = _made(stood, model="someone/model").origin
    with pytest.raises(StorageError, match="passages"):
        _made(stood, model=str(stood.passages.folder))(np.arange(1))
