"""Every line of `docs/parity.md` is made by a test, within its bound, and a changed one is found.

The other way round, that the page has every line that a test makes, is what the fixture `parity` asserts.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.conftest import Examined, Parity
from tests.house.parity_page import PAGE, Line, lines, page, written_in_tests


def test_every_line_is_made_by_a_test(examined: Examined) -> None:
    written, found = written_in_tests(), list(lines())
    for line in found:
        assert line.subject in written, f"no test makes this line of {PAGE.name}: run `make parity`\n{line}"
        assert line.against in written, f"no test makes this line of {PAGE.name}: run `make parity`\n{line}"
        assert line.largest <= line.bound, str(line)
        assert Line.read(str(line)) == line
    assert len({(line.subject, line.against) for line in found}) == len(found)
    examined(len(found), "lines", at_least=30)


MADE = Line("something", "somebody else's, release 1", "-", 1_200, 1e-12, 3e-15, "suite")
OTHER = replace(MADE, subject="another thing")


def test_a_page_is_written_anew() -> None:
    """With the lines of this run; others stay while a test can make them."""
    texts = {MADE.subject, MADE.against, OTHER.subject}
    text = page(PAGE.read_text(encoding="utf-8"), [MADE, OTHER], set())
    assert set(lines(text)) == {MADE, OTHER}
    assert page(text, [], texts) == text
    again = replace(MADE, cases=7)
    assert set(lines(page(text, [again], texts))) == {again, OTHER}
    assert set(lines(page(text, [again], set()))) == {again}
    assert set(lines(page(text, [], texts - {OTHER.subject}))) == {MADE}


def test_a_comparison_fails_above_its_bound_and_where_the_page_lacks_it(
    parity: Parity, request: pytest.FixtureRequest
) -> None:
    said = request.node.user_properties
    with pytest.raises(AssertionError, match="allowed are 1e-12"):
        parity(MADE.subject, MADE.against, 3, 1e-11, 1e-12)
    with pytest.raises(AssertionError, match=r"docs/parity\.md does not have this line: run `make parity`"):
        parity(MADE.subject, MADE.against, 3, 1e-13, 1e-12)
    said[:] = [one for one in said if one[0] != "parity"]  # these were no comparisons
