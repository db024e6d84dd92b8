"""A collection of twelve passages written by hand, in files that mpr reads, with everything an audit should find."""

from __future__ import annotations

import json
from pathlib import Path

PASSAGES = {
    "p0": ("Velmora", "Velmora is the capital of Ostrand. It was founded in 1204."),
    "p1": ("Ostrand", "The capital of Ostrand, Velmora, lies on the river Teith."),
    "p2": ("Ostrand", "Ostrand is a country of hills; its largest town is Velmora."),
    "p3": ("Teith", "The Teith is a river of 214 kilometres."),
    "p4": ("Teith", "At 214 kilometres the Teith is the longest river of the north."),
    "p5": ("Ana Brel", "Ana Brel wrote The Salt Road in 1911."),
    "p6": ("Salt Road", "The Salt Road is a novel by Ana Brel."),
    "p7": ("Salt Road", "The Salt Road is a novel by Ana Brel."),  # the text of p6 under another id
    "p8": ("Hills", "Hills are lower than mountains."),
    "p9": ("Rivers", "Rivers run downhill to the sea."),
    "p10": ("Novels", "Novels are longer than tales."),
    "p11": ("Towns", "Towns have walls and markets."),
}
TRAIN = [
    {"id": "t0", "question": "What is the capital of Ostrand?", "answers": ["Velmora"], "gold": "p0",
     "pos": ["p0", "p1", "p2"], "neg": ["p8", "p9", "p11"]},
    {"id": "t1", "question": "How long is the Teith?", "answers": ["214 kilometres"], "gold": "p3",
     "pos": ["p3", "p4"], "neg": ["p9", "p8"]},
    {"id": "t2", "question": "Who wrote The Salt Road?", "answers": ["Ana Brel"], "gold": "p6",
     "pos": ["p6"], "neg": ["p10"]},
    {"id": "t3", "question": "Who built the walls of Velmora?", "answers": ["Orm the Elder"], "gold": "p11",
     "pos": ["p11"], "neg": []},
    {"id": "t4", "question": "What is a question without positives?", "answers": ["nothing"], "pos": [], "neg": ["p8"]},
]  # fmt: skip
TEST = [
    {"id": "e0", "question": "what is the capital of OSTRAND", "answers": ["Velmora"]},  # t0 in other signs
    {"id": "e1", "question": "Which river is the longest of the north?", "answers": ["Teith"]},
    {"id": "e2", "question": "When was Velmora founded?", "answers": ["1204", "in 1204"]},
    {"id": "e3", "question": "Who owns the moon?", "answers": ["nobody at all"]},
]
RECIPE = """\
varies: []
draft: true
data:
  corpus:
    name: local
    folder: {folder}
    passages: {{file: passages.tsv, format: plain_tsv, passages: 12}}
    splits:
      train: {{file: train.jsonl, format: candidates, questions: 5}}
      test: {{file: test.jsonl, format: questions}}
  train: train
  evaluate: {{test: test}}
  repair: {{without_positives: drop, passages_missing: refuse, positive_as_negative: refuse}}
  overlap: {overlap}
towers:
  new: {{layers: 1, width: 32, heads: 2, feed_forward: 64, vocabulary: 400}}
  share: true
  pooling: mean
  normalize: true
  title: pair
  question_length: 12
  passage_length: 16
sources: [{{name: file, as: bm25}}]
draw:
  questions: shuffle
  positives: {{policy: up_to, m: 3, beyond: rotate}}
  negatives: [{{from: bm25, k: 1, weight: top, short: fewer}}]
  in_batch: true
labels:
  - name: known_positives
    tiers: [gold, answer_match]
    siblings: ignore
    shared: ignore
    duplicates: ignore
    doubtful: ignore
objective: [{{name: joint_lh, copositives: keep, reduce: sum}}]
scale: {{processes: 1, gather: false}}
training:
  seed: 1
  num_train_epochs: 1
  per_device_train_batch_size: 2
  learning_rate: 1.0e-3
  lr_scheduler_type: linear
  warmup_steps: 0
  optim: adamw_torch
  weight_decay: 0
  max_grad_norm: 1.0
  fp16: false
search: {{index: exact, depth: 10}}
evaluation: {{measures: [top1, top5], match: string}}
published: {{source: null, values: {{}}}}
"""


def write(folder: Path, overlap: str = "allow", train: list[dict[str, object]] | None = None) -> Path:
    """Writes the files and a recipe for them; returns the recipe's path."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{identifier}\t{text}\t{title}\n" for identifier, (title, text) in PASSAGES.items()]
    (folder / "passages.tsv").write_text("".join(lines), "utf-8")
    for name, rows in (("train", TRAIN if train is None else train), ("test", TEST)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    recipe = folder / "small.yaml"
    recipe.write_text(RECIPE.format(folder=json.dumps(str(folder)), overlap=overlap), "utf-8")
    return recipe
