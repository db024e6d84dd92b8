"""A block larger than a process: shared over processes, encoded in chunks, with the loss and gradient of the whole.

Processes. Each has an equal share of the block's questions and passages to encode, and scores its own questions against
everyone's passages. With the numerator s_r of process r and the denominator w of the whole step, its loss is

    loss_r = processes * s_r / w,      gradient of the step = mean over processes of the gradient of loss_r

which is what DDP's averaging makes of it, because the gradient of a passage vector is summed over the processes that
used it. Without `gather` a process's block holds its own passages only; w is still that of the whole step.

Chunks (gradient cache; Gao et al. 2021, arXiv 2101.06983). All texts are encoded without a graph, the loss is computed
from the vectors, and then each chunk is encoded again, under the same dropout, with the gradient of its vectors pushed
through it. Memory is that of one chunk and all vectors; the price is a second forward. Under DDP only the last chunk
synchronises. It holds a few questions and a few passages, so that both towers take part in that backward.

Shapes: O own questions and N own passages of this process, Q questions and P passages of the block, D dimensions,
T terms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from mpr.errors import MprError, RecipeError
from mpr.models import lengths
from mpr.models.transfer import sent
from mpr.recipe.keys import Cache
from mpr.runtime.processes import Place
from mpr.training import _monitor
from mpr.training._loss import Sums, Terms, targets_of
from mpr.training._seen import Seen

Batch = Mapping[str, Any]
Model = Callable[..., tuple[Any, Any]]
"""Called as model(question=tokens or None, passage=tokens or None); gives the vectors of either side, or None."""
Completed = Callable[[Tensor, Batch], Batch]
"""(vectors of the own questions, batch) -> the batch with what a loss needs besides: the passages of
mpr/training/_fixed_passages.py, the scores of mpr/training/step_teacher.py."""


@dataclass(frozen=True)
class Found:
    """The loss of a step, and what is worth watching in it. The value of `loss` is that of the whole step, the same
    on every process, so all of them stop at one that is not finite; its gradient is this process's part."""

    loss: Tensor
    terms: Terms
    sums: Sums
    seen: Seen
    batch: Batch
    """As the loss saw it: what was not in it before the questions were encoded is there now."""
    more: Mapping[str, Tensor] = field(default_factory=dict)
    """What else is logged of every step."""
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    """The same, counted by this process alone and summed over processes."""

    @property
    def watched(self) -> dict[str, Tensor]:
        """Every term's value over the whole step, before its coefficient, and what else is logged of every step."""
        values = self.terms.values(self.sums).unbind()
        losses = {f"loss_{name}": value for name, value in zip(self.terms.labels, values, strict=True)}
        return {**losses, **self.terms.watched, **self.more}

    def observed(self) -> dict[str, float]:
        """Numbers of this process's questions in one step, for the log; not of every step, as `pull` is not."""
        seen, first = self.seen, self.terms.first
        divisor = first.divisor(seen.own_OD.shape[1]) if first.has_softmax else None
        found = _monitor.observe(seen.scores_OP, seen.positives_OP, seen.negatives_OP, self.pull(), divisor)
        return found if seen.given_OP is not None else {**found, "passage_cosine": _monitor.spread(seen.passage_PD)}

    def pull(self) -> Tensor:
        """Gradient of the loss on `seen.scores_OP`; another pass over the scores, so not for every step."""
        return self.terms.pull(self.seen, self.sums.weight_T)


def block_loss(
    model: Model,
    batch: Batch,
    terms: Terms,
    place: Place,
    *,
    gather: bool,
    completed: Completed | None = None,
) -> Found:
    """Encodes this process's part and computes the loss. The model is called once, as DDP would have it.

    `completed` brings what the collator could not know. Where it is passages whose vectors do not learn, only questions
    are encoded.
    """
    own_OD, own_ND = model(question=batch["question"], passage=batch.get("passage"))
    if completed is not None:
        batch = completed(own_OD, batch)
    return vector_loss(own_OD, own_ND, batch, terms, place, gather=gather)


def vector_loss(
    own_OD: Tensor,
    own_ND: Tensor | None,
    batch: Batch,
    terms: Terms,
    place: Place,
    *,
    gather: bool,
    remembered_O: Tensor | None = None,
) -> Found:
    """The same from vectors. `batch` has the relations of the whole step, or without `gather` of this part.

    Without vectors of own passages those of all passages of the block are in the batch, on every process.
    """
    rank, processes = place.rank, place.world
    together = gather and processes > 1
    passage_PD = batch["passage_PD"] if own_ND is None else gathered(own_ND, rank) if together else own_ND
    expected = ((processes if together else 1) * len(own_OD), len(passage_PD))
    if tuple(batch["positives_QP"].shape) != expected:
        what = f"relations of {tuple(batch['positives_QP'].shape)} questions by passages, vectors for {expected}"
        raise MprError(what, fix="give collator and loss the same share and the same gather")
    seen = Seen(
        own_OD=own_OD,
        passage_PD=passage_PD,
        positives_QP=batch["positives_QP"],
        negatives_QP=batch["negatives_QP"],
        own=slice(rank * len(own_OD), (rank + 1) * len(own_OD)) if together else slice(0, len(own_OD)),
        question_QD=gathered(own_OD, rank) if together and terms.need_all_questions else own_OD,
        targets=targets_of(batch),
        own_QP=batch.get("own_QP"),
        remembered_O=remembered_O,
    )
    return loss_of(seen, batch, terms, processes)


def given_loss(
    scores_QP: Tensor, batch: Batch, terms: Terms, place: Place, completed: Completed | None = None
) -> Found:
    """The loss of the whole step from scores that no two vectors made: those of this process's own block."""
    questions, passages = scores_QP.shape
    own_OD = scores_QP.new_zeros(questions, 0)
    if completed is not None:
        batch = completed(own_OD, batch)
    seen = Seen(
        own_OD=own_OD,
        passage_PD=scores_QP.new_zeros(passages, 0),
        positives_QP=batch["positives_QP"],
        negatives_QP=batch["negatives_QP"],
        own=slice(0, questions),
        targets=targets_of(batch),
        own_QP=batch.get("own_QP"),
        given_OP=scores_QP,
    )
    return loss_of(seen, batch, terms, place.world)


def loss_of(seen: Seen, batch: Batch, terms: Terms, processes: int) -> Found:
    """The loss of the whole step, with the gradient of what this process has seen of it."""
    before, seen = seen.negatives_OP, terms.guarded(seen, _everyones)
    parts = {"cells_guarded": before.sum() - seen.negatives_OP.sum()} if terms.guards else {}
    part = terms(seen)
    whole = _over_processes(part, processes)
    own_loss = terms.total(part.sum_T, whole.weight_T)
    value = terms.total(whole.sum_T, whole.weight_T)
    loss = value + processes * (own_loss - own_loss.detach())
    return Found(loss, terms, whole, _detached(seen), batch, parts=parts)


def _everyones(own_OP: Tensor) -> Tensor:
    """Rows of truth values of all processes, in their order."""
    parts = [torch.empty_like(own_OP, dtype=torch.uint8) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, own_OP.to(torch.uint8).contiguous())
    return torch.cat(parts).bool()


def _over_processes(part: Sums, processes: int) -> Sums:
    """Sums over the whole step, without a graph."""
    both_2T = torch.stack([part.sum_T.detach(), part.weight_T.detach()])
    if processes > 1:
        distributed.all_reduce(both_2T)
    return Sums(both_2T[0], both_2T[1])


def _detached(seen: Seen) -> Seen:
    """For looking at; holds no graph."""
    names = ("own_OD", "passage_PD", "question_QD", "given_OP", "remembered_O")
    parts = {name: getattr(seen, name) for name in names}
    return replace(seen, **{name: part.detach() for name, part in parts.items() if part is not None})


def gathered(own_ND: Tensor, rank: int) -> Tensor:
    """Everyone's vectors in the order of processes, which must all have the same number of them."""
    everyone_PD: Tensor = _Gather.apply(own_ND, rank)  # type: ignore[no-untyped-call]
    return everyone_PD


class _Gather(torch.autograd.Function):
    """All-gather whose gradient is the sum of what every process wants of this one's vectors."""

    @staticmethod
    def forward(context: Any, own_ND: Tensor, rank: int) -> Tensor:
        context.own = slice(rank * len(own_ND), (rank + 1) * len(own_ND))
        own_ND = own_ND.contiguous()
        parts = [torch.empty_like(own_ND) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, own_ND)
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient_PD = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(gradient_PD)
        return gradient_PD[context.own], None


@dataclass(frozen=True)
class _Call:
    """Rows of the own questions and passages that are encoded by one call of the model; None: nothing of that side."""

    question: Sequence[int] | None
    passage: Sequence[int] | None

    def __call__(self, model: Model, batch: Batch) -> tuple[Any, Any]:
        question = None if self.question is None else lengths.cut(batch["question"], self.question)
        passage = None if self.passage is None else lengths.cut(batch["passage"], self.passage)
        return model(question=question, passage=passage)


def cached_step(
    model: Model,
    batch: Batch,
    terms: Terms,
    place: Place,
    cache: Cache,
    *,
    gather: bool,
    completed: Completed | None = None,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    backward: Callable[[Tensor], object] = torch.Tensor.backward,
) -> Found:
    """Forward and backward of a step in chunks; adds to `.grad` what the plain step would.

    `backward` is called once a chunk, with a number whose gradient is the chunk's. It is the place for the loss scaler
    and for the division by accumulation steps: the gradient of the vectors is computed without either, in 32 bits.
    """
    _refuse_wrapper(model, place)
    calls = _calls(batch, cache)

    # All vectors, without a graph, and the state of the random generators before each call
    encoded, states = [], []
    with torch.no_grad():
        for call in calls:
            states.append(_RandomState(batch["question"]["input_ids"].device))
            with autocast():
                encoded.append(call(model, batch))
    torch.clear_autocast_cache()  # of weights cast without a graph, which the second pass must not be given
    sides = []
    for side, rows in enumerate(([call.question for call in calls], [call.passage for call in calls])):
        used = [(vectors[side], part) for vectors, part in zip(encoded, rows, strict=True) if part is not None]
        if used:
            sides.append(lengths.in_order([vectors for vectors, _ in used], [part for _, part in used]))
    own_OD, own_ND = sides[0], sides[1] if len(sides) > 1 else None

    # The loss, and the gradient of the vectors
    ready = batch if completed is None else completed(own_OD, batch)
    leaves = [side.requires_grad_() for side in (own_OD, own_ND) if side is not None]
    with torch.enable_grad():
        found = vector_loss(own_OD, own_ND, ready, terms, place, gather=gather)
    numbers = list(terms.learned.values())
    gradients = torch.autograd.grad(found.loss, [*leaves, *numbers])
    gradients, of_numbers = gradients[: len(leaves)], gradients[len(leaves) :]

    # Each chunk again, with a graph, and the gradient of its vectors sent through it
    constant: set[str] = set()
    for call, state in zip(calls, states, strict=True):
        is_last, name = call is calls[-1], "question" if call.passage is None else "passage"
        if name in constant and not is_last:
            continue
        with nullcontext() if is_last else _unsynchronised(model):
            with state.again(), autocast():
                vectors = call(model, batch)
            parts = [
                (made_ND * gradient_ND[sent(torch.as_tensor(rows), gradient_ND.device)]).sum()
                for made_ND, gradient_ND, rows in zip(vectors, gradients, (call.question, call.passage), strict=False)
                if rows is not None
            ]
            if is_last:
                parts += [(number * wanted).sum() for number, wanted in zip(numbers, of_numbers, strict=True)]
            surrogate = torch.stack(parts).sum()
            if surrogate.requires_grad:
                backward(surrogate)
            else:
                constant.add(name)  # a tower that does not learn needs no second pass
    return replace(found, loss=found.loss.detach())


def _calls(batch: Batch, cache: Cache) -> list[_Call]:
    """Chunks of questions, chunks of passages, and last one of both. The shortest texts come last, so the call that
    holds two chunks is no larger than others."""
    questions = lengths.chunks(lengths.widths(batch["question"]), cache.questions)
    if "passage" not in batch:
        return [_Call(rows, None) for rows in questions]
    passages = lengths.chunks(lengths.widths(batch["passage"]), cache.passages)
    calls = [_Call(rows, None) for rows in questions[:-1]] + [_Call(None, rows) for rows in passages[:-1]]
    return [*calls, _Call(questions[-1], passages[-1])]


def _unsynchronised(model: Any) -> AbstractContextManager[Any]:
    """Gradients stay here until the last chunk."""
    return model.no_sync() if hasattr(model, "no_sync") else nullcontext()


def _refuse_wrapper(model: Any, place: Place) -> None:
    """Only DDP is known to add up chunks and to synchronise once. DeepSpeed would update the weights at each chunk."""
    inner = getattr(model, "_orig_mod", model)
    foreign = place.world > 1 and not isinstance(inner, DistributedDataParallel)
    if foreign or type(inner).__module__.startswith("deepspeed"):
        what = f"the gradient cache works on one process or under DDP, not with {type(inner).__name__}"
        raise RecipeError(what, key="scale.cache", fix="train with DDP, or remove scale.cache")


class _RandomState:
    """State of the generators that dropout draws from: the CPU's, and that of the device of the batch."""

    def __init__(self, device: torch.device) -> None:
        if device.type not in ("cpu", "cuda"):
            what = f"the gradient cache repeats dropout on CPU and CUDA, not on {device.type}"
            raise RecipeError(what, key="scale.cache", fix="remove scale.cache, or train on another device")
        self._devices = [device] if device.type == "cuda" else []
        self._cpu = torch.get_rng_state()
        self._cuda = [torch.cuda.get_rng_state(each) for each in self._devices]

    @contextmanager
    def again(self) -> Iterator[None]:
        """The same draws once more; afterwards the generators stand where they stood."""
        with torch.random.fork_rng(self._devices):
            torch.set_rng_state(self._cpu)
            for device, state in zip(self._devices, self._cuda, strict=True):
                torch.cuda.set_rng_state(state, device)
            yield


def pair_loss(model: Any, batch: Batch, terms: Terms, place: Place, completed: Completed | None = None) -> Found:
    """Scores the pairs of this process and computes the loss of the whole step. The model is called once."""
    scores_N: Tensor = model(pair=batch["pair"])
    shape = tuple(batch["positives_QP"].shape)
    scores_QP = scores_N.new_zeros(shape[0] * shape[1]).index_copy(0, batch["cell_N"], scores_N).view(shape)
    return given_loss(scores_QP, batch, terms, place, completed)


def late_interaction_loss(
    model: Any, batch: Batch, terms: Terms, place: Place, completed: Completed | None = None
) -> Found:
    """Scores this process's block and computes the loss of the whole step. The model is called once."""
    scores_QP: Tensor = model(question=batch["question"], passage=batch["passage"])
    return given_loss(scores_QP, batch, terms, place, completed)
