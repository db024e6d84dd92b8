"""Dense candidates are the best of all inner products, computed here in float64 over vectors made one at a time."""

from __future__ import annotations

import random
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mpr import sources
from mpr.data import tokens
from mpr.errors import DataError, RecipeError, StorageError
from mpr.mining import mine
from mpr.models import towers, towers_folder
from mpr.recipe.keys_towers import Lora
from mpr.records import Passage
from mpr.search.inference import Model
from tests.conftest import Examined
from tests.unit.encodings import BERT, PROMPTS, model_folder
from tests.unit.framings import words
from tests.unit.grounds import asked, ground, lists, mining, silent, source
from tests.unit.tiny_models import published, settings

PRECISION = {"dtype": "float32", "compute": "float32"}


@pytest.fixture(scope="module")
def stood(tmp_path_factory: pytest.TempPathFactory) -> sources.Ground:
    folder, dice = tmp_path_factory.mktemp("dense") / "home" / "data" / "small", random.Random(4)
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
        work.propose(chunk)
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


def test_texts_are_tokenised_as_for_everybody_else(stood: sources.Ground, tmp_path: Path) -> None:
    """The token stores are those that a recipe with these towers makes, so both read the same ones."""
    assert stood.folder is not None
    here = ground(tmp_path / "home" / "data" / "small", list(stood.passages), [asked("q", "p0", "a question")])
    model = Model.opened(stood.folder / "model")
    towers, bar = model.towers.settings, here.bar
    stores = [
        tokens.of_passages(here.passages, towers, BERT, bar).folder,
        tokens.of_questions(here.questions, towers, BERT, bar).folder,
    ]
    _made(here, model=str(stood.folder / "model"))(np.arange(1))
    assert here.folder is not None
    assert sorted(here.folder.glob("*-tokens-*")) == sorted(stores)


def test_a_model_of_the_hub_is_the_model_that_was_pushed(stood: sources.Ground, examined: Examined) -> None:
    """Once it is there, the Hub is not asked: this process has no server to ask."""
    assert stood.folder is not None
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(stood.folder / "model", stood.home / "models" / f"someone--model-{commit[:12]}")
    local = _made(stood)
    kept = local(np.arange(13))
    for params in ({"model": f"someone/model@{commit}"}, {"model": "someone/model", "revision": commit}):
        made = _made(stood, **params)
        assert made.origin == local.origin
        assert lists(made(np.arange(13))) == lists(kept)
    examined(2 * 13, "lists compared", at_least=26)


def test_adapters_on_a_base_in_a_folder(stood: sources.Ground, tmp_path: Path) -> None:
    """The merged model proposes the same; without the base, or with another, the adapters are refused."""
    base, other = published(tmp_path / "base"), published(tmp_path / "other", seed=1)
    lora = Lora(rank=2, alpha=4, dropout=0.0, modules=("query",), towers="both")
    chosen = settings(**PROMPTS, base=str(base), new=None, share=False, passage_base=str(other), lora=lora)
    made = towers.build(chosen, BERT, 1)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "lora_B" in name:  # starts as zero, with which an adapter does nothing
                parameter += 0.5
    towers_folder.write(tmp_path / "adapters", made, BERT)
    towers_folder.write(tmp_path / "merged", made, BERT, merged=True)
    params = {"model": str(tmp_path / "adapters"), "base": str(base), "passage_base": str(other)}
    found, merged = _made(stood, **params), _made(stood, model=str(tmp_path / "merged"))
    assert found.origin != merged.origin
    assert np.allclose(found(np.arange(13)).columns["score"], merged(np.arange(13)).columns["score"], atol=1e-4)
    with pytest.raises(DataError, match="say where that folder is: --base FOLDER"):
        _made(stood, model=params["model"])(np.arange(1))
    with pytest.raises(DataError, match="adapters for other weights"):
        _made(stood, **params | {"passage_base": str(base)})(np.arange(1))


def test_bars_are_those_of_the_ground(stood: sources.Ground, tmp_path: Path) -> None:
    assert stood.folder is not None
    said: list[str] = []

    def bar(what: str, total: int) -> Any:
        said.append(f"{what} {total}")
        return silent(what, total)

    here = ground(tmp_path / "home" / "data" / "small", list(stood.passages), [asked("q", "p0", "a question")])
    _made(replace(here, bar=bar), model=str(stood.folder / "model"))(np.arange(1))
    assert sorted(said) == ["tokens of passages 50", "tokens of split 1"]


@pytest.mark.parametrize("quiet", [True, False])
def test_encoding_shows_a_bar_unless_quiet(
    stood: sources.Ground, tmp_path: Path, capsys: pytest.CaptureFixture[str], quiet: bool
) -> None:
    assert stood.folder is not None
    here = ground(tmp_path, list(stood.passages), [asked("q", "p0", "a question")])
    with pytest.MonkeyPatch.context() as terminal:
        terminal.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        _made(replace(here, quiet=quiet), model=str(stood.folder / "model"))(np.arange(1))
    said = capsys.readouterr().err
    assert ("passages:" in said) == ("questions:" in said) == (not quiet)


def test_what_is_no_model_is_refused(stood: sources.Ground) -> None:
    for _ in range(2):
        made = _made(stood, model="someone/model")
        with pytest.raises(RecipeError, match=r"sources\.model: 'someone/model' is not a folder here"):
            made(np.arange(1))
        with pytest.raises(RecipeError, match="is not pinned to a commit"):
            _ = made.origin
    with pytest.raises(DataError, match=r"sources\.model: there is no folder 'no/such/model' in "):
        _made(stood, model="no/such/model")(np.arange(1))
    assert stood.folder is not None
    with pytest.raises(RecipeError, match=r"sources\.model: a folder has no revision"):
        _made(stood, revision="0" * 40)(np.arange(1))
    with pytest.raises(StorageError, match="passages"):
        _made(stood, model=str(stood.passages.folder))(np.arange(1))


def test_more_than_there_is_names_the_key(stood: sources.Ground) -> None:
    """Before anything is encoded."""
    with pytest.raises(
        RecipeError, match=r"sources\.depth: source 'dense' looks for the 51 best of 50 passages"
    ) as caught:
        _made(stood, depth=51)(np.arange(1))
    assert "choose a depth from 1 to 50" in str(caught.value)
    assert len(_made(stood, depth=50)(np.arange(1)).row(0, "passage")) == 50
