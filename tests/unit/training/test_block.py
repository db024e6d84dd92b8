"""The gradient cache against the plain step: all objectives, any chunks, dropout, precision, adapters, accumulation."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

from mpr import catalogue
from mpr.errors import MprError, RecipeError
from mpr.models import lengths, towers
from mpr.recipe.keys import Cache, Part
from mpr.runtime.processes import Place
from mpr.training import _block
from mpr.training._loss import Terms
from tests.conftest import Examined
from tests.parity import steps
from tests.parity.steps import Towers, gradient, relative_difference, settled, term, whole_gradient
from tests.unit.tiny_models import LORA, batch, published, random_rows, settings, tokenizer_of

pytestmark = [pytest.mark.small, pytest.mark.usefixtures("one_thread")]

ALONE = Place()
SIZES = ((1, 1), (2, 3), (3, 2), (4, 7), (5, 17), (99, 99))
PARTS = [
    term("kl", target="teacher", columns="own"),
    term("pairwise", phi="square", target="teacher", columns="others", coefficient=0.75),
]
PAIR = [term("nll", coefficient=0.9), term("nll", coefficient=0.1, view="positive")]
OBJECTIVES = [pytest.param(list(settled(name)), id=name) for name in catalogue.names("objectives")]


def step_of(number: int = 0) -> dict[str, Any]:
    return steps.with_targets(steps.collator()([number]))


def cached(model: Any, inputs: dict[str, Any], entries: list[Part], sizes: tuple[int, int], **options: Any) -> Any:
    cache = Cache(questions=sizes[0], passages=sizes[1])
    return _block.cached_step(model, inputs, Terms(entries), ALONE, cache, gather=True, **options)


def naive(entry: Part, pieces: int) -> Tensor:
    """Gradient accumulation: pieces of the step one after the other, each with the passages drawn for its own rows."""
    model = Towers()
    for piece in range(pieces):
        inputs = steps.with_targets(steps.collator(Place(piece, pieces), gather=False)([0]))
        found = _block.block_loss(model, inputs, Terms([entry]), ALONE, gather=True)
        (found.loss / pieces).backward()
    return gradient(model)


# ---- exactness


@pytest.mark.parametrize("entries", [*OBJECTIVES, pytest.param(PARTS, id="parts")])
def test_chunks_give_the_gradient_of_the_whole(entries: list[Part], examined: Examined) -> None:
    """In double precision to rounding, for all chunk sizes; in single precision to the 1e-6 that is promised."""
    tried, worst = 0, {torch.float64: 0.0, torch.float32: 0.0}
    inputs = step_of()
    for entry, dtype in itertools.product(entries, worst):
        loss, expected = whole_gradient(Towers(dtype=torch.float64), inputs, [entry])
        for sizes in SIZES if dtype == torch.float64 else SIZES[1:2]:
            model = Towers(dtype=dtype)
            found = cached(model, inputs, [entry], sizes)
            worst[dtype] = max(worst[dtype], relative_difference(gradient(model).double(), expected))
            assert float(found.loss) == pytest.approx(loss, rel=1e-12 if dtype == torch.float64 else 1e-5, abs=1e-6)
            tried += 1
    assert worst[torch.float64] < 1e-13
    assert worst[torch.float32] < 2e-6
    examined(tried, f"gradients, {worst[torch.float64]:.0e} and {worst[torch.float32]:.0e}", at_least=7)


@pytest.mark.parametrize("entries", [*OBJECTIVES, pytest.param(PAIR, id="pair")])
def test_single_precision_equals_the_plain_step(entries: list[Part], examined: Examined) -> None:
    """1e-6 between the two ways, in the same precision."""
    inputs, worst = step_of(3), 0.0
    lists = [entries] if entries is PAIR else [[entry] for entry in entries]
    for each in lists:
        plain, model = Towers(dtype=torch.float32), Towers(dtype=torch.float32)
        _block.block_loss(plain, inputs, Terms(each), ALONE, gather=True).loss.backward()
        cached(model, inputs, each, (2, 3))
        worst = max(worst, relative_difference(gradient(model), gradient(plain)))
    assert worst < 1e-6
    examined(len(lists), f"gradients, largest difference {worst:.0e}")


@pytest.mark.parametrize("entries", OBJECTIVES)
def test_naive_accumulation_fails_the_same_test(entries: list[Part], examined: Examined) -> None:
    inputs = step_of()
    for entry in entries:
        _, expected = whole_gradient(Towers(), inputs, [entry])
        assert relative_difference(naive(entry, 1), expected) < 1e-13
        for pieces in (2, 5):
            assert relative_difference(naive(entry, pieces), expected) > 1e-2
    examined(2 * len(entries), "gradients that are not those of the whole")


@pytest.mark.parametrize("options", [{"rows": 1}, {"rows": 13}, {"in_batch": False}], ids=str)
def test_other_steps_and_shared_towers(options: dict[str, Any], examined: Examined) -> None:
    inputs = steps.with_targets(steps.collator(**options)([2]))
    for shared, entries in itertools.product((False, True), ([term("lse_pair")], PAIR)):
        loss, expected = whole_gradient(Towers(shared=shared), inputs, entries)
        for sizes in SIZES:
            model = Towers(shared=shared)
            assert float(cached(model, inputs, entries, sizes).loss) == pytest.approx(loss, rel=1e-12)
            assert relative_difference(gradient(model), expected) < 1e-13
    examined(4 * len(SIZES), "gradients")


def test_each_text_is_encoded_twice_and_each_chunk_is_one_forward(examined: Examined) -> None:
    inputs = step_of()
    questions, passages = len(inputs["question_ids"]), len(inputs["passage_ids"])
    for size_q, size_p in SIZES:
        model = Towers()
        cached(model, inputs, [term("nll")], (size_q, size_p))
        assert model.question.forwards == 2 * -(-questions // size_q)
        assert model.passage.forwards == 2 * -(-passages // size_p)
        assert (model.question.texts, model.passage.texts) == (2 * questions, 2 * passages)
        assert model.passage.tokens <= 2 * inputs["passage"]["input_ids"].numel()
    assert (questions, passages) == (5, 17), "sizes that most of the chunk sizes do not divide"
    examined(len(SIZES), "pairs of chunk sizes")


def test_chunks_are_cut_to_their_longest_text() -> None:
    inputs, model = step_of(), Towers()
    cached(model, inputs, [term("nll")], (5, 3))
    assert model.passage.tokens < 2 * 0.8 * inputs["passage"]["input_ids"].numel()


# ---- dropout


def _kept_graph(model: Any, inputs: dict[str, Any], entries: list[Part], sizes: tuple[int, int]) -> Tensor:
    """The chunks encoded once, with a graph, and one backward through all of them: what the cache must equal."""
    needed = [lengths.widths(inputs[side]) for side in ("question", "passage")]
    questions, passages = (lengths.chunks(each, size) for each, size in zip(needed, sizes, strict=True))
    question_parts = [model(question=lengths.cut(inputs["question"], rows))[0] for rows in questions[:-1]]
    passage_parts = [model(passage=lengths.cut(inputs["passage"], rows))[1] for rows in passages[:-1]]
    both = model(
        question=lengths.cut(inputs["question"], questions[-1]), passage=lengths.cut(inputs["passage"], passages[-1])
    )
    vectors = [
        lengths.in_order([*parts, last], rows)
        for parts, last, rows in zip((question_parts, passage_parts), both, (questions, passages), strict=True)
    ]
    _block.vector_loss(*vectors, inputs, Terms(entries), ALONE, gather=True).loss.backward()
    return gradient(model)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("shared", [False, True], ids=["two towers", "one tower"])
def test_dropout_is_repeated(sizes: tuple[int, int], shared: bool) -> None:
    inputs, entries = step_of(), [term("joint_lh")]
    model, reference = (Towers(shared=shared, dropout=0.3) for _ in range(2))
    torch.manual_seed(8)
    expected = _kept_graph(reference, inputs, entries, sizes)
    after = torch.get_rng_state()
    torch.manual_seed(8)
    cached(model, inputs, entries, sizes)
    assert relative_difference(gradient(model), expected) < 1e-13
    assert torch.equal(torch.get_rng_state(), after), "the second pass draws nothing new"
    model.zero_grad()
    cached(model, inputs, entries, sizes)
    assert relative_difference(gradient(model), expected) > 1e-2, "the next step draws other numbers"


def test_without_repeating_dropout_the_test_fails() -> None:
    inputs, entries = step_of(), [term("joint_lh")]
    model, reference = (Towers(dropout=0.3) for _ in range(2))
    torch.manual_seed(8)
    expected = _kept_graph(reference, inputs, entries, (2, 3))
    torch.manual_seed(8)
    with mock.patch.object(_block._RandomState, "again", return_value=nullcontext()):
        cached(model, inputs, entries, (2, 3))
    assert relative_difference(gradient(model), expected) > 1e-2


def test_one_chunk_is_the_plain_step_dropout_included() -> None:
    """The plain step on the same texts in the order in which the cache takes them: longest first."""
    inputs, entries = step_of(), [term("nll")]
    model, plain = (Towers(dropout=0.3, dtype=torch.float32) for _ in range(2))
    order = {side: lengths.longest_first(lengths.widths(inputs[side])) for side in ("question", "passage")}
    ordered: dict[str, Any] = {side: lengths.cut(inputs[side], rows) for side, rows in order.items()}
    for name in ("positives_QP", "negatives_QP"):
        ordered[name] = inputs[name][order["question"]][:, order["passage"]]
    torch.manual_seed(8)
    _block.block_loss(plain, ordered, Terms(entries), ALONE, gather=True).loss.backward()
    torch.manual_seed(8)
    cached(model, inputs, entries, (99, 99))
    assert relative_difference(gradient(model), gradient(plain)) < 1e-6


# ---- precision


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision(kind: torch.dtype, examined: Examined) -> None:
    """Under the same autocast the two ways differ by the order of 16-bit sums; both differ from 32 bits by more."""
    for entry in (term("joint_lh"), term("bce", scaling="probability"), term("pairwise", phi="hinge")):
        inputs = step_of()
        _, exact = whole_gradient(Towers(), inputs, [entry])
        plain, model = Towers(dtype=torch.float32), Towers(dtype=torch.float32)
        with torch.autocast("cpu", kind):
            loss = _block.block_loss(plain, inputs, Terms([entry]), ALONE, gather=True).loss
        loss.backward()
        found = cached(model, inputs, [entry], (2, 3), autocast=lambda: torch.autocast("cpu", kind))
        assert found.loss.dtype == torch.float32
        assert float(found.loss) == pytest.approx(float(loss.detach()), rel=1e-6)
        assert relative_difference(gradient(model), gradient(plain)) < 1e-2
        assert 1e-5 < relative_difference(gradient(model).double(), exact) < 5e-2
    examined(3, "objectives")


def test_an_autocast_around_everything_does_no_harm() -> None:
    """Autocast keeps weights that it has cast; those of the first pass have no graph and must not serve the second."""
    inputs, entries = step_of(), [term("nll")]
    model, outside = Towers(dtype=torch.float32), Towers(dtype=torch.float32)
    cached(outside, inputs, entries, (2, 3), autocast=lambda: torch.autocast("cpu", torch.bfloat16))
    with torch.autocast("cpu", torch.bfloat16):
        cached(model, inputs, entries, (2, 3))
    assert len(gradient(model)) == len(gradient(outside)) == sum(p.numel() for p in model.parameters())
    assert relative_difference(gradient(model), gradient(outside)) < 1e-2


def test_a_loss_scaler_scales_only_the_chunks() -> None:
    """The gradient of the vectors is unscaled, so the weights' gradient is scaled once, by what `backward` does."""
    inputs, entries, factor = step_of(), [term("lse_pair")], 2.0**12
    _, expected = whole_gradient(Towers(), inputs, entries)
    model = Towers()
    found = cached(model, inputs, entries, (2, 3), backward=lambda loss: (loss * factor).backward())
    assert relative_difference(gradient(model) / factor, expected) < 1e-13
    assert not found.loss.requires_grad
    scaler = torch.amp.GradScaler("cpu", init_scale=factor)
    real = Towers(dtype=torch.float32)
    optimizer = torch.optim.SGD(real.parameters(), lr=1.0)
    cached(real, inputs, entries, (2, 3), backward=lambda loss: scaler.scale(loss).backward())
    scaler.unscale_(optimizer)
    assert relative_difference(gradient(real).double(), expected) < 2e-6


def test_accumulation_adds_up() -> None:
    entries, numbers = [term("kl", target="labels")], (0, 1, 2)
    expected = sum(whole_gradient(Towers(), step_of(number), entries)[1] for number in numbers) / len(numbers)
    model = Towers()
    for number in numbers:
        cached(model, step_of(number), entries, (2, 3), backward=lambda loss: (loss / len(numbers)).backward())
    assert relative_difference(gradient(model), expected) < 1e-13


# ---- real encoders


def _real(folder: Path, **options: Any) -> tuple[Any, dict[str, Any]]:
    """Towers of the kit on a small BERT with its dropout, and a step for them."""
    tokenizer = tokenizer_of("bert")
    model = towers.build(settings(base=str(folder), **options), tokenizer, 1).train()
    size = tokenizer.get_vocab_size()
    positives_QP = torch.zeros(6, 13, dtype=torch.bool)
    positives_QP[torch.arange(6), torch.arange(6) * 2] = True
    positives_QP[0, 1] = True
    inputs = {
        "question": batch(random_rows(size, 6, 9)),
        "passage": batch(random_rows(size, 13, 20, seed=4)),
        "positives_QP": positives_QP,
        "negatives_QP": ~positives_QP,
    }
    return model, inputs


REAL = {
    "tied": {"share": True},
    "separate": {"share": False, "projection": 12, "normalize": True},
    "lora": {"share": True, "lora": LORA | {"dropout": 0.1}},
    "lora on questions": {"share": False, "lora": LORA | {"towers": "question"}},
    "lora on passages": {"share": False, "lora": LORA | {"towers": "passage"}},
}


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("recomputing", [False, True], ids=["", "recomputing"])
def test_real_towers(tmp_path: Path, name: str, recomputing: bool, examined: Examined) -> None:
    """With dropout, against a graph kept over the same chunks; frozen weights stay without gradient."""
    folder = published(tmp_path / "bert")
    (model, inputs), (reference, _) = _real(folder, **REAL[name]), _real(folder, **REAL[name])
    if recomputing:
        model.activation_checkpointing_enable()
    entries = [term("joint_lh", temperature=0.5)]
    torch.manual_seed(2)
    expected = _kept_graph(reference, inputs, entries, (4, 5))
    torch.manual_seed(2)
    cached(model, inputs, entries, (4, 5))
    assert relative_difference(gradient(model), expected) < 1e-6
    learning = [key for key, parameter in model.named_parameters() if parameter.grad is not None]
    assert learning == [key for key, _ in model.trainable()]
    examined(len(learning), "weights with a gradient", at_least=8)


def test_a_frozen_tower_is_not_encoded_a_second_time(tmp_path: Path) -> None:
    model, inputs = _real(published(tmp_path / "bert"), **REAL["lora on questions"])
    calls = {"question": 0, "passage": 0}

    def count(side: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            calls[side] += 1

        return hook

    model.question.register_forward_hook(count("question"))
    model.passage.register_forward_hook(count("passage"))
    cached(model, inputs, [term("nll")], (2, 2))
    assert calls == {"question": 2 * 3, "passage": 7 + 2}  # to see that it is frozen, and in the call that is of both


# ---- what is found, and what is refused


def test_what_is_found() -> None:
    inputs, entries = step_of(), [term("nll"), term("pairwise", phi="logistic", coefficient=0.5)]
    model = Towers()
    found = _block.block_loss(model, inputs, Terms(entries), ALONE, gather=True)
    alone = [entry.model_copy(update={"coefficient": 1.0}) for entry in entries]
    by_term = [whole_gradient(Towers(), inputs, [entry])[0] for entry in alone]
    assert found.watched.keys() == {"loss_nll", "loss_pairwise"}
    assert [float(value) for value in found.watched.values()] == pytest.approx(by_term, rel=1e-12)
    assert float(found.loss.detach()) == pytest.approx(by_term[0] + 0.5 * by_term[1], rel=1e-12)
    assert found.seen.scores_OP.shape == inputs["positives_QP"].shape
    assert not any(tensor.requires_grad for tensor in (found.seen.own_OD, found.seen.scores_OP, found.pull()))
    in_chunks = cached(model, inputs, entries, (2, 3))
    torch.testing.assert_close(in_chunks.pull(), found.pull(), rtol=1e-12, atol=1e-12)
    assert in_chunks.watched.keys() == found.watched.keys()


def test_a_loss_that_is_not_finite_shows() -> None:
    inputs = step_of()
    inputs["teacher_QP"] = inputs["teacher_QP"] * float("nan")
    for found in (
        _block.block_loss(Towers(), inputs, Terms([term("kl", target="teacher")]), ALONE, gather=True),
        cached(Towers(), inputs, [term("kl", target="teacher")], (2, 3)),
    ):
        assert not torch.isfinite(found.loss)


def test_relations_of_other_shape_are_refused() -> None:
    inputs = step_of()
    inputs["positives_QP"] = inputs["positives_QP"][:, :-1]
    with pytest.raises(MprError, match="same share and the same gather"):
        _block.block_loss(Towers(), inputs, Terms([term("nll")]), ALONE, gather=True)


def test_other_wrappers_are_refused() -> None:
    """DeepSpeed updates the weights at every backward, FSDP's accumulation is not tested: never in silence."""
    engine = type("DeepSpeedEngine", (Towers,), {"__module__": "deepspeed.runtime.engine"})
    cache = Cache(questions=2, passages=3)
    for model, place in ((engine(), ALONE), (Towers(), Place(0, 2)), (torch.nn.DataParallel(Towers()), Place(1, 2))):
        with pytest.raises(RecipeError, match=r"scale\.cache.*under DDP, not with"):
            _block.cached_step(model, step_of(), Terms([term("nll")]), place, cache, gather=True)


def test_other_devices_are_refused() -> None:
    with pytest.raises(RecipeError, match="not on meta"):
        _block._RandomState(torch.device("meta"))
