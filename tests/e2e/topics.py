"""A planted collection that can only be told by reading question and passage together: topics, each asked for by a word
that its passages share. Every passage is as often right as any other, so passages alone say nothing."""

from __future__ import annotations

import json
import random
from pathlib import Path

from tests.e2e import collection

TOPICS = ("Velmora", "Teith", "Ostrand")
PASSAGES, QUESTIONS = 14, 12  # of each topic
UNSEEN = 6  # of the passages of each topic are in no pair of the training file
FILLING = ("hills", "rivers", "towns", "novels", "walls", "markets", "north", "sea", "tales", "road")


def name(topic: int, number: int) -> str:
    return f"p{topic * PASSAGES + number}"


def write(folder: Path) -> Path:
    """Files and a recipe; of each question four passages are right, and four of each other topic are wrong."""
    path, dice = collection.write(folder), random.Random(2)
    passages = [
        f"{name(topic, number)}\t{' '.join(_mixed(dice, word))}\t-\n"
        for topic, word in enumerate(TOPICS)
        for number in range(PASSAGES)
    ]
    (folder / "passages.tsv").write_text("".join(passages), "utf-8")
    rows = []
    for number in range(QUESTIONS * len(TOPICS)):
        topic = number % len(TOPICS)
        drawn = [[name(one, each) for each in dice.sample(range(PASSAGES - UNSEEN), 4)] for one in range(len(TOPICS))]
        wrong = [each for one, listed in enumerate(drawn) if one != topic for each in listed]
        question = f"which {' '.join(_mixed(dice, TOPICS[topic], 3))}"
        rows.append({"id": f"q{number}", "question": question, "answers": [], "pos": drawn[topic], "neg": wrong})
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    text = path.read_text("utf-8").replace("passages: 12", f"passages: {len(passages)}")
    text = text.replace("questions: 5", f"questions: {len(rows)}").replace("num_train_epochs: 1", "max_steps: 1")
    path.write_text(text, "utf-8")
    return path


def _mixed(dice: random.Random, word: str, others: int = 6) -> list[str]:
    words = [word, *dice.choices(FILLING, k=others)]
    dice.shuffle(words)
    return words
