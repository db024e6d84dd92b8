"""A row that searches with faiss: its recall stands in the receipt, and a new encoding takes the old index along."""

from __future__ import annotations

from pathlib import Path

from mpr import storage
from mpr.recipe import read
from mpr.rows._stages import Row
from mpr.rows.pipeline import Pipeline
from mpr.rows.receipts import Receipts
from tests.published import ROOT, smaller

SETS = ("search.index='IVF4,Flat'", "search.settings='nprobe=2'", "draft=true")


def test_recall_is_told_and_an_index_of_old_vectors_goes(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(smaller((ROOT / "recipes" / "quickstart.yaml").read_text("utf-8")), "utf-8")
    row = Row(read.load(path, SETS), path, "untrained", tmp_path / "home", tmp_path / "run", quiet=True)
    Pipeline(row).run()
    found = Receipts(row.folder, row.home).read("search")
    assert found is not None
    recall = found.facts["recall test"]
    assert 0 < recall["questions"] <= recall["of"]
    place, before = row.retrieval.index_place(), storage.read_manifest(row.retrieval.index_place()).digest
    assert found.outputs[f"run/vectors/{place.name}"] == before
    storage.remove(tmp_path / "run" / "vectors" / "corpus")
    said: list[str] = []
    again = Row(row.recipe, path, "untrained", row.home, row.folder, quiet=True)
    Pipeline(again, said.append).run()
    assert any(line.startswith("encode") and "done again" in line for line in said), said
    assert any(line.startswith("search") and "done again" in line for line in said), said
    assert storage.read_manifest(place).digest != before
