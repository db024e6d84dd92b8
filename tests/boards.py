"""A small source tree with recipes and runs of invented numbers, for tests of the leaderboard. Nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mpr.evaluation.scores import Scores
from mpr.publishing import board_entries, board_lock
from mpr.recipe import read
from mpr.rows.receipts import Receipt
from mpr.rows.result import Result
from mpr.storage import read_manifest
from tests import shipped

QUESTIONS = tuple(f"q{number}" for number in range(60))
COMMIT = "0123456789abcdef0123456789abcdef01234567"
ENVIRONMENT = {
    "code": {"commit": COMMIT, "dirty": False},
    "cpu": {"model": "Imagined CPU", "usable": 2},
    "torch": {},
    "digest": "e" * 64,
}
SEEDS = (42, 43, 44)


def recipe(root: Path, name: str, like: str, **edits: str) -> Path:
    """A recipe like a shipped one, with pieces of its text replaced: `old_b` by `new_b`, and so on."""
    return _written(root, name, shipped.text(like), edits)


def of_m(root: Path, name: str, m: int, **edits: str) -> Path:
    """TREC on the small Wikipedia, JointLH over m positives; NLL over the first one with `m` 0."""
    text = shipped.text("quickstart")
    for old, new in _TREC.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    text = text.replace("up_to, m: 4, beyond: rotate", f"up_to, m: {m}, beyond: rotate" if m else "first")
    return _written(root, name, text.replace(_JOINT, _JOINT if m else "nll"), edits)


_JOINT = "joint_lh, copositives: mask, reduce: mean"
_TREC = {
    "corpus: {name: invented_world}": "corpus: {name: wiki_core, cut: lead3}",
    "train: train ": "train: trec_train ",
    "evaluate: {test: test}": "evaluate: {test: trec_test}",
    "validation: {split: dev, questions: 100, candidates: 5}": "validation: null",
    "eval_strategy: steps\n  eval_steps: 20\n  eval_on_start: true\n": 'eval_strategy: "no"\n',
    "tiers: [gold, answer_match]": "tiers: [answer_match]",
    "match: string": "match: regex",
    "lse_pair, positives: all, negatives: all, divide_by_positives: true": _JOINT,
}


def _written(root: Path, name: str, text: str, edits: Mapping[str, str]) -> Path:
    for key, old in edits.items():
        if key.startswith("old"):
            assert text.count(old) == 1, (old, text.count(old))
            text = text.replace(old, edits["new" + key[3:]])
    path = root / "recipes" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def scores(quality: float, draw: int, split: str = "test", questions: Sequence[str] = QUESTIONS) -> Scores:
    """Hit rates whose mean is about `quality`, a function of `draw`."""
    share_Q = np.random.default_rng(7).uniform(size=len(questions))
    share_Q = share_Q + np.random.default_rng(draw).uniform(-0.12, 0.12, size=len(questions))
    hits = {cut: (share_Q < quality + bonus).astype(float) for cut, bonus in
            (("top1", -0.2), ("top5", -0.1), ("top20", 0.0), ("top100", 0.2))}  # fmt: skip
    about = {
        "run": "r", "split": split, "right": "contains an answer", "ties": "row", "self_hits": "kept",
        "judged_by": "rule", "counts": {"questions": len(questions)}, "first": {},
    }  # fmt: skip
    flags = np.zeros(len(questions), dtype=np.bool_)
    known = np.arange(len(questions)) % 6 + 1
    first = np.zeros(len(questions), dtype=np.int32)
    return Scores(about, tuple(questions), ~flags, flags, known, first, ((),) * len(questions), hits)


def run(folder: Path, path: Path, system: str, seed: int, quality: float, **changes: Any) -> Path:
    """A finished run folder, as far as the leaderboard looks at it."""
    sets = list(changes.get("overrides", ()))
    found = read.load(path, sets)
    if found.trains and int(found.training["seed"]) != seed:
        found = read.load(path, [*sets, f"training.seed={seed}"])
    questions = changes.get("questions", QUESTIONS)
    made = changes.get("scores") or scores(quality, changes.get("draw", seed), questions=questions)
    made.commit(folder / "scores" / "test")
    outputs = {"run/scores/test": read_manifest(folder / "scores" / "test").digest}
    environment = changes.get("environment", ENVIRONMENT)
    receipts = {name: _receipt(name, {}, environment) for name in ("data", "search")}
    if system != "bm25":
        receipts["train"] = _receipt("train", {}, environment)
        encode = {"width": 128, "parameters": 1000, "fallback_blocks": changes.get("fallback_blocks", 0)}
        receipts["encode"] = _receipt("encode", {}, environment, encode)
    receipts["evaluate"] = _receipt("evaluate", outputs, environment)
    Result.of(found, system, receipts, {"test": made}, _curve(quality, seed, system), environment).write(folder)
    return folder


def _receipt(
    stage: str, outputs: dict[str, str], environment: Mapping[str, Any], facts: dict[str, Any] | None = None
) -> Receipt:
    cost = {"seconds": 61.0, "cpu_seconds": 90.0, "peak_bytes": 1_500_000_000}
    return Receipt(stage, {"model": "d" * 64}, outputs, "c" * 64, dict(environment), cost, 1, facts or {})


def _curve(quality: float, seed: int, system: str) -> list[dict[str, float]]:
    if system != "trained":
        return []
    return [
        {"step": step, "eval_mrr": quality * (1 - 0.5 ** (step / 100)) + 0.001 * (seed % 3)}
        for step in range(50, 501, 50)
    ]


def board(root: Path, runs: Path, *, built: bool = True) -> Path:
    """Rows with m = 1, 2, 4 over three seeds, another batch, an invented world with noise, and two nobody measured."""
    b16 = {"old_b": "per_device_train_batch_size: 32", "new_b": "per_device_train_batch_size: 16"}
    noisy = {"old": "{name: invented_world}", "new": "{name: invented_world, wrong_positives: 0.6}"}
    rows = {
        "trec_nll_m1": (of_m(root, "mini/trec_nll_m1", 0), 0.50),
        "trec_joint_m2": (of_m(root, "mini/trec_joint_m2", 2), 0.56),
        "trec_joint_m4": (of_m(root, "mini/trec_joint_m4", 4), 0.62),
        "trec_joint_m4_b16": (of_m(root, "mini/trec_joint_m4_b16", 4, **b16), 0.52),
        "world": (recipe(root, "mini/world", "quickstart"), 0.70),
        "world_noisy": (recipe(root, "mini/world_noisy", "quickstart", **noisy), 0.40),
    }
    for name, (path, quality) in rows.items():
        for seed in SEEDS:
            board_entries.add(root, run(runs / f"{name}-{seed}", path, "trained", seed, quality))
    for name in ("trec_nll_m1", "world"):
        board_entries.add(root, run(runs / f"{name}-untrained", rows[name][0], "untrained", 42, 0.2))
        board_entries.add(root, run(runs / f"{name}-bm25", rows[name][0], "bm25", 42, 0.48, draw=1))
    recipe(root, "nq_bce_m3", "nq_bce_m3")
    recipe(root, "nq_nll_m1_paper", "nq_nll_m1_paper")
    if built:
        board_lock.build(root)
    return root
