"""`mpr reproduce` on a recipe with a band: within it the command ends well, above or below it with exit code 3."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpr.publishing import board_entries
from mpr.recipe import read
from mpr.recipe.keys import Band
from tests.e2e import small_rows
from tests.published import said


def test_a_run_outside_the_band_is_kept_and_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small_rows.copy(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = (run / "result.json").read_bytes()
    measured = json.loads(before)["scores"]["test"]["measures"]
    measures = read.load(tmp_path / "small.yaml").evaluation.measures
    percents = {name: 100 * measured[name]["mean"] for name in measures}
    name, value = next((name, value) for name, value in percents.items() if 1 < value < 99)
    for shift, word, code in ((0.0, "within", 0), (-1.0, "above", 3), (1.0, "below", 3)):
        bands = {each: Band(mean=50, low=0, high=100, seeds=3) for each in measures}
        middle = value + shift
        bands[name] = Band(mean=middle, low=middle - 0.5, high=middle + 0.5, seeds=3)
        board_entries.write_expected(tmp_path / "small.yaml", bands)
        said("reproduce", "small.yaml", "--no-baselines", "--quiet", code=code)
        told = capsys.readouterr()
        assert told.out.count("kept: its receipt verifies") == 6
        assert f"band: trained-seed42 {word}: " in told.out
        assert f"{name} {word}" in told.out
        outside = f"runs/small-seed42 {name}: {value:.2f} is {word} the band of the recipe"
        assert (outside in told.err) == (code == 3)
        assert (run / "result.json").read_bytes() == before
