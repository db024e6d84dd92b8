"""The short form of `data`: files or data sets of one's own, written out as a collection.

```yaml
data: my.jsonl                  # the same as data: {train: my.jsonl}
data:
  train: my.jsonl               # or {file: my.csv, format: columns, columns: {question: q, positives: doc}}
  test: test.jsonl              # without it `holdout` (0.1) of the questions are held out
  corpus: corpus.jsonl          # without it the corpus is all texts that occur
```

A file whose format is not written is looked at: its first row says what it is, or it is refused. Instead of `file` a
part may have `dataset: org/name@<commit>`, or a folder that `datasets` saved. What was found is written out, so the
recipe in a run folder does not depend on such a look. Files are looked for from the folder in which mpr is started.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mpr.errors import DataError, nearest
from mpr.formats import hub, recognised
from mpr.formats.recognised import Recognised
from mpr.recipe.keys import Data
from mpr.recipe.strict_yaml import Document, Path_

PARTS = ("train", "test", "corpus")
KEYS = (*PARTS, "holdout", "holdout_seed", "folder")
HOLDOUT = 0.1
Add = Callable[[Path_, str, str], None]
_COLUMNS_FIX = "say which is which: columns: {question: ..., positives: ...}"


def written_out(document: Document, add: Add) -> tuple[dict[Path_, Any], list[tuple[Path_, Any]]]:
    """Writes a short `data` out in place. Returns values for other keys that follow from the files, and what was
    found out about these, both by their places in the file."""
    data = document.value.get("data")
    if not isinstance(data, dict) or (isinstance(data.get("corpus"), dict) and "name" in data["corpus"]):
        return {}, []
    known = (*KEYS, *Data.model_fields)
    for name in [name for name in data if name not in known]:
        add(("data", name), "unknown key", nearest(name, known) or f"keys: {', '.join(known)}")
        del data[name]
    short = {key: data.pop(key) for key in KEYS if key in data}
    if short.get("train") is None:
        add(("data", "train"), "is missing", "name the file of questions and positives: train: my.jsonl")
        short["train"] = None
    parts = {name: _part(name, short[name], add) for name in PARTS if short.get(name) is not None}
    found = _Found(document, Path(str(short.get("folder") or ".")), add)
    is_hub = [name for name, part in parts.items() if found.is_dataset(part)]
    if is_hub and len(is_hub) < len(parts):
        other = next(name for name in parts if name not in is_hub)
        what, fix = f"is a file and '{is_hub[0]}' is a data set", "bring all of them in one way"
        add(("data", other), what, fix)
    make = found.rows if is_hub else found.file
    made = {name: make(name, part) for name, part in parts.items()}
    splits = {name: made[name] for name in ("train", "test") if name in made}
    follows: dict[Path_, Any] = {}
    if "test" in splits and "holdout" in short:
        add(("data", "holdout"), "questions are held out where there is no test", "keep one of the two")
    elif "test" not in splits and "train" in splits:
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
        return "dataset" in part or (bool(part["file"]) and (self.folder / str(part["file"])).is_dir())

    def file(self, name: str, part: dict[str, Any]) -> dict[str, Any]:
        """The keys of a file in `data.corpus` of the collection `local`."""
        where, path = ("data", name), self.folder / str(part["file"])
        if not part["file"]:
            return {**part, "format": part.get("format", "columns" if name == "corpus" else "pos_neg")}
        if not path.is_file():
            beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
            hint = f"{nearest(path.name, beside)} relative names are looked for in the current folder".strip()
            self.add(where, f"there is no file {path.absolute()}", hint)
            return {**part, "format": part.get("format", "dpr_tsv" if name == "corpus" else "pos_neg")}
        look = recognised.corpus_file if name == "corpus" else recognised.training_file
        found = self._looked(where, lambda: look(path), needed="format" not in part)
        if found is not None and name == "train":
            mapped = part.get("columns")
            listed = not isinstance(mapped, dict) or "negatives" in mapped
            self.negatives = found.negatives if listed else ""
        if "format" in part:
            return part
        if found is None:
            return {**part, "format": "dpr_tsv" if name == "corpus" else "pos_neg"}
        self.out += [((*where, key), value) for key, value in found.keys.items()]
        return {**part, **found.keys}

    def rows(self, name: str, part: dict[str, Any]) -> dict[str, Any]:
        """The keys of a data set in `data.corpus` of the collection `hub`."""
        where, named = ("data", name), str(part.get("dataset") or part.get("file"))
        rest = {key: value for key, value in part.items() if key not in ("dataset", "file")}
        folder = self.folder / named
        repo, _, commit = named.partition("@")
        made = {"repo": str(folder) if folder.is_dir() else repo, **({"revision": commit} if commit else {}), **rest}
        self.document.short["data", "corpus", "splits", name, "repo"] = (*where, "dataset")
        made.setdefault("split", "test" if name == "test" else "train")
        if name == "corpus":
            return made
        made.setdefault("form", "columns")
        columns = made.get("columns")
        if made["form"] == "columns" and columns is None:
            found = None
            if hub.is_saved(folder):
                found = self._looked(where, lambda: recognised.training_columns(hub.first_row(folder, made["split"])))
            else:
                self.add(where, "a data set on the Hub is not looked at before it is downloaded", _COLUMNS_FIX)
            columns = made["columns"] = (
                {"question": "question", "positives": "positives"} if found is None else found.columns
            )
        if name == "train" and isinstance(columns, dict) and "negatives" in columns:
            self.negatives = recognised.SOURCE
        return made

    def gathered(self, made: dict[str, dict[str, Any]], short: Mapping[str, Any]) -> str:
        """The folder of all files; where they have one in common, their names become names inside it."""
        if short.get("folder") is not None:
            return str(short["folder"])
        parents = {Path(str(one.get("file"))).parent for one in made.values()}
        if len(parents) != 1:
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
