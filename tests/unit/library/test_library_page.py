"""The code of docs/library.md runs from top to bottom, with a tiny encoder in the place of the published one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import transformers

from tests.conftest import Examined
from tests.house.source import ROOT
from tests.unit.framings import bert
from tests.unit.tiny_models import bert_config

pytestmark = pytest.mark.usefixtures("one_thread")

PAGE = (ROOT / "docs" / "library.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
MODEL = '"sentence-transformers/all-MiniLM-L6-v2"'


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Examined) -> None:
    base, tokenizer = tmp_path / "base", bert()
    transformers.AutoModel.from_config(bert_config(tokenizer, max_position_embeddings=512)).save_pretrained(base)
    tokenizer.save_pretrained(base)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    for block in BLOCKS:
        exec(compile(block.replace(MODEL, repr(str(base))), "docs/library.md", "exec"), names)
    assert names["folder"] == Path("runs/small-seed42")
    for name in ("fit", "small"):
        assert (tmp_path / f"runs/{name}-seed42/model/manifest.json").is_file()
        assert (tmp_path / f"runs/{name}-seed42/recipe/{name}.yaml").is_file()
    assert not (tmp_path / "runs" / "typo-seed42").exists(), "nothing is left of a call that was refused"
    examined(len(BLOCKS), "blocks of code", at_least=7)


def test_one_call_is_short(examined: Examined) -> None:
    lines = [line for line in BLOCKS[0].splitlines() if line.strip()]
    examined(15 - len(lines), "lines to spare below 15")
