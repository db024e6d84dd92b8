"""Settings of a faiss search: written one way, and refused for an index that faiss itself would refuse them for."""

from __future__ import annotations

import itertools
from typing import Any

import faiss
import pytest

from mpr.errors import RecipeError
from mpr.recipe.faiss_settings import SETTINGS, parsed, problems, written
from tests.conftest import Examined

FACTORIES = (
    "Flat", "IVF16,Flat", "IVF16,PQ8", "IVF16_HNSW8,Flat", "HNSW16", "HNSW16,SQ8", "PQ8", "SQ8", "PCA16,IVF16,Flat",
    "OPQ8,IVF16,PQ8", "PQ8,RFlat", "IVF16,PQ8,Refine(Flat)", "PCA16,IVF16,Flat,RFlat", "PCA16,HNSW16", "IVF16,PQ8x4fs",
)  # fmt: skip
OWN = [("IVF16_HNSW8,Flat", "efSearch", False)]  # faiss hands it on to the quantizer, which has a name of its own here


def test_equal_settings_are_equal(examined: Examined) -> None:
    ways = ("nprobe=8,k_factor_rf=2", "k_factor_rf=2,nprobe=8", " nprobe=8 , k_factor_rf=2 ")
    assert {written(parsed(way)) for way in ways} == {"k_factor_rf=2,nprobe=8"}
    assert written(parsed("")) == ""
    for text in ("nprobe", "nprobe=", "nprobe=1.5", "nprobe=-1", "=3", "nprobe=8;efSearch=3", "nprobe=8,", "verbose=1"):
        with pytest.raises(RecipeError, match=r"search\.settings"):
            parsed(text)
    examined(len(ways) + 8, "settings", at_least=11)


def test_faiss_agrees_on_what_an_index_has(examined: Examined) -> None:
    """faiss sets a parameter on an index, or says that it cannot."""
    agreed, differ = dict.fromkeys((True, False), 0), []
    for factory, name in itertools.product(FACTORIES, SETTINGS):
        index = faiss.index_factory(32, factory, faiss.METRIC_INNER_PRODUCT)
        space: Any = faiss.ParameterSpace()
        try:
            space.set_index_parameter(index, name, 4)
            theirs = True
        except RuntimeError:
            theirs = False
        ours = not list(problems(factory, f"{name}=4"))
        if ours != theirs:
            differ.append((factory, name, ours))
        agreed[ours] += 1
    assert differ == OWN
    assert min(agreed.values()) >= 10, agreed
    examined(sum(agreed.values()), "settings of an index", at_least=70)
