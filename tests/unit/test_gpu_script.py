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
    assert {"opening", "opening again"} < found.keys()
    examined(len(batches), "batches that equal brute force in 64 bits", at_least=3)


def test_the_page_is_written_after_each_part(script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that fails says why, and takes nothing of the others along."""
    import gpu

    def fails(given: object, folder: Path) -> dict[str, Any]:
        assert "1.5" in (tmp_path / "gpu.md").read_text("utf-8"), "the first part is on the page already"
        raise RuntimeError("out of memory\nand more")

    snapshot = {"torch": {"gpus": [{"name": "NVIDIA H200"}]}, "packages": dict.fromkeys(gpu.SHOWN, "1")}
    monkeypatch.setattr(gpu, "PARTS", {"speed": lambda *of: {"wide": {"flops": 989e12 * 1.5}}, "memory": fails})
    found: dict[str, Any] = {}
    for part in gpu.PARTS:
        found[part] = gpu.attempted(part, GIVEN, tmp_path)
        gpu.write(found, snapshot, False, tmp_path)
    page = (tmp_path / "gpu.md").read_text("utf-8")
    assert "share_of_peak 1.5" in page, "989 teraflops: NVIDIA's data sheet, dense products in 16 bits"
    assert "| failed | runtimeerror: out of memory |" in page
    assert list(gpu.PARTS) == ["speed", "memory"]
