"""The snapshot is complete, repeatable and discreet; seeds reach every generator that is loaded."""

from __future__ import annotations

import getpass
import json
import os
import platform
import random
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import mpr
from mpr.errors import RecipeError
from mpr.runtime import environment
from mpr.storage.manifest import json_digest
from tests.conftest import Examined

pytestmark = pytest.mark.small

ROOT = Path(__file__).parents[3]
SECRETS = {
    "HF_TOKEN": "hf_CanaryCanaryCanaryCanaryCanary",
    "HUGGING_FACE_HUB_TOKEN": "hf_OtherCanary",
    "AWS_SECRET_ACCESS_KEY": "canary/+canary",
    "WANDB_API_KEY": "0123456789canary",
    "OMP_SECRET": "canary-in-omp",
    "CUDA_VISIBLE_DEVICES": "hf_CanaryCanaryCanaryCanaryCanary",  # pasted into the wrong line
    "OMP_NUM_THREADS": "/home/canary/threads",
    "OMP_PLACES": "canary@example.org",
    "GIT_AUTHOR_NAME": "Canary Author",
}


def _run(code: str, **variables: str) -> str:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_planted_secrets_never_appear(monkeypatch: pytest.MonkeyPatch, examined: Examined) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    text = json.dumps(environment.snapshot()).lower()
    assert "canary" not in text
    assert environment.snapshot()["variables"]["CUDA_VISIBLE_DEVICES"] == "(not shown)"
    examined(len(SECRETS), "planted secrets")


def test_nothing_about_the_person_or_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "canary-host")
    monkeypatch.setattr(platform, "node", lambda: "canary-host")
    monkeypatch.setenv("HOSTNAME", "canary-host")
    monkeypatch.setenv("USER", "canary-user")
    monkeypatch.setenv("LOGNAME", "canary-user")
    monkeypatch.setenv("HOME", "/home/canary-user")
    assert getpass.getuser() == "canary-user", "the canary does not sing"
    text = json.dumps(environment.snapshot())
    assert "canary" not in text
    assert str(ROOT) not in text
    assert str(Path.home()) not in text


@pytest.mark.parametrize("value", ["", "0", "0,1", "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "{0:4}", ":4096:8"])
def test_ordinary_settings_are_kept(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert environment.snapshot()["variables"]["CUDA_VISIBLE_DEVICES"] == value


def test_facts_agree_with_other_witnesses() -> None:
    facts = environment.snapshot()
    assert facts["mpr"] == mpr.__version__
    assert facts["python"].endswith(sys.version.split()[0])
    assert facts["packages"]["numpy"] == np.__version__
    assert facts["cpu"]["count"] == os.cpu_count()
    if Path("/proc/meminfo").exists():
        total = int(re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())[1]) * 1024
        assert facts["memory_bytes"] == pytest.approx(total, rel=0.01)
    digest = facts.pop("digest")
    assert digest == json_digest(facts)
    assert environment.snapshot()["digest"] == digest


def test_every_dependency_is_in_the_snapshot(examined: Examined) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.match(r"[A-Za-z0-9._-]+", line)[0] for line in project["dependencies"]]
    assert not set(names) - set(environment.PACKAGES)
    examined(len(names), "dependencies of mpr", at_least=10)


def test_torch_is_described_only_if_it_is_loaded() -> None:
    code = "import sys, json; from mpr.runtime.environment import *; "
    code += "print(json.dumps([snapshot(), 'torch' in sys.modules]))"
    facts, loaded = json.loads(_run(code))
    assert (facts["torch"], loaded) == ({}, False)
    facts, loaded = json.loads(_run(f"import torch; torch.set_num_threads(1); {code}"))
    assert loaded
    assert facts["torch"]["threads"] == 1
    version, _, build = facts["torch"]["version"].partition("+")  # of PyPI's builds, `+cu130` is in torch alone
    assert facts["packages"]["torch"] in (version, f"{version}+{build}")


def _fake_torch() -> SimpleNamespace:
    """Stands in for a torch that sees two GPUs: only the answers that the snapshot asks for."""
    cards = [SimpleNamespace(name=f"Card {n}", total_memory=n << 30, major=9, minor=n) for n in range(2)]
    cuda = SimpleNamespace(
        is_available=lambda: True,
        is_initialized=lambda: True,
        device_count=lambda: len(cards),
        get_device_properties=cards.__getitem__,
        max_memory_allocated=lambda number: (7, 5)[number],
    )
    backends = SimpleNamespace(
        cpu=SimpleNamespace(get_cpu_capability=lambda: "AVX2"), cudnn=SimpleNamespace(version=lambda: 91_000)
    )
    return SimpleNamespace(
        __version__="9.9", version=SimpleNamespace(cuda="13.0"), cuda=cuda, backends=backends,
        get_num_threads=lambda: 4, are_deterministic_algorithms_enabled=lambda: True,
        get_float32_matmul_precision=lambda: "highest",
    )  # fmt: skip


def test_gpus_are_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", _fake_torch())
    facts = environment.snapshot()["torch"]
    assert facts["gpus"] == [
        {"name": "Card 0", "memory_bytes": 0, "capability": "9.0"},
        {"name": "Card 1", "memory_bytes": 1 << 30, "capability": "9.1"},
    ]
    assert (facts["cuda"], facts["cudnn"], facts["deterministic"]) == ("13.0", 91_000, True)
    assert environment.Meter().cost()["gpu_peak_bytes"] == 7


def test_seeds_reach_every_generator(examined: Examined) -> None:
    import torch

    draws = (random.random, lambda: np.random.rand(), lambda: torch.rand(1, dtype=torch.float64).item())
    first = []
    for seed in (0, 42, 2**32 - 1):
        environment.seed_everything(seed)
        one = [draw() for draw in draws]
        assert one != [draw() for draw in draws]
        environment.seed_everything(seed)
        assert one == [draw() for draw in draws]
        first.append(tuple(one))
    for values in zip(*first, strict=True):
        assert len(set(values)) == len(first)
    examined(len(draws), "generators", at_least=3)


def test_seeds_that_would_collide_are_refused() -> None:
    for seed in (-1, 2**32, 2**40):
        with pytest.raises(RecipeError, match="is not between 0 and 4294967295"):
            environment.seed_everything(seed)


def test_seeding_does_not_load_torch() -> None:
    code = "import sys; from mpr.runtime.environment import seed_everything as s; s(1); print('torch' in sys.modules)"
    assert _run(code).strip() == "False"


class TestCode:
    """Git state, on a throw-away repository that holds a package called mpr."""

    @pytest.fixture
    def package(self, tmp_path: Path) -> Path:
        (tmp_path / "mpr").mkdir()
        (tmp_path / "mpr" / "a.py").write_text("a = 1\n")
        self._git(tmp_path, "init", "-q")
        return tmp_path / "mpr"

    def _git(self, folder: Path, *arguments: str) -> str:
        who = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(folder), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def _commit(self, package: Path) -> str:
        self._git(package.parent, "add", "mpr")
        self._git(package.parent, "commit", "-qm", "x")
        return self._git(package.parent, "rev-parse", "HEAD")

    def test_commit_and_dirt(self, package: Path) -> None:
        assert environment._code(package) == {}, "a repository without a commit"
        commit = self._commit(package)
        assert environment._code(package) == {"commit": commit, "dirty": False}
        (package.parent / "results.json").write_text("{}")
        assert environment._code(package) == {"commit": commit, "dirty": False}, "results are not code"
        (package / "b.py").write_text("b = 1\n")
        assert environment._code(package) == {"commit": commit, "dirty": True}
        (package / "b.py").unlink()
        (package / "a.py").write_text("a = 2\n")
        assert environment._code(package) == {"commit": commit, "dirty": True}

    def test_installed_inside_another_repository(self, package: Path) -> None:
        self._commit(package)
        installed = package.parent / "venv" / "site-packages" / "mpr"
        shutil.copytree(package, installed)
        assert environment._code(installed) == {}

    def test_no_repository_and_no_git(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert environment._code(tmp_path) == {}
        monkeypatch.setenv("PATH", str(tmp_path))
        assert environment._code(tmp_path) == {}

    def test_variables_of_git_do_not_lead_elsewhere(self, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        commit = self._commit(package)
        monkeypatch.setenv("GIT_DIR", str(package.parent / "nowhere"))
        assert environment._code(package)["commit"] == commit


CODE = """
class Hits:
    size = 7  # how many

    def best(self, of: list[float]) -> float:
        return max(of, default=0.5)
"""
SAME = (
    "# a comment\n" + CODE,
    CODE.replace("\n    def", "\n\n\n    def"),
    CODE.replace("  # how many", '\n    """How many."""'),
    '"""A module."""' + CODE,
    CODE.replace("float:\n", 'float:\n        """The best."""\n'),
    CODE.replace("max(of, default=0.5)", "max(\n            of,\n            default=0.5,\n        )"),
)
OTHER = (
    CODE.replace("7", "8"),
    CODE.replace("7", "7.0"),
    CODE.replace("7", "'7'"),
    CODE.replace("7", "b'7'"),
    CODE.replace("max", "min"),
    CODE.replace("best", "top"),
    CODE.replace("0.5", "None"),
    CODE.replace("of: list[float]", "of: list[int]"),
    CODE.replace("return ", ""),
    CODE.replace("    def", "    @staticmethod\n    def"),
    CODE.replace("max(of, default=0.5)", "max(*of, default=0.5)"),
    CODE.replace("\n    def", "\ndef"),
    CODE + "x = 'a text that is used'\n",
)


def test_code_is_what_runs(tmp_path: Path, examined: Examined) -> None:
    """Comments, docstrings and layout are not; whatever else is, with its place."""

    def digest(text: str, name: str = "a.py") -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text, encoding="utf-8")
        return environment.code_digest(folder)

    assert {digest(text) for text in SAME} == {digest(CODE)}
    seen = {digest(text) for text in (CODE, *OTHER)} | {digest(CODE, "b.py"), digest(CODE, "a/a.py")}
    assert len(seen) == len(OTHER) + 3
    examined(len(SAME) + len(OTHER), "changes of a file")


def test_the_code_of_this_package() -> None:
    assert environment.code_digest() is environment.code_digest()
    command = [sys.executable, "-c", "from mpr.runtime import environment; print(environment.code_digest())"]
    seeded = {**os.environ, "PYTHONHASHSEED": "7"}
    other = subprocess.run(command, env=seeded, capture_output=True, text=True, check=True).stdout
    assert other.strip() == environment.code_digest()
    assert re.fullmatch("[0-9a-f]{64}", environment.code_digest())


def test_meter_measures() -> None:
    meter = environment.Meter()
    deadline = time.process_time() + 0.05
    while time.process_time() < deadline:
        pass
    block = np.ones(30_000_000, dtype=np.uint8)
    cost = meter.cost()
    assert 0.05 <= cost["cpu_seconds"] <= 5
    assert cost["seconds"] >= 0.05
    assert block.nbytes < cost["peak_bytes"] < 1 << 40
    assert list(cost) == ["seconds", "cpu_seconds", "peak_bytes"]


def test_memory_is_what_a_container_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, limit = environment.memory_bytes(), tmp_path / "memory.max"
    assert 0 < whole <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    monkeypatch.setattr(environment, "_LIMITS", (str(tmp_path / "gone"), str(limit)))
    for text, expected in (("1000000\n", 1_000_000), ("max\n", None), (f"{1 << 62}\n", None)):
        limit.write_text(text)
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        assert environment.memory_bytes() == (expected or physical)


def test_a_snapshot_of_any_precision_setting() -> None:
    """torch refuses the old question once the new setting was used, as transformers does for `tf32: true`."""
    code = (
        "import json, torch\nfrom mpr.runtime import environment\n"
        "new = hasattr(torch.backends, 'fp32_precision')\n"
        "if new:\n    torch.backends.fp32_precision = 'tf32'\nelse:\n    torch.backends.cuda.matmul.allow_tf32 = True\n"
        "print(environment.snapshot()['torch']['matmul_precision'])\n"
    )
    assert _run(code).strip() in ("tf32", "high")
