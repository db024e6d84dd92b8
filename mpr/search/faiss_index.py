"""A faiss index of a store, made by a factory string: flat, IVF, HNSW, scalar or product quantised.

faiss proposes candidates; their written scores, the canonical order and the refusals are those of exact search, so
that only which passages are found depends on the index. `mpr.search.top_k.recall` against exact hits says how many
those are. This is the door to faiss, which is imported when an index is made, opened or searched, and not before.

Shapes: Q questions, K hits, C candidates fetched for each, D the width of a vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpr import storage
from mpr.errors import DataError, NumbersError, RecipeError, StorageError
from mpr.recipe import faiss_settings
from mpr.search.shards import Places, Store
from mpr.search.top_k import TopK, exact_scores, refuse_depth, refuse_questions
from mpr.storage.ragged import Floats, Integers

KIND = "faiss_index"
BLOCK = 16_384
SAMPLE = 200_000  # vectors that clusters and quantisers are trained on, spread evenly over the store
AT_ONCE = 1024  # pairs scored at a time


def build(target: Path, store: Store, factory: str, *, store_digest: str) -> FaissIndex:
    """Makes and commits an index. `store_digest` names the store, and opening it beside another one is refused.

    Adding to a graph (HNSW) goes on in several threads and its links depend on their timing: two builds are two
    indexes, with digests of their own.
    """
    import faiss

    try:
        index = faiss.index_factory(store.width, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        fix = "for example Flat, IVF512,Flat, HNSW32, SQ8 or PQ48"
        raise RecipeError(f"faiss does not know the factory '{factory}'", key="search.index", fix=fix) from error
    receipt = {
        "factory": factory,
        "metric": "inner product",
        "store": store_digest,
        "vectors": len(store),
        "width": store.width,
        "faiss": faiss.__version__,
    }
    if not index.is_trained:
        receipt["trained_on"] = _train(index, store, factory)
    for shard in store.shards:
        for start in range(0, len(shard.rows), BLOCK):
            stop = min(start + BLOCK, len(shard.rows))
            _add(index, _finite(shard.block(start, stop), shard.rows[start:stop]), factory)
    with storage.stage(target, KIND, receipt) as stage:
        faiss.write_index(index, str(stage.folder / "index.faiss"))
    return FaissIndex.open(target, store, store_digest=store_digest)


def _train(index: Any, store: Store, factory: str) -> int:
    places = Places(tuple(store.shards))
    count = min(len(store), SAMPLE)
    place_N = np.arange(count, dtype=np.int64) * len(store) // max(count, 1)
    vectors_ND = _finite(places.vectors(place_N), places.rows(place_N))
    try:
        index.train(vectors_ND)
    except RuntimeError as error:
        what = f"{count:,} vectors are too few to train '{factory}'"
        raise RecipeError(what, key="search.index", fix="use fewer clusters, or Flat") from error
    return count


def _add(index: Any, vectors_BD: Floats, factory: str) -> None:
    try:
        index.add(vectors_BD)
    except RuntimeError as error:  # NSG wants all vectors at once, IDMap wants ids
        what = f"'{factory}' does not take vectors block after block"
        raise RecipeError(what, key="search.index", fix="use HNSW32, IVF4096,Flat or another kind") from error


def _finite(vectors_BD: Floats, rows_B: Integers) -> Floats:
    """faiss takes a NaN without a word and never finds it again."""
    good_B = np.isfinite(vectors_BD).all(axis=1)
    if not good_B.all():
        what = f"{int((~good_B).sum()):,} passage vectors are not finite, first: row {int(rows_B[~good_B][0]):,}"
        raise NumbersError(what, key="store", fix="the model that encoded them is broken; encode the corpus again")
    return np.ascontiguousarray(vectors_BD)


@dataclass(frozen=True)
class FaissIndex:
    """An index that was verified byte for byte, beside the store it was made of."""

    folder: Path
    store: Store
    index: Any
    digest: str
    """Of its manifest: building a graph again gives another index."""

    @classmethod
    def open(cls, folder: Path, store: Store, *, store_digest: str) -> FaissIndex:
        import faiss

        manifest = storage.verify(folder, KIND)
        receipt = manifest.receipt
        if receipt.get("store") != store_digest:
            what = f"is of the store {str(receipt.get('store'))[:16]}, not of {store_digest[:16]}"
            raise StorageError(what, where=str(folder), fix="build the index again, or open the store it was made of")
        index = faiss.read_index(str(Path(folder) / "index.faiss"))
        if (index.ntotal, index.d) != (len(store), store.width):
            what = f"has {index.ntotal:,} vectors of width {index.d}, the store {len(store):,} of {store.width}"
            raise StorageError(what, where=str(folder), fix="build the index again")
        return cls(Path(folder), store, index, manifest.digest)

    def search(self, queries_QD: Floats, k: int, *, fetch: int | None = None, settings: str = "") -> TopK:
        """The k best of `fetch` candidates (k if not given) that the index proposes for each question.

        `settings` are those of `mpr/recipe/faiss_settings.py`, for this search alone. An index that proposes fewer
        than k candidates is refused: a list that ends early would pass for one that was searched.
        """
        refuse_questions(queries_QD, self.store.width)
        refuse_depth(k, len(self.store))
        wanted = k if fetch is None else fetch
        if not k <= wanted <= len(self.store):
            what = f"cannot fetch {wanted:,} candidates for a depth of {k:,} from {len(self.store):,} passages"
            raise RecipeError(what, key="search.fetch", fix=f"choose from {k:,} to {len(self.store):,}")
        left = faiss_settings.parsed(settings)
        parameters = _parameters(self.index, left)
        if left:
            what = f"the index has no {', '.join(left)}"
            raise RecipeError(what, key="search.settings", fix=faiss_settings.EXAMPLE)
        _, place_QC = self.index.search(np.ascontiguousarray(queries_QD), wanted, params=parameters)
        place_QC = place_QC.astype(np.int64)
        found_QC = place_QC >= 0
        short_Q = found_QC.sum(axis=1) < k
        if short_Q.any():
            what = f"the index proposes fewer than {k:,} passages for {int(short_Q.sum()):,} questions"
            raise DataError(
                what, key="search.settings", fix="let it look further: raise nprobe or efSearch, or use Flat"
            )
        places = Places(tuple(self.store.shards))
        rows_QC = np.full(place_QC.shape, np.iinfo(np.int64).max)
        scores_QC = np.full(place_QC.shape, -np.inf, dtype=np.float32)
        question_N, column_N = np.nonzero(found_QC)
        for start in range(0, len(question_N), AT_ONCE):
            pair = question_N[start : start + AT_ONCE], column_N[start : start + AT_ONCE]
            rows_QC[pair] = places.rows(place_QC[pair])
            scores_QC[pair] = exact_scores(queries_QD[pair[0]], places.vectors(place_QC[pair]))
        return TopK.best(rows_QC, scores_QC, k)


def _parameters(index: Any, left: dict[str, int]) -> Any:
    """faiss's parameters for one search, part by part as the index is built; None where there is nothing to set.

    What a part knows is taken out of `left`. An index has fields of the same names, but they stay set.
    """
    import faiss

    known: Any = faiss  # its stubs do not have these classes
    index, inner = faiss.downcast_index(index), None
    if isinstance(index, faiss.IndexRefine):
        factor = left.pop("k_factor_rf", index.k_factor)
        inner = _parameters(index.base_index, left)
        return known.IndexRefineSearchParameters(k_factor=factor, base_index_params=inner)
    if isinstance(index, faiss.IndexPreTransform):
        inner = _parameters(index.index, left)
        return None if inner is None else known.SearchParametersPreTransform(index_params=inner)
    if isinstance(index, faiss.IndexIVF):
        if "quantizer_efSearch" in left and isinstance(faiss.downcast_index(index.quantizer), faiss.IndexHNSW):
            inner = known.SearchParametersHNSW(efSearch=left.pop("quantizer_efSearch"))
        nprobe, most = (left.pop(name, getattr(index, name)) for name in ("nprobe", "max_codes"))
        return known.SearchParametersIVF(nprobe=nprobe, max_codes=most, quantizer_params=inner)
    if isinstance(index, faiss.IndexHNSW):
        return known.SearchParametersHNSW(efSearch=left.pop("efSearch", index.hnsw.efSearch))
    return None
