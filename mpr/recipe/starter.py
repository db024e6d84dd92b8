"""`mpr init`: looks at somebody's data, says what is there, and writes a short recipe for it.

The whole file is read once, by the reader that the recipe will use, so what is wrong with it is said now. Lengths are
counted in words; a recipe wants tokens, of which most tokenizers make about four for three words.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mpr import corpora, storage
from mpr.errors import DataError, RecipeError, nearest
from mpr.formats import hub, recognised
from mpr.formats.recognised import Recognised
from mpr.recipe import _defaults, read, shipped, strict_yaml
from mpr.recipe.keys import corpus_of
from mpr.records import Group, Passage

_EDITOR = "# yaml-language-server:"
_TOKENS = 4 / 3  # of a word
_SPECIAL = 8  # tokens of room for those that mark a text
_LENGTHS = (16, 32, 64, 96, 128, 192, 256, 384, 512)
_SHARE = 0.95  # of the texts that should fit


@dataclass
class Look:
    """What a file of questions holds."""

    path: Path
    found: Recognised
    questions: int = 0
    positives: list[int] = field(default_factory=list)
    """Of each question."""
    negatives: int = 0
    question_words: list[int] = field(default_factory=list)
    passage_words: list[int] = field(default_factory=list)

    def __iter__(self) -> Iterator[str]:
        """Lines for a person."""
        columns = ", ".join(f"{ours} in {_named(name)}" for ours, name in self.found.columns.items())
        yield f"{self.path}: {self.found.format}" + (f" ({columns})" if columns else "")
        several = sum(count > 1 for count in self.positives)
        yield (
            f"  {self.questions:,} questions, {sum(self.positives):,} positives: {min(self.positives)} to"
            f" {max(self.positives)} a question, {several:,} questions have several"
        )
        listed = (
            f"{self.negatives:,} negatives" if self.negatives else "no negatives: those of other questions are used"
        )
        yield f"  {listed}"
        for what, words in (("question", self.question_words), ("passage", self.passage_words)):
            if words:
                middle, most = _quantile(words, 0.5), _quantile(words, _SHARE)
                yield f"  words of a {what}: median {middle:,}, 95 % have {most:,} or fewer, the longest {max(words):,}"


def look(data: Path) -> Look:
    """Reads a file of questions and positives, or refuses it."""
    if os.path.isdir(data) and hub.is_saved(data):
        found = recognised.training_columns(hub.first_rows(data, "train", recognised.LOOKED_AT))
        part: dict[str, Any] = {"repo": str(data), "form": "columns", "columns": found.columns}
        entry: dict[str, Any] = {"name": "hub", "splits": {"train": part}}
    else:
        _refuse_missing(data, "--data")
        found = recognised.training_file(data)
        part = {"file": data.name, **found.keys}
        entry = {"name": "local", "folder": str(data.parent), "splits": {"train": part}}
        if not _brings_texts(found):
            entry["passages"] = {"file": data.name, "format": "beir"}  # never read here
    collection = corpora.of(corpus_of(entry), lambda pin: data.parent / pin.file)
    made = Look(data, found)
    _count(made, collection.groups("train"))
    if not made.questions:
        raise DataError("has no question", where=str(data))
    return made


def _count(made: Look, groups: Iterable[Group]) -> None:
    seen = set[str]()
    for group in groups:
        made.questions += 1
        made.positives.append(len(group.positives))
        made.negatives += len(group.candidates)
        made.question_words.append(len(group.question.text.split()))
        for passage in group.passages:
            if passage.id not in seen:
                seen.add(passage.id)
                made.passage_words.append(_words(passage))


def look_at_corpus(path: Path) -> tuple[Recognised, list[int]]:
    """The format of a file of passages, and how many words each has."""
    _refuse_missing(path, "--corpus")
    found = recognised.corpus_file(path)
    entry = {"name": "local", "folder": str(path.parent), "passages": {"file": path.name, **found.keys},
             "splits": {"none": {"file": path.name, "format": "questions"}}}  # fmt: skip
    collection = corpora.of(corpus_of(entry), lambda pin: path.parent / pin.file)
    return found, [_words(passage) for passage in collection.passages()]


def _brings_texts(found: Recognised) -> bool:
    return found.format in ("pos_neg", "anchors", "columns", "dpr_json", "tevatron_inline", "rlhn")


def _refuse_missing(path: Path, option: str) -> None:
    if not os.path.isfile(path):
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"there is no file {path.absolute()}", key=option, fix=nearest(path.name, beside))


def recipe(file: Path, data: Path, corpus: Path | None, base: str | None, say: Callable[[str], object]) -> None:
    """Looks at the data, says what it found, and writes a recipe that `mpr check` accepts."""
    _refuse_existing(file)
    found = look(data)
    for line in found:
        say(line)
    words = found.passage_words
    if corpus is not None:
        recognised_as, words = look_at_corpus(corpus)
        say(f"{corpus}: {recognised_as.format}, {len(words):,} passages")
    elif not _brings_texts(found.found):
        what = f"{found.found.format} names passages by their ids"
        raise DataError(what, where=str(data), key="--corpus", fix="name the file of passages")
    else:
        say(f"no corpus is named: it is the {len(words):,} texts that occur")
    text = "".join(f"{line}\n" for line in _lines(found, corpus, words, base))
    document = strict_yaml.parse(text.encode(), str(file))
    read.from_document(document, file.stem)  # a recipe that would be refused is not written
    storage.write_file(file, text.encode())
    say(f"written: {file}")


def _lines(found: Look, corpus: Path | None, words: list[int], base: str | None) -> Iterator[str]:
    yield _schema()
    yield f"# {found.questions:,} questions of {found.path.name}. What is not written has a default: see `mpr plan`."
    yield "data:"
    train = {"file": str(found.path), **found.found.keys}
    if found.path.is_dir():
        train = {"dataset": str(found.path), "columns": found.found.columns}
    yield f"  train: {_defaults.flow(train)}"
    if corpus is not None:
        yield f"  corpus: {_defaults.flow(str(corpus))}"
    yield "  holdout: 0.1 # of the questions, to measure with; or a file of its own: test: FILE"
    base = base or f"{_defaults.BASE}@{_defaults.REVISION}"
    name, _, commit = (base, "", "") if os.path.isdir(base) else base.partition("@")
    lengths = {"question_length": _length(found.question_words), "passage_length": _length(words)}
    towers = {"base": name, **({"revision": commit} if commit else {}), **lengths}
    yield f"towers: {_defaults.flow(towers)}"
    several = max(found.positives)
    if several > 1:
        yield "objective: joint_lh # or lse_pair, sum_marg_lh, bce ...: docs/objectives.md"
        yield f"draw: {{positives: {min(several, 4)}}} # at most so many of a question in one step, in turn"
    else:
        yield "objective: nll # no question has several positives"
    if found.negatives:
        yield f"sources: [{{name: file, as: {found.found.negatives}}}] # the negatives of the file, one in a step"
    else:
        yield "sources: [] # [bm25]: hard negatives by BM25"
    yield "training: {num_train_epochs: 3, per_device_train_batch_size: 32}"


def _schema() -> str:
    """The line that tells an editor which keys there are."""
    return f"{_EDITOR} $schema={shipped.folder() / 'schema.json'}"


def _length(words: list[int]) -> int:
    """Tokens that most texts of so many words need."""
    wanted = _quantile(words, _SHARE) * _TOKENS + _SPECIAL if words else 256
    return next((length for length in _LENGTHS if length >= wanted), _LENGTHS[-1])


def _quantile(values: list[int], share: float) -> int:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def _words(passage: Passage) -> int:
    return len(passage.title.split()) + len(passage.text.split())


def _named(name: str | list[str]) -> str:
    return name if isinstance(name, str) else " and ".join(name)


def copy(file: Path, name: str, say: Callable[[str], object]) -> None:
    """A shipped recipe to edit."""
    _refuse_existing(file)
    source = shipped.find(name)
    lines = source.read_text("utf-8").splitlines(keepends=True)
    kept = (f"{_schema()}\n" if line.startswith(_EDITOR) else line for line in lines)
    storage.write_file(file, "".join(kept).encode())
    say(f"written: {file}, a copy of {source.stem}")


def _refuse_existing(file: Path) -> None:
    if file.suffix not in (".yaml", ".yml"):
        raise RecipeError("is no name of a recipe", where=str(file), fix="end it in .yaml")
    if file.exists():
        raise RecipeError("is there already", where=str(file), fix="choose another name, or remove it")


def listed() -> Iterator[tuple[str, str]]:
    """Name of each shipped recipe, and what its first comment says."""
    for name, path in shipped.names().items():
        comments = []
        for line in path.read_text("utf-8").splitlines():
            if not line.startswith("#"):
                break
            if not line.startswith(_EDITOR):
                comments.append(line.removeprefix("#").strip())
        whole = " ".join(comments)
        end = whole.find(". ")
        yield name, whole if end < 0 else whole[: end + 1]
