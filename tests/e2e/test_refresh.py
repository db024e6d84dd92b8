"""Whole runs whose model mines for itself: what mined which table, who reads it when, what resumes, what is kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mpr import storage
from mpr.batches import choice
from mpr.batches.choice import Evidence
from mpr.batches.draw import Drawer
from mpr.data.candidates import CandidateTable
from mpr.data.dataset import Dataset
from mpr.data.questions import SplitStore
from mpr.data.token_batches import Side
from mpr.errors import MprError
from mpr.mining.refresh import Refresh, churn
from mpr.models import towers, towers_folder
from mpr.models.templates import Template
from mpr.recipe import read as recipe_file
from mpr.search import encode
from mpr.search.inference import Model
from mpr.training._trainer import MultiPositiveTrainer
from mpr.training.launch import run
from mpr.training.run_folder import RunFolder
from tests.conftest import Examined
from tests.e2e.runs import FROZEN, OWN
from tests.faults import training
from tests.unit.grounds import lists

pytestmark = pytest.mark.long

UPDATES = 6
MORE = (*OWN, f"training.max_steps={UPDATES}", "training.save_steps=1")
ANEW, SHARE = "refresh={every: 2}", "refresh={every: 2, questions: 0.5}"
PARTS = "refresh={every: 2, questions: 0.5, stale: true}"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe whose encoder has dropout."""
    return training.recipe(tmp_path_factory.mktemp("refresh"))


def trained(path: Path, folder: Path, *options: str) -> RunFolder:
    run(*training.launch(path, folder, *MORE, *options))
    return RunFolder(folder)


@pytest.fixture(scope="module")
def whole(path: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that nobody stopped, every checkpoint and so every table of which is there."""
    return trained(path, tmp_path_factory.mktemp("whole") / "run", ANEW)


def tables(folder: RunFolder) -> dict[int, CandidateTable]:
    """Those that a run has left, by version."""
    places = sorted((folder.folder / "refresh").iterdir())
    return {int(place.name.split("-")[1]): CandidateTable(place) for place in places}


@dataclass
class Seen:
    """What the turns of a run looked like, and which passages its draws brought."""

    turns: list[int] = field(default_factory=list)
    in_force: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    vectors: dict[int, dict[str, np.ndarray]] = field(default_factory=dict)
    steps: list[tuple[str, list[int]]] = field(default_factory=list)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    found, turn, step = Seen(), Refresh.turn, MultiPositiveTrainer.training_step

    def turned(this: Refresh, update: int, learning: towers.DualEncoder) -> Any:
        noted = turn(this, update, learning)
        assert learning.training, "dropout as before"
        tokenizer = this.dataset.tokenizer()
        found.turns.append(update)
        found.in_force.append(this.held[this.schedule.in_force(update)].folder.name)
        found.digests.append(Model.of(learning, tokenizer, "now").digest)
        found.vectors[update] = {role: _vectors(this.dataset, learning, role) for role in ("question", "passage")}
        learning.train()
        return noted

    def stepped(this: Any, model: Any, inputs: dict[str, Any], *rest: Any) -> Any:
        found.steps.append((found.in_force[-1], inputs["passage_ids"].tolist()))
        return step(this, model, inputs, *rest)

    monkeypatch.setattr(Refresh, "turn", turned)
    monkeypatch.setattr(MultiPositiveTrainer, "training_step", stepped)
    return found


def _vectors(dataset: Dataset, learning: towers.DualEncoder, role: str) -> np.ndarray:
    """One text at a time, by the towers alone."""
    store = dataset.tokens_of_questions("train") if role == "question" else dataset.tokens_of_passages("train")
    length = getattr(dataset.recipe.towers, f"{role}_length")
    side, encoder = Side(store, Template.of(dataset.tokenizer()), length), getattr(learning.eval(), role)
    with torch.no_grad():
        return np.concatenate([encoder(**side.tokens(np.array([row]))).numpy() for row in range(len(store))])


@pytest.mark.parametrize(
    "more, turns, read",
    [
        ((ANEW, "training.gradient_accumulation_steps=2"), [0, 2, 4], [0, 2, 4]),
        ((PARTS,), [0, 2, 4], [0, 0, 2]),
        pytest.param(("refresh={every: 4}",), [0, 4], [0, 4], marks=pytest.mark.slow),
        pytest.param((), [0], [0], marks=pytest.mark.slow),
    ],
)
def test_tables_are_those_of_the_weights_that_they_name(
    path: Path, tmp_path: Path, seen: Seen, more: tuple[str, ...], turns: list[int], read: list[int], examined: Examined
) -> None:
    folder = trained(path, tmp_path / "run", *more)
    assert seen.turns == turns
    assert [int(name.split("-")[1]) for name in seen.in_force] == read
    looked = 0
    for version, table in tables(folder).items():
        assert table.manifest.receipt["origin"]["model"] == seen.digests[turns.index(version)]
        if "questions_searched" not in table.manifest.receipt:
            looked += _expect_best(path, table, seen.vectors[version])
    examined(looked, "candidates with the scores of vectors made one at a time", at_least=24)


def _expect_best(path: Path, table: CandidateTable, vectors: dict[str, np.ndarray]) -> int:
    scores_QP = vectors["question"] @ vectors["passage"].T
    split = _split(path)
    for row, scores_P in enumerate(scores_QP):
        proposed = [each.passage for each in table.rows(row)]
        assert np.allclose(np.sort(scores_P)[::-1][:6], scores_P[proposed], atol=1e-5)
        known = set(split.positives.rows.row(row, "passage").tolist())
        assert not known & set(table.negatives.row(row, "passage").tolist())
    return scores_QP.shape[0] * 6


def test_a_step_draws_from_the_table_in_force(
    path: Path, whole: RunFolder, tmp_path: Path, seen: Seen, examined: Examined
) -> None:
    """Workers that read ahead change no bit of it."""
    ahead = ("training.dataloader_num_workers=2", "training.dataloader_prefetch_factor=4")
    folder = trained(path, tmp_path / "run", ANEW, *ahead)
    positives = set(_split(path).positives.rows.columns["passage"].tolist())
    kept = {table.folder.name: set(table.negatives.columns["passage"].tolist()) for table in tables(folder).values()}
    assert [int(name.split("-")[1]) for name, _ in seen.steps] == [0, 0, 2, 2, 4, 4]
    for name, passages in seen.steps:
        assert set(passages) - positives <= kept[name]
    assert training.weights(folder.folder) == training.weights(whole.folder)
    examined(len(seen.steps), "steps", at_least=UPDATES)


def _split(path: Path) -> SplitStore:
    return Dataset(recipe_file.load(path, training.OPTIONS), path.parent / "home", quiet=True).split("train")


# ---- equivalences


def test_never_is_static_mining_with_the_starting_weights(
    path: Path, whole: RunFolder, tmp_path: Path, examined: Examined
) -> None:
    loaded = recipe_file.load(path, (*training.OPTIONS, *MORE))
    dataset = Dataset(loaded, path.parent / "home", quiet=True)
    start = towers.build(loaded.towers, dataset.tokenizer(), 1)
    towers_folder.write(tmp_path / "start", start, dataset.tokenizer())
    ways: dict[str, tuple[str, ...]] = {
        "static": (OWN[0].replace("model: self", f"model: {tmp_path / 'start'}"),),
        "once": (),
        "never": ("refresh={every: 100}",),
    }
    digests = []
    for name, options in ways.items():
        trained(path, tmp_path / name, *options)
        digests.append(training.weights(tmp_path / name))
    assert len(set(digests)) == 1
    assert digests[0] != training.weights(whole.folder), "a table that changes nothing would prove nothing"
    examined(len(ways), "runs", at_least=3)


def test_weights_that_stay_find_the_same_again(path: Path, tmp_path: Path) -> None:
    """A learning rate of nearly 0: tables are equal across versions, and nothing in them is new."""
    folder = trained(path, tmp_path / "run", ANEW, "training.learning_rate=1.0e-30")
    first, *others = tables(folder).values()
    assert len(others) == 2
    for other in others:
        for column, values in first.negatives.columns.items():
            assert np.array_equal(values, other.negatives.columns[column]), column
        assert churn(first.negatives, other.negatives) == 0.0
    logged = [json.loads(line) for line in folder.metrics.read_text("utf-8").splitlines()]
    refreshes = [entry for entry in logged if "refresh_update" in entry]
    assert [entry["refresh_update"] for entry in refreshes] == [0, 2, 4]
    assert [entry.get("refresh_churn") for entry in refreshes] == [None, 0.0, 0.0]


# ---- a share of the questions


def test_a_share_in_turn_is_searched_for_and_the_others_keep_theirs(
    path: Path, tmp_path: Path, examined: Examined
) -> None:
    folder = trained(path, tmp_path / "run", SHARE)
    versions = tables(folder)
    assert list(versions) == [0, 2, 4]
    changed = []
    for before, now in ((0, 2), (2, 4)):
        pairs = [(lists(versions[number].negatives, "score"), now) for number in (before, now)]
        (old, _), (new, _) = pairs
        changed.append({row for row in range(len(new)) if old[row] != new[row]})
        receipt = versions[now].manifest.receipt
        assert receipt["questions_searched"] == 2
        assert receipt["before"] == versions[before].manifest.digest
    assert len(versions[0]) == 4
    assert [len(rows) for rows in changed] == [2, 2], "scores of those that were searched for, and of no other"
    assert changed[0] | changed[1] == set(range(4)), "everyone's turn comes"
    examined(sum(map(len, changed)), "rows that changed", at_least=4)


def test_churn_by_another_hand() -> None:
    from mpr.data.candidates import proposals

    before = proposals([(np.array(row), None) for row in ([1, 2, 3], [4], [])])
    now = proposals([(np.array(row), None) for row in ([3, 1, 9], [4], [1, 2])])
    assert churn(before, now) == 3 / 6
    assert churn(now, now) == 0.0


# ---- resuming


def continued(whole: RunFolder, target: Path, update: int) -> RunFolder:
    """The run as it was right after this checkpoint, with the tables that the checkpoint names and no other."""
    shutil.copytree(whole.folder, target)
    half = RunFolder(target)
    storage.remove(half.model)
    for later in [number for number in half.updates() if number > update]:
        storage.remove(half.checkpoint(later))
    named = storage.read_manifest(half.checkpoint(update)).receipt.get("candidates", {})
    for place in sorted((target / "refresh").iterdir()):
        if place.name not in named:
            storage.remove(place)
    return half


@pytest.mark.parametrize(
    "refresh, updates",
    [(PARTS, (3, 4)), *(pytest.param(each, (1, 2, 3, 4, 5), marks=pytest.mark.slow) for each in (SHARE, ANEW, PARTS))],
)
def test_resumed_anywhere_is_uninterrupted(
    path: Path, tmp_path: Path, refresh: str, updates: tuple[int, ...], examined: Examined
) -> None:
    """Checkpoints within an interval, at its end, and right before a refresh."""
    unbroken = trained(path, tmp_path / "whole", refresh)
    kept = tables(unbroken)
    for update in updates:
        half = continued(unbroken, tmp_path / f"from-{update}", update)
        trained(path, half.folder, refresh)
        assert training.weights(half.folder) == training.weights(unbroken.folder), update
        for version, table in tables(half).items():
            assert table.manifest.digest == kept[version].manifest.digest
    examined(len(updates), "checkpoints", at_least=2)


def broken(whole: RunFolder, target: Path, update: int, damage: Callable[[Path], object]) -> RunFolder:
    """Continued from a checkpoint, after something happened to each table that it names."""
    half = continued(whole, target, update)
    places = list((half.folder / "refresh").iterdir())
    assert places
    for place in places:
        damage(place)
    return half


def emptied(place: Path) -> None:
    victim = place / "negatives.passage.bin"
    victim.chmod(0o644)
    victim.write_bytes(b"")


def test_a_table_that_is_needed_and_broken_is_refused(path: Path, whole: RunFolder, tmp_path: Path) -> None:
    """Within an interval the weights that could make it again are gone."""
    half = broken(whole, tmp_path / "removed", 5, storage.remove)
    fix = r"only the weights before update 4 can make these candidates, and they are gone .*delete .*checkpoints/5"
    with pytest.raises(MprError, match=fix):
        trained(path, half.folder, ANEW)
    storage.remove(half.checkpoint(5))  # what the message says
    trained(path, half.folder, ANEW)
    assert training.weights(half.folder) == training.weights(whole.folder)
    with pytest.raises(MprError, match=r"only the weights before update 4"):
        trained(path, broken(whole, tmp_path / "emptied", 5, emptied).folder, ANEW)


def test_another_table_than_the_checkpoint_names_is_refused(path: Path, whole: RunFolder, tmp_path: Path) -> None:
    other = tables(whole)[2].folder

    def exchanged(place: Path) -> None:
        storage.remove(place)
        shutil.copytree(other, place)

    half = broken(whole, tmp_path / "exchanged", 5, exchanged)
    with pytest.raises(MprError, match="is another table than the checkpoint names"):
        trained(path, half.folder, ANEW)


def test_a_damaged_table_of_a_stopped_refresh_is_made_anew(path: Path, whole: RunFolder, tmp_path: Path) -> None:
    """Killed after its commit and before the next step: the weights are at hand."""
    half = continued(whole, tmp_path / "half", 4)
    place = half.folder / "refresh" / tables(whole)[4].folder.name
    shutil.copytree(whole.folder / "refresh" / place.name, place)
    emptied(place)
    trained(path, half.folder, ANEW)
    assert tables(half)[4].manifest.digest == tables(whole)[4].manifest.digest
    assert training.weights(half.folder) == training.weights(whole.folder)


@pytest.mark.slow
@pytest.mark.parametrize("refresh, left", [(ANEW, 1), (SHARE, 2), (PARTS, 3)])
def test_disk_is_bounded(path: Path, tmp_path: Path, refresh: str, left: int) -> None:
    """Vectors are gone with their table, tables with the last checkpoint that needs them."""
    folder = trained(path, tmp_path / "run", refresh, "training.save_total_limit=1", "training.max_steps=9")
    assert 1 <= len(tables(folder)) <= left


# ---- weights that go by more than the candidates


def drawing(weight: str) -> str:
    return f"draw.negatives=[{{from: own, k: 2, weight: {weight}, short: random}}]"


def test_rance_draws_by_what_each_version_measures(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Examined
) -> None:
    """The validation questions are those of training here, so a table has every rank of theirs."""
    turn_to, seen = Drawer.turn_to, list[Any]()

    def turned(this: Drawer, name: str, candidates: Any, evidence: Evidence) -> None:
        turn_to(this, name, candidates, evidence)
        seen.append((evidence.profiles[name].tolist(), this.choices[0].log_weight_of_rank))

    monkeypatch.setattr(Drawer, "turn_to", turned)
    more = ("data.corpus.splits.dev={file: train.jsonl, format: candidates}", "training.eval_strategy=epoch",
            "validation={split: dev, questions: 9, candidates: 0}",
            drawing("rance, rance: {c: 2.0, window: 3, degree: 1}"))  # fmt: skip
    folder = trained(path, tmp_path / "run", ANEW, *more)
    assert len(seen) == 3
    table = tables(folder)[4]
    found = [each.rank for row in range(len(table)) for each in table.rows(row) if each.label == "known_positive"]
    share_R, weight_R = seen[2]
    assert share_R == [found.count(rank) / len(table) for rank in range(1, 7)]
    assert np.array_equal(weight_R, choice.rance(share_R, 2.0, 3, 1))
    examined(len(found), "positives among the first six", at_least=4)


def test_simans_compares_with_positives_by_the_weights_that_searched(
    path: Path, tmp_path: Path, seen: Seen, examined: Examined
) -> None:
    """Scores of positives are those of the version that searched for their question, found by the search or not."""
    folder = trained(path, tmp_path / "run", SHARE, drawing("simans, simans: {a: 0.5, b: 0.0, anchor: mean}"))
    split, looked, versions = _split(path), 0, tables(folder)
    before: dict[int, list[float]] = {}
    for version, table in versions.items():
        scores_QP = seen.vectors[version]["question"] @ seen.vectors[version]["passage"].T
        known, fresh = table.anchors(split.positives), 0
        for row in range(len(table)):
            passages = split.positives.rows.row(row, "passage")
            given = known.lookup(np.full(len(passages), row), passages)
            is_fresh = np.allclose(given, scores_QP[row, passages], atol=1e-5)
            assert is_fresh or np.array_equal(given, before[row]), "of the version before"
            fresh, looked, before[row] = fresh + is_fresh, looked + len(passages), given.tolist()
        assert fresh == (2 if version else 4)
    examined(looked, "positives", at_least=21)


# ---- passages that stay


def test_frozen_passages_are_not_encoded_by_a_refresh(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roles, ran = [], encode.run
    monkeypatch.setattr(encode, "run", lambda task, *rest: (roles.append(task.role), ran(task, *rest))[1])
    trained(path, tmp_path / "run", *FROZEN, ANEW)
    assert roles == ["passage", "question", "question", "question"]
