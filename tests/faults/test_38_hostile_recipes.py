"""Faults 38 and 39: marks of Markdown, HTML and YAML in what a card shows; secrets in recipes that a board takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mpr.errors import DataError
from mpr.publishing import _card, board_entries
from tests import published
from tests.conftest import Examined
from tests.unit.publishing.test_card import facts, metadata, on
from tests.unit.publishing.test_own_board import finished
from tests.unit.runtime.test_markdown import tokens

HOSTILE = "x`|</td><script>alert(1)</script>\n\n# Ours\n---\nlicense: mit\n![a](http://b) ```"


def test_nothing_that_a_recipe_or_result_says_is_a_mark_of_the_card(tmp_path: Path, examined: Examined) -> None:
    """Fault 38. Markdown, HTML, front matter: the page has the headings, blocks and keys that it has without them."""

    def change(document: dict[str, Any]) -> None:
        document["recipe"]["overrides"] = [f"training.seed={HOSTILE}"]
        document["scores"]["test"] |= {"split": HOSTILE, "right": HOSTILE}

    run = published.copied(tmp_path)
    made = on("org/base", question_prompt=HOSTILE, passage_prompt=f"{HOSTILE}\n", title="join")
    honest = _card.render(replace(facts(run, made), licence="apache-2.0", reasons=("it is ours",)))
    published.resealed(run, change)
    card = _card.render(replace(facts(run, made), licence=HOSTILE, reasons=(HOSTILE,)))
    assert card.count(HOSTILE.partition("\n")[0][:2]) >= 5, "it is there"
    kinds, expected = ([token.type for token in tokens(page.partition("\n---\n")[2])] for page in (card, honest))
    for kind in (
        "heading_open",
        "fence",
        "table_open",
        "td_open",
        "tr_open",
        "html_inline",
        "html_block",
        "image",
        "hr",
    ):
        assert kinds.count(kind) == expected.count(kind), kind
    assert "html_inline" not in kinds
    assert metadata(card).keys() == metadata(honest).keys()
    assert metadata(card)["license"] == HOSTILE
    examined(6, "places with a hostile text", at_least=6)


def test_a_secret_in_a_recipe_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Examined) -> None:
    """Fault 39. A board is committed and pushed: by its shape or by the environment, a secret stays out of it."""
    monkeypatch.setenv("SERVICE_API_KEY", "c4n4ry-of-the-key")
    secrets = {
        "hf" + "_" + "c4N4ry" * 6: "a token of the Hugging Face Hub",
        "sk" + "-" + "c4n4ry" * 6: "a key of a language model service",
        "c4n4ry-of-the-key": "the value of the environment variable SERVICE_API_KEY",
    }
    for number, (secret, what) in enumerate(secrets.items()):
        run = finished(tmp_path, f"mine{number}", old="varies: []\n", new=f"varies: [] # {secret}\n")
        with pytest.raises(DataError, match=f"would hold {what}; nothing was written") as caught:
            board_entries.add(tmp_path / "board", run, own=True)
        assert secret not in str(caught.value)
    assert not (tmp_path / "board").exists()
    examined(len(secrets), "secrets in recipes", at_least=3)
