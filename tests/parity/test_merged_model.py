"""A copy of a model with its adapters merged: sentence-transformers opens it without the base."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer

from mpr import storage
from mpr.errors import DataError
from mpr.models import towers, towers_folder
from tests.conftest import Examined
from tests.unit.framings import bert
from tests.unit.models.test_towers_folder import moved
from tests.unit.tiny_models import LORA, difference, published, settings, vectors

BERT = bert().backend_tokenizer
QUESTIONS = ["ka lo mi", "ren tu", "vas zel or ni be", "ka"]
PASSAGES = [("", "mi ren tu vas"), ("", "or ni"), ("", "be ka lo mi ren tu vas zel"), ("", "lo")]
CLOSE = 1e-5


def test_a_merged_copy_has_the_same_vectors(tmp_path: Path, examined: Examined) -> None:
    worst, cases = 0.0, 0
    for share, which in ((True, "both"), (False, "both"), (False, "passage")):
        folder = tmp_path / str(cases)
        base = published(folder / "base")
        wanted = settings(base=str(base), share=share, lora=LORA | {"towers": which}, normalize=True)
        built = moved(towers.build(wanted, BERT, 1))
        towers_folder.write(folder / "adapters", built, BERT, {"updates": 7})
        towers_folder.merge(folder / "adapters", folder / "merged", base)
        shutil.rmtree(base)  # nobody needs it any more
        theirs = SentenceTransformer(str(folder / "merged"), device="cpu", local_files_only=True)
        ours = vectors(built, BERT, folder, QUESTIONS, PASSAGES)
        found = theirs.encode_query(QUESTIONS), theirs.encode_document([text for _, text in PASSAGES])
        assert difference(ours[0][:1], ours[0][1:2]) > 1e-2
        worst = max(worst, *(difference(one, other) for one, other in zip(ours, found, strict=True)))
        receipt = storage.read_manifest(folder / "merged").receipt
        assert receipt == {"updates": 7, "merged from": storage.read_manifest(folder / "adapters").digest}
        assert towers_folder.load(folder / "merged")[2].weights == "merged"
        cases += 1
    assert worst < CLOSE
    examined(cases, f"merged models, largest difference {worst:.1e}", at_least=3)


def test_only_adapters_are_merged_and_nothing_is_overwritten(tmp_path: Path) -> None:
    towers_folder.write(tmp_path / "full", towers.build(settings(), BERT, 1), BERT)
    with pytest.raises(DataError, match="has no adapters to merge"):
        towers_folder.merge(tmp_path / "full", tmp_path / "merged")
    base = published(tmp_path / "base")
    built = towers.build(settings(base=str(base), lora=LORA), BERT, 1)
    towers_folder.write(tmp_path / "adapters", built, BERT)
    with pytest.raises(DataError, match="say where that folder is: --base FOLDER of `mpr merge`"):
        towers_folder.merge(tmp_path / "adapters", tmp_path / "merged")
    towers_folder.merge(tmp_path / "adapters", tmp_path / "merged", base)
    with pytest.raises(DataError, match="is merged already"):
        towers_folder.merge(tmp_path / "merged", tmp_path / "again")
