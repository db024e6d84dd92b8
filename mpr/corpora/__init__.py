"""CATALOGUE: one file per collection, that is where its texts, questions and labels come from.

In: the keys of `data.corpus`, the user's folder. Out: pinned inputs, known counts, and readers that yield records.
Making a collection reads nothing. Counts and checksums that nobody could verify are None: unknown is stated, not
guessed.

The base class of all collections stands here. `_world/` generates the invented collection; it is frozen content.

Door: `corpora.of` (keys to `Collection`), `corpora.Collection`, `corpora.Pin` and `corpora.spellings` of its name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from mpr import catalogue
from mpr.errors import DataError, nearest
from mpr.records import Group, Judgement, Passage
from mpr.storage.unpack import PACKED, packing


@dataclass(frozen=True)
class Pin:
    """One input file: what it is called, where it comes from, and how to know that it is the right one.

    Checksums and size are those of the file as it is stored, whichever are known; all that are known are checked. A
    file comes from the first of these that is given, tried in this order:

    * the user's folder, if there is one, as `file` or under one of `names`, packed otherwise or not at all;
    * `archive`, out of which it is unpacked;
    * `url`, then `mirrors`;
    * `repo` at `revision`, by its plain name, without the `datasets` library:
      `Pin("curated-dev.jsonl.gz", repo="Tevatron/wikipedia-curated", revision="7b4d...", sha256="72b2...")`.

    A member of an archive names the archive's own pin, and needs no checksum if the archive has one:

        bundle = Pin("collectionandqueries.tar.gz", url="https://...", md5="3164...", size=1_057_717_952)
        Pin("collection.tsv", archive=bundle)
        zipped = Pin("scifact.zip", url="https://...", md5="5f7d...")
        Pin("qrels/test.tsv", archive=zipped, inside="scifact/qrels/test.tsv")

    `.zip` and `.tar` (packed or not) are read. What is unpacked is kept once.
    """

    file: str
    """Name inside the user's folder, or of the download. No two pins of a collection have the same."""
    url: str = ""
    """Where it is downloaded from; empty for files that the user brings, or that come from `repo` or `archive`."""
    mirrors: tuple[str, ...] = ()
    """Other addresses of the same bytes, tried in this order."""
    sha256: str | None = None
    """Of the file as it is stored (compressed); None: not known to us."""
    md5: str | None = None
    """The same, where only an MD5 was published."""
    size: int | None = None
    """Bytes of the file as it is stored; None: not known to us."""
    source: str = ""
    """Where checksums, size or commit were read."""
    repo: str = ""
    """Hub dataset that it is a part of; empty for plain files."""
    revision: str = ""
    """Commit of that dataset."""
    licence: str = ""
    """Under which terms the file is offered."""
    names: tuple[str, ...] = ()
    """Other names that it may have in the user's folder, such as `data/retriever/curatedtrec-train.json`. Endings of
    packed files (.gz, .zst, .xz) need not be listed: with, without and with another one are looked for."""
    archive: Pin | None = None
    """The archive that it is a member of; its checksums, size and addresses are those of the archive."""
    inside: str = ""
    """Path inside the archive or the repository; empty: `file`."""

    @property
    def is_pinned(self) -> bool:
        """No other file can pass for it: a checksum is known, or the commit of a repository, or its archive is so."""
        archive = self.archive is not None and self.archive.is_pinned
        return bool(self.sha256 or self.md5 or self.revision) or archive

    @property
    def known(self) -> str:
        """What it is checked by: `sha256 ...`, `md5 ...`, `commit ...`, or that of its archive; empty: by nothing."""
        if self.sha256 or self.md5 or self.revision:
            sums = (("sha256", self.sha256), ("md5", self.md5), ("commit", self.revision))
            return next(f"{kind} {value}" for kind, value in sums if value)
        found = "" if self.archive is None else self.archive.known
        return f"{found} of {self.archive.file}" if self.archive is not None and found else ""

    @property
    def path(self) -> str:
        """Inside its archive or repository."""
        return self.inside or self.file


@dataclass(frozen=True)
class Split:
    """What is known of a split before it is read."""

    questions: int | None
    """Number of questions in the file; None: not known to us."""
    trains: bool = False
    """Its records list positives, so it can be trained on."""
    judged: bool = False
    """Relevance is judged (qrels) rather than decided by answers."""
    relevant: int = 1
    """Grade from which a judged passage is relevant: a positive, and right in the measures."""
    regex: bool = False
    """Answers are patterns."""
    inline: bool = False
    """Texts of positives and negatives come with the records; training does not need the corpus."""
    usable: int | None = None
    """Training questions with at least one positive, where that is known."""
    about: int | None = None
    """Roughly so many train, where the number is not known: for predictions alone, never for a check."""
    sources: tuple[str, ...] = ()
    """Names of the candidate lists that come with the records."""
    source: str = ""
    """Where the counts were read."""

    @property
    def trainable(self) -> int | None:
        """Questions that take part in training, as far as is known."""
        return self.usable if self.usable is not None else self.questions


Fetch = Callable[[Pin], Path]
BY_MAKER = "its maker"
"""Who knows what a pin holds, where it is the recipe and not the kit."""
_COMMIT = 40  # hex digits; a SHA-256 has 64


def spellings(pin: Pin) -> Iterator[str]:
    """Every name that the file may have in the user's folder: those that are listed, then the same packed otherwise."""
    listed = (pin.file, *pin.names)
    yield from listed
    for name in listed:
        stem = name.removesuffix(packing(name))
        yield from (stem + ending for ending in ("", *PACKED) if stem + ending not in listed)


def _no_fetch(pin: Pin) -> Path:
    raise DataError(f"'{pin.file}' is needed but nothing was prepared", fix="run `mpr data RECIPE` first")


class Collection(ABC):
    """Base of the class that every file of `mpr/corpora/` defines."""

    size: int | None = None
    """Number of passages; None: not known to us."""
    words: ClassVar[int] = 100
    """Typical words of a passage, for predictions."""

    def __init__(self, params: Any, fetch: Fetch = _no_fetch) -> None:
        self.params = params
        self.fetch: Fetch = lambda pin: fetch(self.given(pin))

    def given(self, pin: Pin) -> Pin:
        """The pin with what the recipe itself knows of that file: `data.corpus.pins`, which `mpr pin` writes."""
        by_name: Mapping[str, str] = getattr(self.params, "pins", {})
        name = next((name for name in spellings(pin) if name in by_name), None)
        if name is None:
            return pin
        value, is_commit = by_name[name], len(by_name[name]) == _COMMIT
        if is_commit or packing(name) == packing(pin.file):
            if (pin.revision if is_commit else pin.sha256 or "") not in ("", value):
                return pin  # a rule refuses such a recipe
            made = replace(pin, source=BY_MAKER)
            return replace(made, revision=value) if is_commit else replace(made, sha256=value)
        # Packed otherwise than the file that we know: a file of its own, with nothing known but this checksum.
        return replace(pin, file=name, names=(pin.file, *pin.names), sha256=value, md5=None, size=None, source=BY_MAKER)

    @property
    def inputs(self) -> tuple[Pin, ...]:
        """`pins`, with what the recipe itself knows of them."""
        return tuple(map(self.given, self.pins))

    def needed(self, splits: Iterable[str]) -> tuple[Pin, ...]:
        """Those that a recipe with these splits reads, with what the recipe itself knows of them."""
        return tuple(map(self.given, self.read_for(splits)))

    @property
    @abstractmethod
    def splits(self) -> Mapping[str, Split]:
        """Splits by name."""

    @property
    def pins(self) -> tuple[Pin, ...]:
        """Every input file; empty for a generated collection."""
        return ()

    def read_for(self, splits: Iterable[str]) -> tuple[Pin, ...]:
        """The input files of a recipe with these splits, those that only the user can bring included."""
        return self.pins

    @abstractmethod
    def passages(self) -> Iterator[Passage]:
        """All passages, streamed."""

    @abstractmethod
    def groups(self, split: str) -> Iterator[Group]:
        """Questions of a split with what is known about them, streamed."""

    def judgements(self, split: str) -> Iterator[Judgement]:
        """Graded judgements of a judged split, non-relevant ones included."""
        raise DataError(f"split '{split}' has no judgements", key="evaluation.match", fix="match answers instead")

    def split(self, name: str) -> Split:
        """Facts about a split, or a refusal that lists what there is."""
        if name not in self.splits:
            hint = nearest(name, self.splits)
            fix = f"{hint} known: {', '.join(self.splits)}".strip()
            raise DataError(f"no split '{name}' in this collection", key="data", fix=fix)
        return self.splits[name]


def of(part: Any, fetch: Fetch = _no_fetch) -> Collection:
    """The collection that the `data.corpus` entry of a recipe names."""
    module: Any = catalogue.find("corpora", part.name)
    made: Collection = module.Collection(part, fetch)
    return made
