"""What the processes of tests/parity/test_processes.py are asked to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from mpr.batches.collate import Collator
from mpr.batches.draw import Drawer
from mpr.errors import MprError
from mpr.recipe.keys import Cache
from mpr.recipe.keys_draw import Draw
from mpr.runtime.processes import Place
from mpr.search.exact import Exact
from mpr.training import _block
from mpr.training._fixed_passages import FixedPassages
from mpr.training._loss import Terms
from mpr.training._step_search import StepSearch
from tests.parity import steps
from tests.unit.vectors_in_memory import store_of

Answer = tuple[float, Any]
Sizes = tuple[int, int] | None
SPECS: dict[str, list[dict[str, Any]]] = {
    "four terms": [
        {"name": "lse_pair", "coefficient": 0.5},
        {"name": "pairwise", "phi": "hinge", "coefficient": 0.1, "temperature": 2.0},
        {"name": "bce", "scaling": "none", "reduce": "pair_mean", "view": "positive"},
        {"name": "kl", "target": "teacher"},
    ],
    "pair": [{"name": "nll", "coefficient": 0.9}, {"name": "nll", "coefficient": 0.1, "view": "positive"}],
    "own and others": [
        {"name": "pairwise", "phi": "square", "target": "teacher", "columns": "own"},
        {"name": "pairwise", "phi": "square", "target": "teacher", "columns": "others", "coefficient": 0.75},
    ],
    "positives alone": [{"name": "joint_lh", "view": "positive"}],
    "guarded": [{"name": "lse_pair"}],
    "guarded pair": [{"name": "nll", "coefficient": 0.9}, {"name": "nll", "coefficient": 0.1, "view": "positive"}],
    "guarded by a teacher": [{"name": "sum_marg_lh"}, {"name": "joint_lh", "view": "positive", "coefficient": 0.5}],
    "learned and graded": [
        {"name": "bce", "scaling": "none", "learn": "both", "bias": -1.0, "target": "grades", "highest": 2.0},
        {"name": "bce", "scaling": "none", "learn": "bias", "view": "positive", "coefficient": 0.5},
        {"name": "wasserstein", "coefficient": 3.0},
    ],
    "against": [
        {"name": "lse_pair", "against": ["passages", "questions", "copassages"], "temperature": 0.5},
        {"name": "joint_lh", "against": ["passages", "copassages_of_others"], "coefficient": 0.5},
        {"name": "nll", "view": "positive", "against": ["questions"], "coefficient": 0.25},
    ],
    "harder": [
        {"name": "sum_marg_lh", "hardness": {"strength": 0.5, "of": "drawn"}, "temperature": 0.5},
        {"name": "bce", "scaling": "none", "sqrt_width": True, "hardness": {"strength": 0.2, "of": "all"}},
        {
            "name": "nll",
            "against": ["passages", "questions"],
            "hardness": {"strength": 0.3, "of": "others"},
            "widths": [5, 3],
        },
    ],
    "cut": [
        {"name": "lse_pair", "widths": [5, 4, 2], "width_weights": [1.0, 0.5, 2.0]},
        {"name": "nll", "view": "positive", "widths": [3], "coefficient": 0.5},
        {"name": "wasserstein", "widths": [4, 3]},
    ],
    "given ranks": [{"name": "pairwise", "phi": "logistic", "weight": "drr", "ranks": "given", "reduce": "query_mean"}],
}

GUARDS: dict[str, dict[str, Any]] = {
    "guarded": {"by": "self", "than": "mean", "absolute": -0.25},
    "guarded pair": {"by": "self", "than": "min", "share": 1.1},
    "guarded by a teacher": {"by": "teacher_live", "than": "max", "absolute": -1.5},
}
"""Specs of which a label takes negatives out in the step, and its keys."""


def labels_of(spec: str) -> list[Any]:
    """The labels of a recipe that act in the step."""
    return [steps.label("guard", **GUARDS[spec])] if spec in GUARDS else []


def entries_of(spec: str) -> list[list[Any]]:
    """Lists of terms to try: one of those above, or variants of the objective of that name, with `all` every one."""
    if spec in SPECS:
        return [[steps.term(**options) for options in SPECS[spec]]]
    name, _, every = spec.partition(" ")
    return [[entry] for entry in (steps.variants(name) if every else steps.covering(name))]


def wrapped(world: int, **options: Any) -> Any:
    """As the trainer has it: DDP with its defaults, towers alone on one process."""
    towers = steps.Towers(**options)
    return DistributedDataParallel(towers) if world > 1 else towers


def step(
    model: Any, batch: dict[str, Any], entries: list[Any], place: Place, sizes: Sizes = None, **options: Any
) -> float:
    """Loss of a step, whose gradient is added to the model's: in chunks if their sizes are given."""
    gather, terms = options.pop("gather", True), _terms(model, entries, options.pop("labels", ()))
    if sizes is not None:
        cache = Cache(questions=sizes[0], passages=sizes[1])
        return float(_block.cached_step(model, batch, terms, place, cache, gather=gather, **options).loss)
    found = _block.block_loss(model, batch, terms, place, gather=gather, completed=options.get("completed"))
    options.get("backward", Tensor.backward)(found.loss)
    return float(found.loss.detach())


def _terms(model: Any, entries: list[Any], labels: Any) -> Terms:
    return Terms(entries, labels, getattr(getattr(model, "module", model), "learned", None), unit=True)


def plain(
    rank: int, world: int, spec: str, number: int, options: dict[str, Any], shared: bool = False, groups: int = 1
) -> list[Answer]:
    """Loss and gradient of a step under DDP, for each list of terms."""
    batch = steps.with_targets(steps.collator(Place(rank, world), **options)([number]))
    return _each(wrapped(world, shared=shared, groups=groups), batch, spec, Place(rank, world), None)


def cached(rank: int, world: int, spec: str, number: int, sizes: tuple[int, int], groups: int = 1) -> list[Answer]:
    """The same in chunks."""
    batch = steps.with_targets(steps.collator(Place(rank, world))([number]))
    return _each(wrapped(world, groups=groups), batch, spec, Place(rank, world), sizes)


def apart(rank: int, world: int, spec: str, number: int, sizes: Sizes) -> list[Answer]:
    """Without gathering."""
    batch = steps.with_targets(steps.collator(Place(rank, world), gather=False)([number]))
    return _each(wrapped(world), batch, spec, Place(rank, world), sizes, gather=False)


def frozen(rank: int, world: int, spec: str, number: int, sizes: Sizes, kind: str) -> list[Answer]:
    """With passages whose vectors are there already: those of a draw, or those that the step finds, where `found by
    all` makes those of other questions negatives too, and `apart` those of other processes are not known."""
    place, gather = Place(rank, world), kind != "apart"
    completed, collator = _completed(place, kind, gather)
    towers = steps.Towers(frozen=True)
    model = DistributedDataParallel(towers) if world > 1 else towers
    answers = _each(model, collator([number]), spec, place, sizes, gather=gather, completed=completed)
    assert towers.passage.forwards == 0
    return answers


def _completed(place: Place, kind: str, gather: bool) -> tuple[Any, Collator]:
    """What brings the passages, and the collator of a world without their texts."""
    base = steps.collator(place, gather=gather)
    with torch.no_grad():
        vectors_PD = steps.Towers()(passage=base.passages.tokens(np.arange(steps.PASSAGES)))[1]  # type: ignore[union-attr]
    store = store_of(vectors_PD.float().numpy(), shards=2, seed=place.rank)
    passages = FixedPassages(store, torch.device("cpu"))
    if kind == "drawn":
        return lambda own_OD, batch: steps.with_targets(passages(own_OD, batch)), replace(base, passages=None)
    positives = {"policy": "all", "append": "if_none_retrieved"}
    entry = {"from": "self", "k": 5, "weight": "top", "short": "fewer"}
    whole = {"questions": "shuffle", "positives": positives, "negatives": (entry,), "in_batch": kind == "found by all"}
    config = Draw.model_validate(whole)
    bare, known = config.model_copy(update={"negatives": ()}), base.drawer.positives
    drawer = Drawer(bare, known, steps.TIERS, {}, steps.PASSAGES, base.drawer.rows_per_step, 3)
    collator = replace(base, drawer=drawer, passages=None, questions_only=True)
    search = Exact.open(store, budget_bytes=1 << 28).search
    return StepSearch(passages, search, collator, config, "self", 8), collator


def _each(
    model: Any,
    batch: dict[str, Any],
    spec: str,
    place: Place,
    sizes: Sizes,
    gather: bool = True,
    completed: Any = None,
) -> list[Answer]:
    found = []
    whole, bare = model, getattr(model, "module", model)
    for entries in entries_of(spec):
        towers = steps.with_learned(bare, entries)
        model = whole
        if towers is not bare:
            model = DistributedDataParallel(towers) if place.world > 1 else towers
        model.zero_grad()
        labels = labels_of(spec)
        loss = step(model, batch, entries, place, sizes, gather=gather, completed=completed, labels=labels)
        found.append((loss, steps.gradient(model).numpy()))
    return found


@contextmanager
def wrong(kind: str, world: int) -> Iterator[None]:
    """The ways in which others get it wrong (or the scale of it), in the place of the right one."""
    right = _block.gathered

    def detached(own_ND: Tensor, rank: int) -> Tensor:
        """Others' passages without a gradient, own ones with one."""
        everyone_PD = right(own_ND.detach(), rank)
        each = len(own_ND)
        return torch.cat([everyone_PD[: rank * each], own_ND, everyone_PD[(rank + 1) * each :]])

    def scaled(factor: float) -> Callable[..., Any]:
        loss = _block.vector_loss

        def changed(*arguments: Any, **options: Any) -> Any:
            found = loss(*arguments, **options)
            return _block.Found(factor * found.loss, found.terms, found.sums, found.seen, found.batch)

        return changed

    def own_weight(part: Any, processes: int) -> Any:
        """Every process divides by its own count."""
        return _block.Sums(part.sum_T.detach(), part.weight_T.detach() * processes)

    replaced = {
        "detached": ("gathered", detached),
        "divided": ("vector_loss", scaled(1 / world)),
        "multiplied": ("vector_loss", scaled(world)),
        "own denominators": ("_over_processes", own_weight),
    }
    with mock.patch.object(_block, *replaced[kind]):
        yield


def faulty(rank: int, world: int, kind: str, spec: str, number: int) -> list[Answer]:
    with wrong(kind, world):
        return plain(rank, world, spec, number, {})


def counted(rank: int, world: int, sizes: tuple[int, int], accumulation: int, quiet: bool, shared: bool) -> list[int]:
    """Gradient all-reduces of three updates in chunks; `quiet` off is what chunks without no_sync would do."""
    model = wrapped(world, shared=shared)
    calls = [0]

    def hook(state, bucket):  # type: ignore[no-untyped-def]  # DDP reads annotations, and not as text
        calls[0] += 1
        return distributed.all_reduce(bucket.buffer(), async_op=True).get_future().then(lambda done: done.value()[0])

    model.register_comm_hook(None, hook)
    collator = steps.collator(Place(rank, world))
    found = []
    for update in range(3):
        calls[0] = 0
        for micro in range(accumulation):
            batch = collator([update * accumulation + micro])
            with (
                nullcontext() if quiet else mock.patch.object(_block, "_unsynchronised", return_value=nullcontext()),
                model.no_sync() if micro < accumulation - 1 else nullcontext(),
            ):
                step(model, batch, [steps.term("nll")], Place(rank, world), sizes)
        found.append(calls[0])
        model.zero_grad()
    return found


def accumulated(rank: int, world: int, numbers: list[int], sizes: Sizes) -> list[Answer]:
    """Several steps, one gradient: each divided by their number, synchronised at the last."""
    model, collator = wrapped(world), steps.collator(Place(rank, world))
    loss = 0.0

    def backward(part: Tensor) -> None:
        (part / len(numbers)).backward()

    for number in numbers:
        with model.no_sync() if number != numbers[-1] else nullcontext():
            entries = [steps.term("lse_pair")]
            loss += step(model, collator([number]), entries, Place(rank, world), sizes, backward=backward)
    return [(loss / len(numbers), steps.gradient(model).numpy())]


def several_steps(rank: int, world: int, sizes: Sizes, updates: int) -> list[Answer]:
    """Plain gradient descent: what is wrong between steps (buffers, buckets, state of DDP) would show here."""
    model, collator = wrapped(world), steps.collator(Place(rank, world))
    loss = 0.0
    for number in range(updates):
        model.zero_grad()
        loss = step(model, collator([number]), [steps.term("joint_lh")], Place(rank, world), sizes)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad
    return [(loss, torch.cat([p.detach().flatten() for p in model.parameters()]).numpy())]


def refused(rank: int, world: int) -> str:
    """A mistake that would otherwise be a wrong loss: the collator's relations are of another place."""
    model = wrapped(world)
    batch = steps.collator()([0])
    try:
        _block.block_loss(model, batch, Terms([steps.term("nll")]), Place(rank, world), gather=True)
    except MprError as error:
        return str(error)
    return ""
