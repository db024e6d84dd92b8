"""Launches that contradict the recipe, and every launch file of recipes/accelerate by accelerate's own parser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env, prepare_simple_launcher_cmd_env

from mpr.errors import RecipeError
from mpr.recipe import read
from mpr.runtime.processes import Place
from mpr.training import launch
from tests.conftest import Examined
from tests.e2e import collection
from tests.e2e.runs import OWN

FOLDER = Path(__file__).parents[3] / "recipes" / "accelerate"
FILES = sorted(FOLDER.glob("*.yaml"))
SAID = {  # file -> processes of all machines, kind of launch, precision
    "cpu": (2, "MULTI_GPU", None),
    "ddp": (4, "MULTI_GPU", None),
    "deepspeed_zero2": (4, "DEEPSPEED", None),
    "fsdp": (4, "FSDP", None),
    "gpu_bf16": (1, "NO", "bf16"),
    "gpu_fp16": (1, "NO", "fp16"),
    "multi_node": (16, "MULTI_GPU", None),
    "multi_node_fsdp": (16, "FSDP", None),
}

FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT"}


def recipe(folder: Path, *options: str) -> Any:
    path = collection.write(folder)
    path.write_text(path.read_text("utf-8").replace("questions: 5}", "questions: 100}"), "utf-8")
    return read.load(path, options)


def place(world: int = 1, local: int | None = None) -> Place:
    return Place(0, world, 0, world if local is None else local)


def refused(found: Any, environment: dict[str, str], world: int = 1) -> str:
    with pytest.raises(RecipeError) as caught:
        launch.refuse_contradictions(found, place(world), environment)
    return str(caught.value)


def test_every_launch_file_is_read_by_accelerate(examined: Examined) -> None:
    assert {path.stem for path in FILES} == SAID.keys()
    for path in FILES:
        found = load_config_from_file(str(path))
        assert isinstance(found, ClusterConfig), path
        processes, kind, precision = SAID[path.stem]
        assert (found.num_processes, found.distributed_type.value, found.mixed_precision) == (
            processes,
            kind,
            precision,
        )
        assert not found.dynamo_config, "compilation is the recipe's to ask for"
    examined(len(FILES), "launch files", at_least=7)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_launch_file_says_what_it_is_for_and_what_to_type(path: Path) -> None:
    head = [line for line in path.read_text("utf-8").splitlines() if line.startswith("#")]
    text, processes = "\n".join(head), SAID[path.stem][0]
    assert f"accelerate launch --config_file recipes/accelerate/{path.name}" in text
    assert ("scale.processes: 1" if processes == 1 else f"--set scale.processes={processes}") in text
    assert "per_device_train_batch_size" in text
    assert f"`{path.name}`" in (FOLDER / "README.md").read_text("utf-8")


def launched(path: Path, *arguments: str) -> dict[str, str]:
    """The environment that `accelerate launch` with this file gives to the processes, by accelerate's own code."""
    parsed = launch_command_parser().parse_args(["--config_file", str(path), *arguments, "train.py"])
    parsed, _, _ = _validate_launch_command(parsed)
    if parsed.multi_gpu or parsed.use_fsdp:
        return dict(prepare_multi_gpu_env(parsed))
    return dict(prepare_simple_launcher_cmd_env(parsed)[1])


ASKS_FOR = {"fp16": ("training.fp16=true",), "bf16": ("training.fp16=false", "training.bf16=true"), "32-bit": ()}


def test_files_and_recipes_agree_or_are_refused_by_name(tmp_path: Path, examined: Examined) -> None:
    """Every file with a recipe of each precision."""
    tried = contradictions = 0
    for path in FILES:
        if path.stem == "deepspeed_zero2":
            continue  # accelerate prepares it only where DeepSpeed is installed
        environment = launched(path)
        processes, _, precision = SAID[path.stem]
        for said, options in ASKS_FOR.items():
            found = recipe(tmp_path, *options, f"scale.processes={processes}")
            tried += 1
            if precision in (None, said):
                launch.refuse_contradictions(found, place(processes), environment)
                continue
            contradictions += 1
            text = refused(found, environment, processes)
            assert f"the launch asks for {precision}, the recipe says {said}" in text
            assert f"--mixed_precision {'no' if said == '32-bit' else said}" in text
    assert contradictions == 4
    examined(tried, f"launches, {contradictions} of them contradictions", at_least=18)


def test_the_remedy_for_another_precision_works(tmp_path: Path) -> None:
    environment = launched(FOLDER / "gpu_bf16.yaml", "--mixed_precision", "no")
    launch.refuse_contradictions(recipe(tmp_path), place(), environment)
    text = refused(recipe(tmp_path, "training.fp16=true"), launched(FOLDER / "gpu_bf16.yaml"))
    assert "--set training.bf16=true --set training.fp16=false" in text
    mended = recipe(tmp_path, "training.fp16=true", "training.bf16=true", "training.fp16=false")
    launch.refuse_contradictions(mended, place(), launched(FOLDER / "gpu_bf16.yaml"))


@pytest.mark.parametrize(
    "variable, value, options, words",
    [
        ("ACCELERATE_MIXED_PRECISION", "fp8", (), "the launch asks for fp8, the recipe says 32-bit"),
        ("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR", (), "training.torch_compile: the launch asks for compilation"),
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4", (), "gradient_accumulation_steps: the launch says 4"),
        ("ACCELERATE_GRADIENT_CLIPPING", "0.5", (), "training.max_grad_norm: the launch says 0.5, the recipe says 1.0"),
        ("ACCELERATE_USE_FSDP", "true", ("scale.cache={questions: 1, passages: 1}",), "not under FSDP"),
        (
            "ACCELERATE_USE_FSDP",
            "true",
            ("objective=[{name: bce, scaling: none, learn: bias}]",),
            "which FSDP does not look after",
        ),
        (
            "ACCELERATE_USE_FSDP",
            "true",
            ("refresh={every: 9}", *OWN),
            "encodes with its own weights, which FSDP cuts up",
        ),
        ("ACCELERATE_USE_FSDP", "true", (), "the launch file's fsdp_version is unsaid"),
        ("ACCELERATE_USE_FSDP", "true", (), "the launch file's fsdp_state_dict_type is unsaid"),
        ("ACCELERATE_USE_DEEPSPEED", "true", ("scale.cache={questions: 1, passages: 1}",), "not under DeepSpeed"),
    ],
)
def test_other_contradictions(tmp_path: Path, variable: str, value: str, options: tuple[str, ...], words: str) -> None:
    assert words in refused(recipe(tmp_path, *options), {variable: value})


@pytest.mark.parametrize(
    "environment, options, words",
    [
        ({"ZERO_STAGE": "3"}, (), "ZeRO stage 3 cuts up the weights"),
        ({"ZERO_STAGE": "2", "CONFIG_FILE": "ds.json"}, (), "a DeepSpeed configuration file may say anything"),
        (
            {"ZERO_STAGE": "2"},
            ("training.bf16=true",),
            "training.bf16: DeepSpeed keeps the model's own weights in bf16",
        ),
        (
            {"ZERO_STAGE": "2"},
            ("training.fp16=true",),
            "training.fp16: DeepSpeed keeps the model's own weights in fp16",
        ),
    ],
)
def test_of_deepspeed_only_what_leaves_whole_weights(
    tmp_path: Path, environment: dict[str, str], options: tuple[str, ...], words: str
) -> None:
    said = {f"ACCELERATE_DEEPSPEED_{name}": value for name, value in environment.items()}
    assert words in refused(recipe(tmp_path, *options), {"ACCELERATE_USE_DEEPSPEED": "true", **said})
    fine = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}
    launch.refuse_contradictions(recipe(tmp_path), place(), fine)


def test_what_agrees_or_says_nothing_is_let_through(tmp_path: Path, examined: Examined) -> None:
    fine = [
        ({}, ()),
        ({"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_DYNAMO_BACKEND": "NO"}, ("training.fp16=true",)),
        ({"ACCELERATE_MIXED_PRECISION": "fp16"}, ("training.fp16=true",)),
        ({"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "auto", "ACCELERATE_GRADIENT_CLIPPING": "none"}, ()),
        ({"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}, ("training.gradient_accumulation_steps=4",)),
        ({"ACCELERATE_GRADIENT_CLIPPING": "1.0"}, ()),
        ({"ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"}, ("training.torch_compile=true",)),
        (FSDP, ()),
    ]
    for environment, options in fine:
        launch.refuse_contradictions(recipe(tmp_path, *options), place(), environment)
    examined(len(fine), "launches that are let through")


def test_numbers_of_processes(tmp_path: Path, examined: Examined) -> None:
    refusals = 0
    for wanted in (1, 2, 3):
        found = recipe(tmp_path, f"scale.processes={wanted}")
        for world in (1, 2, 3):
            if world == wanted:
                launch.refuse_contradictions(found, place(world), {})
                continue
            text = refused(found, {}, world)
            assert f"the recipe is for {wanted} processes, {world} w" in text
            assert ("python -m mpr.train" if wanted == 1 else f"torchrun --nproc_per_node {wanted} -m") in text
            assert ("accelerate launch --cpu" in text) == (world == 1)
            refusals += 1
    examined(refusals, "numbers that do not agree", at_least=6)


def test_what_the_devices_cannot_do(tmp_path: Path) -> None:
    def check(gpus: int, world: int = 1, options: tuple[str, ...] = (), **environment: str) -> None:
        launch.refuse_devices(recipe(tmp_path, *options), place(world), environment, gpus)

    check(0)
    check(0, 4)
    check(4, 4, ("training.fp16=true",), ACCELERATE_USE_FSDP="true")
    check(1, 2, ("training.use_cpu=true",))
    flash = ("towers.attention=flash_attention_2", "training.bf16=true")
    with pytest.raises(RecipeError, match="flash_attention_2 needs a GPU, and none is visible"):
        check(0, options=flash)
    with pytest.raises(RecipeError, match="flash_attention_2 needs the package flash-attn, which is not installed"):
        check(1, options=flash)
    with pytest.raises(RecipeError, match="fp16 needs a GPU"):
        check(0, options=("training.fp16=true",))
    with pytest.raises(RecipeError, match="fp16 needs a GPU"):
        check(1, options=("training.fp16=true",), ACCELERATE_USE_CPU="True")
    with pytest.raises(RecipeError, match="shards nothing on CPU processes"):
        check(0, 2, ACCELERATE_USE_FSDP="true")
    with pytest.raises(RecipeError, match="4 processes were started on this machine, which shows 2 GPUs"):
        check(2, 4)


def test_an_unknown_key_of_a_launch_file_would_be_seen(tmp_path: Path) -> None:
    """So the files above are read for real."""
    spoilt = tmp_path / "spoilt.yaml"
    spoilt.write_text(FILES[0].read_text("utf-8") + "num_procceses: 2\n", "utf-8")
    with pytest.raises(ValueError, match="num_procceses"):
        load_config_from_file(str(spoilt))
