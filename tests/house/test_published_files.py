"""The tables of `docs/data.md` are those that the code gives, and a changed digit is found."""

from __future__ import annotations

import pytest

from tests.conftest import Examined
from tests.house import published_files
from tests.house.published_files import PAGE, TABLES, page


def test_the_page_says_what_the_code_says(examined: Examined) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text
    examined(sum(len(list(table())) for table in TABLES.values()), "lines of tables", at_least=90)


@pytest.mark.parametrize("digit", ["`c39b020c`", "58,880", "5,416,568"])
def test_a_changed_number_is_seen(digit: str) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert digit in text
    assert page(text.replace(digit, digit.replace("8", "3"))) == text


def test_it_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["published_files", "--check"])
    assert published_files.main() == 0
    assert f"{len(TABLES)} tables" in capsys.readouterr().out
