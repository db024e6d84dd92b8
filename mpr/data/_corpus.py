"""The collection that a recipe names: its files, the folder of all stores that are made of them, and its passages."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from mpr import __version__, corpora, storage
from mpr.corpora import Collection
from mpr.data import passages
from mpr.data._download import Fetcher
from mpr.data.passages import PassageStore
from mpr.runtime.progress import Bar


class Corpus:
    """Called, it gives the store of all passages, built where it is missing. `params` is `data.corpus` of a recipe."""

    def __init__(self, params: Any, home: Path, bar: Bar) -> None:
        self.params, self.home, self.bar = params, home, bar
        folder = getattr(params, "folder", None)
        self.fetcher = Fetcher(home, None if folder is None else Path(folder))
        self.collection: Collection = corpora.of(params, self.fetcher)

    @cached_property
    def folder(self) -> Path:
        """Named by the parameters and by what the input files are, not by where they lie: by the pinned checksums, or
        those of the user's files as they are now. A Hub pin is its revision."""
        sums = {}
        for pin in self.collection.pins:
            known = pin.sha256 or (f"{pin.repo}@{pin.revision}" if pin.repo else "")
            path = (self.fetcher.folder or Path()) / pin.file
            if not known and self.fetcher.folder is not None and path.is_file():
                known = storage.remembered_sha256(path)
            sums[pin.file] = known or pin.url
        params = self.params.model_dump(mode="json", by_alias=True, exclude={"folder"})
        digest = storage.json_digest({"corpus": params, "files": sums, "mpr": __version__})
        return self.home / "data" / f"{self.params.name}-{digest[:12]}"

    def __call__(self) -> PassageStore:
        target, size = self.folder / "passages", self.collection.size
        if not target.exists():
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
