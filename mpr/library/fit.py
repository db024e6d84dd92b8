"""Training in one call: a recipe is written from the arguments and run by the same engine as `mpr train`.

```python
from mpr import fit

folder = fit("sentence-transformers/all-MiniLM-L6-v2", train=rows, objective="lse_pair", positives=3, epochs=1)
```

`train` is a `datasets.Dataset`, a list of rows, or the path of a file that `mpr init` would know. Rows in memory are
written below `home` under their checksum, because a run must be able to go on, and to be verified, when the program
that made them has ended. What is left is a run folder like any other: `model/` opens in sentence-transformers,
`metrics.jsonl` has the log, and `recipe/<name>.yaml` the recipe with every value, for `mpr reproduce`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mpr import storage
from mpr.errors import DataError, RecipeError
from mpr.library._rows import Columns, Example
from mpr.models import locate
from mpr.recipe import read, strict_yaml
from mpr.rows.pipeline import RECIPE
from mpr.runtime.processes import Place
from mpr.training import launch, run_folder

ROWS = "rows"  # folder below home
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def fit(
    base: str | Path,
    train: Any,
    *,
    objective: str | Mapping[str, Any] | Sequence[Mapping[str, Any]] = "lse_pair",
    positives: int = 3,
    epochs: float = 1,
    batch_size: int = 32,
    learning_rate: float = 2e-5,
    seed: int = 42,
    test: Any = None,
    corpus: str | Path | None = None,
    training: Mapping[str, Any] | Any = None,
    recipe: Mapping[str, Any] | None = None,
    callbacks: Sequence[Any] = (),
    name: str = "fit",
    runs: str | Path = "runs",
    home: str | Path = ".mpr",
    quiet: bool = False,
) -> Path:
    """Trains `base` on rows of questions with positives; returns the run folder, whose `model` is the trained one.

    base: a model folder, or `org/name` on the Hub, best with `@<commit>`.
    train: a `datasets.Dataset` or rows with a question (`query`, `question` or `anchor`), positives (`positives`, or
        `positive`, `positive_1` ...) and perhaps negatives, named alike; or the path of a file or data set.
    objective: a name in `mpr.objectives`, or entries of a recipe, such as `{"name": "bce", "scaling": "none"}`.
    positives: at most so many of a question in a step; those beyond take turns.
    epochs, batch_size, learning_rate, seed: of the training; questions of a step are `batch_size`.
    test: rows or a file to evaluate on; without it a tenth of the questions of `train` is held out for that.
    corpus: a file of passages; without it the corpus is all texts that occur.
    training: more of transformers' `TrainingArguments`, by their names, or such an object, of which all that is not
        at its default is taken. They go before the arguments above.
    recipe: sections of a recipe, such as `{"scale": {"cache": {"questions": 8, "passages": 32}}}`; recipes/README.md.
    callbacks: transformers' `TrainerCallback`s.
    name, runs: the run folder is `<runs>/<name>-seed<seed>`. The same call again goes on where it was stopped, or
        returns what is there; another call needs another name.
    home: where prepared data is kept. quiet: no progress bars.
    """
    if Place.here().world > 1:
        fix = "launch a recipe instead: accelerate launch mpr/train.py RECIPE"
        raise RecipeError("runs in one process", key="fit", fix=fix)
    if not _NAME.fullmatch(name):
        raise RecipeError(f"{name!r} is no name", key="name", fix="use letters, digits, dots, underscores and dashes")
    sections = _sections(base, objective, positives)
    sections["data"] = _data(Path(home), {"train": train, "test": test, "corpus": corpus})
    sections["training"] = {
        "seed": seed,
        "num_train_epochs": epochs,
        "per_device_train_batch_size": batch_size,
        "learning_rate": learning_rate,
    }
    given = _arguments(training)
    if "max_steps" in given:
        del sections["training"]["num_train_epochs"]
    sections["training"] |= given
    for section, content in (recipe or {}).items():
        whole = isinstance(content, Mapping) and isinstance(sections.get(section), dict)
        sections[section] = {**sections[section], **content} if whole else content
    text = "".join(f"{section}: {json.dumps(content, ensure_ascii=False)}\n" for section, content in sections.items())
    found = read.from_document(strict_yaml.parse(text.encode(), f"fit of {name}"), name)
    folder = Path(runs) / run_folder.name(found, "trained")
    launch.run(found, launch.Launch(Path(home), folder, quiet=quiet, callbacks=tuple(callbacks)))
    storage.write_file(folder / RECIPE / f"{name}.yaml", (found.written or text).encode())
    return folder


def _sections(base: str | Path, objective: Any, positives: int) -> dict[str, Any]:
    """What the arguments say in a recipe, but for data and training."""
    if Path(base).is_dir():
        towers, draft = {"base": str(base)}, True  # no commit pins a local folder
    else:
        repository, revision = locate.split_name(str(base), key="base")
        towers = {"base": repository} | ({"revision": revision} if revision else {})
        draft = revision is None
    terms = [dict(objective)] if isinstance(objective, Mapping) else objective
    found = {"towers": towers, "objective": terms if isinstance(terms, str) else [dict(term) for term in terms]}
    return {**found, "draw": {"positives": positives}, **({"draft": True} if draft else {})}


def _data(home: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """The section `data`; rows in memory become files."""
    return {
        part: str(data) if isinstance(data, str | Path) else _file(home, part, data)
        for part, data in given.items()
        if data is not None
    }


def _file(home: Path, part: str, data: Any) -> dict[str, Any]:
    """Rows as JSON lines below home, under their checksum, and how a recipe names them."""
    if isinstance(data, Mapping):
        names = ", ".join(map(str, data))
        raise DataError(f"is several data sets ({names})", key=part, fix=f"choose one: {part}=data['{part}']")
    given = list(data)
    if not given:
        raise DataError("has no row", key=part, fix="give rows with a question and positives")
    columns = Columns.of(list(dict.fromkeys(name for row in given for name in row)))
    examples = [Example.of(row, columns) for row in given]
    # What a file holds is told from its first rows, so a question with negatives comes first, if there is one.
    examples.sort(key=lambda one: not one.negatives)
    rows = [{"query": one.question, "pos": one.positives, "neg": one.negatives} for one in examples]
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    digest = hashlib.sha256(content).hexdigest()
    path = home / ROWS / f"{digest[:16]}.jsonl"
    if not path.exists() or storage.sha256_file(path) != digest:
        storage.write_file(path, content)
    return {"file": str(path), "format": "pos_neg", "sha256": digest}


def _arguments(given: Any) -> dict[str, Any]:
    """TrainingArguments by name: a mapping as it is; of an object what is not at its default."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return dict(given)
    defaults = type(given)(output_dir=given.output_dir).to_dict()
    return {name: value for name, value in given.to_dict().items() if value != defaults.get(name)}
