"""What an objective divides scores by: it says so itself, whatever the key is called, and everybody asks it."""

from __future__ import annotations

import math
from types import ModuleType, SimpleNamespace
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, create_model

from mpr import catalogue
from mpr.objectives import Objective, nll
from mpr.publishing import _board_table
from mpr.recipe.rules.draw import negative_cache_fits
from mpr.runtime.processes import ALONE
from mpr.training import _block
from mpr.training._loss import Terms
from tests.conftest import Examined
from tests.parity import steps
from tests.parity.steps import term


class Params(Objective):
    """A softmax whose temperature has another name."""

    sharpness: Annotated[float, Field(gt=0.0)] = 1.0
    """Scores are multiplied by it."""

    def divisor(self, width: int) -> float:
        return 1.0 / self.sharpness


@pytest.fixture
def sharp(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An entry of a recipe that names the objective `sharp`, as the union of all objectives would make it."""
    module = ModuleType("mpr.objectives.sharp")

    def objective(params: Params, *block: Any, **others: Any) -> Any:
        return nll.objective(nll.Params(temperature=params.divisor(1)), *block, **others)

    module.__dict__.update(Params=Params, objective=objective)
    find = catalogue.find
    monkeypatch.setattr(catalogue, "find", lambda folder, name: module if name == "sharp" else find(folder, name))
    columns: Any = {"coefficient": (float, 1.0), "view": (str, "query"), "columns": (str, "all")}
    return create_model("sharp", __base__=Params, name=(Literal["sharp"], "sharp"), **columns)(sharpness=20.0)


def observed(entry: Any) -> dict[str, float]:
    """What the log says of a step."""
    batch, towers = steps.collator()([0]), steps.Towers()
    return _block.block_loss(towers, batch, Terms([entry]), ALONE, gather=True).observed()


def test_a_new_objective_is_logged_by_its_own_key(sharp: Any) -> None:
    same, other = observed(term("nll", temperature=0.05)), observed(term("nll"))
    assert observed(sharp) == pytest.approx(same)
    assert same["saturated_share"] != other["saturated_share"], "the scale shows in the log"


def test_the_leaderboard_shows_its_scale_and_the_negative_cache_asks_for_it(sharp: Any) -> None:
    plain: Any = sharp.model_copy(update={"sharpness": 1.0})
    shown = [
        _board_table.objective(SimpleNamespace(objective=(entry,)))  # type: ignore[arg-type]
        for entry in (sharp, plain, term("nll", temperature=0.05), term("kl", target="labels", temperature=2.0))
    ]
    assert shown == ["sharp τ 0.05", "sharp", "nll τ 0.05", "kl labels τ 2"]
    assert Terms([sharp]).first.divisor(64) == 0.05


def test_all_terms_beside_a_negative_cache_have_one_divisor(sharp: Any) -> None:
    def said(*entries: Any) -> list[str]:
        scale = SimpleNamespace(negative_cache=object(), cache=None, processes=1)
        recipe: Any = SimpleNamespace(objective=entries, scale=scale, towers=SimpleNamespace(train="both"))
        return [what for path, what, _ in negative_cache_fits(recipe) if path == ("objective",)]

    assert said(term("nll", temperature=0.05), term("lse_pair", temperature=0.05)) == []
    assert said(term("nll", temperature=0.05), sharp) == []
    assert len(said(term("nll"), sharp)) == 1


def test_shipped_objectives(examined: Examined) -> None:
    count = 0
    for name in catalogue.names("objectives"):
        for entry in steps.covering(name):
            width = 64 if getattr(entry, "sqrt_width", False) else 1
            assert entry.divisor(64) == entry.temperature * math.sqrt(width)
            assert entry.has_softmax == (getattr(entry, "scaling", "") != "none")
            count += 1
    assert Objective().divisor(64) == 1.0
    assert Objective().has_softmax
    examined(count, "variants of objectives", at_least=20)
