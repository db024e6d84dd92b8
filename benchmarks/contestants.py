"""Three ways to train on the same pairs in the same order: mpr, sentence-transformers' trainer, a plain padded loop.

Each has `losses()`, the loss of the first batch without dropout, and `times(precision, updates)`, the seconds from the
end of an update to the end of the next one. What a trainer does in a step is in it: the others tokenise their batch,
mpr reads ids that were tokenised once, before. Weights, texts, batches, optimiser,
learning rate and clipping are the same; dropout is on.
"""

from __future__ import annotations

import itertools
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import TrainerCallback

TEMPERATURE = 0.05
RATE, CLIP, OPTIMISER = 2e-5, 1.0, "adamw_torch_fused"
RECIPE = """\
varies: []
draft: true
data:
  corpus:
    name: local
    folder: {folder}
    passages: {{file: passages.tsv, format: plain_tsv}}
    splits:
      train: {{file: train.jsonl, format: candidates}}
      test: {{file: test.jsonl, format: questions}}
  train: train
  evaluate: {{test: test}}
  repair: {{without_positives: refuse, passages_missing: refuse, positive_as_negative: refuse}}
  overlap: allow
towers: {{base: {model}, share: true, pooling: mean, normalize: true, title: none,
  question_length: {length}, passage_length: {length}}}
sources: []
draw:
  questions: shuffle
  positives: {{policy: first}}
  negatives: []
  in_batch: true
labels:
  - {{name: known_positives, tiers: [gold], siblings: ignore, shared: ignore, duplicates: ignore, doubtful: ignore}}
objective: [{{name: nll, temperature: {temperature}}}]
scale: {{processes: 1, gather: false, groups: {groups}}}
training: {{seed: 1, max_steps: {updates}, per_device_train_batch_size: {batch}, learning_rate: {rate},
  lr_scheduler_type: constant, warmup_steps: 0, optim: {optimiser}, weight_decay: 0, max_grad_norm: {clip},
  bf16: {bf16}, save_strategy: "no", logging_strategy: "no"}}
search: {{index: exact, depth: 10}}
evaluation: {{measures: [top1], match: string}}
published: {{source: null, values: {{}}}}
"""


@dataclass(frozen=True)
class Task:
    """What all of them are given. `pairs`: (question, passage), every passage once."""

    pairs: list[tuple[str, str]]
    model: str
    batch: int
    length: int
    folder: Path

    def write(self) -> None:
        """The pairs as files that mpr reads."""
        rows = [f"p{number}\t{' '.join(text.split())}\t\n" for number, (_, text) in enumerate(self.pairs)]
        (self.folder / "passages.tsv").write_text("".join(rows), "utf-8")
        records = [
            {"id": f"q{number}", "question": question, "answers": ["?"], "gold": f"p{number}", "pos": [f"p{number}"]}
            for number, (question, _) in enumerate(self.pairs)
        ]
        (self.folder / "train.jsonl").write_text("".join(json.dumps(each | {"neg": []}) + "\n" for each in records))
        test = {"id": "t0", "question": "Is this asked?", "answers": ["no"]}
        (self.folder / "test.jsonl").write_text(json.dumps(test) + "\n")


class Clock(TrainerCallback):
    """Notes when updates end."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *arguments: Any, **named: Any) -> None:
        self.ends.append(time.perf_counter())

    def times(self) -> list[float]:
        return [end - start for start, end in itertools.pairwise(self.ends)]


class Ours:
    """mpr, as `mpr train` runs it."""

    def __init__(self, task: Task, groups: int | str) -> None:
        self.task, self.groups = task, groups
        self.name = f"mpr, {groups}" if isinstance(groups, str) else f"mpr, {groups} group{'s' if groups > 1 else ''}"
        logging.getLogger("mpr").setLevel(logging.ERROR)
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()

    def trainer(self, precision: str, updates: int) -> Any:
        from mpr.data.dataset import Dataset
        from mpr.mining.mine import Mined
        from mpr.recipe import read
        from mpr.runtime import environment, processes
        from mpr.training._fit import drawer_of, trainer_of
        from mpr.training.launch import training_arguments
        from mpr.training.run_folder import RunFolder

        task = self.task
        text = RECIPE.format(
            folder=json.dumps(str(task.folder)), model=json.dumps(task.model), length=task.length, batch=task.batch,
            temperature=TEMPERATURE, groups=self.groups, updates=updates, rate=RATE, clip=CLIP, optimiser=OPTIMISER,
            bf16=json.dumps(precision == "bf16"),
        )  # fmt: skip
        path = task.folder / "benchmark.yaml"
        path.write_text(text, "utf-8")
        recipe = read.load(path)
        environment.seed_everything(1)
        dataset = Dataset(recipe, task.folder / "home", quiet=True)
        dataset.prepare_training()
        run = RunFolder(task.folder / "run")
        cuda = torch.cuda.is_available()
        mined, arguments = Mined(dataset), training_arguments(recipe, run.folder, cuda, True)
        return trainer_of(mined, drawer_of(mined), run, arguments, processes.ALONE)

    def order(self, updates: int) -> list[int]:
        """Numbers of the pairs in the order in which mpr draws them."""
        drawer = self.trainer("fp32", updates).collator.drawer
        return [int(row) for number in range(updates) for row in drawer(number).block.question_Q]

    def losses(self) -> float:
        trainer = self.trainer("fp32", 1)
        batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
        with torch.no_grad():
            return float(trainer.compute_loss(trainer.model.eval(), batch))

    def times(self, precision: str, updates: int) -> list[float]:
        trainer, clock = self.trainer(precision, updates), Clock()
        trainer.add_callback(clock)
        trainer.train()
        return clock.times()


class SentenceTransformers:
    """SentenceTransformerTrainer with MultipleNegativesRankingLoss, the batches in the order that it is given."""

    name = "sentence-transformers"

    def __init__(self, task: Task, order: list[int]) -> None:
        self.task, self.order = task, order

    def _parts(self) -> tuple[Any, Any]:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.losses import MultipleNegativesRankingLoss

        model = SentenceTransformer(self.task.model)
        model.max_seq_length = self.task.length
        return model, MultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE)

    def _rows(self, count: int) -> list[tuple[str, str]]:
        return [self.task.pairs[number] for number in self.order[:count]]

    def losses(self) -> float:
        model, loss = self._parts()
        columns = zip(*self._rows(self.task.batch), strict=True)
        features = [model.preprocess(list(texts)) for texts in columns]
        features = [{k: v.to(model.device) for k, v in each.items() if torch.is_tensor(v)} for each in features]
        model.eval()
        with torch.no_grad():
            return float(loss(features, None))

    def times(self, precision: str, updates: int) -> list[float]:
        from datasets import Dataset
        from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
        from torch.utils.data import BatchSampler, SequentialSampler

        model, loss = self._parts()
        clock, rows = Clock(), self._rows(updates * self.task.batch)
        data = Dataset.from_dict({"anchor": [each[0] for each in rows], "positive": [each[1] for each in rows]})
        arguments = SentenceTransformerTrainingArguments(
            output_dir=str(self.task.folder / "st"), max_steps=updates, per_device_train_batch_size=self.task.batch,
            learning_rate=RATE, lr_scheduler_type="constant", optim=OPTIMISER, max_grad_norm=CLIP, save_strategy="no",
            logging_strategy="no", disable_tqdm=True, report_to="none", bf16=precision == "bf16",
            use_cpu=not torch.cuda.is_available(),
            batch_sampler=lambda found, batch_size, **options: BatchSampler(SequentialSampler(found), batch_size, True),
        )  # fmt: skip
        SentenceTransformerTrainer(model, arguments, train_dataset=data, loss=loss, callbacks=[clock]).train()
        return clock.times()


class PlainLoop:
    """What one would write on a free afternoon: tokenise, pad to the longest, two forwards, cross-entropy."""

    name = "plain padded loop"

    def __init__(self, task: Task, order: list[int]) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.task, self.order = task, order
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.tokenizer = AutoTokenizer.from_pretrained(task.model)
        self.model = AutoModel.from_pretrained(task.model).to(self.device)

    def _loss(self, number: int) -> torch.Tensor:
        rows = [self.task.pairs[row] for row in self.order[number * self.task.batch : (number + 1) * self.task.batch]]
        sides = []
        for texts in zip(*rows, strict=True):
            options = {"padding": True, "truncation": True, "max_length": self.task.length, "return_tensors": "pt"}
            tokens = self.tokenizer(list(texts), **options).to(self.device)
            hidden_NLD, mask_NL1 = self.model(**tokens).last_hidden_state, tokens["attention_mask"].unsqueeze(-1)
            vectors_ND = (hidden_NLD * mask_NL1).sum(dim=1) / mask_NL1.sum(dim=1)
            sides.append(torch.nn.functional.normalize(vectors_ND, dim=-1))
        scores_QP = sides[0] @ sides[1].T / TEMPERATURE
        return torch.nn.functional.cross_entropy(scores_QP, torch.arange(len(rows), device=self.device))

    def losses(self) -> float:
        self.model.eval()
        with torch.no_grad():
            return float(self._loss(0))

    def times(self, precision: str, updates: int) -> list[float]:
        self.model.train()
        optimiser = torch.optim.AdamW(self.model.parameters(), lr=RATE, weight_decay=0.0, fused=True)
        ends = []
        for number in range(updates):
            with torch.autocast(self.device, torch.bfloat16, enabled=precision == "bf16"):
                loss = self._loss(number)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
            optimiser.step()
            optimiser.zero_grad()
            float(loss.detach())  # as trainers do: wait for the device
            ends.append(time.perf_counter())
        return [end - start for start, end in itertools.pairwise(ends)]
