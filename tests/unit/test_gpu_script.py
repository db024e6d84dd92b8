"""The retrieval parts of benchmarks/gpu.py, rehearsed on the processor: they run, and what they find is right."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Examined
from tests.house.source import ROOT

GIVEN = argparse.Namespace(tiny=True, device="cpu")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gpu_retrieval

    monkeypatch.setattr(gpu_retrieval, "PRECISIONS", {"fp32": "float32", "bf16": "bfloat16"})
    return gpu_retrieval


def test_encoding(script: Any, tmp_path: Path, examined: Examined) -> None:
    found = script.encoding(GIVEN, tmp_path)
    for name in ("fp32", "bf16"):
        part = found[name]
        assert part["hours_for_21M"] == pytest.approx(script.PASSAGES / part["texts_per_second"] / 3600)
        assert part["smallest_cosine"] > 0.999
    examined(found["texts"], "texts", at_least=200)


def test_searching(script: Any, tmp_path: Path, examined: Examined) -> None:
    found = script.searching(GIVEN, tmp_path)
    batches = [part for name, part in found.items() if name.startswith("batch")]
    assert all(part["same"] for part in batches)
    examined(len(batches), "batches that equal brute force in 64 bits", at_least=3)
