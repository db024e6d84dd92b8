"""A teacher that is asked in every step: what it says, of whom, and what it leaves alone."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mpr.data import tokens
from mpr.data.token_batches import Side
from mpr.data.tokens import PADDING
from mpr.errors import DataError, NumbersError
from mpr.models import late_interaction, towers, towers_folder
from mpr.models.templates import Template
from mpr.recipe.keys import Cache
from mpr.runtime.processes import Place
from mpr.storage.manifest import sha256_file
from mpr.training import _block, step_teacher
from mpr.training._loss import Terms
from mpr.training.step_teacher import Scorer, StepTeacher
from tests.conftest import Examined
from tests.parity.steps import relative_difference, term
from tests.unit import scorers, tiny_models
from tests.unit.framings import words
from tests.unit.models.test_late_interaction import built, by_loops

CPU = torch.device("cpu")
ROWS = 12
KINDS = ("late_interaction", "dual_encoder")
LIVE = term("pairwise", phi="square", target="live", columns="others", coefficient=0.75)
STORED = term("pairwise", phi="square", target="teacher", columns="own")


def texts(seed: int, longest: int) -> list[str]:
    dice = random.Random(seed)
    return [words(dice, dice.randint(1, longest)) for _ in range(ROWS)]


QUESTIONS, PASSAGES = texts(1, 20), texts(2, 60)


def folder_of(place: Path, kind: str, **changes: Any) -> Path:
    """A trained model of that kind, which reads shorter texts than the students here do."""
    tokenizer, target = tiny_models.tokenizer_of("bert"), place / kind
    short = {"question_length": 9, "passage_length": 15, "title": "none", **changes}
    if kind == "late_interaction":
        late_interaction.write(target, built(place, **short), tokenizer)
    else:
        base = tiny_models.published(place / "bert")
        made = towers.build(tiny_models.settings(base=str(base), pooling="cls", **short), tokenizer, 1)
        towers_folder.write(target, made, tokenizer)
    return target


def sides(place: Path, settings: Any, tokenizer: Any) -> tuple[Side, Side]:
    found = []
    for name, said in (("question", QUESTIONS), ("passage", PASSAGES)):
        store = tokens.build(place / f"{name} tokens", [("", text) for text in said], tokenizer, cap=64, receipt={})
        found.append(Side(store, Template.of(tokenizer), getattr(settings, f"{name}_length")))
    return found[0], found[1]


def teacher(place: Path, kind: str, rank: int = 0, **changes: Any) -> StepTeacher:
    scorer = Scorer.opened(folder_of(place, kind, **changes))
    return StepTeacher(kind, scorer, *sides(place, scorer.settings, scorer.tokenizer), rank, CPU, "float32")


def ids(text: str, length: int) -> list[int]:
    """As anyone's tokenizer would have it: special tokens around, cut from the end."""
    found = tiny_models.tokenizer_of("bert")
    found.enable_truncation(length)
    return list(found.encode(text).ids)


def expected(asked: StepTeacher, question: int, passage: int) -> float:
    """The score of a pair by itself, from its texts."""
    model: Any = asked.scorer.module
    rows = ids(QUESTIONS[question], 9), ids(PASSAGES[passage], 15)
    if asked.name == "late_interaction":
        return by_loops(model, *rows)
    with torch.no_grad():
        one, other = (model.question.backbone(**tiny_models.batch([row])).last_hidden_state[0, 0] for row in rows)
    return float(one.double() @ other.double())


def batch(question_Q: list[int], passage_P: list[int]) -> dict[str, Any]:
    return {"question_rows": np.array(question_Q), "passage_rows": np.array(passage_P)}


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_each_pair_alone(kind: str, tmp_path: Path, examined: Examined) -> None:
    """By the teacher's own tokenizer and lengths; whatever else is in the step, and however many texts at a time."""
    asked = teacher(tmp_path, kind)
    rows, columns = [3, 0, 3, 7, 11], [2, 9, 4, 1, 0, 11, 6]
    found = asked(torch.zeros(5, 4), batch(rows, columns))["live_QP"]
    alone = torch.tensor([[expected(asked, q, p) for p in columns] for q in rows])
    assert relative_difference(found.double(), alone.double()) < 1e-6
    assert torch.equal(found[0], found[2]), "the same question twice"
    few = asked(torch.zeros(1, 4), batch([7], [6, 2]))["live_QP"]
    assert relative_difference(few, found[3:4, [6, 0]]) < 1e-6
    padded = asked(torch.zeros(5, 4), batch([*rows[:4], PADDING], [*columns, PADDING, PADDING]))["live_QP"]
    assert relative_difference(padded[:4, :7], found[:4]) < 1e-6
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_teacher, "AT_ONCE", 3)
        pieces = asked(torch.zeros(5, 4), batch(rows, columns))["live_QP"]
    assert relative_difference(pieces, found) < 1e-6
    examined(found.numel(), "pairs", at_least=35)


def test_a_process_asks_about_its_own_rows(tmp_path: Path) -> None:
    asked = teacher(tmp_path, "late_interaction")
    whole = asked(torch.zeros(4, 0), batch([0, 1, 2, 3], [5, 6, 7]))["live_QP"]
    for rank in (0, 1):
        found = replace(asked, rank=rank)(torch.zeros(2, 0), batch([0, 1, 2, 3], [5, 6, 7]))["live_QP"]
        own = slice(2 * rank, 2 * rank + 2)
        assert torch.allclose(found[own], whole[own], rtol=1e-6)
        assert int(found.isnan().sum()) == 6
    apart = replace(asked, rank=1)(torch.zeros(2, 0), batch([2, 3], [5, 6, 7]))["live_QP"]
    assert torch.allclose(apart, whole[2:], rtol=1e-6), "without gather a block is a process's own"


def test_the_teacher_is_asked_in_evaluation_mode_without_dice_or_graph(tmp_path: Path) -> None:
    """The student's dropout is left as it was, though the encoder of the teacher has dropout too."""
    asked = teacher(tmp_path, "late_interaction")
    assert any(isinstance(part, torch.nn.Dropout) and part.p > 0 for part in asked.scorer.module.modules())
    before = tiny_models.random_states()
    first, second = (asked(torch.zeros(3, 4), batch([1, 2, 3], [1, 2, 3, 4]))["live_QP"] for _ in range(2))
    assert tiny_models.random_states() == before
    assert torch.equal(first, second)
    assert not first.requires_grad


class Student(torch.nn.Module):
    """Vectors by row, so that a step can be written out; nothing is drawn."""

    def __init__(self) -> None:
        super().__init__()
        dice = torch.Generator().manual_seed(8)
        self.question, self.passage = (
            torch.nn.Parameter(torch.randn(ROWS, 5, generator=dice, dtype=torch.float64)) for _ in range(2)
        )

    def forward(self, question: Any = None, passage: Any = None) -> tuple[Any, Any]:
        sides = ((self.question, question), (self.passage, passage))
        both = [None if given is None else vectors_ND[given["input_ids"][:, 0]] for vectors_ND, given in sides]
        return both[0], both[1]


def step(count: int = 4) -> dict[str, Any]:
    """Rows whose positive is the passage of their number, and whose negative is `count` further."""
    rows = list(range(count))
    positives_QP = torch.eye(count, 2 * count, dtype=torch.bool)
    sides = {"question": rows, "passage": [*rows, *(count + row for row in rows)]}
    made: dict[str, Any] = batch(sides["question"], sides["passage"])
    for side, given in sides.items():
        ids_N1 = torch.tensor(given)[:, None]
        made[side] = {"input_ids": ids_N1, "attention_mask": torch.ones_like(ids_N1)}
    own_QP = positives_QP | positives_QP.roll(count, dims=1)
    dice = torch.Generator().manual_seed(1)
    teacher_QP = torch.where(own_QP, 5 * torch.randn(own_QP.shape, generator=dice, dtype=torch.float64), torch.nan)
    return {
        **made,
        "positives_QP": positives_QP,
        "negatives_QP": ~positives_QP,
        "own_QP": own_QP,
        "teacher_QP": teacher_QP,
    }


def by_hand(student: Student, asked: StepTeacher, made: dict[str, Any], count: int = 4) -> Tensor:
    """A step of TAS-B as its code has it: two means over pairs of different rows, halved, times 0.75."""
    s = student.question[:count] @ student.passage[: 2 * count].T
    c = [[expected(asked, q, p) for p in range(2 * count)] for q in range(count)]
    t = made["teacher_QP"]
    pair = sum((s[i, i] - s[i, count + i] - t[i, i] + t[i, count + i]) ** 2 for i in range(count)) / count
    halves = []
    for first in (0, count):
        gaps = [
            (s[i, i] - s[i, first + j] - (c[i][i] - c[i][first + j])) ** 2
            for i, j in itertools.permutations(range(count), 2)
        ]
        halves.append(sum(gaps) / len(gaps))
    return pair + 0.75 * sum(halves) / 2


def gradients(student: Student) -> Tensor:
    found = torch.cat([parameter.grad.flatten() for parameter in student.parameters()])
    student.zero_grad()
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_of_tasb_by_hand(kind: str, tmp_path: Path, examined: Examined) -> None:
    """Loss and gradient; the same in chunks by the gradient cache. The teacher gets no gradient and keeps its bytes."""
    asked, student, made = teacher(tmp_path, kind), Student(), step()
    before = sha256_file(tmp_path / kind / "model.safetensors"), [p.clone() for p in asked.scorer.module.parameters()]
    wanted = by_hand(student, asked, made)
    wanted.backward()
    expected_gradient = gradients(student)
    terms = Terms([STORED, LIVE])
    found = _block.block_loss(student, made, terms, Place(), gather=False, completed=asked)
    assert found.loss.item() == pytest.approx(wanted.item(), rel=1e-6)
    found.loss.backward()
    assert relative_difference(gradients(student), expected_gradient) < 1e-6
    cache = Cache(questions=3, passages=2)
    chunked = _block.cached_step(student, made, terms, Place(), cache, gather=False, completed=asked)
    assert chunked.loss.item() == pytest.approx(wanted.item(), rel=1e-6)
    assert relative_difference(gradients(student), expected_gradient) < 1e-6
    assert all(p.grad is None and p.requires_grad for p in asked.scorer.module.parameters())
    assert all(torch.equal(p, q) for p, q in zip(asked.scorer.module.parameters(), before[1], strict=True))
    assert sha256_file(tmp_path / kind / "model.safetensors") == before[0]
    examined(len(expected_gradient), "numbers of the gradient", at_least=100)


class Fixed:
    """A teacher that says what it is told to."""

    def __init__(self, live_QP: Tensor) -> None:
        self.live_QP = live_QP

    def __call__(self, own_OD: Tensor, batch: Any) -> dict[str, Any]:
        return {**batch, "live_QP": self.live_QP}


def loss(student: Student, made: dict[str, Any], live_QP: Tensor) -> float:
    return float(_block.block_loss(student, made, Terms([LIVE]), Place(), gather=False, completed=Fixed(live_QP)).loss)


def test_only_margins_of_other_rows_count(tmp_path: Path) -> None:
    """Nothing to learn where the student says the same; a constant for each question changes nothing; the diagonal,
    a question's own negative, may be anything."""
    student, made = Student(), step()
    with torch.no_grad():
        same_QP = student.question[:4] @ student.passage[:8].T
        live_QP = same_QP + torch.randn(4, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
        assert loss(student, made, same_QP) == 0
        assert loss(student, made, live_QP) > 0.1
        moved_QP = live_QP + torch.tensor([[5.0], [-3.0], [100.0], [0.25]], dtype=torch.float64)
        assert loss(student, made, moved_QP) == pytest.approx(loss(student, made, live_QP), rel=1e-12)
        own_negative_QP = torch.eye(4, 8).roll(4, dims=1).bool()
        assert loss(student, made, live_QP.masked_fill(own_negative_QP, 1e6)) == loss(student, made, live_QP)
        for cell in ((0, 0), (0, 1), (2, 4)):
            other_QP = live_QP.clone()
            other_QP[cell] += 1.0
            assert loss(student, made, other_QP) != loss(student, made, live_QP), cell


def test_a_cross_encoder_cannot_teach_a_step(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labels\.model.*read every passage of the step with every question"):
        Scorer.opened(scorers.scorer(tmp_path))


def test_scores_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    asked = teacher(tmp_path, "dual_encoder")
    with torch.no_grad():
        next(asked.scorer.module.parameters()).fill_(torch.inf)
    with pytest.raises(NumbersError, match=r"labels\.model.*'dual_encoder' gives scores that are not-a-number"):
        asked.scores(np.array([1]), np.array([2]))


def test_it_computes_in_what_it_is_told_to(tmp_path: Path) -> None:
    """Under the student's autocast too, which is not the teacher's."""
    asked = teacher(tmp_path, "late_interaction")
    plain = asked.scores(np.array([1, 2]), np.array([3, 4]))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(asked.scores(np.array([1, 2]), np.array([3, 4])), plain)
    half = replace(asked, compute="bfloat16").scores(np.array([1, 2]), np.array([3, 4]))
    assert half.dtype == plain.dtype == torch.float32
    assert 0 < relative_difference(half, plain) < 0.05
