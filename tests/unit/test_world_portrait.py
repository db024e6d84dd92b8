"""The figures in docs/invented_world.md are those of the default world, and BM25 finds it neither easy nor hopeless."""

from __future__ import annotations

import re
from statistics import fmean
from typing import Any

import pytest

from tests.conftest import Examined
from tests.house.source import ROOT
from tests.unit.invented import PLAIN, small, usual

PAGE = ROOT / "docs" / "invented_world.md"
START, END = "<!-- measured: portrait of the default world -->\n\n", "\n\n<!-- end of portrait -->"
# Top-1, 5, 20, 100 of a lexical ranking over all questions of several worlds: a fair baseline that can be beaten.
BANDS = {1: (0.35, 0.55), 5: (0.6, 0.85), 20: (0.8, 0.96), 100: (0.93, 0.99)}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import world_portrait

    return world_portrait


def test_page_quotes_the_portrait(script: Any) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page.count(START) == page.count(END) == 1
    quoted = page.partition(START)[2].partition(END)[0]
    assert quoted == script.portrait(usual().world, usual().params.seed)


def test_page_quotes_real_passages(examined: Examined) -> None:
    page = PAGE.read_text(encoding="utf-8")
    passages = {(passage.title, passage.text) for passage in usual().passages()}
    title, _, text = " ".join(re.findall(r"^> (.*)$", page, re.M)).partition(" · ")
    assert (title.strip("*"), text) in passages
    (name,) = re.findall(r'for "([^"]+)"', page)
    world = usual().world
    (asked,) = (one for split in PLAIN for one in world.asked[split] if one.question.text == name)
    assert f"({', '.join(asked.question.answers)})" in page
    grades = {passage.id: world.support(asked).get(passage.id, 0) for passage in world.passages}
    quoted = re.findall(r"^\| ([0-3]) \| [^|]* \| ([^|]*) \|$", page, re.M)
    for grade, sentence in quoted:
        holders = [p for p in world.passages if sentence.lower() in p.text.lower() and grades[p.id] == int(grade)]
        assert holders, sentence
    examined(len(quoted), "quoted sentences", at_least=4)


def test_portrait_of_another_world_is_another(script: Any) -> None:
    assert script.portrait(small(seed=4).world, 4) != script.portrait(small(seed=5).world, 5)


@pytest.mark.parametrize("cut", BANDS)
def test_a_lexical_ranking_is_a_fair_baseline(cut: int, examined: Examined) -> None:
    world = usual().world
    found, supported = [], []
    for asked in (asked for split in PLAIN for asked in world.asked[split]):
        top = [row for row, _ in world.lexical.best(asked.question.text, cut)]
        right = set(world.lexical.containing(asked.question.answers))
        found.append(not right.isdisjoint(top))
        supported.append(any(world.passages[row].id in world.support(asked) for row in top))
    low, high = BANDS[cut]
    assert low <= fmean(found) <= high
    assert fmean(found) - 0.25 < fmean(supported) < fmean(found) - 0.02, "answer strings flatter the ranking"
    examined(len(found), f"questions at top-{cut}", at_least=1_500)
