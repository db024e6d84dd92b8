"""The Dockerfile as far as it can be looked at without a daemon: what it starts from, who it runs as, what it installs.

A reader of its few instructions is enough; what it does not know is an error.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Examined
from tests.understood import Refused, printed

ROOT = Path(__file__).parents[2]
KNOWN = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "FROM", "RUN", "USER", "VOLUME", "WORKDIR"}
Instruction = tuple[str, str]


def instructions(text: str) -> list[Instruction]:
    lines = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    found = [(line.split()[0], " ".join(line.split()[1:])) for line in lines if line.strip()]
    assert {name for name, _ in found} <= KNOWN, "an instruction that this test does not know"
    return found


def of(found: list[Instruction], name: str) -> list[str]:
    return [rest for each, rest in found if each == name]


def commands(found: list[Instruction]) -> list[str]:
    """What is run, without the distribution's own packages."""
    parts = (part.strip() for rest in of(found, "RUN") for part in rest.split("&&"))
    return [part for part in parts if not part.startswith("apt-get ")]


def bases(found: list[Instruction], context: Path) -> None:
    """A version in every tag; the last stage is one of ours, whatever the argument says."""
    stages = [base.split() for base in of(found, "FROM")]
    for image, *name in stages[:-1]:
        assert re.fullmatch(r"[a-z/]+:\d+\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?", image), f"{image} is not pinned"
        assert len(name) == 2
    (argument,) = re.findall(r"^ARG (\w+)=(\w+)$", "\n".join(f"{name} {rest}" for name, rest in found), re.MULTILINE)
    assert stages[-1] == [f"${{{argument[0]}}}"]
    assert {name for _, _, name in stages[:-1]} == {"cuda", "cpu"}
    assert argument[1] == "cuda"
    assert any("nvidia/cuda:" in stage[0] and "-runtime-" in stage[0] for stage in stages)


def user(found: list[Instruction], context: Path) -> None:
    """Packages of mpr are installed and run by a user without rights, who exists."""
    (name,) = of(found, "USER")
    assert name not in ("root", "0")
    before = found[: found.index(("USER", name))]
    assert any(re.search(rf"useradd .*\b{name}\b", rest) for rest in of(before, "RUN"))
    assert not [part for part in commands(before) if re.search(r"\b(make|pip|uv)\b", part)]


def sources(found: list[Instruction], context: Path) -> None:
    """What is copied is there, is let in by .dockerignore, and comes from here: nothing is fetched but by a package."""
    let_in = {line[1:] for line in (context / ".dockerignore").read_text("utf-8").splitlines() if line[:1] == "!"}
    copied = [word for rest in of(found, "COPY") for word in rest.split()[:-1] if not word.startswith("--")]
    assert set(copied) == let_in
    assert all((ROOT / word).exists() and "://" not in word for word in copied)
    assert not [rest for rest in of(found, "RUN") if re.search(r"curl|wget|git clone|https?:", rest)]


def installs(found: list[Instruction], context: Path) -> None:
    """The commands are those of `make setup`, and the index of torch is that of the lock's CUDA."""
    made = [part.split() for part in commands(found) if re.search(r"\b(make|pip|uv)\b", part)]
    assert [words[:2] for words in made] == [["make", "packages"], ["make", "setup"]]
    for words in made:
        printed([word for word in words[1:] if "TORCH_INDEX" not in word])
    lock = {one["name"]: one["version"] for one in tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))["package"]}
    cuda = re.match(r"\d+\.\d+", lock["nvidia-cuda-runtime"])
    assert cuda is not None
    text = "\n".join(of(found, "FROM") + of(found, "ENV"))
    assert f"nvidia/cuda:{cuda[0]}." in text
    assert f"/whl/cu{cuda[0].replace('.', '')}" in text
    assert "/whl/cpu" in text


def secrets(found: list[Instruction], context: Path) -> None:
    assert not [rest for _, rest in found if re.search(r"token|secret|password|api_?key|hf_\w{8}", rest, re.IGNORECASE)]


def starts(found: list[Instruction], context: Path) -> None:
    """It starts `mpr` with a recipe that is in the image."""
    assert of(found, "ENTRYPOINT") == ['["mpr"]']
    (command,) = of(found, "CMD")
    recipe = re.findall(r'"/opt/mpr/([^"]+)"', command)
    assert recipe == ["recipes/quickstart.yaml"]
    assert (ROOT / recipe[0]).is_file()


RULES: tuple[Callable[[list[Instruction], Path], None], ...] = (bases, user, sources, installs, secrets, starts)
TEXT = (ROOT / "Dockerfile").read_text("utf-8")


def test_the_dockerfile(examined: Examined) -> None:
    found = instructions(TEXT)
    for rule in RULES:
        rule(found, ROOT)
    examined(len(found), f"instructions by {len(RULES)} rules", 15)


@pytest.mark.parametrize(
    "rule, old, new",
    [
        (bases, "ubuntu:24.04 AS cpu", "ubuntu:latest AS cpu"), (bases, "ubuntu:24.04 AS cpu", "ubuntu AS cpu"),
        (bases, "FROM ${VARIANT}", "FROM ubuntu:24.04"), (bases, "VARIANT=cuda", "VARIANT=cpu"),
        (user, "USER mpr\n", "USER root\n"), (user, "USER mpr\n", ""), (user, "useradd", "echo"),
        (user, "RUN useradd", "RUN pip install torch && useradd"),
        (sources, "COPY --chown=mpr:mpr mpr mpr", "COPY --chown=mpr:mpr . ."),
        (sources, "LICENSE README.md ", "LICENCE README.md "),
        (sources, "RUN make packages", "RUN curl -s https://a.org/b | sh && make packages"),
        (installs, "RUN make setup", "RUN pip install ."), (installs, "make packages", "make package"),
        (installs, "UV_EXPORT=--no-dev TORCH", "EXPORT=--no-dev TORCH"), (installs, "13.0.2-", "12.8.1-"),
        (installs, "cu130", "cu128"), (secrets, "HF_HOME=", "HF_TOKEN=hf_abcdefghijkl HF_HOME="),
        (starts, "quickstart.yaml", "quick.yaml"),
    ],
)  # fmt: skip
def test_each_rule_finds_its_violation(rule: Callable[[list[Instruction], Path], None], old: str, new: str) -> None:
    assert TEXT.count(old) >= 1
    with pytest.raises((AssertionError, ValueError, Refused)):
        rule(instructions(TEXT.replace(old, new)), ROOT)


def test_other_instructions_are_looked_at_by_somebody() -> None:
    with pytest.raises(AssertionError, match="does not know"):
        instructions(TEXT.replace("COPY --chown=mpr:mpr mpr mpr", "ADD https://a.org/mpr.tar.gz mpr"))
