"""Any number of processes, and any chunks, give the gradient of one process on the whole step.

Everything is in double precision and compared with a loss written down from the definitions in steps.py, so what is
left is rounding: the bound of 1e-12 leaves no room for a missing term. The issue asks for 1e-5.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from mpr import catalogue
from mpr.data.tokens import PADDING
from mpr.runtime.processes import Place
from tests.conftest import Examined
from tests.parity import jobs, steps
from tests.parity.group import Group

pytestmark = pytest.mark.usefixtures("one_thread")

EXACT = 1e-12
ASKED = 1e-5
OBJECTIVES = catalogue.names("objectives")
SPECS = (*OBJECTIVES, *jobs.SPECS)
WORLDS = (1, 2, 4)


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Group]]:
    found = {world: Group(world, tmp_path_factory.mktemp(f"world{world}")) for world in WORLDS}
    yield found
    for group in found.values():
        group.close()


def _whole(spec: str, number: int = 0, shared: bool = False, **options: Any) -> list[jobs.Answer]:
    towers, batch = steps.Towers(shared=shared), steps.with_targets(steps.collator(**options)([number]))
    if spec in jobs.GUARDS:
        drawn, batch = batch, steps.guarded(towers, batch, **jobs.GUARDS[spec])
        taken = int(drawn["negatives_QP"].sum() - batch["negatives_QP"].sum())
        assert 10 < taken < drawn["negatives_QP"].sum() - 10, (
            f"{taken} cells taken out: the guard must decide something"
        )
    found = [steps.whole_gradient(towers, batch, entries) for entries in jobs.entries_of(spec)]
    return [(loss, gradient.numpy()) for loss, gradient in found]


def _difference(answers: list[list[jobs.Answer]], expected: list[jobs.Answer]) -> float:
    """The largest of any process and any variant, in loss or gradient."""
    worst = 0.0
    for answer in answers:
        for (loss, gradient), (true_loss, true_gradient) in zip(answer, expected, strict=True):
            assert np.abs(true_gradient).max() > 0
            worst = max(worst, abs(loss - true_loss) / max(abs(true_loss), 1e-3))
            worst = max(worst, float(np.abs(gradient - true_gradient).max() / np.abs(true_gradient).max()))
    return worst


def test_the_step_is_torn_apart_in_every_way(examined: Examined) -> None:
    """The conditions that the other tests rely on, looked up in the batches that they use."""
    whole = steps.collator()([0])
    per_row = whole["positives_QP"].sum(dim=1)
    assert len(set(per_row.tolist())) >= 3, "questions with different numbers of positives"
    found = {"duplicates": 0, "siblings": 0, "shared": 0}
    for world in (2, 4):
        batch = steps.collator(Place(0, world))([0])
        questions, passages = len(batch["question_ids"]), len(batch["passage_ids"])
        assert len(whole["question_ids"]) % world or world == 1
        assert (batch["question_ids"] == PADDING).sum() == questions - 5 > 0
        strict = steps.collator(Place(0, world), policy=steps.UNMASKED)([0])
        differs_QP = batch["negatives_QP"] != strict["negatives_QP"]
        owner_Q1 = torch.arange(questions)[:, None] // (questions // world)
        owner_P = torch.arange(passages) // (passages // world)
        assert (differs_QP & (owner_Q1 != owner_P)).sum() > 3, "exceptions that lie across processes"
        for name in found:
            found[name] += batch["counts"][name]
    assert len(whole["passage_ids"]) % 2, "a number of passages that two do not divide"
    assert steps.collator(Place(3, 4))([0])["positives_QP"][6:8].sum() == 0, "a process without positives"
    assert min(found.values()) > 0, found
    examined(sum(found.values()), "exceptions in steps that are dealt out", at_least=10)


@pytest.mark.parametrize("spec", SPECS)
def test_processes_give_the_gradient_of_one(groups: dict[int, Group], spec: str, examined: Examined) -> None:
    expected, worst = _whole(spec), {}
    for world, group in groups.items():
        worst[world] = _difference(group.run(jobs.plain, spec, 0, {}), expected)
    assert max(worst.values()) < EXACT, worst
    examined(len(expected) * len(groups), f"gradients, largest difference {max(worst.values()):.0e}", at_least=3)


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_variant(groups: dict[int, Group], name: str, examined: Examined) -> None:
    spec, worst = f"{name} all", 0.0
    expected = _whole(spec)
    for world, sizes in ((1, (2, 3)), (2, (2, 3)), (4, (1, 4))):
        worst = max(worst, _difference(groups[world].run(jobs.plain, spec, 0, {}), expected))
        worst = max(worst, _difference(groups[world].run(jobs.cached, spec, 0, sizes), expected))
    assert worst < EXACT
    examined(6 * len(expected), f"gradients, largest difference {worst:.0e}", at_least=12)


@pytest.mark.parametrize("shared", [False, True], ids=["two towers", "one tower"])
@pytest.mark.parametrize(
    "options",
    [
        {"rows": 1},
        {"rows": 3},
        {"rows": 8},
        {"rows": 13},
        {"in_batch": False},
        {"policy": steps.UNMASKED},
        {"block": "as_drawn"},
    ],
    ids=lambda options: " ".join(options) + "".join(str(n) for n in options.values() if isinstance(n, int)),
)
def test_any_step(groups: dict[int, Group], options: dict[str, Any], shared: bool, examined: Examined) -> None:
    for number in (1, 2):
        expected = _whole("four terms", number, shared, **options)
        for group in groups.values():
            assert _difference(group.run(jobs.plain, "four terms", number, options, shared), expected) < EXACT
    examined(2 * len(groups), "gradients")


@pytest.mark.parametrize("kind", ["detached", "divided", "multiplied", "own denominators"])
def test_wrong_ways_are_caught(groups: dict[int, Group], kind: str) -> None:
    """The same comparison sees each of them; a step without padding and with equal rows would not see the last."""
    expected = _whole("nll")
    for world in (2, 4):
        assert _difference(groups[world].run(jobs.faulty, kind, "nll", 0), expected) > 100 * ASKED


@pytest.mark.parametrize("spec", SPECS)
def test_chunks_and_processes_together(groups: dict[int, Group], spec: str, examined: Examined) -> None:
    expected, worst = _whole(spec), 0.0
    for world, sizes in ((1, (2, 3)), (2, (2, 3)), (4, (1, 4))):
        worst = max(worst, _difference(groups[world].run(jobs.cached, spec, 0, sizes), expected))
    assert worst < EXACT
    examined(3 * len(expected), f"gradients, largest difference {worst:.0e}", at_least=3)


FROZEN = ((1, (2, 3)), (2, None), (2, (2, 3)), (4, (1, 4)))


@pytest.mark.parametrize("spec", ["four terms", "given ranks", "pair"])
def test_passages_that_stay_give_the_question_tower_its_gradient(
    groups: dict[int, Group], spec: str, examined: Examined
) -> None:
    """Against the definitions, up to the 32 bits in which vectors are kept; and more processes against one."""
    batch = steps.with_targets(steps.collator()([0]))
    found = [steps.whole_gradient(steps.Towers(frozen=True), batch, entries) for entries in jobs.entries_of(spec)]
    expected = [(loss, gradient.numpy()) for loss, gradient in found]
    one = groups[1].run(jobs.frozen, spec, 0, None, "drawn")
    assert _difference(one, expected) < 1e-6
    for world, sizes in FROZEN:
        assert _difference(groups[world].run(jobs.frozen, spec, 0, sizes, "drawn"), one[0]) < EXACT
    examined(len(FROZEN), "ways to compute it", at_least=4)


@pytest.mark.parametrize("kind", ["found", "found by all"])
@pytest.mark.parametrize("spec", ["given ranks", "joint_lh"])
def test_passages_that_the_step_finds_are_the_same_for_any_processes(
    groups: dict[int, Group], spec: str, kind: str
) -> None:
    """Every process knows what all of them found; without gathering it needs its own alone, as nobody else's count."""
    one = groups[1].run(jobs.frozen, spec, 0, None, kind)[0]
    for world, sizes in FROZEN:
        assert _difference(groups[world].run(jobs.frozen, spec, 0, sizes, kind), one) < EXACT
    assert (_difference(groups[2].run(jobs.frozen, spec, 0, None, "apart"), one) < EXACT) == (kind == "found")


@pytest.mark.parametrize("spec", ["joint_lh", "pairwise", "pair"])
def test_without_gathering_rows_meet_their_own_passages_alone(groups: dict[int, Group], spec: str) -> None:
    """One process would get this gradient by ignoring every cell that lies across processes."""
    for world in (2, 4):
        batches = [steps.with_targets(steps.collator(Place(rank, world), gather=False)([0])) for rank in range(world)]
        assert len({tuple(batch["passage"]["input_ids"].shape[:1]) for batch in batches}) == 1
        expected = [_apart(entries, batches) for entries in jobs.entries_of(spec)]
        for sizes in (None, (1, 2)):
            assert _difference(groups[world].run(jobs.apart, spec, 0, sizes), expected) < EXACT


def test_blocks_apart_are_the_rows_of_the_step_with_what_was_drawn_for_them(examined: Examined) -> None:
    tried = 0
    for world in (2, 4):
        for number in range(6):
            step = steps.collator(Place(0, world)).drawer(number).block
            batches = [steps.collator(Place(rank, world), gather=False)([number]) for rank in range(world)]
            rows = [int(row) for batch in batches for row in batch["question_ids"]]
            assert rows == [*step.question_Q.tolist(), *[PADDING] * (-5 % world)]
            for rank, batch in enumerate(batches):
                own = range(rank * len(rows) // world, (rank + 1) * len(rows) // world)
                pairs = [*zip(step.positive_row_N, step.positive_N, strict=True)]
                drawn = {int(passage) for row, passage in pairs if row in own}
                columns = batch["passage_ids"].tolist()
                for row, passage in pairs:
                    if row in own:
                        assert batch["positives_QP"][row - own.start, columns.index(passage)]
                pairs = [*zip(step.negative_row_N, step.negative_N, strict=True)]
                drawn |= {int(passage) for row, passage in pairs if row in own}
                assert [column for column in columns if column != PADDING] == sorted(drawn)
                assert len(batch["passage"]["input_ids"]) == len(columns)
                tried += 1
    examined(tried, "blocks", at_least=36)


def _apart(entries: list[Any], batches: list[dict[str, Any]]) -> jobs.Answer:
    """Every block by itself, encoded apart; numerators and denominators summed over blocks."""
    towers = steps.Towers()
    loss = torch.zeros((), dtype=torch.float64)
    for entry in entries:
        sums = [steps.totals(towers, batch, entry) for batch in batches]
        loss = loss + entry.coefficient * sum(total for total, _ in sums) / sum(weight for _, weight in sums)
    loss.backward()
    return float(loss.detach()), steps.gradient(towers).numpy()


def test_chunks_synchronise_once(groups: dict[int, Group], examined: Examined) -> None:
    tried = 0
    for sizes in ((1, 1), (2, 3), (99, 99)):
        for accumulation, shared in ((1, False), (3, False), (1, True)):
            answers = groups[2].run(jobs.counted, sizes, accumulation, True, shared)
            assert answers == [[1, 1, 1], [1, 1, 1]]
            tried += 3
    noisy = groups[2].run(jobs.counted, (2, 3), 1, False, True)
    assert min(noisy[0]) > 3, "the count must see chunks that synchronise"
    examined(tried, "updates with one all-reduce each")


def test_accumulation(groups: dict[int, Group]) -> None:
    """The mean over steps, whether plain or in chunks."""
    entries, numbers = [steps.term("lse_pair")], [3, 4, 5]
    parts = [steps.whole_gradient(steps.Towers(), steps.collator()([number]), entries) for number in numbers]
    expected = (sum(loss for loss, _ in parts) / 3, sum(gradient for _, gradient in parts).numpy() / 3)
    for sizes in (None, (2, 3)):
        assert _difference(groups[2].run(jobs.accumulated, numbers, sizes), [expected]) < EXACT


@pytest.mark.parametrize("most", [2, 5])
def test_groups_by_length_under_ddp(groups: dict[int, Group], most: int) -> None:
    """Several forwards of an encoder within the one forward of the towers, plain and within chunks."""
    expected = _whole("four terms", 1)
    for world, group in groups.items():
        assert _difference(group.run(jobs.plain, "four terms", 1, {}, False, most), expected) < EXACT
        assert _difference(group.run(jobs.cached, "four terms", 1, (3, 6), most), expected) < EXACT, world


@pytest.mark.slow  # every process opens transformers
def test_texts_in_one_row_under_ddp(groups: dict[int, Group], examined: Examined) -> None:
    """Real encoders, packed, over processes and in chunks, against padded ones on one process."""
    batch, worst = steps.with_targets(steps.collator()([1])), 0.0
    found = [steps.whole_gradient(steps.transformers_of(1), batch, one) for one in jobs.entries_of("four terms")]
    expected = [(loss, gradient.numpy()) for loss, gradient in found]
    for world in (1, 2):
        for sizes in (None, (2, 3)):
            worst = max(worst, _difference(groups[world].run(jobs.packed, "four terms", 1, sizes), expected))
    assert worst < 1e-11
    examined(4, f"steps, largest difference {worst:.0e}")


@pytest.mark.parametrize("sizes", [None, (2, 3)], ids=["plain", "in chunks"])
def test_a_training_is_the_same(groups: dict[int, Group], sizes: tuple[int, int] | None, examined: Examined) -> None:
    """Weights after six updates."""
    updates = 6
    (expected,) = groups[1].run(jobs.several_steps, None, updates)
    for world in (2, 4):
        assert _difference(groups[world].run(jobs.several_steps, sizes, updates), expected) < 1e-11
    examined(2 * updates, "updates")


def test_relations_of_another_share_are_refused(groups: dict[int, Group]) -> None:
    assert all("same share and the same gather" in answer for answer in groups[2].run(jobs.refused))
