"""The search in every step: who is who among the hits, ranks, gradients, against values and code of other hands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mpr.batches.collate import Collator
from mpr.batches.draw import Drawer, Pairs
from mpr.data.positives import PositiveIndex
from mpr.data.tokens import PADDING
from mpr.recipe.keys_draw import Draw
from mpr.runtime.processes import Place
from mpr.search import faiss_index
from mpr.search.exact import Exact
from mpr.storage.ragged import Ragged
from mpr.training import _block
from mpr.training._fixed_passages import FixedPassages
from mpr.training._loss import Terms
from mpr.training._step_search import StepSearch, _ranks
from tests.conftest import Examined
from tests.parity.steps import Side, relative_difference, term
from tests.unit.policies import policy_of
from tests.unit.vectors_in_memory import brute_force, store_of

CPU = torch.device("cpu")
IGNORED = policy_of("ignore", "ignore", "ignore", "ignore")
WIDTH = 8


def draw(append: str | None, name: str = "self", in_batch: bool = False, **entry: Any) -> Draw:
    negatives = [{"from": name, "weight": "top", "short": "fewer", **(entry or {"all": True})}]
    positives = {"policy": "all", "append": append}
    whole = {"questions": "sequential", "positives": positives, "negatives": tuple(negatives), "in_batch": in_batch}
    return Draw.model_validate(whole)


def collator(
    known: list[list[tuple[int, str]]], passages: int, config: Draw, rows: int | None = None, **changes: Any
) -> Collator:
    """Of questions in their order, with these positives."""
    tables = changes.pop("tables", None)
    drawn = config if tables else config.model_copy(update={"negatives": ()})
    drawer = Drawer(drawn, PositiveIndex.of(known), ("gold",), tables or {}, passages, rows or len(known), 1)
    sides: Any = Side("question", 4), None
    hashes = changes.pop("hashes", np.arange(passages, dtype=np.uint64))
    options: dict[str, Any] = {"questions_only": tables is None, "policy": IGNORED, **changes}
    return Collator(
        drawer=drawer, questions=sides[0], passages=sides[1], text_hashes=hashes, tiers=("gold",), **options
    )


def live(
    known: list[list[tuple[int, str]]],
    passages_ND: np.ndarray,
    depth: int,
    append: str = "if_none_retrieved",
    **more: Any,
) -> StepSearch:
    entry = {key: more.pop(key) for key in ("k", "all") if key in more}
    config = draw(append, in_batch=more.pop("in_batch", False), **entry)
    store = store_of(passages_ND.astype(np.float32), shards=2, seed=5)
    search = Exact.open(store, budget_bytes=1 << 28).search
    made = collator(known, len(passages_ND), config, **more)
    return StepSearch(FixedPassages(store, CPU), search, made, config, "self", depth)


def golds(*rows: tuple[int, ...]) -> list[list[tuple[int, str]]]:
    return [[(passage, "gold") for passage in row] for row in rows]


def step(found: StepSearch, own_OD: Tensor, number: int = 0) -> dict[str, Any]:
    return found(own_OD, found.collator([number]))


def adore(batch: dict[str, Any], own_OD: Tensor, cut: int) -> Tensor:
    """The loss of a step by ADORE's term."""
    options = {"phi": "logistic", "weight": "drr", "ranks": "given", "cut": cut, "reduce": "query_mean"}
    return _block.vector_loss(own_OD, None, batch, Terms([term("pairwise", **options)]), Place(), gather=False).loss


# ---- values


SCORES = np.array([2.0, 1.0, 0.5, 1.5, -1.0])  # of one question with its five passages, the first two positive


@pytest.mark.parametrize("cut, expected", [(5, 0.107624), (3, 0.141620)])
def test_known_values(cut: int, expected: float) -> None:
    """The fixture F1 (scores 2, 1, .5, 1.5, -1) for lambda-weighted reciprocal ranks, found by a search."""
    found = live(golds((0, 1)), SCORES[:, None] * np.eye(1, WIDTH), 5)
    own_OD = torch.eye(1, WIDTH)
    assert float(adore(step(found, own_OD), own_OD, cut)) == pytest.approx(expected, abs=1e-6)


def test_an_appended_positive_weighs_as_the_rank_of_the_negative() -> None:
    """None of the positives is among the two best: a swap is worth 1 / r of the negative."""
    passages_ND = np.array([-1.0, -2.0, 3.0, 1.0, 0.0])[:, None] * np.eye(1, WIDTH)
    found, own_OD = live(golds((0, 1)), passages_ND, 2), torch.eye(1, WIDTH)
    batch = step(found, own_OD)
    assert batch["passage_ids"].tolist() == [0, 1, 2, 3]
    assert batch["ranks_QP"].tolist() == [[0, 0, 1, 2]]
    pairs = [np.log1p(np.exp(n - p)) / rank for p in (-1.0, -2.0) for n, rank in ((3.0, 1), (1.0, 2))]
    assert float(adore(batch, own_OD, 2)) == pytest.approx(float(np.mean(pairs)), rel=1e-6)


# ---- who is who


LINE = np.arange(10.0, 0.0, -1.0)[:, None] * np.eye(1, WIDTH)  # passage 0 scores highest with the first axis


def sets(batch: dict[str, Any], row: int = 0) -> tuple[set[int], set[int]]:
    ids = batch["passage_ids"]
    return (set(ids[batch["positives_QP"][row]].tolist()), set(ids[batch["negatives_QP"][row]].tolist()))


def test_missed_positives(examined: Examined) -> None:
    own_OD, cases = torch.eye(1, WIDTH), 0
    for append, known, positives, retrieved in (
        ("if_none_retrieved", (1, 8), {1}, 1),
        ("if_none_retrieved", (7, 8), {7, 8}, 0),
        ("always", (1, 8), {1, 8}, 1),
        ("always", (0, 1), {0, 1}, 2),
    ):
        batch = step(live(golds(known), LINE, 4, append), own_OD)
        assert sets(batch) == (positives, set(range(4)) - set(known))
        assert batch["counts"]["retrieved"] == retrieved
        cases += 1
    examined(cases, "ways of missing", at_least=4)


def test_k_takes_the_best_and_says_what_is_missing() -> None:
    own_OD = torch.eye(1, WIDTH)
    assert sets(step(live(golds((1,)), LINE, 6, k=3), own_OD)) == ({1}, {0, 2, 3})
    batch = step(live(golds((1, 2)), LINE, 4, k=3), own_OD)
    assert sets(batch) == ({1, 2}, {0, 3})
    assert batch["counts"]["short of self"] == 1
    assert "short of self" not in step(live(golds((1, 2)), LINE, 4), own_OD)["counts"]


def test_known_ones_that_do_not_count_are_no_negatives() -> None:
    """What they are the policy says; also of a copy of a positive under another id."""
    known, own_OD = [[(1, "gold"), (2, "llm")]], torch.eye(1, WIDTH)
    assert sets(step(live(known, LINE, 4), own_OD)) == ({1}, {0, 3})
    promoted = policy_of("ignore", "ignore", "ignore", "positive")
    assert sets(step(live(known, LINE, 4, policy=promoted), own_OD)) == ({1, 2}, {0, 3})
    hashes = np.array([0, 1, 2, 1, *range(4, 10)], dtype=np.uint64)
    assert sets(step(live(known, LINE, 4, hashes=hashes), own_OD)) == ({1}, {0})


def test_hits_of_others_count_only_in_batch() -> None:
    passages_ND = np.concatenate([np.eye(2, WIDTH) * 2, np.eye(2, WIDTH)])  # 0 and 2 for the first question, 1 and 3
    known, own_OD = golds((0,), (1,)), torch.eye(2, WIDTH)
    batch = step(live(known, passages_ND, 2), own_OD)
    assert [sets(batch, row) for row in (0, 1)] == [({0}, {2}), ({1}, {3})]
    batch = step(live(known, passages_ND, 2, in_batch=True), own_OD)
    assert [sets(batch, row) for row in (0, 1)] == [({0}, {1, 2, 3}), ({1}, {0, 2, 3})]
    assert batch["ranks_QP"].tolist() == [[1, 0, 2, 0], [0, 1, 0, 2]]


def test_places_that_hold_nothing_find_nothing() -> None:
    """Three processes, of which this one is not the last: the row that fills the step up brings no passage."""
    found = live(golds((0,), (1,)), LINE, 3, place=Place(0, 3))
    drawn, _ = found.collator.step(0)
    assert drawn.block.question_Q.tolist() == [0, 1, PADDING]
    made = found.found(drawn, np.array([[0, 1, 2], [0, 1, 2], [7, 8, 9]]))
    assert made.block.passage_P.tolist() == [0, 1, 2]
    assert _ranks(made).tolist() == [[1, 2, 3], [1, 2, 3], [0, 0, 0]]


# ---- what learns


def random_world(questions: int = 6, passages: int = 60) -> tuple[list[list[tuple[int, str]]], np.ndarray, Tensor]:
    dice = np.random.default_rng(3)
    known = golds(*(tuple(dice.choice(passages, count, replace=False)) for count in dice.integers(1, 5, questions)))
    passages_ND = dice.standard_normal((passages, WIDTH)).astype(np.float32)
    own_OD = torch.from_numpy(dice.standard_normal((questions, WIDTH)).astype(np.float32)).double()
    return known, passages_ND, own_OD.requires_grad_()


def reference_gradient(known: Any, passages_ND: np.ndarray, own_OD: np.ndarray, depth: int, cut: int) -> np.ndarray:
    """ADORE's step for every question, written down from the paper: search, append, weigh pairs, differentiate."""
    gradient_OD = np.zeros_like(own_OD)
    for row, question in enumerate(own_OD):
        order = np.argsort(-(passages_ND.astype(np.float64) @ question), kind="stable")[:depth].tolist()
        positives = [passage for passage, _ in known[row]]
        listed = order if set(order) & set(positives) else order + positives
        reciprocal = {passage: 1 / place if place <= cut else 0.0 for place, passage in enumerate(listed, start=1)}
        better = [passage for passage in listed if passage in positives]
        worse = [passage for passage in listed if passage not in positives]
        for p in better:
            for n in worse:
                gap_D = passages_ND[p].astype(np.float64) - passages_ND[n]
                weight = abs(reciprocal[p] - reciprocal[n])
                gradient_OD[row] -= weight / (1 + np.exp(gap_D @ question)) * gap_D / (len(better) * len(worse))
    return gradient_OD / len(own_OD)


@pytest.mark.parametrize("depth, cut", [(20, 20), (20, 7), (5, 5)])
def test_a_step_of_adore_by_another_hand(depth: int, cut: int, examined: Examined) -> None:
    known, passages_ND, own_OD = random_world()
    batch = step(live(known, passages_ND, depth), own_OD)
    adore(batch, own_OD, cut).backward()
    expected_OD = reference_gradient(known, passages_ND, own_OD.detach().numpy(), depth, cut)
    assert own_OD.grad is not None
    assert relative_difference(own_OD.grad, torch.from_numpy(expected_OD)) < 1e-12
    examined(int(batch["positives_QP"].sum() * depth), "pairs", at_least=30)
    missed = [row for row, line in enumerate(batch["ranks_QP"]) if not line[batch["positives_QP"][row]].any()]
    assert missed, "a question whose positives were all missed"
    assert depth == 5 or len(missed) < len(known), "and one of which some were found"


def test_pairs_beyond_the_cut_pull_at_nothing() -> None:
    """A positive and a negative that both lie beyond the cut: the gradient on the negative's score is 0."""
    found, own_OD = live(golds((6,)), LINE, 9), torch.eye(1, WIDTH)
    batch = step(found, own_OD)
    scores_QP = (own_OD @ batch["passage_PD"].T).requires_grad_()
    options = {"phi": "logistic", "weight": "drr", "ranks": "given", "cut": 3}
    only = Terms([term("pairwise", **options)]).terms[0].objective
    only(scores_QP, batch["positives_QP"], batch["negatives_QP"], ranks_QP=batch["ranks_QP"])[0].sum().backward()
    assert scores_QP.grad is not None
    assert [bool(each) for each in scores_QP.grad[0]] == [True] * 3 + [False] * 3 + [True] + [False] * 2


def test_hits_are_those_of_the_vectors_of_the_step(examined: Examined) -> None:
    known, passages_ND, own_OD = random_world()
    found, different = live(known, passages_ND, 7), 0
    for turn in range(4):
        moved_OD = own_OD.detach() + turn * torch.randn(own_OD.shape, generator=torch.Generator().manual_seed(turn))
        batch = step(found, moved_OD)
        expected = brute_force(moved_OD.float().numpy(), passages_ND, 7).rows_QK
        for row, hits in enumerate(expected):
            ranked = {
                int(batch["passage_ids"][column]): int(rank) for column, rank in enumerate(batch["ranks_QP"][row])
            }
            there = {passage: rank for passage, rank in ranked.items() if rank}
            assert there == {int(passage): place for place, passage in enumerate(hits, start=1)}
            different += turn > 0 and set(there) != set(
                brute_force(own_OD.detach().float().numpy(), passages_ND, 7).rows_QK[row]
            )
    examined(different, "lists that moved with the vectors", at_least=10)


def test_autocast_does_not_reach_the_search() -> None:
    """Products in 16 bits would find other passages than the bounds of exact search promise."""
    known, passages_ND, own_OD = random_world(passages=300)
    found = live(known, passages_ND, 20)
    expected = step(found, own_OD)
    with torch.autocast("cpu", torch.bfloat16):
        batch = step(found, own_OD)
    assert torch.equal(batch["ranks_QP"], expected["ranks_QP"])


def test_a_table_of_the_same_hits_gives_the_same_step() -> None:
    """CODER with a search in every step and a pair term is LTRe: the hits of the start are those of the first step."""
    known, passages_ND, own_OD = random_world()
    hits = brute_force(own_OD.detach().float().numpy(), passages_ND, 12)
    listed = Pairs(np.repeat(np.arange(len(known)), 12), hits.rows_QK.reshape(-1))
    own = Pairs(*PositiveIndex.of(known).known(np.arange(len(known)))[:2])
    kept = listed.at(~np.isin(listed.keys(), own.keys()))
    offsets = np.concatenate([[0], np.cumsum(kept.count(len(known)))]).astype(np.int64)
    table = Ragged(offsets, {"passage": kept.passage_N, "score": np.zeros(len(kept.row_N), dtype=np.float32)})
    fixed = collator(known, len(passages_ND), draw(None, "run"), tables={"run": table})
    searched = live(known, passages_ND, 12, "always")
    frozen, losses, gradients = searched.passages, [], []
    for batch in (frozen(own_OD, fixed([0])), step(searched, own_OD)):
        own_OD.grad = None
        terms = Terms([term("pairwise", phi="logistic", reduce="query_mean")])
        loss = _block.vector_loss(own_OD, None, batch, terms, Place(), gather=False).loss
        loss.backward()
        losses.append(float(loss.detach()))
        gradients.append(own_OD.grad)
    assert losses[0] == losses[1]
    assert torch.equal(*gradients)


def test_an_index_proposes_and_full_vectors_decide(tmp_path: Path) -> None:
    """LTRe's compressed index: of what it finds, scores and order are those of the vectors themselves."""
    known, passages_ND, own_OD = random_world()
    store = store_of(passages_ND)
    index = faiss_index.build(tmp_path / "index", store, "SQ4", store_digest="tested")
    found = replace(live(known, passages_ND, 9, "always"), search=index.search)
    batch = step(found, own_OD)
    assert torch.equal(batch["passage_PD"], torch.from_numpy(passages_ND)[batch["passage_ids"]])
    scores_QP = (own_OD.float() @ batch["passage_PD"].T).masked_fill(batch["ranks_QP"] == 0, float("-inf"))
    for scores_P, ranks_P in zip(scores_QP, batch["ranks_QP"], strict=True):
        assert ranks_P[scores_P.argsort(descending=True)[:9]].tolist() == list(range(1, 10))
