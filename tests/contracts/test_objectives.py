"""What every file of mpr/objectives/ owes, whatever it computes. New files are found by listing the folder.

Each file is tried with every valid combination of its choices (read from its `Params`), with its default numbers and
with others, on a block that has every kind of row: one positive, several, none, only positives, only ignored cells.
"""

from __future__ import annotations

import ast
import doctest
import inspect
import itertools
import math
import subprocess
import sys
import textwrap
import types
import typing
from functools import cache
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from mpr import catalogue, objectives
from mpr.errors import MprError

pytestmark = pytest.mark.usefixtures("one_thread")

KINDS = ("+----.-", "++-+--.", "--.----", "+++.+..", ".......", ".+--+--")
WIDTH = 5
SHIPPED = {
    "bce", "joint_lh", "kl", "lse_pair", "nll", "pairwise", "rand1_lh", "sum_marg_lh", "sup_con", "wasserstein",
}  # fmt: skip
GIVEN: dict[str, Any] = {"width": WIDTH, "learned": {"log_scale": torch.tensor([0.3]), "bias": torch.tensor([-0.6])}}


def _choices(annotation: Any) -> tuple[Any, ...]:
    """Every value of a choice; nothing for numbers."""
    if typing.get_origin(annotation) is typing.Literal:
        return typing.get_args(annotation)
    return (False, True) if annotation is bool else ()


def _other_number(annotation: Any) -> float | int | None:
    """A number that is no default, also for `Annotated[int, ...] | None`; None for what is not a number."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        return next((number for part in typing.get_args(annotation) if (number := _other_number(part))), None)
    return {float: 0.75, int: 2}.get(annotation)


@cache
def _variants(name: str) -> tuple[catalogue.Parameters, ...]:
    model = catalogue.params("objectives", name)
    fields = {key: field.annotation for key, field in model.model_fields.items()}
    choices = {key: _choices(annotation) for key, annotation in fields.items() if _choices(annotation)}
    found: list[catalogue.Parameters] = []
    for values in itertools.product(*choices.values()):
        options = dict(zip(choices, values, strict=True))
        if not _is_valid(model, options):
            continue
        found.append(model(**options))
        for key, annotation in fields.items():
            if (number := _other_number(annotation)) is not None and _is_valid(model, options | {key: number}):
                options[key] = number
        found.append(model(**options))
    return tuple(found)


def _is_valid(model: type[catalogue.Parameters], options: dict[str, Any]) -> bool:
    try:
        model(**options)
    except ValidationError:
        return False
    return True


class Block:
    """A relation block with all optional targets; `noise` fills ignored cells, where nothing may matter."""

    def __init__(self, kinds: tuple[str, ...] = KINDS, seed: int = 7, dtype: torch.dtype = torch.float64) -> None:
        random = torch.Generator().manual_seed(seed)
        self.positives_QP = torch.tensor([[kind == "+" for kind in row] for row in kinds])
        self.negatives_QP = torch.tensor([[kind == "-" for kind in row] for row in kinds])
        self.ignored_QP = ~(self.positives_QP | self.negatives_QP)
        shape = self.positives_QP.shape
        self.scores_QP = (3 * torch.randn(shape, generator=random, dtype=torch.float64)).to(dtype)
        grades_QP = torch.randint(0, 3, shape, generator=random) / 2
        self.targets = {
            "teacher_QP": 3 * torch.randn(shape, generator=random),
            "live_QP": 3 * torch.randn(shape, generator=random),
            "lexical_QP": 3 * torch.randn(shape, generator=random),
            "ranks_QP": torch.rand(shape, generator=random).argsort(dim=1),  # 0 is: not ranked
            "grades_QP": torch.where(self.positives_QP, grades_QP + 1, grades_QP - 1),
        }

    def rows(self, index: Any) -> Block:
        return self._indexed(index, slice(None))

    def columns(self, index: Any) -> Block:
        return self._indexed(slice(None), index)

    def _indexed(self, rows: Any, columns: Any) -> Block:
        taken = object.__new__(Block)
        for key in ("positives_QP", "negatives_QP", "ignored_QP", "scores_QP"):
            setattr(taken, key, getattr(self, key)[rows][:, columns])
        taken.targets = {key: values_QP[rows][:, columns] for key, values_QP in self.targets.items()}
        return taken

    def poisoned(self, value: float) -> Block:
        taken = self._indexed(slice(None), slice(None))
        taken.scores_QP = self.scores_QP.masked_fill(self.ignored_QP, value)
        for key, values_QP in self.targets.items():
            taken.targets[key] = values_QP.to(torch.float64).masked_fill(self.ignored_QP, value)
        return taken


def _run(name: str, params: catalogue.Parameters, block: Block) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sums, weights, and the gradient of the total sum."""
    scores_QP = block.scores_QP.clone().requires_grad_()
    loss = objectives.load(name, **params.model_dump())
    sum_Q, weight_Q = loss(scores_QP, block.positives_QP, block.negatives_QP, **GIVEN, **block.targets)
    assert sum_Q.shape == weight_Q.shape == scores_QP.shape[:1]
    assert not weight_Q.requires_grad
    sum_Q.sum().backward()
    return sum_Q.detach(), weight_Q, scores_QP.grad


NAMES = catalogue.names("objectives")
each_file = pytest.mark.parametrize("name", NAMES)


def _close(left: torch.Tensor, right: torch.Tensor) -> None:
    torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-10)


def test_how_much_is_checked() -> None:
    assert set(NAMES) >= SHIPPED
    counts = {name: len(_variants(name)) for name in NAMES}
    print(f"{len(NAMES)} objectives, {sum(counts.values())} variants: {counts}")
    assert min(counts.values()) >= 2
    assert sum(counts[name] for name in SHIPPED) == 5 * 2 + 2 * (40 + 2 * 2 + 4 + 3 * 2 * 2 + 224)
    for name in SHIPPED:
        model = catalogue.params("objectives", name)
        for key, field in model.model_fields.items():
            tried = {getattr(params, key) for params in _variants(name)}
            assert tried >= set(_choices(field.annotation)), (name, key)
            assert len(tried) > 1, (name, key)


@each_file
def test_describes_itself(name: str) -> None:
    module = catalogue.find("objectives", name)
    first, second, *_ = (module.__doc__ or "").splitlines()
    assert first.endswith(".")
    assert second == ""
    assert "Source" in module.__doc__
    assert "arXiv" in module.__doc__
    tried = doctest.testmod(module)
    assert tried.attempted >= 4
    assert tried.failed == 0


def _documented(model: type[catalogue.Parameters]) -> set[str]:
    """Fields that are followed by a docstring, in the class or one it derives from."""
    found = set()
    for owner in model.__mro__[: model.__mro__.index(catalogue.Parameters)]:
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0].body  # type: ignore[attr-defined]
        for field, note in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(note, ast.Expr) and isinstance(note.value, ast.Constant):
                found.add(field.target.id)  # type: ignore[union-attr]
    return found


@each_file
def test_parameters_are_frozen_documented_and_survive_storage(name: str) -> None:
    model = catalogue.params("objectives", name)
    assert issubclass(model, objectives.Objective)
    assert model.__doc__
    assert _documented(model) - model.__class_vars__ == set(model.model_fields)
    for params in _variants(name):
        assert model.model_validate_json(params.model_dump_json()) == params
        with pytest.raises(ValidationError, match="frozen"):
            params.temperature = 2.0  # type: ignore[attr-defined]
    for bad in (0.0, -1.0, math.inf, math.nan, "1", True):
        with pytest.raises(ValidationError, match="temperature"):
            model(**(_variants(name)[0].model_dump() | {"temperature": bad}))
    with pytest.raises(ValidationError, match="temprature"):
        model(**(_variants(name)[0].model_dump() | {"temprature": 1.0}))
    assert model(**(_variants(name)[0].model_dump() | {"temperature": 2})).temperature == 2.0  # type: ignore[attr-defined]


def test_recipes_are_checked_without_torch() -> None:
    code = (
        "import sys; from mpr import catalogue\n"
        "names = catalogue.names('objectives')\n"
        "for name in names: catalogue.params('objectives', name)\n"
        "print(len(names), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(NAMES)), "False"]


@each_file
def test_order_of_columns_and_of_rows_does_not_matter(name: str) -> None:
    block = Block()
    columns = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    rows = torch.tensor([4, 2, 5, 0, 3, 1])
    for params in _variants(name):
        sum_Q, weight_Q, gradient_QP = _run(name, params, block)
        moved = _run(name, params, block.columns(columns).rows(rows))
        for ours, theirs in zip(moved, (sum_Q, weight_Q, gradient_QP[:, columns]), strict=True):
            _close(ours, theirs[rows])


@each_file
def test_equal_scores_do_not_make_the_order_matter(name: str) -> None:
    block = Block(("+-.+--", "-+-+.-"))
    block.scores_QP = torch.tensor([[1.0, 1.0, 1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]]).double()
    order = torch.tensor([5, 2, 4, 0, 3, 1])
    for params in _variants(name):
        for ours, theirs in zip(_run(name, params, block.columns(order))[:2], _run(name, params, block), strict=False):
            _close(ours, theirs)


@each_file
def test_ignored_cells_have_no_influence_and_no_gradient(name: str) -> None:
    block = Block()
    assert int(block.ignored_QP.sum()) == 14
    for params in _variants(name):
        expected = _run(name, params, block)
        assert (expected[2][block.ignored_QP] == 0).all()
        for poison in (math.nan, math.inf, -math.inf, 1e30):
            for ours, theirs in zip(_run(name, params, block.poisoned(poison)), expected, strict=True):
                assert torch.equal(ours, theirs)


@each_file
def test_columns_that_everyone_ignores_can_be_left_out(name: str) -> None:
    padded = Block(tuple(row + ".." for row in KINDS))
    for params in _variants(name):
        sum_Q, weight_Q, gradient_QP = _run(name, params, padded)
        without = _run(name, params, padded.columns(slice(7)))
        for ours, theirs in zip((sum_Q, weight_Q, gradient_QP[:, :7]), without, strict=True):
            _close(ours, theirs)


@each_file
def test_rows_without_a_positive_are_harmless(name: str) -> None:
    block = Block()
    empty, full = torch.tensor([2, 4]), torch.tensor([0, 1, 3, 5])
    for params in _variants(name):
        with torch.autograd.set_detect_anomaly(True):  # no NaN inside either, which a mask would hide
            sum_Q, weight_Q, gradient_QP = _run(name, params, block)
        assert (sum_Q[empty] == 0).all()
        assert (weight_Q[empty] == 0).all()
        assert (gradient_QP[empty] == 0).all()
        for ours, theirs in zip(_run(name, params, block.rows(full)), (sum_Q, weight_Q, gradient_QP), strict=True):
            _close(ours, theirs[full])
        alone = _run(name, params, block.rows(empty))
        assert all((values == 0).all() for values in alone)
        assert _run(name, params, block.rows(torch.tensor([], dtype=torch.long)))[0].shape == (0,)


@each_file
def test_rows_without_negatives_are_finite(name: str) -> None:
    block = Block(("++", "+.", "+++"[:2]))
    for params in _variants(name):
        sum_Q, weight_Q, gradient_QP = _run(name, params, block)
        assert torch.isfinite(torch.cat([sum_Q, weight_Q, gradient_QP.flatten()])).all()


@each_file
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_scores_stay_finite(name: str, dtype: torch.dtype) -> None:
    block = Block(dtype=dtype)
    random = torch.Generator().manual_seed(1)
    for params in _variants(name):
        for signs_QP in (
            torch.randint(0, 2, block.scores_QP.shape, generator=random) * 2 - 1,
            torch.where(block.positives_QP, -1, 1),
            torch.where(block.positives_QP, 1, -1),
            torch.ones(block.scores_QP.shape),
            torch.nn.functional.one_hot(torch.arange(6), 7) * 2 - 1,
        ):
            block.scores_QP = (1e4 * signs_QP).to(dtype)
            sum_Q, weight_Q, gradient_QP = _run(name, params, block)
            assert torch.isfinite(sum_Q).all()
            assert torch.isfinite(weight_Q).all()
            assert torch.isfinite(gradient_QP).all()


@each_file
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scores_are_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    block = Block(dtype=dtype)
    exact = Block(dtype=dtype)
    exact.scores_QP = exact.scores_QP.float()
    for params in _variants(name):
        sum_Q, weight_Q, gradient_QP = _run(name, params, block)
        assert sum_Q.dtype == weight_Q.dtype == torch.float32
        assert gradient_QP.dtype == dtype
        expected = _run(name, params, exact)
        assert torch.equal(sum_Q, expected[0])
        assert torch.equal(gradient_QP, expected[2].to(dtype))
    assert _run(name, _variants(name)[0], Block())[0].dtype == torch.float64


def _is_likelihood(name: str, params: Any) -> bool:
    """Objectives that are, with one positive in the row, the cross-entropy of a softmax."""
    if name == "lse_pair":
        return bool(params.negatives == "all")
    if name == "kl":
        return params.target not in ("teacher", "live")
    if name == "pairwise":
        return (params.reduce, params.target, params.pairs) == ("lse", "zero", "labels")
    return name in {"nll", "rand1_lh", "joint_lh", "sum_marg_lh", "sup_con"}


def test_with_one_positive_all_likelihoods_are_cross_entropy() -> None:
    block = Block(("+------", "--+-.-.", "......+", "-.-+-.-"))
    logits_QP = block.scores_QP.masked_fill(block.ignored_QP, -math.inf)
    checked = 0
    for name in SHIPPED:
        for params in _variants(name):
            if not _is_likelihood(name, params):
                continue
            leaf_QP = logits_QP.clone().requires_grad_()
            heat = params.temperature  # type: ignore[attr-defined]
            wanted_Q = block.positives_QP.long().argmax(dim=1)
            expected_Q = torch.nn.functional.cross_entropy(leaf_QP / heat, wanted_Q, reduction="none")
            expected_Q.sum().backward()
            sum_Q, weight_Q, gradient_QP = _run(name, params, block)
            _close(sum_Q, expected_Q.detach())
            _close(weight_Q, torch.ones_like(weight_Q))
            _close(gradient_QP, leaf_QP.grad.nan_to_num())
            checked += 1
    print(f"{checked} variants equal cross-entropy")
    assert checked == 2 + 2 + 8 + 2 + 2 + 12 + 4 + 2


@each_file
def test_gradient_equals_finite_differences(name: str) -> None:
    block = Block(("+-.-", "++--", "--.-"))
    for params in _variants(name)[1::2]:  # every combination of choices, with numbers that are not the defaults
        loss = objectives.load(name, **params.model_dump())

        def sums(scores_QP: torch.Tensor, loss: Any = loss) -> torch.Tensor:
            return loss(scores_QP, block.positives_QP, block.negatives_QP, **GIVEN, **block.targets)[0]

        assert torch.autograd.gradcheck(sums, block.scores_QP.clone().requires_grad_(), fast_mode=False)


@each_file
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1, 1, 1), (2, 4)])
def test_a_split_batch_is_the_whole_batch(name: str, sizes: tuple[int, ...]) -> None:
    """Processes, micro-batches and cached chunks: sums and weights add up, and so do gradients. An objective that says
    that it looks at all rows together is another one on parts of them."""
    block = Block()
    for params in _variants(name):
        if not params.rows_apart:  # type: ignore[attr-defined]
            whole, parts = _run(name, params, block), [_run(name, params, block.rows(one)) for one in ([0, 1], [3, 5])]
            assert whole[1].sum() == pytest.approx(1.0)
            assert abs(whole[0].sum() - sum(part[0].sum() for part in parts) / 2) > 1e-3
            continue
        sum_Q, weight_Q, gradient_QP = _run(name, params, block)
        chunks = [_run(name, params, block.rows(part)) for part in torch.arange(6).split(list(sizes))]
        parts = [torch.cat([chunk[place] for chunk in chunks]) for place in range(3)]
        _close(parts[0].sum() / parts[1].sum(), sum_Q.sum() / weight_Q.sum())
        _close(parts[2] / parts[1].sum(), gradient_QP / weight_Q.sum())


@each_file
def test_a_missing_target_is_refused_by_name_and_no_other_is_needed(name: str) -> None:
    block = Block()
    given = block.targets | GIVEN
    for params in _variants(name):
        needs = getattr(params, "needs", ())
        loss = objectives.load(name, **params.model_dump())
        enough = {key: given[key] for key in needs}
        sum_Q, _ = loss(block.scores_QP, block.positives_QP, block.negatives_QP, **enough)
        assert torch.equal(sum_Q, _run(name, params, block)[0])
        for missing in needs:
            with pytest.raises(MprError, match=missing):
                loss(block.scores_QP, block.positives_QP, block.negatives_QP, **(enough | {missing: None}))


@each_file
def test_misshapen_input_is_refused(name: str) -> None:
    block, params = Block(), _variants(name)[0]
    loss = objectives.load(name, **params.model_dump())
    given = types.MappingProxyType(block.targets | GIVEN)
    for scores_QP, positives_QP, negatives_QP, message in (
        (block.scores_QP, block.positives_QP[:3], block.negatives_QP, "positives_QP has shape"),
        (block.scores_QP, block.positives_QP, block.negatives_QP[:, :3], "negatives_QP has shape"),
        (block.scores_QP[0], block.positives_QP[0], block.negatives_QP[0], "questions by passages"),
        (block.scores_QP, block.positives_QP.long(), block.negatives_QP, "positives_QP is torch.int64"),
        (block.scores_QP.long(), block.positives_QP, block.negatives_QP, "scores_QP is torch.int64"),
    ):
        with pytest.raises(MprError, match=message):
            loss(scores_QP, positives_QP, negatives_QP, **given)
