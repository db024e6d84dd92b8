"""A small world of steps, towers small enough for double precision, and an independent loss of a whole step.

The world has what tears a step apart: positives shared by questions, siblings that another question brings, copies of
texts, rows with different numbers of positives. Batches come from the real drawer, relations and collator.
"""

from __future__ import annotations

import copy
import itertools
import math
import random
import types
import typing
from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from mpr import catalogue, objectives
from mpr.batches.collate import Collator
from mpr.batches.draw import Drawer
from mpr.batches.relations import Policy
from mpr.batches.targets import Targets
from mpr.catalogue import Parameters
from mpr.data.positives import PositiveIndex
from mpr.data.tokens import PADDING
from mpr.models import lengths
from mpr.recipe._keys_objective import TERM
from mpr.recipe.keys import LabelPart, ObjectivePart, Part
from mpr.recipe.keys_draw import Draw
from mpr.runtime.processes import ALONE, Place
from mpr.storage.ragged import Ragged
from tests.unit.policies import policy_of

QUESTIONS, PASSAGES, WORDS, WIDTH = 9, 30, 50, 6
TIERS = ("gold", "answer_match")
POLICY = policy_of(siblings="ignore", shared="positive", duplicates="ignore", doubtful="negative")
ENTRY: Any = TypeAdapter(ObjectivePart)
LABEL: Any = TypeAdapter(LabelPart)
UNMASKED = policy_of(siblings="negative", shared="negative", duplicates="negative", doubtful="negative")


class Side:
    """Texts of different lengths, the same for a row at all times."""

    def __init__(self, name: str, longest: int) -> None:
        self.name, self.longest = name, longest

    def tokens(self, rows: np.ndarray) -> dict[str, Tensor]:
        texts = [self._text(int(row)) for row in rows]
        width = max(map(len, texts), default=1)
        ids = torch.tensor([text + [0] * (width - len(text)) for text in texts]).reshape(len(texts), width)
        lengths = torch.tensor([len(text) for text in texts])
        mask = (torch.arange(width)[None] < lengths[:, None]).long()
        return {"input_ids": ids, "attention_mask": mask}

    def _text(self, row: int) -> list[int]:
        dice = random.Random(f"{self.name} {row}")
        return [0] if row == PADDING else [dice.randrange(1, WORDS) for _ in range(dice.randint(2, self.longest))]


def collator(
    place: Place = ALONE,
    rows: int = 5,
    policy: Policy = POLICY,
    *,
    gather: bool = True,
    in_batch: bool = True,
    block: str = "distinct",
    m: int = 3,
) -> Collator:
    """Of a world of two topics, with passages at every other place: all questions of one draw on the same fifteen."""
    dice = random.Random(51)
    known = []
    for question in range(QUESTIONS):
        topic = range(question % 2, PASSAGES, 2)
        tiers = [dice.choice((*TIERS, "llm")) for _ in range(dice.randint(1, 6))]
        known.append(list(zip(dice.sample(topic, len(tiers)), ["gold", *tiers[1:]], strict=True)))
    lists = [dice.sample(range(PASSAGES), 12) for _ in range(QUESTIONS)]
    offsets = np.arange(QUESTIONS + 1, dtype=np.int64) * 12
    columns = {
        "passage": np.array(lists, dtype=np.int64).reshape(-1),
        "rank": np.tile(np.arange(1, 13, dtype=np.int32), QUESTIONS),
        "score": np.full(12 * QUESTIONS, np.nan, dtype=np.float32),
    }
    negatives = ({"from": "bm25", "k": 2, "weight": "uniform", "short": "random"},)
    config = Draw.model_validate(
        {
            "questions": "shuffle",
            "positives": {"policy": "up_to", "m": m, "beyond": "rotate"},
            "negatives": negatives,
            "in_batch": in_batch,
            "block": block,
        }
    )
    candidates = {"bm25": Ragged(offsets, columns)}
    drawer = Drawer(config, PositiveIndex.of(known), TIERS, candidates, PASSAGES, rows, 3)
    hashes = (np.arange(PASSAGES) % 21).astype(np.uint64)  # the last nine texts are copies of the first, across topics
    sides: Any = Side("question", 4), Side("passage", 9)
    return Collator(
        drawer=drawer,
        questions=sides[0],
        passages=sides[1],
        text_hashes=hashes,
        tiers=TIERS,
        policy=policy,
        place=place,
        gather=gather,
        targets=Targets(owned=True),
    )


def with_targets(batch: dict[str, Any]) -> dict[str, Any]:
    """Adds every optional target: functions of the ids, so that they do not depend on who computes them."""
    question_Q1, passage_P = batch["question_ids"][:, None].double(), batch["passage_ids"].double()
    wave_QP = torch.sin(7 * question_Q1 + 3 * passage_P)
    grades_QP = torch.where(batch["positives_QP"], 1 + (wave_QP > 0).double(), 0.0)
    extra = {
        "teacher_QP": 3 * wave_QP,
        "live_QP": 2 * torch.cos(5 * question_Q1 + passage_P),
        "lexical_QP": 5 * torch.cos(question_Q1 - 2 * passage_P),
        "grades_QP": grades_QP,
        "ranks_QP": (5 * question_Q1 + 11 * passage_P).long() % 23,
    }
    return {**batch, **extra}


class Encoder(nn.Module):
    """Mean of word and position vectors, then a layer; rows do not touch one another and padding is not looked at."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(16, WIDTH)
        self.layer, self.dropout = nn.Linear(WIDTH, WIDTH), nn.Dropout(dropout)
        self.register_buffer("place_ids", torch.arange(16)[None])  # as BERT has it: DDP sends buffers around
        self.forwards, self.texts, self.tokens = 0, 0, 0

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        self.forwards, self.texts = self.forwards + 1, self.texts + len(input_ids)
        self.tokens += input_ids.numel()
        hidden_NLD = self.words(input_ids) + self.places(self.place_ids[:, : input_ids.shape[1]])
        hidden_NLD = self.dropout(hidden_NLD) * attention_mask[:, :, None]
        mean_ND = hidden_NLD.sum(dim=1) / attention_mask.sum(dim=1, keepdim=True)
        return 2 * torch.tanh(self.dropout(self.layer(mean_ND)))


class Towers(nn.Module):
    """The protocol of mpr/models/towers.py."""

    def __init__(
        self,
        *,
        shared: bool = False,
        dropout: float = 0.0,
        dtype: torch.dtype = torch.float64,
        groups: int = 1,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        self.groups = groups
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            self.question = Encoder(dropout)
            self.passage = self.question if shared else Encoder(dropout)
        self.to(dtype)
        self.passage.requires_grad_(not frozen)

    def forward(self, question: Any = None, passage: Any = None) -> tuple[Any, Any]:
        return (
            None if question is None else lengths.encode(self.question, question, self.groups, price=0),
            None if passage is None else lengths.encode(self.passage, passage, self.groups, price=0),
        )

    @property
    def forwards(self) -> int:
        return sum(encoder.forwards for encoder in {self.question, self.passage})


def transformers_of(groups: Any, dropout: float = 0.0) -> Any:
    """Two small BERTs of their own weights, in double precision."""
    import transformers

    from mpr.models import packing, towers
    from tests.unit.tiny_models import settings

    config = transformers.BertConfig(
        vocab_size=WORDS, hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2, intermediate_size=2 * WIDTH,
        max_position_embeddings=16, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        models = [transformers.BertModel(config, add_pooling_layer=False) for _ in range(2)]
        for parameter in (part for model in models for part in model.parameters()):
            parameter.data += 0.3 * torch.randn_like(parameter)
    if groups == "packed":
        packing.prepare(models)
    question, passage = (towers.Encoder(model, "mean", False) for model in models)
    return towers.DualEncoder(settings(share=False), question, passage, groups).double().train()


def gradient(module: nn.Module) -> Tensor:
    """Of all parameters that have one, in one row."""
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


def relative_difference(found: Tensor, expected: Tensor) -> float:
    """Largest difference of an entry, against the largest entry."""
    return float((found - expected).abs().max() / expected.abs().max())


def whole_gradient(towers: nn.Module, batch: dict[str, Any], entries: list[Part]) -> tuple[float, Tensor]:
    """Loss and gradient of the step on one process, from the definitions and nothing of mpr/training/_loss.py or
    mpr/training/_block.py."""
    towers = with_learned(towers, entries)
    loss = torch.zeros((), dtype=torch.float64)
    for number, entry in enumerate(entries):
        widths = getattr(entry, "widths", None) or [None]
        for width, factor in zip(widths, getattr(entry, "width_weights", None) or [1.0] * len(widths), strict=True):
            total, weight = totals(towers, batch, entry, number, width)
            loss = loss + factor * entry.coefficient * total / weight  # type: ignore[attr-defined]
    towers.zero_grad()
    loss.backward()
    return float(loss.detach()), gradient(towers)


def with_learned(towers: nn.Module, entries: list[Part]) -> nn.Module:
    """Towers that have what the objectives learn, in double precision; the same ones where that is nothing."""
    starts = {f"{number}_{name}": start for number, entry in enumerate(entries)
              for name, start in entry.learns.items()}  # type: ignore[attr-defined]  # fmt: skip
    if not starts:
        return towers
    towers = copy.deepcopy(towers)
    numbers = {name: nn.Parameter(torch.tensor([start], dtype=torch.float64)) for name, start in starts.items()}
    towers.learned = nn.ParameterDict(numbers)
    return towers


ABOUT_TERMS = {"name", *TERM}  # keys that no objective knows


def totals(
    towers: nn.Module, batch: dict[str, Any], entry: Part, number: int = 0, width: int | None = None
) -> tuple[Tensor, Tensor]:
    """Numerator and denominator of one term over a block; vectors that are cut have length one."""
    question_QD, passage_PD = towers(question=batch["question"], passage=batch["passage"])
    if width is not None:
        question_QD, passage_PD = (
            torch.stack([vector_D[:width] / vector_D[:width].square().sum().sqrt() for vector_D in vectors])
            for vectors in (question_QD, passage_PD)
        )
    function = objectives.load(entry.name, **entry.model_dump(exclude=ABOUT_TERMS))
    if entry.learns:  # type: ignore[attr-defined]
        own = {name: towers.learned[f"{number}_{name}"] for name in entry.learns}  # type: ignore[attr-defined, index]
        function = partial(function, learned=own)
    part: dict[str, Any] = _part(batch, entry.columns)  # type: ignore[attr-defined]
    against, hardness = entry.against, entry.hardness  # type: ignore[attr-defined]
    if entry.view == "positive":  # type: ignore[attr-defined]
        return _positive_view(function, question_QD, passage_PD, part, against != ["questions"])
    if against is None and hardness is None:
        return _query_view(function, question_QD, passage_PD, part)
    return _against_view(entry, function, question_QD, passage_PD, batch, part)


def _part(batch: dict[str, Any], columns: str) -> dict[str, Any]:
    """The batch with the cells alone that a term with these columns looks at."""
    if columns == "all":
        return batch
    negatives = torch.where(batch["own_QP"], columns == "own", columns == "others") & batch["negatives_QP"]
    return {**batch, "positives_QP": batch["positives_QP"] & batch["own_QP"], "negatives_QP": negatives}


def _query_view(function: Any, question_QD: Tensor, passage_PD: Tensor, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
    names = ("teacher_QP", "live_QP", "lexical_QP", "grades_QP", "ranks_QP")
    targets = {name: batch[name] for name in names if name in batch}
    scores_QP = question_QD @ passage_PD.T
    sum_Q, weight_Q = function(scores_QP, batch["positives_QP"], batch["negatives_QP"], width=WIDTH, **targets)
    return sum_Q.sum(), weight_Q.sum()


def _against_view(
    entry: Any, function: Any, question_QD: Tensor, passage_PD: Tensor, batch: dict[str, Any], part: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """Row by row: its passages, harder where wanted; other questions; what its positives are compared with."""
    words, hardness = entry.against or ["passages"], entry.hardness
    positive, negative, own = (batch[name].tolist() for name in ("positives_QP", "negatives_QP", "own_QP"))
    total, weight = question_QD.new_zeros(()), question_QD.new_zeros(())
    for row, vector_D in enumerate(question_QD):
        cells: list[tuple[Tensor, int]] = []  # score, and 1: positive, 0: negative
        ours = {p for p, is_one in enumerate(positive[row]) if is_one}
        for p, passage_D in enumerate(passage_PD):
            score = vector_D @ passage_D
            if part["positives_QP"][row, p]:
                cells.append((score, 1))
            elif part["negatives_QP"][row, p]:
                wanted = hardness is not None and hardness.of in ("all", "drawn" if own[row][p] else "others")
                more = hardness.strength * entry.divisor(len(vector_D)) * float(score) if wanted else 0.0
                cells.append((score + more, 0))
        for other in range(len(positive)) if "questions" in words else ():
            theirs = {p for p, is_one in enumerate(positive[other]) if is_one}
            apart = all(negative[other][p] for p in ours) and all(negative[row][p] for p in theirs)
            if ours and theirs and apart:
                cells.append((vector_D @ question_QD[other], 0))
        for p, passage_D in enumerate(passage_PD) if {"copassages", "copassages_of_others"} & set(words) else ():
            if ours and negative[row][p] and not ("copassages_of_others" in words and own[row][p]):
                cells.append((sum(passage_PD[o] @ passage_D for o in ours) / len(ours), 0))
        if not any(kind for _, kind in cells):
            continue
        scores_1C = torch.stack([score for score, _ in cells])[None]
        positives_1C = torch.tensor([[kind == 1 for _, kind in cells]])
        sum_1, weight_1 = function(scores_1C, positives_1C, ~positives_1C, width=WIDTH)
        total, weight = total + sum_1[0], weight + weight_1[0]
    return total, weight


def _positive_view(
    function: Any, question_QD: Tensor, passage_PD: Tensor, batch: dict[str, Any], passages: bool = True
) -> tuple[Tensor, Tensor]:
    """PAIR's rows one by one: a positive, its question, the other questions, passages that are nobody's positive."""
    positives_QP, negatives_QP = batch["positives_QP"].tolist(), batch["negatives_QP"].tolist()
    total, weight = question_QD.new_zeros(()), question_QD.new_zeros(())
    for row, positives in enumerate(positives_QP):
        for column, is_positive in enumerate(positives):
            if not is_positive:
                continue
            others = [question_QD[q] for q in range(len(positives_QP)) if negatives_QP[q][column]]
            free = [p for p in range(len(positives)) if not any(line[p] for line in positives_QP)]
            others += [passage_PD[p] for p in free if negatives_QP[row][p] and passages]
            scores_1C = (torch.stack([question_QD[row], *others]) @ passage_PD[column])[None]
            target_1C = torch.arange(scores_1C.shape[1])[None] == 0
            sum_1, weight_1 = function(scores_1C, target_1C, ~target_1C, width=WIDTH)
            total, weight = total + sum_1[0] / sum(positives), weight + weight_1[0] / sum(positives)
    return total, weight


def term(name: str, **options: Any) -> Part:
    """An entry of a recipe's `objective`."""
    part: Part = ENTRY.validate_python({"name": name, **options})
    return part


def label(name: str, **options: Any) -> Part:
    """An entry of a recipe's `labels`."""
    part: Part = LABEL.validate_python({"name": name, **options})
    return part


def guarded(
    towers: nn.Module, batch: dict[str, Any], by: str, than: str, absolute: float | None = None, share: float = 1.0
) -> dict[str, Any]:
    """The batch without the negatives that the label `guard` takes out, cell by cell."""
    with torch.no_grad():
        question_QD, passage_PD = towers(question=batch["question"], passage=batch["passage"])
    scores = (question_QD @ passage_PD.T if by == "self" else batch["live_QP"]).tolist()
    negatives_QP = batch["negatives_QP"].clone()
    for row, line in enumerate(scores):
        own = [score for score, is_own in zip(line, batch["positives_QP"][row].tolist(), strict=True) if is_own]
        if not own:
            continue
        level = {"min": min(own), "mean": sum(own) / len(own), "max": max(own)}[than]
        limit = level + absolute if absolute is not None else level - (1 - share) * abs(level)
        for column, score in enumerate(line):
            negatives_QP[row, column] &= score <= limit
    return {**batch, "negatives_QP": negatives_QP}


@cache
def variants(name: str) -> tuple[Part, ...]:
    """Every valid combination of an objective's choices, and each once more with other numbers."""
    fields = {key: field.annotation for key, field in catalogue.params("objectives", name).model_fields.items()}
    choices = {key: _choices(kind) for key, kind in fields.items() if _choices(kind)}
    numbers = {key: number for key, kind in fields.items() if (number := _number(kind)) is not None}
    return tuple(_valid(catalogue.params("objectives", name), name, choices, numbers))


@cache
def covering(name: str) -> tuple[Part, ...]:
    """A few of them, in which any two values of two choices meet that meet in any of them; and the last one."""
    pairs = {part: set(itertools.combinations(sorted(_chosen(part), key=str), 2)) for part in variants(name)}
    found, missing = [variants(name)[-1]], set().union(*pairs.values())
    while missing:
        found.append(max(pairs, key=lambda part: len(pairs[part] & missing)))
        missing -= pairs[found[-1]]
    return tuple(dict.fromkeys(found))


def settled(name: str) -> tuple[Part, ...]:
    """Of these, the ones that learn no number of their own and need no grades, where there are such."""
    found = covering(name)
    plain = [part for part in found if not part.learns and "grades_QP" not in getattr(part, "needs", ())]  # type: ignore[attr-defined]
    return tuple(plain) or found


def _chosen(part: Part) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in part.model_dump().items() if not isinstance(value, float)]


def _valid(
    model: type[Parameters], name: str, choices: dict[str, tuple[Any, ...]], numbers: dict[str, float]
) -> Iterator[Part]:
    for values in itertools.product(*choices.values()):
        options = dict(zip(choices, values, strict=True))
        if not _accepts(model, options):
            continue
        yield term(name, **options)
        for key, number in numbers.items():
            if _accepts(model, options | {key: number}):
                options[key] = number
        yield term(name, **options)


def _accepts(model: type[Parameters], options: dict[str, Any]) -> bool:
    try:
        model(**options)
    except ValidationError:
        return False
    return True


def _choices(kind: Any) -> tuple[Any, ...]:
    if typing.get_origin(kind) is typing.Literal:
        return typing.get_args(kind)
    return (False, True) if kind is bool else ()


def _number(kind: Any) -> float | int | None:
    """Other than any default; None for what is not a number."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType, typing.Annotated):
        return next((number for part in typing.get_args(kind) if (number := _number(part))), None)
    return {float: math.sqrt(0.5), int: 2}.get(kind)
