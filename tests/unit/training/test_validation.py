"""Ranks in the development pool: against a brute-force ranking in 64 bits, whatever the batch and the processes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import EvalPrediction

from mpr.data import tokens
from mpr.data.positives import PositiveIndex
from mpr.data.token_batches import Side
from mpr.errors import DataError
from mpr.models.templates import Template
from mpr.runtime.processes import Place
from mpr.storage.ragged import Ragged
from mpr.training._fit import Measures
from mpr.training._validation import DevPool
from tests.conftest import Examined
from tests.unit.framings import bert

WORDS = ("north", "river", "hill", "town", "salt", "road")
TOKENIZER = bert().backend_tokenizer
WIDTH = 2
DEVICE = torch.device("cpu")


class Exact:
    """Vectors of small whole numbers, made of a text's token ids alone: every score is exact and many are equal."""

    def __init__(self) -> None:
        dice = torch.Generator().manual_seed(2)
        self.table = torch.randint(-2, 3, (TOKENIZER.get_vocab_size(), WIDTH), generator=dice).float()
        self.calls: list[tuple[str, int]] = []

    def __call__(self, question: Any = None, passage: Any = None) -> tuple[Any, Any]:
        made = []
        for name, side in (("question", question), ("passage", passage)):
            if side is not None:
                self.calls.append((name, len(side["input_ids"])))
            made.append(None if side is None else self.vectors(side["input_ids"], side["attention_mask"]))
        return made[0], made[1]

    def vectors(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return (self.table[ids] * mask[:, :, None]).sum(dim=1)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Side, Side]:
    folder, dice = tmp_path_factory.mktemp("pool"), np.random.default_rng(1)

    def side(name: str, count: int, longest: int) -> Side:
        texts = [("", " ".join(dice.choice(WORDS, dice.integers(1, longest)))) for _ in range(count)]
        store = tokens.build(folder / name, texts, TOKENIZER, cap=64, receipt={})
        return Side(store, Template.of(TOKENIZER), 24)

    return side("questions", 40, 5), side("passages", 160, 9)


def labels(seed: int = 3) -> tuple[Ragged, list[Ragged]]:
    """Zero to four positives a question, and candidates of two sources."""
    dice = np.random.default_rng(seed)
    positives = [[(int(p), "gold") for p in dice.choice(160, dice.integers(0, 5), replace=False)] for _ in range(40)]
    sources = []
    for _ in range(2):
        listed = [dice.choice(160, dice.integers(0, 6), replace=False) for _ in range(40)]
        offsets = np.concatenate([[0], np.cumsum([len(each) for each in listed])])
        sources.append(Ragged(offsets, {"passage": np.concatenate(listed).astype(np.int64)}))
    return PositiveIndex.of(positives).counting(("gold",)), sources


def pool(stores: tuple[Side, Side], batch: int = 7, **changes: Any) -> DevPool:
    positives, sources = labels()
    return DevPool.of(*stores, positives, sources, **{"at_most": 25, "each": 3, "batch": batch, **changes})


def brute_force(stores: tuple[Side, Side], at_most: int, each: int) -> tuple[list[int], list[int], int]:
    """Ranks, owners and size of the pool by sorting, one question after the other, in 64 bits."""
    positives, sources = labels()
    model = Exact()
    vectors = []
    for side in stores:
        made = [side.tokens(np.array([row])) for row in range(len(side.store.text))]
        vectors.append([model.vectors(t["input_ids"], t["attention_mask"])[0].double().numpy() for t in made])
    asked = [q for q in range(40) if len(positives.row(q, "passage"))][:at_most]
    members = set()
    for q in asked:
        members |= {int(p) for p in positives.row(q, "passage")}
        for source in sources:
            members |= {int(p) for p in source.row(q, "passage")[:each]}
    ranks, owners = [], []
    for number, q in enumerate(asked):
        order = sorted(members, key=lambda p: (-float(vectors[0][q] @ vectors[1][p]), p))
        for p in positives.row(q, "passage"):
            ranks.append(order.index(int(p)))
            owners.append(number)
    return ranks, owners, len(members)


@pytest.mark.parametrize("at_most, each", [(25, 3), (1, 0), (1000, 100)])
def test_against_sorting(stores: tuple[Side, Side], at_most: int, each: int, examined: Examined) -> None:
    made = pool(stores, at_most=at_most, each=each)
    ranks, owners, size = brute_force(stores, at_most, each)
    assert made.ranks(Exact(), DEVICE).tolist() == ranks
    assert made.owner_N.tolist() == owners
    assert len(made.passage_P) == size
    examined(len(ranks), "ranks", at_least=1)


def test_many_scores_are_equal(stores: tuple[Side, Side]) -> None:
    """The collection would otherwise say nothing about ties."""
    made, model = pool(stores), Exact()
    sides = [side.tokens(rows) for side, rows in zip(stores, (made.question_Q, made.passage_P), strict=True)]
    left, right = (model.vectors(side["input_ids"], side["attention_mask"]) for side in sides)
    own = (left @ right.T)[made.owner_N, made.column_N]
    assert ((left @ right.T)[made.owner_N] == own[:, None]).sum(dim=1).double().mean() > 2


@pytest.mark.parametrize("batch", [1, 2, 7, 64, 1000])
def test_the_batch_changes_nothing(stores: tuple[Side, Side], batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = pool(stores).ranks(Exact(), DEVICE)
    monkeypatch.setattr("mpr.training._validation.CELLS", 1 + 300 * batch)
    model = Exact()
    assert pool(stores, batch).ranks(model, DEVICE).tolist() == expected.tolist()
    assert max(size for _, size in model.calls) <= batch


@pytest.mark.parametrize("processes", [2, 3, 8])
def test_the_processes_change_nothing(
    stores: tuple[Side, Side], processes: int, monkeypatch: pytest.MonkeyPatch, examined: Examined
) -> None:
    """Each process is run alone, its parts are taken down, and the sums are given to all in a second run."""
    monkeypatch.setattr("mpr.training._validation.CELLS", 500)
    expected = pool(stores).ranks(Exact(), DEVICE)
    sums: list[torch.Tensor] = []
    for stage in range(3):  # the sums of questions, of passages, of ranks, each made from the ones before
        parts, calls = [], []
        for rank in range(processes):
            seen: list[torch.Tensor] = []

            def all_reduce(part: torch.Tensor, seen: list[torch.Tensor] = seen) -> None:
                seen.append(part.clone())
                if len(seen) <= len(sums):
                    part.copy_(sums[len(seen) - 1])

            monkeypatch.setattr("mpr.training._validation.distributed.all_reduce", all_reduce)
            model = Exact()
            pool(stores, place=Place(rank, processes)).ranks(model, DEVICE)
            parts.append(seen[stage])
            calls.append(len(model.calls))
        assert len(set(calls)) == 1, "a sharded model needs equally many calls"
        sums.append(torch.stack(parts).sum(dim=0))
    assert sums[2].tolist() == expected.tolist()
    examined(processes, "processes", at_least=2)


def test_measures_and_their_names(stores: tuple[Side, Side]) -> None:
    made = pool(stores, at_most=3, each=2)
    ranks = made.ranks(Exact(), DEVICE)
    measures = Measures(len(made.passage_P))
    found = measures(EvalPrediction(predictions=ranks, label_ids=made.owner_N))
    assert tuple(found) == measures.names
    assert 5 < len(made.passage_P) < 100
    assert "top100" not in found
    first = [ranks[made.owner_N == owner][0] for owner in range(3)]
    assert found["average_rank"] == pytest.approx(np.mean(first))


def test_without_positives_there_is_no_pool(stores: tuple[Side, Side]) -> None:
    nothing = PositiveIndex.of([[(0, "llm")]] * 40).counting(("gold",))
    with pytest.raises(DataError, match="no development question has a positive of a tier that counts"):
        DevPool.of(*stores, nothing, [], at_most=5, each=0, batch=2)
