"""Every row once an epoch in every order; steps of clusters hold rows of a cluster, also where epochs meet."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from mpr.batches.draw import RowOrder
from tests.conftest import Examined
from tests.unit.draws import config, drawer, gold, rows_of


def steps_of(order: RowOrder, epochs: int) -> list[list[tuple[int, int]]]:
    """(epoch, row) of each step of the stream that epochs run on in; the last may be short."""
    stream = [(epoch, int(row)) for epoch in range(epochs) for row in order(epoch)]
    return [stream[start : start + order.rows_per_step] for start in range(0, len(stream), order.rows_per_step)]


def test_every_row_comes_once_an_epoch(examined: Examined) -> None:
    dice, count = random.Random(8), 0
    for _ in range(400):
        size, step = dice.randint(1, 60), dice.randint(1, 12)
        cluster_U = np.array([dice.randrange(dice.randint(1, 6)) for _ in range(size)], dtype=np.int32)
        per_step = dice.choice([number for number in range(1, step + 1) if step % number == 0])
        order = RowOrder("cluster", dice.randrange(99), size, step, cluster_U, per_step)
        for epoch in (3, 0, 1, 2):
            assert sorted(order(epoch)) == list(range(size))
            count += size
    examined(count, "rows", at_least=40_000)


def test_whole_steps_are_of_one_cluster_in_every_epoch(examined: Examined) -> None:
    """As many as there can be: what is left of a cluster, and the step that two epochs share, may be mixed."""
    cluster_U = np.array([0] * 23 + [1] * 9 + [2] * 30 + [3] * 5, dtype=np.int32)
    order, whole = RowOrder("cluster", 1, len(cluster_U), 4, cluster_U), Counter[int]()
    for rows in steps_of(order, 20):
        epochs = {epoch for epoch, _ in rows}
        if len(epochs) == 1 and len({int(cluster_U[row]) for _, row in rows}) == 1:
            whole[epochs.pop()] += 1
    possible = 23 // 4 + 9 // 4 + 30 // 4 + 5 // 4
    assert all(possible - 1 <= whole[epoch] <= possible + 1 for epoch in range(20)), whole
    examined(whole.total(), "steps of one cluster", at_least=20 * (possible - 1))


def test_what_is_left_of_clusters_is_anywhere_in_an_epoch() -> None:
    """Three of nine steps are of rows that were left over; if they came last, an epoch would end with the odd ones."""
    cluster_U = np.repeat(np.arange(6, dtype=np.int32), 6)
    order = RowOrder("cluster", 2, 36, 4, cluster_U)
    mixed = Counter[int]()
    for epoch in range(300):
        for place, rows in enumerate(order(epoch).reshape(9, 4)):
            mixed[place] += len(set(cluster_U[rows].tolist())) > 1
    assert mixed.total() == 3 * 300
    assert all(count / 300 == pytest.approx(1 / 3, abs=0.12) for count in mixed.values()), mixed
    assert len(mixed) == 9


def test_steps_of_two_clusters_take_the_same_number_of_each() -> None:
    cluster_U = np.repeat(np.arange(6, dtype=np.int32), 12)
    found = steps_of(RowOrder("cluster", 4, 72, 6, cluster_U, per_step=2), 3)
    parts = [tuple(sorted(Counter(int(cluster_U[row]) for _, row in rows).values())) for rows in found]
    assert set(parts) <= {(3, 3), (6,)}  # both portions may be of one cluster
    assert parts.count((3, 3)) > 20


def test_one_cluster_is_a_shuffle_in_distribution() -> None:
    """Two rows meet in a step as often as in a random order, and each row is anywhere in the epoch."""
    epochs, size, step = 4_000, 12, 4
    meetings = {}
    for name, cluster_U in (("cluster", np.zeros(size, dtype=np.int32)), ("shuffle", None)):
        order = RowOrder(name, 3, size, step, cluster_U)
        places = np.stack([np.argsort(order(epoch)) for epoch in range(epochs)]) // step
        meetings[name] = float((places[:, 2] == places[:, 7]).mean())
        assert np.bincount(places[:, 5]) / epochs == pytest.approx([1 / 3] * 3, abs=0.03)
    assert meetings == pytest.approx(dict.fromkeys(meetings, (step - 1) / (size - 1)), abs=0.03)


def test_orders_differ_between_epochs_and_seeds_and_not_between_calls() -> None:
    cluster_U = np.repeat(np.arange(4, dtype=np.int32), 10)
    orders = {
        (seed, epoch): tuple(RowOrder("cluster", seed, 40, 5, cluster_U)(epoch))
        for seed in (0, 1)
        for epoch in range(3)
    }
    assert len(set(orders.values())) == 6
    same = RowOrder("cluster", 1, 40, 5, cluster_U)
    for epoch in (2, 0, 1, 2, *range(9)):
        assert epoch > 2 or tuple(same(epoch)) == orders[1, epoch]
        same(epoch)


def test_questions_of_a_step_share_a_cluster(examined: Examined) -> None:
    """Through the drawer: clusters are of questions of the split, rows are what is drawn."""
    known = [gold(*range(3 * question, 3 * question + question % 4)) for question in range(40)]
    clusters = np.array([question // 4 % 2 for question in range(40)], dtype=np.int32)
    draw = config(
        {"policy": "one_row_per_positive"}, questions="cluster", clusters={"k": 2, "model": "start", "iterations": 1}
    )
    drawing = drawer(draw, known, rows=5, clusters=clusters)
    assert drawing.rows_per_epoch == sum(map(len, known))
    seen, same = Counter[tuple[int, tuple[int, ...]]](), 0
    for number in range(drawing.rows_per_epoch // 5):
        rows = rows_of(drawing(number))
        seen.update((row.question, row.positives) for row in rows)
        same += len({clusters[row.question] for row in rows}) == 1
    assert seen == Counter((question, (one,)) for question, listed in enumerate(known) for one, _ in listed)
    examined(same, "steps of one cluster", at_least=drawing.rows_per_epoch // 5 - 1)
