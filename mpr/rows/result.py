"""The result of one run of a row: its scores question by question, and the receipts of everything that led to them.

`<run>/result.json`; the leaderboard keeps the same bytes. It holds ids, numbers and digests, never a text of a
collection, no path and no name of a person or machine.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mpr import storage
from mpr.errors import DataError, excerpt
from mpr.evaluation.scores import Scores
from mpr.recipe import plan
from mpr.recipe.keys import Recipe
from mpr.rows.receipts import Receipt

FILE = "result.json"
FORMAT = 1
SYSTEMS = ("trained", "published", "untrained", "bm25")
_POINTS = 200  # of a learning curve
_REDO = "restore it, or make the run again"
_KEYS = {
    "format", "row", "system", "seed", "recipe", "environment", "stages", "scores", "curve", "model", "digest",
}  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What one run of one system gave."""

    document: dict[str, Any]

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        system: str,
        receipts: Mapping[str, Receipt],
        scores: Mapping[str, Scores],
        curve: Iterable[Mapping[str, Any]],
        environment: Mapping[str, Any],
    ) -> Result:
        encoded, entries = receipts.get("encode"), list(map(dict, curve))
        step = max(1, math.ceil(len(entries) / _POINTS))
        content = {
            "format": FORMAT,
            "row": recipe.name,
            "system": system,
            "seed": None if system in ("bm25", "published") else int(recipe.training["seed"]),
            "recipe": {
                "digest": plan.digest(recipe),
                "overrides": list(map(_shown, recipe.overrides)),
                "draft": recipe.draft,
                **({"pinned by its maker": list(recipe.pinned_by_maker)} if recipe.pinned_by_maker else {}),
            },
            "environment": dict(environment),
            "stages": {name: _stage(receipt) for name, receipt in receipts.items()},
            "scores": {role: _scores(found, receipts["evaluate"], role) for role, found in scores.items()},
            # all measures, and losses as far as there is room
            "curve": [one for number, one in enumerate(entries) if number % step == 0 or "loss" not in one],
            "model": None
            if encoded is None
            else {
                "width": encoded.facts["width"],
                "parameters": encoded.facts["parameters"],
                "digest": encoded.inputs["model"],
            },
        }
        content = json.loads(json.dumps(content, allow_nan=False))
        return cls({**content, "digest": storage.json_digest(content)})

    @classmethod
    def read(cls, path: Path) -> Result:
        """One that was edited is refused."""
        where = str(path)
        try:
            document = json.loads(Path(path).read_bytes())
        except FileNotFoundError:
            fix = "finish the run with `mpr reproduce` first"
            raise DataError("there is no result", where=where, fix=fix) from None
        except (ValueError, OSError) as error:
            raise DataError(f"cannot be read: {error}", where=where, fix=_REDO) from error
        if not isinstance(document, dict) or set(document) != _KEYS or document["format"] != FORMAT:
            raise DataError("is no result of mpr, or one of another version", where=where, fix=_REDO)
        content = {name: value for name, value in document.items() if name != "digest"}
        if document["digest"] != storage.json_digest(content):
            raise DataError("was edited: its digest does not match what it says", where=where, fix=_REDO)
        if document["system"] not in SYSTEMS or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", document["row"]):
            raise DataError("names no row and system of mpr", where=where, fix=_REDO)
        return cls(document)

    @classmethod
    def of_run(cls, run: Path) -> Result:
        return cls.read(Path(run) / FILE)

    @property
    def digest(self) -> str:
        return str(self.document["digest"])

    @property
    def name(self) -> str:
        """`trained-seed42`, `published`, `untrained-seed42`, `bm25`."""
        seed = self.document["seed"]
        return str(self.document["system"]) + ("" if seed is None else f"-seed{seed}")

    def path_in(self, leaderboard: Path) -> Path:
        return Path(leaderboard) / "results" / str(self.document["row"]) / f"{self.name}.json"

    def to_bytes(self) -> bytes:
        """One line for each list of values, so that a change can be seen."""
        text = json.dumps(self.document, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
        numbers = r"\[\s*((?:[-0-9.e+]+|null)(?:,\s*(?:[-0-9.e+]+|null))*)\s*\]"
        flat = re.sub(numbers, lambda found: "[" + ", ".join(found[1].replace(",", " ").split()) + "]", text)
        return f"{flat}\n".encode()

    def write(self, run: Path) -> None:
        storage.write_file(Path(run) / FILE, self.to_bytes())


def questions_digest(ids: Iterable[str]) -> str:
    """Of the questions that values go over, in their order."""
    return hashlib.sha256(questions_text(ids)).hexdigest()


def questions_text(ids: Iterable[str]) -> bytes:
    return "".join(f"{identifier}\n" for identifier in ids).encode()


def curve(metrics: Path) -> Iterator[dict[str, Any]]:
    """What training logged after each update: losses and measures, not times."""
    if not metrics.exists():
        return
    for number, line in enumerate(metrics.read_bytes().split(b"\n"), start=1):
        if not line:
            continue
        try:
            entry = json.loads(line)
            entry.items()
        except (ValueError, AttributeError, RecursionError) as error:
            what = f"cannot be read: {excerpt(str(error))}"
            raise DataError(what, where=f"{metrics}:{number}", fix="restore it, or make the run again") from error
        times = ("_runtime", "_per_second")
        kept = {
            name: value
            for name, value in entry.items()
            if name in ("step", "loss") or (name.startswith("eval_") and not name.endswith(times))
        }
        if len(kept) > 1:
            yield kept


def _shown(override: str) -> str:
    """Without the folder of a local collection, which is private and changes nothing."""
    key, _, _ = override.partition("=")
    return f"{key}=(a folder)" if key.endswith("folder") else override


def _stage(receipt: Receipt) -> dict[str, Any]:
    content = asdict(receipt)
    found = receipt.environment
    return {
        **{name: content[name] for name in ("inputs", "outputs", "code", "cost", "attempts")},
        **receipt.facts,
        "environment": found["digest"],
        "hardware": hardware(found),
    }


def hardware(environment: Mapping[str, Any]) -> str:
    """What computed it, in words."""
    gpus = [gpu["name"] for gpu in environment.get("torch", {}).get("gpus", [])]
    if gpus:
        return f"{len(gpus)} x {gpus[0]}"
    cpu = environment["cpu"]
    return f"{cpu['usable']} cores of {cpu['model']}"


def _scores(found: Scores, receipt: Receipt, role: str) -> dict[str, Any]:
    summary = found.summary()
    return {
        **{name: summary[name] for name in ("split", "right", "counts", "measures", "by_known_positives")},
        "questions": questions_digest(found.questions),
        "values": {measure: [_plain(value) for value in found.value(measure).tolist()] for measure in found.values},
        "digest": receipt.outputs[f"run/scores/{role}"],
    }


def _plain(value: float) -> float | int | None:
    return None if math.isnan(value) else int(value) if value == int(value) else value
