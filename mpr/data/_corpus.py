"""The collection that a recipe names: its files, the folder of all stores that are made of them, and its passages."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from mpr import __version__, corpora, storage
from mpr.corpora import BY_MAKER, Collection
from mpr.data import passages
from mpr.data._fetcher import Fetcher
from mpr.data.passages import PassageStore
from mpr.recipe.keys import Recipe
from mpr.runtime.progress import Bar


class Corpus:
    """Called, it gives the store of all passages, built where it is missing."""

    def __init__(self, recipe: Recipe, home: Path, bar: Bar, quiet: bool = False) -> None:
        self.params, self.home, self.bar, self.read = recipe.data.corpus, home, bar, recipe.splits
        folder = getattr(self.params, "folder", None)
        self.fetcher = Fetcher(home, None if folder is None else Path(folder), recipe.draft, quiet)
        self.collection: Collection = corpora.of(self.params, self.fetcher)

    @cached_property
    def folder(self) -> Path:
        """Named by the parameters and by what the input files are, not by where they lie: by what is pinned, or the
        checksums of the user's files as they are now. A Hub pin is its revision."""
        listed = self.collection.inputs
        more = (pin for pin in self.collection.needed(self.read) if pin not in listed)
        # Of these nothing but the recipe, or the file itself, says what they are.
        brought = [pin for pin in more if pin.source == BY_MAKER or not pin.is_pinned]
        sums = {pin.file: self.fetcher.identity(pin) for pin in (*listed, *brought)}
        params = self.params.model_dump(mode="json", by_alias=True, exclude={"folder", "pins"})
        digest = storage.json_digest({"corpus": params, "files": sums, "mpr": __version__})
        return self.home / "data" / f"{self.params.name}-{digest[:12]}"

    def __call__(self) -> PassageStore:
        target, size = self.folder / "passages", self.collection.size
        with storage.missing(target) as is_missing:
            if is_missing:
                if size is not None:
                    storage.require_space(self.home, int(size * (self.collection.words * 6.2 + 60)))
                receipt = self.receipt()
                with self.bar("passages", size) as progress:
                    passages.build(target, self.collection.passages(), receipt, expected=size, progress=progress)
        return PassageStore(target)

    def receipt(self) -> dict[str, Any]:
        """Of a store that is built next. The files that are fetched from now on are listed in it, and no others: what
        this process read before must not make equal stores differ."""
        self.fetcher.used = {}
        return {"corpus": self.params.name, "files": self.fetcher.used, "mpr": __version__}
