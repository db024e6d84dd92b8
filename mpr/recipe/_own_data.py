"""The short form of `data`: files or data sets of one's own, written out as a collection.

```yaml
data: my.jsonl                  # the same as data: {train: my.jsonl}
data:
  train: my.jsonl               # or {file: my.csv, format: columns, columns: {question: q, positives: doc}}
  test: test.jsonl              # without it `holdout` (0.1) of the questions are held out
  dev: dev.jsonl                # a split for `validation`, if there is one
  corpus: corpus.jsonl          # without it the corpus is all texts that occur
```

A file whose format is not written is looked at: its first row says what it is, or it is refused. Instead of `file` a
part may have `dataset: org/name@<commit>`, or a folder that `datasets` saved. What was found is written out, so the
recipe in a run folder does not depend on such a look. Files are looked for from the folder in which mpr is started.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mpr.errors import DataError, nearest
from mpr.formats import hub, recognised
from mpr.formats.columns import SOURCE
from mpr.formats.recognised import Recognised
from mpr.recipe.keys import Data
from mpr.recipe.strict_yaml import Document, Path_

SPLITS = ("train", "dev", "test")
PARTS = (*SPLITS, "corpus")
KEYS = (*PARTS, "holdout", "holdout_seed", "folder")
HOLDOUT = 0.1
MISPLACED = {  # what one might write at the top
    **{key: f"it under data: data.{key}" for key in (*KEYS, "file")},
    **dict.fromkeys(("base", "model"), "towers: {base: ...}"),
    **dict.fromkeys(("epochs", "num_train_epochs"), "training: {num_train_epochs: ...}"),
    **dict.fromkeys(("batch_size", "per_device_train_batch_size"), "training: {per_device_train_batch_size: ...}"),
    "learning_rate": "training: {learning_rate: ...}",
    "positives": "draw: {positives: ...}",
    "negatives": "sources: [bm25], or the negatives of your file: sources: [{name: file, as: negatives}]",
    "loss": "objective: ...",
}
Add = Callable[[Path_, str, str], None]
_COLUMNS_FIX = "say which is which: columns: {question: ..., positives: ...}"


def written_out(document: Document, add: Add) -> tuple[dict[Path_, Any], list[tuple[Path_, Any]]]:
    """Writes a short `data` out in place. Returns values for other keys that follow from the files, and what was
    found out about these, both by their places in the file."""
    for name in [name for name in MISPLACED if name in document.value]:
        add((name,), "unknown key", f"write {MISPLACED[name]}")
    data = document.value.get("data")
    if "data" not in document.value:
        add(("data",), "is missing", "name your file of questions and positives: data: my.jsonl")
    if not isinstance(data, dict) or (isinstance(data.get("corpus"), dict) and "name" in data["corpus"]):
        return {}, []
    known = (*KEYS, *Data.model_fields)
    unknown = [name for name in data if name not in known]
    for name in unknown:
        add(("data", name), "unknown key", nearest(name, known) or f"keys: {', '.join(known)}")
    if unknown:
        return {}, []
    short = {key: data.pop(key) for key in KEYS if key in data}
    if short.get("train") is None:
        add(("data", "train"), "is missing", "name the file of questions and positives: train: my.jsonl")
        return {}, []
    parts = {name: _part(name, short[name], add) for name in PARTS if short.get(name) is not None}
    found = _Found(document, Path(str(short.get("folder") or ".")), add)
    is_hub = [name for name, part in parts.items() if found.is_dataset(part)]
    if is_hub and len(is_hub) < len(parts):
        other = next(name for name in parts if name not in is_hub)
        what, fix = f"is a file and '{is_hub[0]}' is a data set", "bring all of them in one way"
        add(("data", other), what, fix)
        return {}, []
    make = found.rows if is_hub else found.file
    made = {name: make(name, part) for name, part in parts.items()}
    splits = {name: made[name] for name in SPLITS if name in made}
    follows: dict[Path_, Any] = {}
    if "test" in splits and "holdout" in short:
        add(("data", "holdout"), "questions are held out where there is no test", "keep one of the two")
    elif "test" not in splits:
        splits["train"]["holdout"] = short.get("holdout", HOLDOUT)
        found.out += [] if "holdout" in short else [(("data", "holdout"), HOLDOUT)]
        splits["train"] |= {"holdout_seed": short["holdout_seed"]} if "holdout_seed" in short else {}
    document.short |= {("data", "corpus", "splits", name): ("data", name) for name in splits}
    for key in ("holdout", "holdout_seed"):
        document.short["data", "corpus", "splits", "train", key] = ("data", key)
    document.short["data", "corpus", "passages"] = ("data", "corpus")
    document.short["data", "corpus", "folder"] = ("data", "folder")
    corpus: dict[str, Any] = {"name": "hub"} if is_hub else {"name": "local", "folder": found.gathered(made, short)}
    corpus |= {"passages": made["corpus"]} if "corpus" in made else {}
    data["corpus"], data["train"] = {**corpus, "splits": splits}, "train"
    if any((one.get("revision") if is_hub else one.get("sha256")) is None for one in made.values()):
        follows["draft",] = True
    if found.negatives:
        follows["sources",] = [{"name": "file", "as": found.negatives}]
    return follows, found.out


def _part(name: str, value: Any, add: Add) -> dict[str, Any]:
    if isinstance(value, str):
        return {"file": value}
    if isinstance(value, dict) and ("file" in value) != ("dataset" in value):
        return dict(value)
    if isinstance(value, dict) and not {"file", "dataset"} & set(value):
        hint = next(filter(None, (nearest(key, ("file", "dataset")) for key in value)), "")
        add(("data", name), "names neither file nor dataset", hint or f"write {name}: {{file: my.jsonl}}")
    else:
        add(("data", name), "must be a file or a mapping with file or dataset", f"write {name}: my.jsonl")
    return {**(value if isinstance(value, dict) else {}), "file": ""}


class _Found:
    """What the files of a recipe are found to be."""

    def __init__(self, document: Document, folder: Path, add: Add) -> None:
        self.document, self.folder, self.add = document, folder, add
        self.negatives = ""
        """What the lists of negatives in the training file are called; empty: there are none."""
        self.out: list[tuple[Path_, Any]] = []
        """What was found out."""

    def is_dataset(self, part: Mapping[str, Any]) -> bool:
        return "dataset" in part or (bool(part["file"]) and os.path.isdir(self.folder / str(part["file"])))

    def file(self, name: str, part: dict[str, Any]) -> dict[str, Any]:
        """The keys of a file in `data.corpus` of the collection `local`."""
        where, path = ("data", name), self.folder / str(part["file"])
        missing = not part["file"]
        for key in ("file", "judgements") if part["file"] else ():
            named = self.folder / str(part.get(key) or part["file"])
            if not os.path.isfile(named):
                missing = True
                beside = [other.name for other in named.parent.iterdir()] if os.path.isdir(named.parent) else []
                fix = f"{nearest(named.name, beside)} relative names are looked for in the current folder".strip()
                self.add(where if key == "file" else (*where, key), f"there is no file {named.absolute()}", fix)
        if missing:
            return part
        look = recognised.corpus_file if name == "corpus" else recognised.training_file
        found = self._looked(where, lambda: look(path), needed="format" not in part)
        mapping = part.get("columns")
        if name == "train" and isinstance(mapping, dict):
            self.negatives = SOURCE if "negatives" in mapping else ""
        elif name == "train" and found is not None and "judgements" not in part:
            self.negatives = found.negatives
        if "format" in part:
            self._mapped(where, path, part)
            more = found is not None and found.format == part["format"] and found.relevance and "relevance" not in part
            return {**part, "relevance": found.relevance} if found is not None and more else part
        keys = {} if found is None else found.keys
        self.out += [((*where, key), value) for key, value in keys.items()]
        return {**part, **keys}

    def rows(self, name: str, part: dict[str, Any]) -> dict[str, Any]:
        """The keys of a data set in `data.corpus` of the collection `hub`."""
        where, named = ("data", name), str(part.get("dataset") or part.get("file"))
        rest = {key: value for key, value in part.items() if key not in ("dataset", "file")}
        folder = self.folder / named
        repo, _, commit = named.partition("@")
        made = {
            "repo": str(folder) if os.path.isdir(folder) else repo,
            **({"revision": commit} if commit else {}),
            **rest,
        }
        self.document.short["data", "corpus", "splits", name, "repo"] = (*where, "dataset")
        made.setdefault("split", "test" if name == "test" else "train")
        if name == "corpus":
            return made
        made.setdefault("form", "columns")
        columns = made.get("columns")
        if made["form"] == "columns" and columns is None:
            found: Recognised | None = None
            if hub.is_saved(folder):
                found = self._looked(where, lambda: recognised.training_columns(hub.first_row(folder, made["split"])))
            else:
                self.add(where, "a data set on the Hub is not looked at before it is downloaded", _COLUMNS_FIX)
            columns = made["columns"] = None if found is None else found.columns
        if name == "train" and isinstance(columns, dict) and "negatives" in columns:
            self.negatives = SOURCE
        return made

    def _mapped(self, where: Path_, path: Path, part: Mapping[str, Any]) -> None:
        """Columns that every row must have are in the first."""
        mapping = part.get("columns")
        if not isinstance(mapping, dict):
            return
        needed = [mapping.get(name) for name in ("text" if where[-1] == "corpus" else "question", "positives")]
        columns = [name for one in needed for name in (one if isinstance(one, list) else [one]) if name is not None]
        try:
            line, row = recognised.first_row(path)
        except DataError:
            return  # reading the data says it
        for column in columns:
            if column not in row:
                hint = f"{nearest(str(column), row)} columns: {', '.join(row)}".strip()
                self.add((*where, "columns"), f"{line.path} has no column '{column}'", hint)

    def gathered(self, made: dict[str, dict[str, Any]], short: Mapping[str, Any]) -> str:
        """The folder of all files; where they have one in common, their names become names inside it."""
        if short.get("folder") is not None:
            return str(short["folder"])
        parents = {Path(str(one.get("file"))).parent for one in made.values()}
        if len(parents) != 1 or any("judgements" in one for one in made.values()):
            return "."
        for one in made.values():
            one["file"] = Path(str(one.get("file"))).name
        return str(parents.pop())

    def _looked(self, where: Path_, look: Callable[[], Recognised], needed: bool = True) -> Recognised | None:
        try:
            return look()
        except DataError as error:
            if needed:
                first = error.problems[0]
                self.add(where, f"{first.where}: {first.what}", first.fix)
            return None
