"""What rows of DPR claim besides its loss: when a passage holds an answer, top-k accuracy, the values of its config.

Sources: facebookresearch/DPR a31212d (dpr/data/qa_validation.py, dpr/utils/tokenizers.py, dpr/utils/model_utils.py and
conf/). Its rules were written down anew from their description; the values stand in `CONFIG` with the file they are
from.
"""

from __future__ import annotations

import random
import re
import unicodedata
from pathlib import Path
from typing import Any

import torch
from transformers import get_linear_schedule_with_warmup

from mpr.corpora import Split
from mpr.data import _split_builder, passages
from mpr.evaluation import evaluate
from mpr.evaluation.evaluate import Rules
from mpr.evaluation.ranking import Ranking
from mpr.metrics.answers import AnswerMatcher
from mpr.recipe import schedule
from mpr.recipe.keys import Repair
from mpr.records import Group, Hit, Passage, Question
from tests.conftest import Parity
from tests.parity import plain_answers
from tests.parity.blocks import recipe_of

MATCHER = "facebookresearch/DPR: has_answer"
WRITTEN = (
    "the of Paris paris New York new-york U.S. US 1,203 1203 9/11 it's don’t O'Neil São Sa\u0303o Tomé TOMÉ Beyoncé "
    "Beyonce\u0301 Ångström \u212bngström İstanbul Straße STRASSE ΟΔΟΣ οδός Москва МОСКВА 東京 東京都 タワー 한국 "
    "हिन्दी ไทย ﬁne x² ½ Ⅷ ١٢٣ C++ C# $5 €5m 👍🏽 snake_case co-operate (1999) “quote” 3.14 a\u00adb zero\u200dwidth"
)
WORDS = WRITTEN.split()
BETWEEN = (" ", " ", " ", "\u00a0", "  ", "\n", ", ", "-", ". ", "\u200b", "")


def text_of(dice: random.Random, words: int) -> str:
    return "".join(dice.choice(WORDS) + dice.choice(BETWEEN) for _ in range(words))


def altered(dice: random.Random, text: str) -> str:
    """The same answer as somebody else writes it, or nearly."""
    form = unicodedata.normalize(dice.choice(("NFC", "NFD")), text)
    return dice.choice((form, form.upper(), form.lower(), f" {form} ", form[:-1], f"{form}s"))


def some_words(dice: random.Random, text: str) -> str:
    words = text.split()
    start = dice.randrange(len(words))
    return " ".join(words[start : start + dice.randint(1, 2)])


def cut_out(dice: random.Random, text: str) -> str:
    start = dice.randrange(len(text))
    return text[start : start + dice.randint(1, 14)]


def test_answers_that_are_strings(parity: Parity) -> None:
    dice, differing, found, cases = random.Random(5), 0, 0, 10_000
    for _ in range(cases // 20):
        text = text_of(dice, dice.randint(1, 16))
        for _ in range(20):
            answer = altered(dice, dice.choice((some_words, some_words, cut_out))(dice, text))
            expected = plain_answers.has_answer([answer], text)
            differing += AnswerMatcher([answer], regex=False).found_in(text) is not expected
            found += expected
    assert cases // 8 < found < 7 * cases // 8
    parity("answer matcher, strings (pairs that differ)", MATCHER, cases, differing, 0)


def pattern_of(dice: random.Random, text: str) -> str:
    """A piece of the text, of which some characters became patterns."""
    made = []
    for character in cut_out(dice, text):
        kind = dice.randrange(8)
        if kind == 0:
            made.append(".")
        elif kind == 1:
            made.append(f"[{re.escape(character)}xy]")
        elif kind == 2:
            made.append(f"(?:{re.escape(character)}|zz)?")
        elif kind == 3:
            made.append(r"\s+" if character.isspace() else r"\S")
        else:
            made.append(re.escape(dice.choice((character, character, character.swapcase(), "q"))))
    return dice.choice(("", "", "^")) + "".join(made) + dice.choice(("", "", "$", ".*$"))


def test_answers_that_are_patterns(parity: Parity) -> None:
    dice, differing, found, cases = random.Random(6), 0, 0, 3_000
    for _ in range(cases // 10):
        text = text_of(dice, dice.randint(2, 16))
        for _ in range(10):
            answer = pattern_of(dice, text)
            expected = plain_answers.has_pattern([answer], text)
            differing += AnswerMatcher([answer], regex=True).found_in(text) is not expected
            found += expected
    assert cases // 8 < found < 7 * cases // 8
    parity("answer matcher, patterns (pairs that differ)", MATCHER, cases, differing, 0)


def test_top_k(tmp_path: Path, parity: Parity) -> None:
    """A ranking of 100 passages for each of 40 questions; of a few there is none."""
    dice, cuts = random.Random(8), (1, 5, 20, 100)
    texts = {f"p{number}": text_of(dice, 6) for number in range(200)}
    asked = [Question(f"q{number}", "?", tuple(altered(dice, text_of(dice, dice.randint(1, 2))) for _ in range(2)))
             for number in range(40)]  # fmt: skip
    lists = {one.id: dice.sample(sorted(texts), 100) for one in asked if dice.random() < 0.95}
    store = passages.build(tmp_path / "passages", (Passage(name, text) for name, text in texts.items()), {})
    split = _split_builder.build(
        tmp_path / "split", [Group(one) for one in asked], Split(len(asked)), store,
        repair=Repair(without_positives="drop", passages_missing="refuse", positive_as_negative="refuse"),
        tiers=("gold",), train=False, sources=(), receipt={},
    )  # fmt: skip
    hits = [Hit(question, name, rank, -float(rank)) for question, listed in lists.items()
            for rank, name in enumerate(listed, 1)]  # fmt: skip
    scores = evaluate.by_answers(Ranking.of_hits(hits, store), split, store, Rules("run", "test"), cuts=cuts)
    right = [[plain_answers.has_answer(one.answers, texts[name]) for name in lists.get(one.id, [])] for one in asked]
    expected = {f"top{cut}": sum(any(row[:cut]) for row in right) / len(right) for cut in cuts}
    assert 0.05 < expected["top5"] < expected["top100"]
    largest = max(abs(scores.mean(name)[0] - value) for name, value in expected.items())
    parity("top-1, 5, 20, 100 from matches", "facebookresearch/DPR: calculate_matches", len(asked) * 4, largest, 1e-12)


NQ, TRAIN, BERT = "conf/train/biencoder_nq.yaml", "conf/biencoder_train_cfg.yaml", "conf/encoder/hf_bert.yaml"
PROCESSES = 8  # README: the command for Natural Questions
# file, its key, its value, our key, the factor that the comments of our rows explain
CONFIG: list[tuple[str, str, Any, str, float]] = [
    (NQ, "batch_size", 16, "training.per_device_train_batch_size", 1),
    (NQ, "adam_eps", 1e-8, "training.adam_epsilon", PROCESSES),  # meets a gradient divided by the processes
    (NQ, "adam_betas, first", 0.9, "training.adam_beta1", 1),
    (NQ, "adam_betas, second", 0.999, "training.adam_beta2", 1),
    (NQ, "max_grad_norm", 2.0, "training.max_grad_norm", PROCESSES),
    (NQ, "weight_decay", 0.0, "training.weight_decay", 1),
    (NQ, "learning_rate", 2e-5, "training.learning_rate", 1),
    (NQ, "warmup_steps", 1237, "training.warmup_steps", 1),
    (NQ, "num_train_epochs", 40, "training.num_train_epochs", 1),
    (NQ, "hard_negatives", 1, "draw.negatives.0.k", 1),
    (TRAIN, "seed", 12345, "training.seed", 1),
    (TRAIN, "fp16", False, "training.fp16", 1),
    (BERT, "sequence_length", 256, "towers.question_length", 1),
    (BERT, "sequence_length", 256, "towers.passage_length", 1),
    (BERT, "projection_dim, 0 for none", 0, "towers.projection", 1),
]


def value_of(section: Any, key: str) -> float:
    for name in key.split("."):
        if isinstance(section, list | tuple):
            section = section[int(name)]
        else:
            section = section.get(name) if isinstance(section, dict) else getattr(section, name)
    return float(section or 0)


def test_values_of_the_config(parity: Parity) -> None:
    recipe = recipe_of("nq_nll_m1_released")
    assert recipe.scale.processes == PROCESSES
    apart = [abs(value_of(recipe, key) - float(value) * factor) for _, _, value, key, factor in CONFIG]
    parity("values of nq_nll_m1_released", "facebookresearch/DPR: conf/", len(CONFIG), max(apart), 0)


def test_learning_rates(parity: Parity) -> None:
    """Of every update: up in a straight line over the warm-up, and down to zero at the end of the run."""
    recipe = recipe_of("nq_nll_m1_released")
    total, warm = schedule.updates(recipe), int(recipe.training["warmup_steps"])
    assert recipe.training["lr_scheduler_type"] == "linear"
    assert (total, warm) == (58_880 // (PROCESSES * 16) * 40, 1237)
    made = get_linear_schedule_with_warmup(torch.optim.SGD([torch.zeros(1)], lr=1.0), warm, total)
    factor = made.lr_lambdas[0]
    expected = [number / warm if number < warm else (total - number) / (total - warm) for number in range(total)]
    largest = max(abs(factor(number) - value) for number, value in enumerate(expected))
    against = "facebookresearch/DPR: get_schedule_linear"
    parity("learning rate of every update of nq_nll_m1_released", against, total, largest, 1e-12)
