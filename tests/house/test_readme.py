"""What the README counts and names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mpr import catalogue
from mpr.recipe import plan, read
from tests.conftest import Examined
from tests.house.source import ROOT

README = (ROOT / "README.md").read_text("utf-8")
RELIABILITY = (ROOT / "docs" / "reliability.md").read_text("utf-8")
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def numbers(cell: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", cell)]


def test_every_fault_with_a_test_has_its_row_and_its_promise(examined: Examined) -> None:
    rows = re.findall(r"^\| ([\d, ]+) \| .*`(test_\d\d_\w+\.py)` \|$", RELIABILITY, re.MULTILINE)
    faults = sorted(number for cell, _ in rows for number in numbers(cell))
    assert len(set(faults)) == len(faults), "a fault has one row"
    assert {name for _, name in rows} == {path.name for path in (ROOT / "tests" / "faults").glob("test_*.py")}
    promised = re.findall(r"^\| .+ \| ([\d, ]+) \|$", RELIABILITY, re.MULTILINE)
    assert sorted(number for cell in promised for number in numbers(cell)) == faults
    assert f"\n{len(faults)} faults " in RELIABILITY
    assert f" {len(faults)} kinds of\n  failure" in README
    examined(len(faults), "faults in both tables", 20)


def test_it_is_short(examined: Examined) -> None:
    examined(150 - README.count("\n"), "lines to spare below 150")


def test_objectives_are_counted() -> None:
    count = len(catalogue.names("objectives"))
    assert f"by {WORDS[count]} objectives" in README


def test_links_lead_somewhere(examined: Examined) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert [link for link in links if not (ROOT / link).exists()] == []
    examined(len(links), "links of the README", 10)


def test_its_recipe_of_own_data_is_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"^```yaml\n(.+?)^```$", README, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("my.jsonl").write_text('{"query": "a", "pos": ["b", "c"]}\n{"query": "d", "pos": ["e"]}\n', "utf-8")
    Path("my.yaml").write_text(block, "utf-8")
    assert read.load(Path("my.yaml")).draw.positives.m == 4
    assert block.count("\n") <= 10


def test_the_row_from_nothing_costs_what_its_plan_says(examined: Examined) -> None:
    section = README[README.index("## From nothing to DPR's TREC row") :]
    (shown,) = re.findall(r"^```text\n(.+?)^```$", section[: section.index("\n## ", 1)], re.MULTILINE | re.DOTALL)
    predicted = plan.resolve(read.load(ROOT / "recipes" / "trec_bce_m3.yaml")).lines
    assert [line for line in shown.splitlines() if line not in predicted] == []
    examined(len(shown.splitlines()), "predictions in the README", at_least=5)
