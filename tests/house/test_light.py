"""Looking at a recipe is quick: what only reads and checks never loads torch or anything else that takes seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

from tests.conftest import Examined
from tests.house.source import ROOT, package

pytestmark = pytest.mark.small

HEAVY = (
    "torch", "transformers", "datasets", "accelerate", "peft", "evaluate", "sentence_transformers", "faiss", "pandas",
    "scipy", "sklearn", "matplotlib", "sympy", "numba", "tensorflow", "jax",
)  # fmt: skip

# What reads and checks recipes and files, layer by layer from the bottom; each is imported on its own.
LIGHT = (
    "errors", "catalogue", "runtime.environment", "storage.lines", "storage.manifest", "runtime.randomness", "records",
    "storage", "storage.unpack", "metrics.answers", "storage.json_stream", "storage.json_fields", "recipe.strict_yaml",
    "recipe._training_arguments", "corpora", "recipe.keys", "batches.relations", "recipe.rules", "recipe.schedule",
    "recipe.read", "recipe.plan", "recipe.shipped", "runtime.installation", "data._download", "cli",
)  # fmt: skip

_LOADED = "import json, sys; print(json.dumps([name for name in {heavy} if name in sys.modules]))"


def _loaded_by(code: str) -> list[str]:
    """The heavy packages that a fresh interpreter has loaded after `code`; what `code` prints is dropped."""
    quiet = f"import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()):\n{textwrap.indent(code, ' ')}\n"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", quiet + _LOADED.format(heavy=HEAVY)]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_modules_that_only_check_are_light(examined: Examined) -> None:
    assert set(LIGHT) <= {source.module for source in package()}
    assert _loaded_by(f"import {', '.join(f'mpr.{name}' for name in LIGHT)}") == []
    examined(len(LIGHT), "modules that load nothing heavy", at_least=20)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["check", "--help"], ["check", "recipes/trec_bce_m3.yaml"]], ids=" ".join
)
def test_commands_that_only_check_are_light(arguments: list[str], examined: Examined) -> None:
    leaving = "except SystemExit as end:\n  assert not end.code"
    assert _loaded_by(f"import mpr.cli\ntry:\n  mpr.cli.main({arguments})\n{leaving}") == []
    examined(len(HEAVY), "packages that were not loaded", at_least=10)


def test_the_test_sees_what_is_loaded() -> None:
    assert _loaded_by("import torch") != []
    assert "matplotlib" in _loaded_by("import matplotlib")
