"""Every row of the papers runs: the recipe as it is committed, on invented texts in the files of its collection.

By default one row for each collection and objective; all of them among the slow tests. What a run measures is held
against scores that other code computes from its run file and from what was written.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mpr.data.dataset import Dataset
from mpr.models import contract
from mpr.rows import verification
from mpr.rows.pipeline import STAGES
from tests import shipped
from tests.conftest import Examined
from tests.e2e import standin_rows as rows
from tests.e2e.standin_rows import Made
from tests.hub_server import HubServer

pytestmark = pytest.mark.long

DOWNLOADED = "nq_nll_m1_released"
QUICK = (
    "trec_bce_m3",
    "nq_sum_marg_lh_m4_llm",
    "nq_lse_pair_m4_llm",
    "msmarco_rand1_lh_m4_llm",
    "beir_joint_lh_m4_llm",
)
ALLOWED = {*rows.CHANGED, *rows.UPDATES, "data.corpus.folder"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of one collection share what they have in common, as a user's do."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    with pytest.MonkeyPatch.context() as patch, rows.hub(patch, tmp_path_factory.mktemp("cache")) as found:
        yield found


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def different(found: Made) -> set[str]:
    """Keys in which the recipe that ran is not the one that is committed: of training, of scale, and the folder."""
    ours, theirs = (
        dict(flat(one.model_dump(mode="json", by_alias=True)))
        for one in (found.recipe, shipped.recipes()[found.recipe.name])
    )
    keys = {key for key in {**ours, **theirs} if ours.get(key, "absent") != theirs.get(key, "absent")}
    others = {key for key in keys if not key.startswith(("training.", "scale."))}
    assert others <= {"data.corpus.folder", "encoding.compute"}, others  # a CPU encodes in 32 bits
    return keys


def held(found: Made) -> int:
    """Everything about a finished row; how many scores were compared."""
    assert different(found) <= ALLOWED, different(found) - ALLOWED
    assert tuple(found.result.document["stages"]) == STAGES
    trained = Dataset(found.recipe, found.home, quiet=True).split("train")
    assert trained.positives.counting(found.recipe.labels[0].tiers).lengths().tolist() == found.written.positives
    losses = [entry["loss"] for entry in found.result.document["curve"]]
    assert len(losses) >= 2, losses
    assert all(map(math.isfinite, losses)), losses
    towers = found.recipe.towers
    bases = contract.read(found.folder / "model").bases
    assert {(base.name, base.revision) for base in bases if base} == {(towers.base, towers.revision)}
    return sum(scored(found, role) for role in found.recipe.data.evaluate)


def scored(found: Made, role: str) -> int:
    """Compares the scores of one evaluation with those that `standin_rows` computes."""
    measures, ranked = found.scores[role]["measures"], found.ranked(role)
    assert set(measures) >= set(found.recipe.evaluation.measures)
    assert len(ranked) == found.written.counts()[found.recipe.data.evaluate[role]]
    depth = min(found.recipe.search.depth, len(found.written.passages))
    assert {len(set(passages)) for passages in ranked.values()} == {depth}
    for name in found.recipe.evaluation.measures:
        ours = rows.accuracy(found, role, int(name[3:])) if name.startswith("top") else rows.judged(found, role, name)
        assert measures[name]["mean"] == pytest.approx(ours, abs=1e-9), (found.recipe.name, role, name)
        assert len(found.scores[role]["values"][name]) == len(ranked)
    assert max(measures[name]["mean"] for name in found.recipe.evaluation.measures) > 0
    return len(found.recipe.evaluation.measures)


def run(name: str, home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Makes a row and holds it against what was written; how many scores were compared."""
    written = rows.files(name, folder / "files")
    with rows.counted(monkeypatch, name, written):
        return held(rows.made(name, written, home, folder / "run", rows.overrides(name, written)))


@pytest.mark.parametrize("name", QUICK)
def test_a_row_on_a_stand_in(
    name: str, server: HubServer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Examined
) -> None:
    examined(run(name, home, tmp_path, monkeypatch), f"scores of {name}", at_least=2)


def test_a_row_whose_files_are_downloaded(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Examined
) -> None:
    """No folder is given: the files come from where the collection says, DPR's server and the Hub."""
    written = rows.files(DOWNLOADED, tmp_path / "files")
    copy = rows.copied(server, written.folder)
    with rows.web(monkeypatch, written.folder) as asked, rows.counted(monkeypatch, DOWNLOADED, written):
        found = rows.made(DOWNLOADED, written, tmp_path / "home", tmp_path / "run", rows.overrides(DOWNLOADED, None))
        assert "data.corpus.folder" not in different(found)
        examined(held(found), f"scores of {DOWNLOADED}", at_least=4)
        assert verification.mismatches(verification.opened(found.folder, found.home, True)) == []
    assert sorted(asked) == [
        "/dl.fbaipublicfiles.com/dpr/data/retriever/biencoder-nq-train.json.gz",
        "/dl.fbaipublicfiles.com/dpr/wikipedia_split/psgs_w100.tsv.gz",
    ]
    pins = {(towers.base, towers.revision) for towers in (shipped.recipes()[name].towers for name in rows.ROWS)}
    fetched = {path for route, path in server.requests if route == "resolve"}
    assert copy in fetched
    fetched -= {copy}
    places = {f"/{base}/resolve/{revision}" for base, revision in pins}
    assert {path.rpartition("/")[0] for path in fetched} <= places, fetched
    assert {path.rpartition("/")[2] for path in fetched} == {"config.json", "model.safetensors", "tokenizer.json"}


def test_every_collection_and_objective_has_a_row_here(examined: Examined) -> None:
    """A paper's recipe of another kind needs a stand-in."""
    recipes = shipped.recipes()
    kinds = [(recipes[name].data.corpus.name, recipes[name].objective[0].name) for name in rows.ROWS]  # no systems
    quick = [(recipes[name].data.corpus.name, recipes[name].objective[0].name) for name in (*QUICK, DOWNLOADED)]
    for part in (0, 1):
        assert {kind[part] for kind in quick} == {kind[part] for kind in kinds}
    assert {recipes[name].evaluation.match for name in (*QUICK, DOWNLOADED)} == {"string", "regex", "judgements"}
    examined(len(kinds), "rows of papers", at_least=45)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in rows.ROWS if name not in (*QUICK, DOWNLOADED)])
def test_every_row_of_the_papers(
    name: str, server: HubServer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Examined
) -> None:
    examined(run(name, home, tmp_path, monkeypatch), f"scores of {name}", at_least=2)
