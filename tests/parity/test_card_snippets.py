"""The code on a card, run as it stands there against a Hub on the loopback: its vectors are those of mpr.

One process runs the code of all models; the texts are those that the code itself gives.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpr.models import contract, towers, towers_folder
from mpr.models.contract import Contract
from mpr.publishing import _card_snippets
from tests.conftest import Examined
from tests.hub_server import HubServer
from tests.unit.framings import bert
from tests.unit.models.test_pretrained import published
from tests.unit.tiny_models import LORA, difference, moved, settings, vectors

pytestmark = pytest.mark.long

BERT = bert().backend_tokenizer
CLOSE = 1e-5
BASE = "tester/small-base"
PROMPTS = {"question_prompt": 'ask "it": ', "passage_prompt": "mi (ren) "}
MODELS: dict[str, dict[str, Any]] = {
    "shared": {"projection": 12, "pooling": "cls", "title": "join", **PROMPTS},
    "separate": {"share": False, "pooling": "last", "title": "none", **PROMPTS},
    "two-projected": {"share": False, "projection": 12, "normalize": True, **PROMPTS},
    "merged": {"lora": LORA, "normalize": True},
    "adapter": {"lora": LORA, **PROMPTS},
    "one-adapter": {"lora": LORA | {"towers": "question"}, "share": False, **PROMPTS},
    "dpr": {"share": False, "pooling": "cls", "title": "pair", "pair_cut": "longest_first", "last_slot": "sep",
            "question_apostrophe": "straight", "question_length": 60, "passage_length": 64},
}  # fmt: skip
RUN = """
import json, sys
import torch
torch.set_num_threads(1)
for line in sys.stdin:
    name, code = json.loads(line)
    space = {}
    print(name, "begins", file=sys.stderr)
    exec(compile(code.replace("print(", "shown = ("), name, "exec"), space)
    found = [torch.as_tensor(space[role]).tolist() for role in ("questions", "passages")]
    print(json.dumps([name, *found, torch.as_tensor(space["shown"]).tolist()]), flush=True)
"""


def code_of(block: str) -> str:
    found = re.fullmatch(r"```python\n(.*)\n```", block, re.DOTALL)
    assert found
    return found[1]


def texts_of(made: Contract) -> tuple[list[str], list[tuple[str, str]]]:
    """What the sentence-transformers code passes: plain texts, to which prompts are added by the files."""
    tree = ast.parse(code_of(_card_snippets.sentence_transformers("a/b", made)))
    calls = {
        call.func.attr: ast.literal_eval(call.args[0])
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr.startswith("encode")
    }
    if "encode" in calls:  # both towers are asked by the same word
        lists = [ast.literal_eval(call.args[0]) for call in ast.walk(tree) if isinstance(call, ast.Call)
                 and isinstance(call.func, ast.Attribute) and call.func.attr == "encode"]  # fmt: skip
        calls = {"encode_query": lists[0], "encode_document": lists[1]}
    passages = [each if isinstance(each, tuple) else ("", each) for each in calls["encode_document"]]
    return calls["encode_query"], passages


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Any, Any]]:
    """Name of a model and way -> vectors and similarities by the code, and vectors by mpr."""
    folder = tmp_path_factory.mktemp("snippets")
    expected, orders = {}, []
    base = published(folder / "base")
    with HubServer() as server:
        commit = server.add(BASE, {path.name: path.read_bytes() for path in base.iterdir()})
        for name, wanted in MODELS.items():
            place = folder / name / "model"
            start = {"base": str(base)} if "lora" in wanted else {}
            built = moved(towers.build(settings(**start, **wanted), BERT, 1))
            towers_folder.write(place, built, BERT, merged=name == "merged")
            named(place, commit)
            made = contract.read(place)
            server.add(f"tester/{name}", {path.relative_to(place).as_posix(): path.read_bytes()
                                          for path in place.rglob("*") if path.is_file()})  # fmt: skip
            questions, passages = texts_of(made)
            expected[name] = vectors(built, BERT, folder / name, questions, plain(made, passages))
            for way in (_card_snippets.sentence_transformers, _card_snippets.transformers):
                orders.append(json.dumps([f"{name} {way.__name__}", code_of(way(f"tester/{name}", made))]))
        done = subprocess.run(
            [sys.executable, "-c", RUN],
            input="\n".join(orders),
            env=server.environment(folder / "cache", OMP_NUM_THREADS="1"),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = map(json.loads, done.stdout.splitlines())
    return {
        name: ((questions, passages), shown, expected[name.split()[0]]) for name, questions, passages, shown in lines
    }


def named(place: Path, commit: str) -> None:
    """Calls the base as the Hub does, which a run on a base of the Hub writes by itself."""
    for path in place.rglob("*.json"):
        content = json.loads(path.read_text("utf-8"))
        if path.name == "adapter_config.json":
            path.write_text(json.dumps(content | {"base_model_name_or_path": BASE, "revision": commit}), "utf-8")
        if path.name == "mpr.json" and content["question_base"]:
            base = {"name": BASE, "local": False, "revision": commit, "sha256": content["question_base"]["sha256"]}
            content |= {"question_base": base, "passage_base": base}
            path.write_text(json.dumps(content), "utf-8")


def plain(made: Contract, passages: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """As mpr's own way takes them: title and text apart."""
    title, text = "The Salt Road", "A novel that Ana Brel wrote in the north."
    assert passages[0] in ((title, text), ("", f"{title} {text}"), ("", text))
    return [(title, text)]


def test_vectors_are_those_of_mpr(found: dict[str, Any], examined: Examined) -> None:
    worst = 0.0
    for name, (theirs, _, ours) in found.items():
        for side, expected in zip(theirs, ours, strict=True):
            apart = difference(side, expected)
            if name == "dpr sentence_transformers":  # as the card says
                assert apart > 1e-3, (name, apart)
                continue
            assert apart < CLOSE, (name, apart)
            worst = max(worst, apart)
    examined(len(found), f"pieces of code run, largest difference {worst:.1e}", at_least=2 * len(MODELS))


def test_what_is_printed_is_the_similarity(found: dict[str, Any], examined: Examined) -> None:
    for name, ((theirs, others), shown, _) in found.items():
        questions, passages = np.array(theirs), np.array(others)
        assert difference(shown, questions @ passages.T) < 1e-4, name
        assert np.shape(shown) == (1, 1)
    examined(len(found), "similarities", at_least=2 * len(MODELS))


def test_another_contract_is_other_code() -> None:
    """Every key of a contract that changes a vector changes the code of transformers."""
    codes = set()
    changes = [{}, {"pooling": "cls"}, {"normalize": True}, {"projection": 8}, {"share": False}, {"title": "join"},
               {"title": "none"}, {"question_prompt": "q: "}, {"passage_prompt": "p: "}, {"question_length": 9},
               {"passage_length": 9}, {"pair_cut": "longest_first"}, {"last_slot": "sep"},
               {"question_apostrophe": "straight"}]  # fmt: skip
    for change in changes:
        made = Contract.of(settings(**change), (None, None), width=32, tokenizer="0", weights="full")
        codes.add(_card_snippets.transformers("a/b", made))
    assert len(codes) == len(changes)
