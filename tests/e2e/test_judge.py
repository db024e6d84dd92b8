"""Judging as a user does it: the command line against a server on the loopback, killed and run again, then a label."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mpr import cli, storage
from mpr.data.dataset import Dataset
from mpr.errors import RecipeError
from mpr.formats.verdicts import read_verdicts
from mpr.mining import mine
from mpr.recipe import plan, read
from tests.chat_server import ChatServer
from tests.conftest import Examined
from tests.e2e import collection
from tests.e2e.test_unlabelled import WORDS
from tests.unit.labelling import tiers
from tests.waiting import HANGING, until

KEY = "s3cr3t" + "-of-the-judge-0123456789"
KNOWN = (
    "{name: known_positives, tiers: [gold, llm], siblings: ignore, shared: ignore, "
    "duplicates: ignore, doubtful: ignore}"
)
LABEL = (
    "{name: llm, source: words, window: 6, answer_matches: true, relevant: 1, at_most: 2, "
    "judgements: {file: judged/judgements.jsonl}}"
)
SETS = (f"labels=[{KNOWN}, {LABEL}]", f"sources=[{WORDS}]", "draw.negatives=[]")


def says(prompt: str) -> str:
    """Yes to what states the capital or the length, nothing of use about towns."""
    question, passage = re.findall(r"^Question: (.*)$|^Passage: (.*)$", prompt, re.M)
    if "largest town" in passage[1]:
        return "I would rather not say."
    stated = ("capital" in question[0] and "capital" in passage[1]) or ("long" in question[0] and "214" in passage[1])
    return "Yes, it does." if stated else "no"


def write(folder: Path, server: ChatServer) -> Path:
    path = collection.write(folder)
    path.write_text(path.read_text("utf-8").replace("  num_train_epochs: 1\n", "  max_steps: 2\n"), "utf-8")
    settings = server.settings(key="JUDGE_KEY", at_once=2)
    (folder / "writer.yaml").write_text("".join(f"{name}: {value}\n" for name, value in settings.items()), "utf-8")
    return path


def arguments(*more: str) -> list[str]:
    sets = [part for one in SETS for part in ("--set", one)]
    given = ["judge", "small.yaml", "--writer", "writer.yaml", "--to", "judged", "--home", "home", "--planted", "2"]
    return [*given, "--quiet", *sets, *more]


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def command(folder: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> int:
    """The command line in this process, which spares seconds of loading; its exit code."""
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments(*more))
    return int(str(ended.value.code))


@pytest.fixture
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)


def _runs(process: subprocess.Popen[bytes]) -> None:
    assert process.poll() is None


@pytest.mark.usefixtures("_key")
def test_killed_and_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], examined: Examined
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    with ChatServer(says, key=KEY) as server:
        write(one, server), write(two, server)
        assert command(one, monkeypatch) == 0
        asked, expected = sorted(server.prompts), (one / "judged" / "judgements.jsonl").read_bytes()
        assert len(set(asked)) == len(asked)  # within a run none is asked twice

        server.asked.clear(), server.prompts.clear()
        go_on = threading.Event()  # seven are answered, then both that are under way wait for the kill
        server.answer = lambda prompt: says(prompt) if len(server.prompts) < 7 or go_on.wait(HANGING) else ""
        running = subprocess.Popen([sys.executable, "-m", "mpr.cli", *arguments()], cwd=two)
        until(lambda: len(server.prompts) >= 7 and server.at_once == 2, lambda: _runs(running))
        running.send_signal(signal.SIGKILL)
        running.wait()
        assert not (two / "judged").exists()
        go_on.set()
        until(lambda: server.at_once == 0)  # what was under way is over
        before, server.answer = list(server.asked), says
        server.asked.clear()
        lines = [path.read_bytes() for path in (two / "home" / "answers").glob("*/0-*/answers.jsonl")]
        kept = b"".join(lines).count(b"\n")
        capfd.readouterr()
        assert command(two, monkeypatch) == 0
        again = capfd.readouterr()
        assert (two / "judged" / "judgements.jsonl").read_bytes() == expected
        assert len(server.asked) == len(asked) - kept
        assert len(set(before) & set(server.asked)) <= 2 + 1  # under way, and one that came in with the kill
        assert storage.verify(two / "judged").digest == storage.verify(one / "judged").digest
        server.asked.clear()
        assert command(two, monkeypatch) == 0
        assert (capfd.readouterr().out, server.asked) == (again.out, [])
        assert KEY not in again.out + again.err
        assert KEY.encode() not in everything(tmp_path)
        assert b"127.0.0.1" not in everything(two / "judged") + everything(two / "home")
        assert command(two, monkeypatch, "--window", "5") == 2
        assert "was made otherwise: window was '6', now '5'" in capfd.readouterr().err
    examined(kept, "answers kept by the killed process", at_least=4)


@pytest.mark.usefixtures("_key")
def test_agreement_by_hand_and_the_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with ChatServer(says, key=KEY) as server:
        path = write(tmp_path, server)
        assert command(tmp_path, monkeypatch) == 0
    shown = capfd.readouterr().out
    found = list(read_verdicts(tmp_path / "judged" / "judgements.jsonl"))
    told = storage.verify(tmp_path / "judged").receipt
    assert told["pairs"] == len(found)
    planted = {(one.question, one.passage): one.grade for one in found if one.planted}
    assert planted == {("t0", "p0"): 1, ("t1", "p3"): 1, ("t2", "p6"): 0, ("t3", "p11"): 0}
    others = [one for one in found if not one.planted]
    added = sum(one.grade == 1 for one in others)
    assert told["agreement"]["both"] == told["agreement"]["missed"] == 2
    assert told["agreement"]["added"] == added >= 2
    assert told["agreement"]["recall"] == 0.5
    assert told["unread"] == sum(one.grade is None for one in found) > 0
    assert told["agreement"]["neither"] == len(found) - told["unread"] - 4 - added
    assert told["answered by"] == {"small-1-of-today": len(found)}
    assert "recall 0.500" in shown
    pin = storage.sha256_file(tmp_path / "judged" / "judgements.jsonl")
    assert f"sha256: {pin}" in shown
    recipe = read.load(path, [*SETS, f"labels[1].judgements.sha256={pin}"])
    assert plan.resolve(recipe).pins["judgements.jsonl"] == f"sha256 {pin}"
    dataset = Dataset(recipe, tmp_path / "home", quiet=True)
    mine.Mined(dataset).make()
    known, ids = mine.Mined(dataset).knowledge, dataset.corpus().ids
    yes = {(one.question, one.passage) for one in others if one.grade == 1}
    assert tiers(known)
    promoted = {
        (dataset.split("train").ids[row], ids([passage])[0])
        for row, pairs in enumerate(tiers(known))
        for passage, tier in pairs
        if tier == "llm"
    }
    assert promoted <= yes
    assert {("t0", "p1"), ("t1", "p4")} & promoted  # answer matches, which mining had taken out
    grey = {(row, passage) for row, pairs in enumerate(tiers(known)) for passage, tier in pairs if tier == "grey"}
    for table in known.candidates.values():
        owners = zip(table.owners().tolist(), table.columns["passage"].tolist(), strict=True)
        assert not grey & set(owners)


def test_without_a_key_nothing_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    with ChatServer(says) as server:
        write(tmp_path, server)
        assert command(tmp_path, monkeypatch) == 2
        assert "the environment variable JUDGE_KEY is not set" in capfd.readouterr().err
        assert command(tmp_path, monkeypatch, "--set", f"labels=[{KNOWN}]") == 2
        assert "the recipe has no label llm" in capfd.readouterr().err
        assert server.asked == []


def test_what_is_judged_and_not_counted(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="does not count llm"):
        read.load(collection.write(tmp_path), [one.replace("[gold, llm]", "[gold]") for one in SETS])
