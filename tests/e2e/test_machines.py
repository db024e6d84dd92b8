"""Training over two machines, which are two network namespaces with a cable between them: the weights of one machine.

Each machine has its own interfaces and addresses, and sees the other only through the cable. Both see one disk.
"""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.conftest import Examined
from tests.e2e import collection, namespaces
from tests.e2e.test_launch import ACCELERATE, ROOT, TWO, environment, words
from tests.waiting import HANGING

FILES = ROOT / "recipes/accelerate"
ADDRESS = "10.77.0.1"
MACHINES = f"""
set -e
ip link set lo up
unshare --net sleep infinity & other=$!
trap 'kill $other' EXIT
while [ "$(readlink /proc/$other/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do :; done
ip link add cable0 type veth peer name cable1 netns $other
ip address add {ADDRESS}/24 dev cable0
ip link set cable0 up
nsenter --target $other --net sh -c \\
  'ip link set lo up; ip address add 10.77.0.2/24 dev cable1; ip link set cable1 up'
GLOO_SOCKET_IFNAME=cable1 nsenter --target $other --net sh -c "$2" > "$3" 2>&1 & second=$!
GLOO_SOCKET_IFNAME=cable0 sh -c "$1"
wait $second
"""


def machines(first: str, second: str, said: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command on each of two machines; what the second one says goes to a file."""
    program = ["unshare", "--map-root-user", "--net", "bash", "-c", MACHINES, "machines", first, second, str(said)]
    return subprocess.run(
        program, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False, timeout=HANGING
    )


@pytest.fixture(scope="module")
def cable(tmp_path_factory: pytest.TempPathFactory) -> None:
    namespaces.needs("net", "ip", "link", "add", "cable0", "type", "veth", "peer", "name", "cable1")
    said = tmp_path_factory.mktemp("cable") / "said"
    done = machines("true", "ip -brief address show cable1", said)
    assert done.returncode == 0, done.stderr
    assert "10.77.0.2/24" in said.read_text("utf-8")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = collection.write(tmp_path_factory.mktemp("machines"))
    path.write_text(path.read_text("utf-8").replace("  num_train_epochs: 1\n", "  max_steps: 2\n"), "utf-8")
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "alone, several, program, weights",
    [
        ("ddp", "multi_node", "mpr/train.py", "/model/model.safetensors"),
        ("fsdp", "multi_node_fsdp", "tests/e2e/sharding.py", ".finished"),  # as tests/e2e/shards.py writes them
    ],
)
def test_two_machines_train_the_weights_of_one(
    alone: str, several: str, program: str, weights: str, cable: None, recipe: Path, examined: Examined
) -> None:
    def launch(file: str, *more: str) -> list[str]:
        return [*ACCELERATE, "--config_file", str(FILES / f"{file}.yaml"), "--num_processes", "2", *more, program]

    one = [*launch(alone, "--main_process_port", "0"), *words(recipe, f"{alone}-one", *TWO)]
    done = subprocess.run(
        one, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False, timeout=HANGING
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    commands = [
        shlex.join(
            [
                *launch(several, "--main_process_ip", ADDRESS, "--machine_rank", str(rank)),
                *words(recipe, f"{alone}-two", *TWO),
            ]
        )
        for rank in range(2)
    ]
    said = recipe.parent / f"{alone}-said"
    done = machines(*commands, said)
    assert done.returncode == 0, done.stderr[-3_000:] + said.read_text("utf-8")[-3_000:]
    assert done.stdout.count("trained:") == 1, "machine 0 says it"
    assert "trained:" not in said.read_text("utf-8")
    one, two = (load_file(recipe.parent / f"{alone}-{name}{weights}") for name in ("one", "two"))
    assert sorted(one) == sorted(two)
    assert [name for name in one if not one[name].equal(two[name])] == []
    examined(len(one), "weights of two machines with a process each, and of one with two", at_least=20)
