"""What every test shares: places to say how many cases a guard or a sweep examined, and what it compared with what."""

from __future__ import annotations

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads on tiny tensors only get in each other's way
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun in the background of a shell: commands would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

from collections.abc import Callable, Iterator

import pytest

from tests.house import parity_page

Examined = Callable[..., None]
Parity = Callable[..., None]

_said: list[str] = []
_compared: list[parity_page.Line] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-parity", action="store_true", help="write the table of docs/parity.md anew")


@pytest.fixture
def examined(request: pytest.FixtureRequest) -> Examined:
    """`examined(count, what, at_least=1)`: fails if too little was examined, and prints the count after the run."""

    def say(count: int, what: str, at_least: int = 1) -> None:
        said = f"{request.node.nodeid}: {count:,} {what}"
        request.node.user_properties.append(("examined", said))
        print(said)
        assert count >= at_least, f"only {count} {what}; a guard that looks at less than {at_least} guards nothing"

    return say


@pytest.fixture
def parity(request: pytest.FixtureRequest) -> Parity:
    """`parity(subject, against, cases, largest, bound)`: fails if the largest difference from other people's code is
    above the bound, or if docs/parity.md does not have this line. `make parity` writes the page.

    `package`: the one that `against` names, whose version the page gives. `needs`: what must be installed besides for
    the test to run at all.
    """

    def say(
        subject: str, against: str, cases: int, largest: float, bound: float, package: str = "", needs: str = ""
    ) -> None:
        slow = request.node.get_closest_marker("slow") is not None
        runs = f"not in the suite: needs {needs}" if needs else "make parity" if slow else parity_page.SUITE
        found = parity_page.version_of(package)
        line = parity_page.Line(subject, against, found, int(cases), float(bound), float(largest), runs)
        request.node.user_properties.append(("parity", str(line)))
        print(line)
        assert largest <= bound, f"{subject}: {largest} from {against}, allowed are {bound}"
        if not request.config.getoption("--write-parity"):
            there = any(line.key == one.key for one in parity_page.lines())
            assert there, f"docs/parity.md does not have this line: run `make parity`\n{line}"

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
        _compared.extend(parity_page.Line.read(str(line)) for name, line in report.user_properties if name == "parity")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    if config.getoption("--write-parity") and exitstatus == pytest.ExitCode.OK:
        text = parity_page.PAGE.read_text(encoding="utf-8")
        made = parity_page.page(text, _compared, parity_page.written_in_tests())
        parity_page.PAGE.write_text(made, encoding="utf-8")
        terminalreporter.write_line(f"docs/parity.md has {len(_compared)} lines of this run")
    if _compared:
        terminalreporter.section("compared with other people's code")
        for compared in _compared:
            terminalreporter.write_line(str(compared))
    if _said:
        terminalreporter.section("examined")
        for line in _said:
            terminalreporter.write_line(line)
