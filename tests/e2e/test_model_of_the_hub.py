"""`mpr encode --model org/name@<commit>`: the same vectors as with the folder that was pushed, by the real commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mpr import cli
from mpr.data.dataset import Dataset
from mpr.models import towers, towers_folder
from mpr.recipe import read
from tests.conftest import Examined
from tests.e2e import collection
from tests.hub_server import HubServer
from tests.unit.encodings import sums

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]


def command(recipe: Path, folder: Path, run: str, *more: str) -> list[str]:
    place = ["--home", str(folder / "home"), "--folder", str(folder / run)]
    return ["encode", str(recipe), *place, "--quiet", "--set", "data.overlap=allow", *more]


def launched(hub: HubServer, cache: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    environment = hub.environment(cache, OMP_NUM_THREADS="1")
    whole = [sys.executable, "-m", "mpr.cli", *arguments]
    return subprocess.run(whole, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


def refusal(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_encoding_with_a_model_of_the_hub(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], examined: Examined
) -> None:
    recipe = collection.write(tmp_path)
    found = read.load(recipe, ("data.overlap=allow",))
    tokenizer = Dataset(found, tmp_path / "home", quiet=True).tokenizer()
    towers_folder.write(tmp_path / "model", towers.build(found.towers, tokenizer, 3), tokenizer)
    with pytest.raises(SystemExit) as ended:
        cli.main(command(recipe, tmp_path, "local", "--model", str(tmp_path / "model")))
    assert ended.value.code == 0
    with HubServer() as hub:
        files = [path for path in (tmp_path / "model").rglob("*") if path.is_file()]
        content = {path.relative_to(tmp_path / "model").as_posix(): path.read_bytes() for path in files}
        commit = hub.add("tester/tiny", {**content, "README.md": b"# Card\n"})
        done = launched(hub, tmp_path / "cache", command(recipe, tmp_path, "hub", "--model", f"tester/tiny@{commit}"))
        assert done.returncode == 0, done.stderr[-3_000:]
    assert os.listdir(tmp_path / "home" / "models") == [f"tester--tiny-{commit[:12]}"]
    compared = 0
    for name in ("corpus", "test"):
        ours, theirs = (sums(tmp_path / run / "vectors" / name) for run in ("local", "hub"))
        assert ours == theirs
        compared += len(ours)
    examined(compared, "files of vectors", at_least=4)
    capsys.readouterr()
    said = refusal(capsys, command(recipe, tmp_path, "other", "--model", "tester/tiny@main"))
    assert said.startswith("mpr: --model: 'main' is no commit")
    said = refusal(capsys, command(recipe, tmp_path, "other", "--model", str(tmp_path / "none")))
    assert said.startswith(f"mpr: --model: there is no folder '{tmp_path / 'none'}'")
    said = refusal(capsys, command(recipe, tmp_path, "other", "--model", "none"))
    assert "is neither a folder here nor the name of a Hub repository" in said
    assert "there is no trained model" in refusal(capsys, command(recipe, tmp_path, "other"))
