"""Every command that our pages show is understood by its program, and run where a machine like this one can.

All commands of one place share one tiny run: the quickstart on a small world, as a reader would make it by following
docs/leaderboard.md. What is run otherwise than shown, or not at all, is in a table with the reason.
"""

from __future__ import annotations

import contextlib
import glob
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import documented, published, understood
from tests.conftest import Examined
from tests.documented import ROOT, Command
from tests.e2e.test_launch import environment

STAND_INS = {  # what a reader puts in the place of a word
    "RECIPE": "recipes/quickstart.yaml",
    "RUN": "runs/quickstart-seed42",
    "REPO": "me/quickstart",
}
FILES = {  # where what a reader has lying about comes from
    "bm25.trec": "runs/quickstart-bm25/rankings/test/run.trec",
    "dense.trec": "runs/quickstart-seed42/rankings/test/run.trec",
    "a.trec": "runs/quickstart-bm25/rankings/test/run.trec",
    "b.trec": "runs/quickstart-seed42/rankings/test/run.trec",
    "c.trec": "runs/quickstart-seed43/rankings/test/run.trec",
}
FIRST = "mpr reproduce recipes/quickstart.yaml --seeds 3"
NOT_RUN = {  # only understood, and why
    "make setup": "installs packages",
    "make test": "is what runs this test",
    "make test-long": "takes as long as the whole suite",
    "make check": "takes minutes; its `mpr` lines are looked at one by one",
    "make faults": "takes an hour",
    "make parity": "takes minutes; the page is looked at by test_parity_page",
    "mpr check my.yaml": "is run with its output, below",
    "mpr pin my.yaml": "needs a draft; see test_pinning",
    "mpr evaluate recipes/options/widths.yaml --widths 256,128,64,32,16": "minutes; small in test_options",
    "mpr train recipes/options/against.yaml": "minutes; small in test_options",
    "mpr push runs/quickstart-seed42 me/quickstart --baseline runs/quickstart-bm25": "the Hub; see test_push_and_pull",
    "mpr pull me/quickstart@<40 hex digits of the commit>": "the Hub; see test_push_and_pull",
}
OWN = "is run by test_own_data"
NOT_RUN |= dict.fromkeys(("mpr init my.yaml --data my.jsonl", "mpr plan my.yaml", "mpr reproduce my.yaml"), OWN)
MISTAKES = {  # of the README's my.yaml
    "m: 4,": "m: 0,",
    "name: lse_pair": "name: bec",
    "learning_rate:": "learning_rat:",
    "bf16: false": "bf16: no",
}
WRITING = ("judge", "generate", "augment")  # verbs that ask a language model
BIN = ".venv/bin/"  # where make installs
README = (ROOT / "README.md").read_text("utf-8")
NO_WRITER, NO_PLAN = "needs a language model; see its e2e test", "needs a plan; see test_plan_of_stages"
BIG = "takes a GPU and MS MARCO; see test_systems, and the plans in tests/golden"
PUBLISHED = "takes the Hub, MS MARCO and hours; see test_checkpoint_rows, and test_retrieval for a run of others"
NO_DAEMON, NO_GPU, A_TEST = "needs a docker daemon", "needs GPUs", "is a test itself"
NO_CLUSTER = "needs a Ray cluster; see test_cluster"
A_ROW = "takes a GPU and 21 million passages; its plan is in tests/golden, and test_readme compares what is shown of it"
TUTORIAL = "is run by test_tutorial"
QUICKSTART = "make quickstart"  # is run with its output, below
WITH = {  # the rest of a launch that the page cuts short, and whose vectors are searched
    "accelerate launch --config_file recipes/accelerate/cpu.yaml": "--set scale.gather=true",
    "torchrun --nproc_per_node 2 -m mpr.cli search": "--folder runs/quickstart-seed42",
}


def why_not(command: Command) -> str:
    """Why a command is not run here; nothing if it is."""
    config = command.words[3] if command.text.startswith("accelerate launch --config_file") else ""
    if command.place.startswith("docs/tutorial.md"):
        return TUTORIAL
    if command.program == "docker":
        return NO_DAEMON
    if command.program == "pytest":
        return A_TEST
    if command.program == "mpr" and command.words[1] in WRITING:
        return NO_WRITER
    if "--engine" in command.words:
        return NO_CLUSTER
    if "--stage" in command.words:
        return NO_PLAN
    if "recipes/systems/" in command.text:
        return BIG
    if "recipes/checkpoints/" in command.text:
        return PUBLISHED
    if "trec_bce_m3" in command.text:
        return A_ROW
    if config and not config.endswith("/cpu.yaml"):
        return NO_GPU
    return NOT_RUN.get(command.text, "")


def launched(command: Command) -> bool:
    return command.program in ("accelerate", "torchrun")


# Understood


def test_fenced_commands_are_understood(examined: Examined) -> None:
    for command in documented.fenced():
        understood.check(command, whole="<" not in command.text)
    examined(len(documented.fenced()), "commands in fences", 28)


def test_commands_in_text_are_understood(examined: Examined) -> None:
    for command in documented.in_text():
        understood.check(command, whole=False)
    known = understood.options()
    unknown = [f"{option.place}: {option.text}" for option in documented.options() if option.text not in known]
    assert unknown == []
    examined(len(documented.in_text()) + len(documented.options()), "commands and options in text", 80)


def test_what_make_would_run_is_understood(examined: Examined) -> None:
    lines = [line for target in ("quickstart", "check", "table") for line in understood.printed([target])]
    found = [
        Command(line.removeprefix(".venv/bin/"), "Makefile") for line in lines if line.startswith(".venv/bin/mpr ")
    ]
    for command in found:
        understood.check(Command(command.text.split("$(")[0], command.place), whole="$(" not in command.text)
    examined(len(found), "lines with mpr in make's targets", 6)


@pytest.mark.parametrize(
    "text",
    [
        "mpr reproduce recipes/quickstart.yaml --seed 3", "mpr leaderboard make", "mpr fuse RECIPE a.trec --to",
        "mpr sweep", "mpr push RUN", "make quick", "make setup TORHC=torch",
        "accelerate launch --cpus mpr/train.py RECIPE",
        "accelerate launch --config_file recipes/accelerate/tpu.yaml mpr/train.py RECIPE",
        "accelerate launch --cpu mpr/train.py RECIPE --sets a=b", "torchrun --nproc 2 -m mpr.train RECIPE --sets a=b",
        "torchrun --processes 2 -m mpr.train RECIPE", "torchrun -m mpr.trainer RECIPE", "python benchmarks/none.py",
        "docker build --build-arg VARIAND=cpu .", "docker run --rm mpr reproduces", "pip install 'mpr-retrieval[gpus]'",
        "pytest tests/unit/test_nothing.py",
    ],
)  # fmt: skip
def test_what_no_program_takes_is_refused(text: str) -> None:
    with pytest.raises(understood.Refused):
        understood.check(Command(text, "here"), whole=True)


def test_commands_are_found_in_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Say `mpr plan\nRECIPE`, not `mprx`; `--set` too.\n\n```bash\nmpr train A \\\n  --set b=c   # long\n```\n"
        "```text\n$ mpr check B\nmpr: said by it\n```\n", "utf-8",
    )  # fmt: skip
    text = page.read_text("utf-8")
    fenced = list(documented._fenced(Path("page.md"), text))
    assert fenced == [Command("mpr train A --set b=c", "page.md:5"), Command("mpr check B", "page.md:9")]
    assert list(documented._in_text(Path("page.md"), text)) == [Command("mpr plan RECIPE", "page.md:1")]


def test_tables_name_what_is_shown(examined: Examined) -> None:
    shown = [command.text for command in documented.fenced()]
    assert [text for text in (FIRST, *NOT_RUN) if text not in shown] == []
    assert [start for start in WITH if not any(text.startswith(start) for text in shown)] == []
    examined(len(NOT_RUN) + len(WITH), "entries of the tables", 9)


def test_each_command_is_run_or_a_reason_is_given(examined: Examined) -> None:
    left = [one for one in documented.fenced() if one.program != "mpr" and not launched(one) and not why_not(one)]
    assert {one.text for one in left} == {QUICKSTART}, left
    examined(sum(bool(why_not(one)) for one in documented.fenced()), "commands that are only understood", 15)


# Run


def shown(start: str) -> list[str]:
    """The lines of the README's block that begins so."""
    (block,) = re.findall(rf"^```text\n({re.escape(start)}.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return str(block).splitlines()


def worded(line: str) -> str:
    """Without numbers and bars, which differ from world to world."""
    return " ".join(re.sub(r"[-+]?\d[\d.,]*(e-?\d+)?|[▁▂▃▄▅▆▇█]+", "#", line).split())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What a reader has after following docs/leaderboard.md so far: a source tree, with runs of a small quickstart."""
    tree = tmp_path_factory.mktemp("tree")
    shutil.copytree(ROOT / "recipes" / "accelerate", tree / "recipes" / "accelerate")
    shutil.copytree(ROOT / "mpr", tree / "mpr", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "uv.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tree / name)
    text = (ROOT / "recipes" / "quickstart.yaml").read_text("utf-8")
    (tree / "recipes" / "quickstart.yaml").write_text(published.smaller(text), "utf-8")
    with contextlib.chdir(tree):
        published.said(*shlex.split(FIRST)[1:], "--quiet")
        for run in Path("runs").iterdir():
            published.resealed(run, published._clean)
        for name, source in FILES.items():
            shutil.copy(source, name)
        yield tree


def filled(command: Command) -> list[str]:
    """The words with what a reader would put in their places, as the shell would give them."""
    words = [STAND_INS.get(word, word) for word in command.words]
    return [found for word in words for found in (sorted(glob.glob(word)) if "*" in word else [word])]


def test_make_quickstart_prints_what_the_readme_shows(
    place: Path, capsys: pytest.CaptureFixture[str], examined: Examined
) -> None:
    """In this environment instead of a new one: the line that make would run there. Numbers are another world's."""
    lines = [line.split() for line in understood.printed(QUICKSTART.split()[1:]) if line.startswith(f"{BIN}mpr ")]
    assert [line[1:] for line in lines] == [["reproduce", "recipes/quickstart.yaml"]]
    published.said(*lines[0][1:], "--quiet")
    printed, block = capsys.readouterr().out, shown("quickstart on test")
    start = printed.index("quickstart on test")
    expected = [worded(line) for line in printed[start:].split("\n\n")[0].splitlines()]
    assert [worded(line) for line in block] == expected
    examined(len(block), "lines of the README's output", 10)


def test_check_prints_what_the_readme_shows(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "recipes" / "quickstart.yaml").read_text("utf-8")
    for old, new in MISTAKES.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    (place / "my.yaml").write_text(text, "utf-8")
    published.said("check", "my.yaml", code=2)
    said = capsys.readouterr()
    assert shown("$ mpr check my.yaml")[1:] == (said.out + said.err).splitlines()
    (place / "my.yaml").unlink()


def test_commands_of_mpr_run(place: Path, examined: Examined) -> None:
    commands = [one for one in documented.fenced() if one.program == "mpr" and not why_not(one) and one.text != FIRST]
    for command in commands:
        published.said(*filled(command)[1:])
    assert (place / "leaderboard" / "README.md").read_text("utf-8").count("quickstart") > 1
    assert "expected: null" not in (place / "recipes" / "quickstart.yaml").read_text("utf-8"), "the band is written"
    examined(1 + len(commands), "commands run", 8)


@pytest.mark.slow
def test_launches_run(place: Path, examined: Examined) -> None:
    commands = [one for one in documented.fenced() if launched(one) and not why_not(one)]
    for number, command in enumerate(commands):
        more = next((more for start, more in WITH.items() if command.text.startswith(start)), "")
        words = [*filled(command), "--quiet", *more.split()]
        words += [] if "--folder" in more else ["--folder", f"runs/launched-{number}"]
        words[0] = str(Path(sys.executable).parent / words[0])
        done = subprocess.run(
            words, cwd=place, env=environment(PYTHONPATH=str(place), MASTER_PORT=str(29_500 + number)),
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, (command, done.stderr[-3_000:])
    examined(len(commands), "launches run", 5)
