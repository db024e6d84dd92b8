"""A small cross-encoder with a split for it to score: questions, passages of many lengths, positives and candidates."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mpr.data.pair_labels import Asked, Knowledge
from mpr.models import cross_encoder
from mpr.models.cross_encoder import CrossEncoder
from mpr.sources import Ground
from tests.unit import tiny_models
from tests.unit.framings import words
from tests.unit.labelling import knowing, stand

QUESTIONS, PASSAGES, LENGTH = 9, 40, 30
ALL = Asked({"a": None}, positives=True)
READING: dict[str, Any] = {"pooling": "cls", "title": "join", "question_length": 14, "passage_length": 40}


def settings(**changes: Any) -> Any:
    """Towers of a recipe for a cross-encoder."""
    return tiny_models.settings(**(READING | changes))


def stirred(model: CrossEncoder) -> CrossEncoder:
    """With a head whose scores differ by more than rounding."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        for name, parameter in model.named_parameters():
            if "classifier" in name:
                parameter.data += torch.randn_like(parameter)
    return model


def scorer(folder: Path) -> Path:
    """The folder of a cross-encoder whose scores are spread around 0."""
    base, tokenizer = tiny_models.published(folder / "base"), tiny_models.tokenizer_of("bert")
    made = cross_encoder.build(settings(base=str(base), title="none", passage_length=LENGTH), tokenizer, 1)
    cross_encoder.write(folder / "model", stirred(made), tokenizer, {"updates": 0})
    return folder / "model"


def split(folder: Path) -> tuple[Ground, Knowledge]:
    """Questions with two positives and up to twenty candidates."""
    dice = random.Random(4)
    ground = stand(folder, QUESTIONS, PASSAGES, [words(dice, dice.randint(1, 40)) for _ in range(PASSAGES)])
    order = [dice.sample(range(PASSAGES), 2 + dice.randrange(21)) for _ in range(QUESTIONS)]
    known = knowing([[(one, "gold") for one in row[:2]] for row in order], a=[row[2:] for row in order])
    return ground, replace(known, before=known)
