"""A cross-encoder's folder opened by other programs: transformers, and sentence-transformers' CrossEncoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from sentence_transformers import CrossEncoder as Foreign

from mpr.models import cross_encoder
from tests.conftest import Examined
from tests.unit import tiny_models
from tests.unit.data.test_token_batches import pairs_of
from tests.unit.models.test_cross_encoder import BOTH, built
from tests.unit.scorers import stirred


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "mpnet", "electra", "modernbert"])
def test_other_programs_give_the_same_scores(family: str, tmp_path: Path, examined: Examined) -> None:
    """transformers by itself and sentence-transformers' CrossEncoder, from the folder that was written."""
    model, tokenizer = stirred(built(tmp_path, family)), tiny_models.tokenizer_of(family)
    cross_encoder.write(tmp_path / "model", model, tokenizer)
    short = [(one[:20], other) for one, other in BOTH]
    made = pairs_of(tmp_path / "short", tokenizer, short, 39, 64)
    rows = np.arange(len(short))
    with torch.no_grad():
        ours = model(pair=made.tokens(rows, rows))
    assert float(ours.std()) > 0.1
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    words = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    given = words([one for one, _ in short], [other for _, other in short], padding=True, return_tensors="pt",
                  truncation="only_second", max_length=64)  # fmt: skip
    with torch.no_grad():
        theirs = plain(**given).logits[:, 0]
    assert tiny_models.difference(ours, theirs) < 1e-5
    foreign = Foreign(str(tmp_path / "model"), device="cpu", max_length=64).predict(short, show_progress_bar=False)
    assert tiny_models.difference(ours, torch.as_tensor(foreign)) < 1e-5
    examined(2 * len(short), "scores of other programs", at_least=40)
