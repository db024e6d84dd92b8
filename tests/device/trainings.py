"""Whole trainings on the simulated GPU, one of each kind: `python -m tests.device.trainings FOLDER KIND...`.

Prints for each kind, as JSON, how many updates there were and what waited in them: in the last update, when what is
made once has been made, and in the others together with validation.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests.device import simulated

TEACHER = "--teacher"
SELF = "{name: dense, as: own, model: self, depth: 6, dtype: %s, compute: float32%s}"
KNOWN = (
    "{name: known_positives, tiers: [gold, answer_match], siblings: ignore, shared: ignore, duplicates: ignore, "
    "doubtful: ignore}"
)
FROZEN = ("towers.share=false", "towers.train=question")
LIVE = (
    *FROZEN,
    f"sources=[{SELF % ('float16', ', index: exact')}]",
    "encoding={dtype: float16, compute: float32}",
    "draw.negatives=[{from: own, all: true, weight: top, short: fewer}]",
    "draw.positives={policy: all, append: if_none_retrieved}",
    "draw.in_batch=false",
    "refresh={every: 1}",
    "objective=[{name: pairwise, phi: logistic, weight: drr, ranks: given, cut: 6, reduce: query_mean}]",
)
KINDS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "two towers, accumulation": (
        "towers.share=false",
        "training.gradient_accumulation_steps=2",
        "training.per_device_train_batch_size=1",
    ),
    "recomputed activations": ("training.gradient_checkpointing=true",),
    "bce": ("objective=[{name: bce, scaling: probability, temperature: 0.3}, {name: joint_lh, coefficient: 0.5}]",),
    "gradient cache": ("scale.cache={questions: 1, passages: 2}",),
    "view of positives": ("objective=[{name: nll, coefficient: 0.9}, {name: nll, coefficient: 0.1, view: positive}]",
                          "draw.positives={policy: first}"),
    "negative cache": ("objective=[{name: nll, temperature: 0.5}]", "draw.negatives=[]", "draw.in_batch=false",
                       "draw.positives={policy: first}", "scale.negative_cache={size: 6, policy: lru}"),
    "frozen passages": FROZEN,
    "live search": LIVE,
    "refresh": (f"sources=[{SELF % ('float16', '')}]", "refresh={every: 2}",
                "draw.negatives=[{from: own, k: 2, weight: uniform, short: random}]"),
    "late interaction": ("task=late_interaction", "towers.pooling=none", "towers.projection=16"),
    "live teacher": (f"labels=[{KNOWN}, {{name: teacher_live, model: TEACHER}}]",
                     "objective=[{name: kl, target: live, temperature: 0.5}]"),
    "cross-encoder": ("task=cross_encoder", "towers.pooling=cls", "towers.normalize=false", "towers.title=join",
                      "towers.question_length=24", "towers.passage_length=56", "draw.in_batch=false"),
}  # fmt: skip
COMMON = (
    "training.logging_strategy=epoch",
    'training.save_strategy="no"',
    "scale.groups=auto",
)
VALIDATED = (
    "validation={split: dev, questions: 2, candidates: 1}",
    "training.eval_strategy=steps",
    "training.eval_steps=2",
)


DEV = [
    {"id": "d0", "question": "Who wrote the novel?", "answers": ["Ana Brel"], "pos": ["p5"], "neg": ["p9"]},
    {"id": "d1", "question": "What do towns have?", "answers": ["walls"], "pos": ["p11"], "neg": ["p8"]},
]


def recipe_in(folder: Path) -> Path:
    """The small collection of the tests with two questions to validate with, for four updates."""
    from tests.e2e import collection

    path = collection.write(folder)
    (folder / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in DEV), "utf-8")
    text = path.read_text("utf-8").replace("  num_train_epochs: 1\n", "  max_steps: 4\n")
    split = "      dev: {file: dev.jsonl, format: candidates, questions: 2}\n"
    path.write_text(text.replace("      test: {file", f"{split}      test: {{file"), "utf-8")
    return path


def asked_of(kind: str, folder: Path) -> list[str]:
    """The settings of a kind."""
    validated = () if kind in ("cross-encoder", "late interaction") else VALIDATED
    return [each.replace("TEACHER", str(folder / "teacher")) for each in (*COMMON, *validated, *KINDS[kind])]


def trained(kind: str, folder: Path) -> dict[str, Any]:
    from mpr.recipe import read
    from mpr.training import _trainer, learner
    from mpr.training.launch import Launch, run

    path = recipe_in(folder / "data")
    found: dict[str, Any] = {"updates": 0}
    steps: list[Counter[str]] = []
    step = _trainer.MultiPositiveTrainer.training_step
    look = _trainer.MultiPositiveTrainer._get_grad_norm

    def counted(method: Any) -> Any:
        def inner(self: Any, *given: Any, **named: Any) -> Any:
            if self.state.global_step == len(steps):
                steps.append(Counter())
            simulated.waits.clear()
            with simulated.counting():
                made = method(self, *given, **named)
            steps[-1].update(simulated.waits)
            return made

        return inner

    trainer: Any = _trainer.MultiPositiveTrainer
    trainer.training_step, trainer._get_grad_norm = counted(step), counted(look)
    written: Any = learner
    kept, written.write = learner.write, lambda *of: None
    try:
        run(
            read.load(path, tuple(asked_of(kind, folder))),
            Launch(folder / "home", folder / kind.replace(" ", "-"), quiet=True),
        )
    finally:
        trainer.training_step, trainer._get_grad_norm, written.write = step, look, kept
    found["updates"], found["last"] = len(steps), dict(steps[-2])  # the last one is logged: its numbers are read
    found["logged"] = sum(steps[-1].values())
    return found


def main() -> None:
    folder = Path(sys.argv[1])
    import torch
    from accelerate import Accelerator
    from transformers import TrainingArguments

    from mpr.search import _first_pass

    if sys.argv[2:] == [TEACHER]:
        return _teacher(folder)
    if "live teacher" in sys.argv[2:]:
        there = {name: value for name, value in os.environ.items() if name != simulated.LIBRARY}
        subprocess.run([sys.executable, "-m", "tests.device.trainings", str(folder), TEACHER], env=there, check=True)
    simulated.begin()
    _first_pass.INTO_32_BITS = False  # the processor has no such product
    device = property(lambda self: simulated.CUDA)
    TrainingArguments.device = Accelerator.device = device  # type: ignore[assignment, method-assign]
    torch.set_num_threads(1)
    with simulated.Mode():
        for kind in sys.argv[2:] or KINDS:
            print(json.dumps({kind: trained(kind, folder)}), flush=True)


def _teacher(folder: Path) -> None:
    """A late-interaction model, trained on the processor for one update."""
    from mpr.recipe import read
    from mpr.training.launch import Launch, run
    from tests.e2e import collection

    path = collection.write(folder / "taught")
    asked = ("training.num_train_epochs=1", *KINDS["late interaction"])
    made = run(read.load(path, asked), Launch(folder / "home-taught", folder / "teaching", quiet=True))
    (made / "model").rename(folder / "teacher")


if __name__ == "__main__":
    main()
