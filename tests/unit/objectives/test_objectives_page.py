"""docs/objectives.md says what the code does: its table of gradients, its keys and their defaults, its options."""

import re
from pathlib import Path

import pytest
import torch

from mpr import catalogue, objectives

PAGE = (Path(__file__).parents[3] / "docs" / "objectives.md").read_text(encoding="utf-8")


def _options(text: str) -> dict[str, object]:
    """`a: b, c: 0.1` as keyword arguments."""
    pairs = [pair.split(": ") for pair in text.split(", ") if pair]
    return {key: _value(value) for key, value in pairs}


def _value(text: str) -> object:
    known = {"false": False, "true": True, "null": None}
    if text in known:
        return known[text]
    return float(text) if "." in text else int(text) if text.isdigit() else text


def test_table_of_gradients():
    rows = re.findall(r"^\| `(\w+)` ?([^|]*?)" + 4 * r" \| (-?\d\.\d+)" + r" \|$", PAGE, re.M)
    for name, options, *numbers in rows:
        scores_QP = torch.tensor([[8.0, 5, 1, 4, 3, 2, 2, 1, 0]], dtype=torch.float64, requires_grad=True)
        positives_QP = torch.arange(9)[None] < 3
        sum_Q, weight_Q = objectives.load(name, **_options(options))(scores_QP, positives_QP, ~positives_QP)
        (sum_Q.sum() / weight_Q.sum()).backward()
        gradient = [*scores_QP.grad[0, :3].tolist(), scores_QP.grad[0, 3:].sum().item()]
        assert [float(number) for number in numbers] == pytest.approx(gradient, abs=0.00051), (name, options)
    print(f"{len(rows)} rows of the table")
    assert len(rows) == 13


def test_keys_and_defaults():
    sections = re.findall(r"^### (\w+)\n(.*?)(?=^##)", PAGE, re.M | re.S)
    for name, text in sections:
        keys = re.findall(r"`(\w+)` \((\w+(?:\.\d+)?)[;)]", re.search(r"^Keys: (.*)$", text, re.M).group(1))
        fields = catalogue.params("objectives", name).model_fields
        assert [key for key, _ in keys] == list(fields), name
        for key, default in keys:
            assert fields[key].is_required() if default == "required" else fields[key].default == _value(default)
    print(f"{len(sections)} objectives on the page")
    assert {name for name, _ in sections} <= set(catalogue.names("objectives"))
    assert len(sections) == 10


def test_published_losses_are_valid_options():
    rows = re.findall(r"^\| [^|`]+ \| (phi: [^|]+) \|$", PAGE, re.M)
    for options in rows:
        assert catalogue.params("objectives", "pairwise")(**_options(options))
    assert len(rows) == 8
