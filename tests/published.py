"""Finished runs to publish: made once by the real pipeline on a small invented world, and copied for each test."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mpr import cli, storage

ROOT = Path(__file__).parents[1]
COMMIT = "c0" * 20
SMALL = {  # the quickstart, in seconds: another size of the world and of the encoder
    "{name: invented_world}":
        "{name: invented_world, articles: 60, questions: 40, dev_questions: 5, test_questions: 20}",
    "{layers: 1, width: 256, heads: 4, feed_forward: 512, vocabulary: 4000}":
        "{layers: 1, width: 32, heads: 2, feed_forward: 64, vocabulary: 400}",
    "max_steps: 160": "max_steps: 2",
    "logging_steps: 10": "logging_steps: 1",
    "eval_steps: 20": "eval_steps: 1",
    "per_device_train_batch_size: 32": "per_device_train_batch_size: 4",
    "depth: 50, k1: 0.9, b: 0.4, title: true, stopwords: english, stemmer: english":
        "depth: 9, k1: 0.9, b: 0.4, title: true, stopwords: none, stemmer: none",
}  # fmt: skip


@cache
def _made() -> Path:
    """A folder with `runs/` and `home/`, removed when the tests end."""
    folder = Path(tempfile.mkdtemp(prefix="published"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    text = (ROOT / "recipes" / "quickstart.yaml").read_text("utf-8")
    recipe = folder / "small.yaml"
    recipe.write_text(smaller(text), "utf-8")
    said("reproduce", recipe, "--home", folder / "home", "--runs", folder / "runs", "--quiet")
    for run in (folder / "runs").iterdir():
        resealed(run, _clean)
    return folder


def smaller(text: str) -> str:
    for before, after in SMALL.items():
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return text


def copied(folder: Path) -> Path:
    """The trained run, with its home and its baselines beside it, to do with as one likes."""
    shutil.copytree(_made(), folder, dirs_exist_ok=True)
    return folder / "runs" / "small-seed42"


def _clean(document: dict[str, Any]) -> None:
    """The working tree of these tests may be changed; that of the result is not."""
    document["environment"]["code"] = {"commit": COMMIT, "dirty": False}


def resealed(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes a result, and seals it anew."""
    path = run / "result.json"
    document = json.loads(path.read_bytes())
    change(document)
    content = {name: value for name, value in document.items() if name != "digest"}
    path.write_text(json.dumps({**content, "digest": storage.json_digest(content)}), "utf-8")


def said(*words: object, code: int = 0) -> None:
    """Runs a command in this process and looks at its exit code."""
    with pytest.raises(SystemExit) as ended:
        cli.main([str(word) for word in words])
    assert ended.value.code == code, (words, ended.value.code)
