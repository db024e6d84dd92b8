"""`draw.block: as_drawn` against what DPR's description says: every question brings its passages, copies are no less.

The loss is written down from that description: the passages of a step one question after the other, a score of every
question with each of them, cross entropy at the place of the question's own positive. For the second paper (arXiv
2602.12727) it is that of JointLH, whose positives are a question's own places.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mpr.batches import relations
from mpr.batches.collate import Collator
from mpr.data.tokens import PADDING
from mpr.recipe.keys import Cache
from mpr.runtime.processes import ALONE, Place
from mpr.training import _block
from mpr.training._loss import Terms
from tests.conftest import Examined
from tests.parity import steps
from tests.unit.draws import config, drawer, entry, gold, ragged
from tests.unit.policies import policy_of

pytestmark = [pytest.mark.usefixtures("one_thread")]

WORDS = ("positive", "ignore", "negative")


def brought(collator: Collator, number: int) -> list[tuple[list[int], list[int]]]:
    """Of each row of a draw: its positives and its negatives."""
    block = collator.drawer(number).block
    return [
        (block.positive_N[block.positive_row_N == row].tolist(), block.negative_N[block.negative_row_N == row].tolist())
        for row in range(len(block.question_Q))
    ]


def expected_loss(towers: steps.Towers, collator: Collator, number: int) -> Tensor:
    """Mean over questions of: m times the logarithm of all exponentials, less the scores of the own m positives."""
    rows = brought(collator, number)
    columns = [passage for positives, negatives in rows for passage in (*positives, *negatives)]
    sides: Any = collator.questions, collator.passages
    question_QD, _ = towers(question=sides[0].tokens(collator.drawer(number).block.question_Q))
    _, passage_PD = towers(passage=sides[1].tokens(np.array(columns)))
    scores_QP, begin, losses = question_QD @ passage_PD.T, 0, []
    for row, (positives, negatives) in enumerate(rows):
        own = scores_QP[row, begin : begin + len(positives)]
        losses.append(len(positives) * scores_QP[row].logsumexp(0) - own.sum())
        begin += len(positives) + len(negatives)
    return torch.stack(losses).mean()


@pytest.mark.parametrize("m, term", [(1, steps.term("nll")), (3, steps.term("joint_lh", reduce="sum"))])
def test_loss_and_gradient_are_those_of_passages_put_together_question_by_question(
    m: int, term: Any, examined: Examined
) -> None:
    """Without masking. Whole, and in chunks; with one column a passage it is another loss wherever a copy is there."""
    collators = {
        block: steps.collator(policy=steps.UNMASKED, block=block, m=m, rows=8) for block in ("distinct", "as_drawn")
    }
    copies = 0
    for number in range(6):
        expected = expected_loss(towers := steps.Towers(), collators["as_drawn"], number)
        expected.backward()
        found = {}
        for block, collator in collators.items():
            batch = collator([number])
            loss = _block.block_loss(model := steps.Towers(), batch, Terms([term]), ALONE, gather=True).loss
            loss.backward()
            found[block] = float(loss.detach())
            if block == "as_drawn":
                assert found[block] == pytest.approx(float(expected.detach()), rel=1e-12)
                assert steps.relative_difference(steps.gradient(model), steps.gradient(towers)) < 1e-12
                sizes = Cache(questions=3, passages=5)
                _block.cached_step(model := steps.Towers(), batch, Terms([term]), ALONE, sizes, gather=True)
                assert steps.relative_difference(steps.gradient(model), steps.gradient(towers)) < 1e-12
        drawn = Counter(p for positives, negatives in brought(collator, number) for p in (*positives, *negatives))
        copies += sum(count - 1 for count in drawn.values())
        positive_twice = any(drawn[p] > 1 for positives, _ in brought(collator, number) for p in positives)
        assert (abs(found["distinct"] - found["as_drawn"]) > 1e-9) or not positive_twice
    examined(copies, "columns that hold a passage once more", at_least=20)


def word_of(collator: Collator, rows: Any, policy: Any, row: int, place: tuple[int, int, bool], in_batch: bool) -> str:
    """What the rules say of a cell: `place` is who drew the column, its passage, and whether as a positive."""
    step_rows, known = rows
    owner, passage, as_positive = place
    question = step_rows[row]
    if owner == row and as_positive:
        return "positive"
    tiers = dict(known[question])
    counting = {one for one, tier in tiers.items() if tier in steps.TIERS}
    word = "negative"
    if passage in counting:
        word = policy.shared if as_positive and step_rows[owner] != question else policy.siblings
    elif passage in tiers:
        word = policy.doubtful
    else:
        hashes = collator.text_hashes
        if hashes[passage] in {hashes[one] for one in counting}:
            word = policy.duplicates
        elif hashes[passage] in {hashes[one] for one in tiers}:
            word = policy.doubtful
    return "ignore" if word == "negative" and not in_batch and owner != row else word


@pytest.mark.parametrize("in_batch", [True, False])
def test_every_cell_is_what_the_rules_say_of_its_column(in_batch: bool, examined: Examined) -> None:
    seen: Counter[str] = Counter()
    for number in range(27):
        words = [WORDS[number // 3**place % 3] for place in range(3)]
        policy = policy_of(words[0], words[1], words[2], words[number % 2])
        collator = steps.collator(policy=policy, in_batch=in_batch, block="as_drawn", rows=7)
        block = collator.drawer(number).block
        index = collator.drawer.positives
        owner_K, passage_K, tier_K = index.known(np.arange(steps.QUESTIONS))
        known: list[list[tuple[int, str]]] = [[] for _ in range(steps.QUESTIONS)]
        for owner, passage, tier in zip(owner_K.tolist(), passage_K.tolist(), tier_K.tolist(), strict=True):
            counts = tier in relations.tier_codes(steps.TIERS)
            known[owner].append((passage, "gold" if counts else "llm"))
        places = [
            (row, passage, is_positive)
            for row, lists in enumerate(brought(collator, number))
            for is_positive, listed in zip((True, False), lists, strict=True)
            for passage in listed
        ]
        assert block.passage_P.tolist() == [passage for _, passage, _ in places]
        related = collator.relations(collator.drawer(number))
        rows = block.question_Q.tolist(), known
        for row in range(len(rows[0])):
            for column, place in enumerate(places):
                word = word_of(collator, rows, policy, row, place, in_batch)
                cell = related.positives_QP[row, column], related.negatives_QP[row, column]
                assert cell == (word == "positive", word == "negative"), (number, row, place, word)
                assert related.own_QP[row, column] == (place[0] == row)
                seen[word] += 1
    assert min(seen.values()) > 100, seen
    examined(seen.total(), "cells")


def test_a_copy_of_the_own_positive_is_a_negative_and_of_another_passage_no_less() -> None:
    """Two questions of one positive, and a negative of the first that is the positive of a third."""
    known, lists = [gold(1), gold(1), gold(5)], ragged([[5], [8], [9]])
    draws = config({"policy": "first"}, entry(k=1), questions="sequential", block="as_drawn")
    block = drawer(draws, known, {"a": lists}, rows=3)(0).block
    assert block.passage_P.tolist() == [1, 5, 1, 8, 5, 9]
    assert block.drawer_P is not None
    assert block.drawer_P.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("rows", [5, 8])
def test_processes_that_do_not_gather_have_their_own_columns(rows: int, examined: Examined) -> None:
    columns = 0
    for number in range(6):
        whole = steps.collator(block="as_drawn", rows=rows)
        drawn = brought(whole, number)
        each = -(-rows // 2)
        parts = [steps.collator(Place(rank, 2), gather=False, block="as_drawn", rows=rows)([number]) for rank in (0, 1)]
        assert len({len(part["passage_ids"]) for part in parts}) == 1
        for rank, part in enumerate(parts):
            own = drawn[rank * each : (rank + 1) * each]
            passages = [passage for positives, negatives in own for passage in (*positives, *negatives)]
            found = part["passage_ids"].tolist()
            assert found == passages + [PADDING] * (len(found) - len(passages))
            assert part["own_QP"].sum() == len(passages)
            assert not part["negatives_QP"][:, len(passages) :].any()
            columns += len(passages)
    examined(columns, "columns", at_least=100)
