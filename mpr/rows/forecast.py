"""What the plan of a finished run predicted, beside what was measured: time and memory of stages, bytes on disk.

A plan predicts seconds of one core of a processor, and hours on GPUs that it knows. What a stage found done already
cost it nothing, so the run to compare is the first of its row in a home. A measured peak is that of the whole process
until then, with its libraries and the pages of mapped files; what is predicted is what a part adds to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from mpr.errors import MprError
from mpr.recipe import plan
from mpr.recipe.plan import Plan
from mpr.rows import verification
from mpr.rows._stages import Row
from mpr.rows.receipts import Receipt, Receipts
from mpr.rows.result import hardware

_BYTES = {  # a line of the plan's disk -> how the place of such an artefact goes on after the folder of its collection
    "texts": "passages",
    "tokens": "passages-tokens-*",
    "BM25 index": "passages-bm25-*",
}


def compared(run: Path, home: Path) -> Iterator[str]:
    """A table of a finished run; one line that says why where its recipe cannot be read any more."""
    try:
        row = verification.opened(run, home)
    except MprError as error:
        yield f"{'predicted':<12}{plan.UNKNOWN}: {error.problems[0]}"
        return
    receipts, made = Receipts(run, home), plan.resolve(row.recipe)
    done = {stage.name: receipt for stage in row.stages() if (receipt := receipts.read(stage.name)) is not None}
    cells = [(name, _predicted(row, made, receipt), _measured(receipt)) for name, receipt in done.items()]
    cells += [(name, _bytes(made.disk.get(name)), _bytes(size)) for name, size in _sizes(row, receipts, done.values())]
    yield f"{'':<12}{'predicted':<34}measured"
    for name, predicted, measured in cells:
        yield f"{name:<12}{predicted:<34}{measured}".rstrip()


def _predicted(row: Row, whole: Plan, receipt: Receipt) -> str:
    """Of a stage: of a core, on the GPU that it ran on, and the most memory."""
    kind, _, of = receipt.stage.partition(" ")
    recipe = next((stage for stage in row.recipe.stages if stage.stage == of), row.recipe)
    own = plan.resolve(recipe) if of else whole
    is_inline = row.dataset.corpus.collection.split(row.recipe.data.train).inline and row.system == "trained"
    parts = {
        "data": ["texts"] if is_inline else ["texts", "tokens"],
        "mine": [name for name in own.host.hours if name == plan.BM25_INDEX or name.startswith("mining")],
        "encode": ["tokens"] if is_inline else [],
        "search": [plan.BM25_INDEX, plan.BM25_BASELINE] if row.system == "bm25" else [],
    }.get(kind, [])
    hours = [own.host.hours[part] for part in parts if part in own.host.hours]
    said = []
    if hours and None not in hours:
        said.append(f"{sum(filter(None, hours)) * 3600:,.1f} s of a core")
    device = hardware(receipt.environment)
    for what, needed in (own.hours or {}).items():
        if what.startswith(f"{kind} on ") and what.rpartition(" ")[2] in device:
            said.append(f"{needed * 3600:,.0f} s")
    memory = [size for name, size in own.host.memory.items() if name in (*parts, " and ".join(parts)) and size]
    said += [_bytes(max(memory))] if memory else []
    if kind == "train" and own.memory is not None and "gpu_peak_bytes" in receipt.cost:
        said.append(f"GPU {_bytes(own.memory.total)}")
    return ", ".join(said) or plan.UNKNOWN


def _measured(receipt: Receipt) -> str:
    cost = receipt.cost
    said = [
        f"{cost['seconds']:,.1f} s",
        f"{cost['cpu_seconds']:,.1f} s of a core",
        f"peak {_bytes(cost['peak_bytes'])}",
    ]
    if "gpu_peak_bytes" in cost:
        said.append(f"GPU {_bytes(cost['gpu_peak_bytes'])}")
    if receipt.attempts > 1:
        said.append(f"the last of {receipt.attempts} attempts")
    return ", ".join(said)


def _sizes(row: Row, receipts: Receipts, done: Iterable[Receipt]) -> Iterator[tuple[str, float]]:
    """What lies on disk of the parts that a plan predicts."""
    places = dict.fromkeys(place for receipt in done for place in receipt.outputs)
    corpus = next((receipts.artefact(place) for place in places if place.endswith("/passages")), None)
    folders = {name: [] if corpus is None else sorted(corpus.parent.glob(like)) for name, like in _BYTES.items()}
    folders["vectors"] = [row.folder / "vectors" / "corpus"]
    for name, found in folders.items():
        sizes = [file.stat().st_size for folder in found for file in folder.rglob("*") if file.is_file()]
        if sizes:
            yield name, float(sum(sizes))


def _bytes(size: float | None) -> str:
    return plan.UNKNOWN if size is None else plan.in_bytes(size)
