"""Clusters of training questions: k-means through faiss over their vectors, kept beside the split (TAS-B).

Vectors are those of the weights that training starts from, or of any trained model, in 32 bits. Plain k-means: squared
distances of the vectors as they are, which are not scaled to length one. It starts from k questions that a seed picks
and uses every question; a cluster that loses all its questions is given half of another one by faiss.

The clustering itself runs in one thread, so that its sums, and hence who is in which cluster, do not depend on how many
the machine has.

Shapes: Q questions, K clusters, W width of a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mpr import storage
from mpr.errors import RecipeError
from mpr.recipe.keys_draw import Clusters
from mpr.recipe.model_names import START
from mpr.storage.ragged import Floats, memory_map

if TYPE_CHECKING:
    from mpr.data.dataset import Dataset
    from mpr.search.inference import Model
    from mpr.search.vectors import VectorStore

KIND = "clusters"
_FILE, _TYPE = "clusters.bin", "<i4"


@dataclass(frozen=True)
class QuestionClusters:
    """Read access to a committed clustering."""

    folder: Path

    @cached_property
    def cluster_Q(self) -> NDArray[np.int32]:
        """The cluster of every question of the split."""
        storage.read_manifest(self.folder, KIND)
        return memory_map(self.folder / _FILE, _TYPE)


def build(target: Path, vectors_QW: Floats, wanted: Clusters, seed: int, receipt: Mapping[str, Any]) -> None:
    """Clusters the vectors and commits who is where."""
    import faiss

    count, width = vectors_QW.shape
    if wanted.k > count:
        what = f"{wanted.k:,} clusters are asked for, there are {count:,} questions"
        raise RecipeError(what, key="draw.clusters.k", fix="choose fewer")
    every = -(-count // wanted.k)  # questions of a cluster up to which faiss takes all of them, and no sample
    settings: dict[str, Any] = {"min_points_per_centroid": 1, "max_points_per_centroid": every}
    with _one_thread():
        means = faiss.Kmeans(width, wanted.k, niter=wanted.iterations, seed=seed % 2**31, **settings)
        means.train(vectors_QW)
        distance_Q1, cluster_Q1 = means.index.search(np.ascontiguousarray(vectors_QW), 1)
    size_K = np.bincount(cluster_Q1[:, 0], minlength=wanted.k)
    content = {**receipt, "faiss": faiss.__version__, "largest": int(size_K.max()), "smallest": int(size_K.min())}
    content["mean_squared_distance"] = float(distance_Q1.mean(dtype=np.float64))
    with storage.stage(target, KIND, content) as stage:
        stage.write(_FILE, np.ascontiguousarray(cluster_Q1[:, 0], dtype=_TYPE).tobytes())


@contextmanager
def _one_thread() -> Iterator[None]:
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def kept(dataset: Dataset, start: Callable[[], Model], device: str) -> QuestionClusters:
    """The clusters of the recipe's training questions, which lie beside them: made now, or verified byte for byte."""
    wanted, seed = dataset.recipe.draw.clusters, int(dataset.recipe.training["seed"])
    assert wanted is not None
    questions = dataset.split("train").folder
    vectors = _vectors(dataset, wanted, start, device)
    means = {"k": wanted.k, "iterations": wanted.iterations, "seed": seed}
    receipt = {"means": means, "vectors": vectors.manifest.receipt["work"]}
    target = questions.with_name(f"{questions.name}-clusters-{storage.json_digest(receipt)[:8]}")
    with storage.missing(target) as is_missing:
        if is_missing:
            build(target, vectors.by_row(), wanted, seed, receipt)
    storage.verify(target, KIND)
    return QuestionClusters(target)


def _vectors(dataset: Dataset, wanted: Clusters, start: Callable[[], Model], device: str) -> VectorStore:
    from mpr.data import tokens
    from mpr.search import encode
    from mpr.search.inference import Model

    questions = dataset.split("train")
    if wanted.model == START:
        model, texts = start(), dataset.tokens_of_questions("train")
    else:
        model = Model.opened(_located(dataset))
        texts = tokens.of_questions(questions, model.towers.settings, model.backend, dataset.bar)
    options = encode.Options("float32", "float32", device, quiet=dataset.quiet)
    ids: Any = lambda rows: [questions[int(row)].id for row in rows]  # noqa: E731
    return encode.beside(model, "question", texts, questions.folder, ids, options)


def model_digest(dataset: Dataset) -> dict[str, str]:
    """Which model the vectors are of, where it is not the one that training starts from."""
    wanted = dataset.recipe.draw.clusters
    if wanted is None or wanted.model == START:
        return {}
    return {"model of draw.clusters": storage.read_manifest(_located(dataset)).digest}


def _located(dataset: Dataset) -> Path:
    from mpr.models import locate

    wanted = dataset.recipe.draw.clusters
    assert wanted is not None
    return locate.model_folder(wanted.model, dataset.home, dataset.models.stages, key="draw.clusters.model")
