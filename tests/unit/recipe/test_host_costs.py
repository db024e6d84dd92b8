"""What a plan says of the processor, its memory and downloads: by hand, and against what building an index takes."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mpr import corpora, storage
from mpr.cli import app
from mpr.corpora import dpr_wikipedia
from mpr.data import passages
from mpr.recipe import _host_costs as costs
from mpr.recipe import plan
from mpr.recipe.keys import Recipe
from mpr.records import Passage
from mpr.rows.retrieval import BM25
from mpr.runtime import environment
from mpr.search import bm25
from mpr.search.bm25 import Analysis, Settings
from tests import shipped
from tests.unit.recipe.test_plan import read

PASSAGES = 21_015_324


def of(recipe: Recipe) -> costs.HostCosts:
    return costs.of(recipe, corpora.of(recipe.data.corpus))


def test_the_baseline_is_that_of_the_search() -> None:
    found = asdict(BM25)
    assert found.pop("analysis") | found == costs.BASELINE


def test_wikipedia_by_hand() -> None:
    """Negatives come with the records, so nothing is mined and the only index is that of the baseline."""
    found = of(shipped.recipes()["trec_bce_m3"])
    postings = PASSAGES * 100 * costs.POSTINGS_PER_WORD["english"]
    assert list(found.memory) == ["texts and tokens", "BM25 baseline", "search"]
    whole = PASSAGES * costs.BYTES_PER_PASSAGE_INDEXED + costs.BYTES_BUILDING + costs.SEARCH_BYTES
    assert found.memory["BM25 baseline"] == whole < 24e9
    small = of(shipped.recipes()["mini/scifact_joint_lh_all"]).memory["BM25 baseline"]
    assert small is not None
    assert small < 1e9, "a small collection does not fill what it may take"
    assert found.indexes == postings * 8
    assert list(found.hours) == ["texts", "tokens", "BM25 baseline"]
    assert found.hours["tokens"] == pytest.approx(PASSAGES * 135 * costs.SECONDS_PER_TOKEN / 3600)


def test_a_source_mines_with_the_index_of_the_baseline_or_with_its_own() -> None:
    text = shipped.text("quickstart")
    shared = of(read(text))
    assert [*shared.memory] == ["texts and tokens", "BM25 index", "search"]
    assert shared.hours["mining bm25"] == pytest.approx(2_451 * 1_000 * costs.SECONDS_PER_PAIR / 3600)
    other = of(read(text, "sources[0].stopwords=none"))
    assert [*other.memory] == ["texts and tokens", "BM25 index", "BM25 baseline", "search"]
    assert other.indexes is not None
    assert shared.indexes is not None
    share = costs.POSTINGS_PER_WORD["none"] / costs.POSTINGS_PER_WORD["english"]
    assert other.indexes / shared.indexes == pytest.approx(1 + share)
    inline = of(read(shipped.text("trec_bce_m3"), "sources=[{name: bm25, as: bm25, depth: 9, k1: 1.2, b: 0.75, "
                     "title: true, stopwords: none, stemmer: none}]"))  # fmt: skip
    assert inline.hours["mining bm25"] is None, "in texts that come with the records: nobody knows how many"


def test_unknown_sizes_stay_unknown() -> None:
    found = of(shipped.recipes()["mini/scifact_joint_lh_all"].model_copy())
    plain = [found.memory, found.hours]
    local = of(read(shipped.text("quickstart"), "data.corpus={name: invented_world, articles: 500}"))
    assert local.memory == {"texts and tokens": None, "BM25 index": None, "search": costs.SEARCH_BYTES}
    assert set(local.hours.values()) == {None}
    assert local.indexes is None
    assert None not in plain[0].values()


def test_an_index_takes_what_is_said_for_its_postings(tmp_path: Path) -> None:
    """Of known postings: bytes on disk, besides the vocabulary, which is little in a large collection."""
    many, different = 500, 80
    texts = (" ".join(f"w{(row * 7 + word * 3) % 400}x" for word in range(different)) for row in range(many))
    store = passages.build(tmp_path / "p", (Passage(f"{row}", text) for row, text in enumerate(texts)), {})
    index = bm25.build(tmp_path / "index", store, Settings(0.9, 0.4, False, Analysis("none", "none")))
    postings = index.manifest.receipt["postings"]
    assert postings == many * different
    size = sum(file.stat().st_size for file in index.folder.glob("*.bin"))
    assert size == costs.BYTES_PER_POSTING * postings + 16 * 400 + 8


def test_precision_and_disk_are_those_of_encoding() -> None:
    """DPR's rows keep vectors in 32 bits: twice the disk, and on a T4 eight times the hours, of 16 bits."""
    text = shipped.text("trec_bce_m3")
    full, half = (plan.resolve(read(text, *more)) for more in ((), ("encoding={compute: float16, dtype: float16}",)))
    assert full.disk["vectors"] == PASSAGES * 768 * 4.0
    assert half.disk["vectors"] == PASSAGES * 768 * 2.0
    assert full.hours is not None
    assert half.hours is not None
    assert full.hours["encode on 1 x T4"] / half.hours["encode on 1 x T4"] == pytest.approx(65 / 8.1)
    assert full.hours["train on 1 x T4"] == half.hours["train on 1 x T4"]
    lines = str(full).splitlines()
    assert f"{'':<12}training in 16 bits, texts at full length of about 1,120 training questions" in lines
    assert f"{'':<12}encoding in float32, passages of about 142 tokens" in lines
    brain = plan.resolve(read(text, "encoding={compute: bfloat16, dtype: float32}"))
    assert brain.hours is not None
    assert "encode on 1 x T4" not in brain.hours, "it has no bfloat16"
    assert "encode on 1 x A100" in brain.hours


def test_a_stage_that_searches_encodes_once() -> None:
    """Two sources of one model are one encoding; another model is another."""
    recipe = read(shipped.text("mini/trec_lead3_after_rocketqa"))
    found = plan.resolve(recipe).hours
    assert found is not None
    mined = {what for what in found if what.endswith("A100") and what.startswith("mine")}
    assert mined == {"mine with stage:warmup on 1 x A100"}
    assert found["mine with stage:warmup on 1 x A100"] == pytest.approx(found["encode on 1 x A100"])


def test_downloads_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = shipped.recipes()["trec_bce_m3"]
    pins = corpora.of(recipe.data.corpus).needed(recipe.splits)
    many = len(pins)

    def sized(*sizes: int | None) -> Any:
        given = tuple(replace(pin, size=size) for pin, size in zip(pins, sizes, strict=True))
        monkeypatch.setattr(dpr_wikipedia.Collection, "read_for", lambda collection, splits: given)
        made = plan.resolve(recipe)
        return made.download, next(line for line in made.lines if line.startswith("download"))

    assert sized(*[10**9] * many) == (many * 10**9, f"download    {many} files: {many}.0 GB")
    assert sized(None, *[10**9] * (many - 1)) == (None, f"download    {many} files: {many - 1}.0 GB, 1 of unknown size")
    monkeypatch.undo()
    brought = plan.resolve(read(shipped.text("trec_bce_m3"), "data.corpus.folder=/here"))
    assert (brought.download, "download    no files" in brought.lines) == (0, True)


def test_what_does_not_fit_is_said() -> None:
    made = plan.resolve(shipped.recipes()["trec_bce_m3"])
    assert made.shortages(1e12, 1e12) == {}
    short = made.shortages(3e9, 100e9)
    assert list(short) == [plan.BM25_BASELINE, "disk"]
    assert "and this machine has 3.0 GB" in short[plan.BM25_BASELINE]
    needed = sum(size for size in made.disk.values() if size) + PASSAGES * 768 * 4 + (made.download or 0)
    assert short["disk"] == f"the row leaves about {needed / 1e9:.1f} GB on disk, and 100.0 GB are free"


def test_the_command_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "memory_bytes", lambda: 10**9)
    monkeypatch.setattr(storage, "free_bytes", lambda folder: 10**9)
    printed = CliRunner().invoke(app, ["plan", str(shipped.ROOT / "recipes" / "trec_bce_m3.yaml")]).output
    warnings = [line for line in printed.splitlines() if line.startswith("warning     ")]
    assert [line.split()[1] for line in warnings] == ["texts", "BM25", "search", "the"]
    assert warnings[1].endswith("this machine has 1.0 GB; `mpr reproduce --no-bm25` leaves it out")
    assert "\nhere        1.0 GB of memory, 1.0 GB free under .mpr\n" in printed
