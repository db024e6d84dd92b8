"""Inputs that a recipe names by a path: files beside its collection, and models and encoders in folders.

A path does not say what is in a file. Digests here are of what is there now, so that receipts notice when a file was
exchanged, pinned or not. Files of the collection itself are covered by the folder of the data (`mpr/data/dataset.py`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mpr import storage
from mpr.recipe import model_names, strict_yaml
from mpr.recipe.keys import Recipe

FILE = "file"  # every key that names one is called so


def files(recipe: Recipe, *keys: str) -> dict[str, str]:
    """Checksums of the files that are named below these keys; of `data`, the files besides the collection."""
    wanted: Any = {key: {"augment"} if key == "data" else True for key in keys}
    content = recipe.model_dump(mode="json", by_alias=True, include=wanted)
    folder = getattr(recipe.data.corpus, "folder", None)
    found = {}
    for path, value in strict_yaml.leaves(content):
        if path[-1:] == (FILE,) and value is not None:
            key = strict_yaml.dotted(path)
            place = storage.pinned_file(value, None, None if folder is None else Path(folder), key)
            found[f"file of {key}"] = storage.remembered_sha256(place)
    return found


def models(recipe: Recipe) -> dict[str, str]:
    """Digests of the trained models in folders that sources search with."""
    named = ((number, getattr(source, "model", None)) for number, source in enumerate(recipe.sources))
    return {
        f"model of sources[{number}]": storage.read_manifest(Path(model)).digest
        for number, model in named
        if model is not None and model_names.is_elsewhere(model) and os.path.isdir(model)
    }


def encoders(recipe: Recipe) -> dict[str, str]:
    """Digests of the pretrained encoders in folders that towers start from."""
    from mpr.models import weight_files

    named = {"towers.base": recipe.towers.base, "towers.passage_base": recipe.towers.passage_base}
    return {
        f"weights of {key}": weight_files.digest(Path(base))
        for key, base in named.items()
        if base is not None and os.path.isdir(base)
    }
