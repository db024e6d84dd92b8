"""The `evaluate` modules load from their paths without a network and say what mpr itself says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mpr
from mpr.errors import DataError
from mpr.metrics.answer_hit import AnswerHit
from mpr.metrics.judged_ranking import JudgedRanking
from mpr.metrics.trec_eval import judged
from tests.conftest import Examined

pytestmark = pytest.mark.long

FOLDER = Path(mpr.__file__).parent / "metrics"
TEXTS = [["Nothing.", "In Zürich it rained."], ["A tale.", "Of a town."], ["It cost $5."]]
ANSWERS = [["zürich", "bern"], ["castle"], ["$ 5", "$6"]]


# A process of its own: where `evaluate` keeps modules is fixed by the first of them that a process loads.
_CODE = """
import json, socket, sys

def refuse(*address):
    raise OSError("no network in this test")

socket.socket.connect = refuse
import evaluate

for name, options in json.load(sys.stdin):
    print("found", json.dumps(evaluate.load(name).compute(**options)))
"""


def loaded(cases: list[tuple[str, dict[str, Any]]], cache: Path) -> list[dict[str, float]]:
    """What the modules say when they are loaded by path, each case in turn."""
    env = {**os.environ, "PYTHONPATH": str(FOLDER.parents[1]), "HF_HOME": str(cache), "HF_MODULES_CACHE": str(cache)}
    given = json.dumps([(str(FOLDER / name), options) for name, options in cases])
    command = [sys.executable, "-c", _CODE]
    done = subprocess.run(command, input=given, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return [json.loads(line[6:]) for line in done.stdout.splitlines() if line.startswith("found ")]


def test_modules_load_from_their_paths_and_agree(tmp_path: Path, examined: Examined) -> None:
    dice = np.random.default_rng(0)
    names = ["ndcg5", "mrr3", "recall5", "map5", "success1"]
    ranked = [dice.permutation(20)[: int(dice.integers(0, 12))].tolist() for _ in range(40)]
    grades = [{int(p): int(dice.integers(0, 3)) for p in dice.choice(25, 5, replace=False)} for _ in ranked]
    lists = [[f"p{p}" for p in one] for one in ranked]
    judgements = [{"passages": [f"p{p}" for p in one], "grades": list(one.values())} for one in grades]
    strings = {"predictions": TEXTS, "references": ANSWERS, "cuts": [1, 2]}
    patterns = {**strings, "references": [["z.rich", "r+a"], ["t[ao]le"], ["^it"]], "regex": True}
    options = [{"predictions": lists, "references": judgements, "measures": names, "least": least} for least in (1, 2)]
    found = loaded(
        [("answer_hit.py", strings), ("answer_hit.py", patterns), *(("judged_ranking.py", one) for one in options)],
        tmp_path,
    )
    assert found[0] == {"top1": 1 / 3, "top2": 2 / 3} == AnswerHit().compute(**strings)
    assert found[1] == {"top1": 2 / 3, "top2": 1.0} == AnswerHit().compute(**patterns)
    for least, told in zip((1, 2), found[2:], strict=True):
        ours = {name: float(values.mean()) for name, values in judged(ranked, grades, names, least).items()}
        assert told == pytest.approx(ours, abs=1e-15)
        assert JudgedRanking().compute(**options[least - 1]) == pytest.approx(ours, abs=1e-15)
    examined(2 * 2 + 2 * len(names), "measures", at_least=14)


def test_broken_input_is_refused() -> None:
    good = {"passages": ["a"], "grades": [1]}
    with pytest.raises(DataError, match="question 1: ranks a passage twice"):
        JudgedRanking().compute(predictions=[["a"], ["a", "a"]], references=[good, good])
    with pytest.raises(DataError, match="question 0: has no judgement"):
        JudgedRanking().compute(predictions=[["a"]], references=[{"passages": [], "grades": []}])
    with pytest.raises(DataError, match="'ndcgten' cannot be measured here"):
        JudgedRanking().compute(predictions=[["a"]], references=[good], measures=["ndcgten"])
