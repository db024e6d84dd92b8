"""What every test shares: a place to say how many cases a guard or a sweep examined."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads on tiny tensors only get in each other's way
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from collections.abc import Callable, Iterator

import pytest

Examined = Callable[..., None]

_said: list[str] = []


@pytest.fixture
def examined(request: pytest.FixtureRequest) -> Examined:
    """`examined(count, what, at_least=1)`: fails if too little was examined, and prints the count after the run."""

    def say(count: int, what: str, at_least: int = 1) -> None:
        said = f"{request.node.nodeid}: {count:,} {what}"
        request.node.user_properties.append(("examined", said))
        print(said)
        assert count >= at_least, f"only {count} {what}; a guard that looks at less than {at_least} guards nothing"

    return say


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Blocks of tests are tiny: threads would only wait for one another, the more so on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Also for tests that another process ran (pytest-xdist): what a test says travels with its report."""
    if report.when == "call":
        _said.extend(str(said) for name, said in report.user_properties if name == "examined")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _said:
        terminalreporter.section("examined")
        for line in _said:
            terminalreporter.write_line(line)
