"""Whole runs of several processes: the weights of one process, exact resume, and no process left behind.

The cases are in several.py, on processes that nobody helps; torchrun and accelerate start the others.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mpr.training.run_folder import RunFolder
from tests.conftest import Examined
from tests.e2e import collection
from tests.waiting import HANGING, until

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PLAIN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
OPTIONS = ("training.max_steps=2", "training.save_strategy=steps", "training.save_steps=1")
TWO = ("scale.processes=2", "scale.gather=true", "training.per_device_train_batch_size=1")


def environment(**extra: str) -> dict[str, str]:
    known = {name: value for name, value in os.environ.items() if name not in PLAIN and "ACCELERATE" not in name}
    quiet = {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    return {**known, **quiet, **extra}


def happened(folder: Path, *cases: str) -> Any:
    command = [sys.executable, "-m", "tests.e2e.several", str(folder), *cases]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False, timeout=6 * HANGING
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What happened in the cases of several.py."""
    return happened(
        tmp_path_factory.mktemp("several"),
        "same_weights",
        "searching",
        "noise",
        "killed",
        "stopped",
        "refused",
        "sharded",
        "learns",
    )


def test_two_processes_end_with_the_weights_of_one(cases: Any, examined: Examined) -> None:
    found = cases["same_weights"]
    assert found["moved"] > 1e-3, "training that moves nothing would prove nothing"
    assert found["difference"] < 2e-6, found
    assert found["files"] == ["checkpoints", "metrics.jsonl", "model", "run.json"]
    assert found["logged"] == found["shown"] == 6, "each update is logged once"
    assert found["trained"] == 1, "the result is said once"
    examined(6, f"updates; weights moved by {found['moved']:.0e}, differ by {found['difference']:.0e}")


def test_two_processes_that_search_end_with_the_weights_of_one(cases: Any, examined: Examined) -> None:
    question, passage = cases["searching"]["query"], cases["searching"]["document"]
    assert question["moved"] > 1e-3
    assert question["difference"] < 2e-6, question
    assert passage["moved"] == passage["difference"] == 0.0
    examined(6, f"updates; weights moved by {question['moved']:.0e}, differ by {question['difference']:.0e}")


@pytest.mark.slow
def test_two_processes_that_mine_for_themselves_share_the_work(tmp_path: Path, examined: Examined) -> None:
    found = happened(tmp_path, "refreshing")["refreshing"]
    assert found["moved"] > 1e-3
    assert found["difference"] < 2e-5, found  # Adam makes much of the rounding of a gradient near 0
    one, both = found["tables"].values()
    assert one == both, "the same candidates, found after four updates"
    assert list(both) == ["4"], "no checkpoint needs another"
    first, second = map(set, found["encoded"])
    assert first.isdisjoint(second)
    assert min(len(first), len(second)) >= 6, "passages and questions of three versions"
    assert found["said"] == 3, "each version is told once"
    examined(len(first | second), "shards, each encoded by one of two processes", at_least=18)


def test_processes_have_noise_of_their_own(cases: Any) -> None:
    first, second = cases["noise"]["dice"]
    assert first != second


def test_killed_processes_continue_with_the_same_bits(cases: Any, examined: Examined) -> None:
    found = cases["killed"]
    assert [end["hanging"] for end in found["ends"]] == [[], [], []]
    both, second, first = (end["codes"] for end in found["ends"])
    assert both == [-9, -9]
    assert second == [75, -9], "who is left says so and ends"
    assert first == [-9, 75]
    assert found["ends"][1]["said"].count("was killed, or its machine is lost") == 1
    assert found["left"] == [2]
    assert found["same"]
    examined(4, "processes killed")


def test_a_request_to_stop_reaches_all(cases: Any, examined: Examined) -> None:
    found = cases["stopped"]
    for end in found["ends"]:
        assert end["codes"] == [75, 75], end
        assert end["said"].count("mpr: stopped on request; a checkpoint was committed") == 1
        assert end["updates"] == [2, 4], "the update after the request is committed"
    assert found["same"] == [True, True, True]
    examined(len(found["ends"]), "runs asked to stop", at_least=3)


def test_an_error_of_one_ends_all(cases: Any, examined: Examined) -> None:
    expected = {
        "a key of the recipe": (2, "mpr: --set scale.gather"),
        "too many processes": (2, "mpr: scale.processes: the recipe is for 1"),
        "claim refused": (2, "learning_rate: 0.001 -> 0.5"),
        "lock held": (4, "is in use by"),
        "bad data": (2, "train.jsonl:6: not JSON"),
        "data, second process, in the loop": (2, "mpr: spoilt draw"),
        "data, first process, in the loop": (2, "mpr: spoilt draw"),
        "a bug": (1, "ValueError: spoilt draw"),
        "disk full": (4, "mpr: "),
        "not a number": (3, "mpr: training: the loss is nan"),
        "the other one never looks": (2, "mpr: spoilt draw"),
    }
    assert cases["refused"].keys() == expected.keys()
    for name, end in cases["refused"].items():
        code, words = expected[name]
        assert not end["hanging"], name
        assert end["codes"] == [code, code], (name, end)
        assert end["said"].count(words) == 1, (name, end["said"])
        assert end["said"].count("Traceback") == (code == 1), (name, end["said"])
    slowest = max(end["seconds"] for end in cases["refused"].values())
    examined(len(expected), f"ways to fail, the slowest ended after {slowest:.1f} s", at_least=11)


def test_sharded_weights_are_saved_whole_and_resumed(cases: Any, examined: Examined) -> None:
    found = cases["sharded"]
    in_shards, weights = found["counts"]
    assert in_shards == weights, "every weight is in shards while training"
    assert found["names"]
    assert found["difference"] < 2e-6, found
    assert found["kept"], "the checkpoint holds what the finished towers have"
    assert found["codes"] == [75, 75]
    assert found["same"], "resumed is uninterrupted"
    examined(weights, f"sharded weights, differing from one process by {found['difference']:.0e}", at_least=30)


def test_training_learns_on_two_processes(cases: Any, examined: Examined) -> None:
    """Retrieval from the development pool, against the same encoder before the first update."""
    before, after = cases["learns"]["measured"]
    assert after["step"] == 50
    assert after["eval_mrr"] > before["eval_mrr"] + 0.1, (before, after)
    assert after["eval_top5"] > before["eval_top5"] + 0.1, (before, after)
    assert after["eval_average_rank"] < 0.8 * before["eval_average_rank"], (before, after)
    examined(60, f"questions; MRR {before['eval_mrr']:.3f} untrained, {after['eval_mrr']:.3f} after 50 updates")


# Launchers


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = collection.write(tmp_path_factory.mktemp("launched"))
    text = path.read_text("utf-8").replace("  num_train_epochs: 1\n", "  max_steps: 2\n")
    path.write_text(text, "utf-8")
    return path


def words(recipe: Path, folder: str, *options: str) -> list[str]:
    home, run = str(recipe.parent / "home"), str(recipe.parent / folder)
    sets = [word for each in (*OPTIONS, *options) for word in ("--set", each)]
    return [str(recipe), "--home", home, "--folder", run, "--quiet", *sets]


def launched(command: list[str], **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, env=environment(**extra), capture_output=True, text=True, check=False, timeout=HANGING
    )


TORCHRUN = [str(BIN / "torchrun"), "--standalone", "--nproc_per_node", "2", "-m", "mpr.train"]
ACCELERATE = [str(BIN / "accelerate"), "launch"]


@pytest.mark.small
def test_accelerate_starts_two(recipe: Path) -> None:
    config = ROOT / "recipes/accelerate/cpu.yaml"
    done = launched([*ACCELERATE, "--config_file", str(config), "mpr/train.py", *words(recipe, "accelerate", *TWO)])
    assert done.returncode == 0, done.stderr[-2_000:]
    assert done.stdout.count("trained:") == 1
    assert (recipe.parent / "accelerate/checkpoints/2/checkpoint-2/rng_state_1.pth").exists()


@pytest.mark.slow
def test_one_process_by_path(recipe: Path) -> None:
    done = launched([*ACCELERATE, "--cpu", "mpr/train.py", *words(recipe, "one")])
    assert done.returncode == 0, done.stderr[-2_000:]
    assert done.stdout.count("trained:") == 1
    again = launched([sys.executable, "mpr/train.py", *words(recipe, "one")])
    assert again.returncode == 0, again.stderr[-2_000:]
    assert "already trained" in again.stderr


@pytest.mark.slow
def test_fewer_processes_than_asked_are_refused_with_a_remedy_that_works(recipe: Path) -> None:
    start = [*ACCELERATE, "--cpu", "--num_processes", "2", "mpr/train.py"]
    done = launched([*start, *words(recipe, "fewer", *TWO)])
    assert done.returncode != 0
    assert "the recipe is for 2 processes, 1 was started (`accelerate launch --cpu` starts one" in done.stderr
    assert "CalledProcessError" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("mpr: "), "what accelerate reports is not the last thing"
    remedy = re.search(r"\(start 2: (torchrun .*)\)$", done.stderr, re.MULTILINE)
    assert remedy is not None
    command = shlex.split(remedy[1])
    mended = launched([str(BIN / command[0]), "--standalone", *command[1:]])
    assert mended.returncode == 0, mended.stderr[-2_000:]
    assert mended.stdout.count("trained:") == 1
    assert (recipe.parent / "fewer/checkpoints/2/checkpoint-2/rng_state_1.pth").exists()


def _runs(process: subprocess.Popen[str]) -> None:
    assert process.poll() is None, process.communicate()


@pytest.mark.slow
def test_torchrun_asked_to_stop(recipe: Path) -> None:
    """The launcher hands the request on, and the run continues where it stopped."""
    arguments = words(recipe, "asked", *TWO, "training.max_steps=400", "training.logging_steps=100")
    running = subprocess.Popen(
        [*TORCHRUN, *arguments], cwd=ROOT, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    folder = RunFolder(recipe.parent / "asked")
    until(folder.updates, lambda: _runs(running))
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=HANGING)
    assert said.count("mpr: stopped on request; a checkpoint was committed") == 1, said[-3_000:]
    assert running.returncode != 0
    assert 0 < folder.updates()[-1] < 400
