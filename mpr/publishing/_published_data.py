"""Candidate tables and vectors of a run as data sets on the Hub: the artefacts as they are, with a card of their own.

They are of use to whoever has the same collection: rows are the places of passages and questions in it, so no text of
anybody's collection leaves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mpr import storage
from mpr.errors import DataError
from mpr.publishing.publication import CARD, File, Publication, PushOptions, why_no_row
from mpr.rows.receipts import Receipts
from mpr.rows.result import Result
from mpr.runtime import markdown
from mpr.storage import MANIFEST, Manifest

KINDS = {"candidates": "mine", "vectors": "encode"}  # of an artefact -> stage that left it
_FILE = re.compile(r"(\d{5,}/)?[a-z_]+(\.[a-z_]+)?\.bin|\d{5,}/manifest\.json")
_ABOUT = {
    "candidates": (
        "What the sources of the recipe proposed for every training question. `negatives` may be drawn as negatives; "
        "`removed` was taken out because it is, or may be, a positive: `label` says why. Rows of `offsets.bin` are "
        "questions in the order of the split, and `passage` is the row of a passage in the corpus.",
        "table = mpr.data.candidates.CandidateTable(folder); list(table.rows(0))",
    ),
    "vectors": (
        "Vectors of the corpus and of the evaluation questions. In each shard `rows.bin` has the row of the text, as "
        "64-bit integers, and `vectors.bin` its vector, one after the other.",
        "store = mpr.search.vectors.VectorStore(folder); store.by_row()",
    ),
}


def of_run(options: PushOptions, kind: str) -> Publication:
    """The artefacts of one kind that a finished run left or read, each at the digest that its result names."""
    run, result, receipts = options.run, Result.of_run(options.run), Receipts(options.run, options.home)
    reasons = tuple(why_no_row(result))
    if reasons and not options.draft:
        raise DataError(f"cannot be published: {'; '.join(reasons)}", where=str(run), fix="push with --draft --private")
    outputs = result.document["stages"].get(KINDS[kind], {}).get("outputs", {})
    files: list[File] = []
    found: dict[str, Manifest] = {}
    for place, digest in outputs.items():
        folder = receipts.artefact(place)
        manifest = storage.verify(folder, kind)
        if manifest.digest != digest:
            raise DataError("is another artefact than the result names", where=str(folder), fix="make the run again")
        found[folder.name] = manifest
        files += _files(folder, kind, manifest)
    if not found:
        raise DataError(f"left no {kind}", where=str(run), fix=f"push without --{kind}")
    name = f"{options.repo}-{kind}"
    card = File(CARD, _card(name, kind, result, found, reasons).encode())
    title = f"{kind} of {result.document['row']}, {result.name}, result {result.digest[:12]}"
    return Publication(name, "dataset", title, (*files, card), reasons)


def _files(folder: Path, kind: str, manifest: Manifest) -> Iterator[File]:
    if folder.is_symlink():
        raise DataError("is a link, and links are not published", where=str(folder), fix="put the files there")
    for name in (*manifest.files, MANIFEST):
        if name != MANIFEST and not _FILE.fullmatch(name):
            raise DataError(f"holds {name!r}, which is no part of {kind}", where=str(folder), fix="make it again")
        yield File(f"{kind}/{folder.name}/{name}", folder / name)


def _card(repo: str, kind: str, result: Result, found: dict[str, Manifest], reasons: tuple[str, ...]) -> str:
    from huggingface_hub import DatasetCardData

    data = DatasetCardData(tags=["mpr", "dense-retrieval", kind], viewer=False)
    what, code = _ABOUT[kind]
    draft = ["> **This is a draft.** " + "; ".join(reasons) + "."] if reasons else []
    rows = []
    for name, manifest in found.items():
        size = f"{sum(entry['bytes'] for entry in manifest.files.values()):,}"
        rows.append([f"`{kind}/{name}`", size, _size(manifest.receipt), f"`{manifest.digest}`"])
    document = result.document
    return "\n\n".join(
        [
            f"---\n{data.to_yaml().strip()}\n---",
            f"# {repo}",
            *draft,
            f"{what} Made by `{document['row']}`, {result.name}, of mpr {document['environment']['mpr']}; recipe "
            f"`{document['recipe']['digest']}`, result `{result.digest}`.",
            markdown.table(("folder", "bytes", "holds", "digest"), rows, [" --- "] * 4),
            f"`{code}` reads a folder, and `mpr.storage.verify(folder)` checks every byte of it.\n",
        ]
    )


def _size(receipt: dict[str, Any]) -> str:
    """In the receipt's own words."""
    if "counts" in receipt:
        return ", ".join(f"{count:,} {label.replace('_', ' ')}" for label, count in receipt["counts"].items())
    return f"{receipt['vectors']:,} x {receipt['width']}, {receipt['dtype']}"
