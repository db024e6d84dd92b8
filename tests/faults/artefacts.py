"""Every kind of artefact that the storage faults are tried on. A new kind is one function and one line of ARTEFACTS.

A builder writes its artefact into the folder it is given, which does not exist yet. It must be deterministic, small
(the sweeps build each artefact about a hundred times) and use nothing that breaks in a forked process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer, models, pre_tokenizers

from mpr import storage
from mpr.corpora import Split
from mpr.data import _split_builder, pair_scores, passages, tokens
from mpr.data import _vocabulary as vocabulary
from mpr.errors import StorageError
from mpr.evaluation import fusion, ranking_table
from mpr.evaluation.ranking import Names, Ranking
from mpr.mining import clusters
from mpr.recipe.keys import Repair
from mpr.recipe.keys_draw import Clusters
from mpr.recipe.keys_towers import NewEncoder, Towers
from mpr.records import Candidate, Group, Passage, Positive, Question
from mpr.search import vectors
from mpr.writing import _transcript


def _bytes(size: int, seed: int) -> bytes:
    return bytes((seed + place * 37 + (place >> 8)) % 256 for place in range(size))


def _flat(target: Path) -> None:
    """Files in several writes each, and one that is empty."""
    receipt: dict[str, object] = {}
    with storage.stage(target, "flat", receipt) as stage:
        for number in range(2):
            with stage.open(f"{number}.bin") as file:
                for part in range(3):
                    file.write(_bytes(700, number * 3 + part))
                    file.flush()
        stage.write("empty.bin", b"")
        receipt["parts"] = {"count": 3, "share": 0.1}


def _nested(target: Path) -> None:
    """Folders in folders, and a file that a library wrote into the stage by itself."""
    with storage.stage(target, "nested", {"name": "naïve"}) as stage:
        stage.write("towers/question/weights.bin", _bytes(900, 1))
        stage.write("towers/passage/weights.bin", _bytes(900, 2))
        (stage.folder / "library").mkdir()
        (stage.folder / "library" / "config.json").write_text('{"layers": 2}\n')


def _shards(target: Path) -> None:
    """Files of equal size, which only their checksums tell apart."""
    with storage.stage(target, "shards", {"shards": 4}) as stage:
        for number in range(4):
            stage.write(f"{number:05d}.bin", _bytes(512, number))


def _passages(target: Path) -> None:
    """Arrow record batches and the arrays of hashes beside them."""
    listed = (Passage(f"p{row}", f"text {row % 7} of the passage", f"title {row}") for row in range(40))
    passages.build(target, listed, {"corpus": "small"}, expected=40)


class _Rows:
    """Stands in for the passage store of a split: passage `p7` is in row 7."""

    def rows_of(self, ids: Sequence[str]) -> Any:
        return np.array([int(identity[1:]) for identity in ids], dtype=np.int64)


def _split(target: Path) -> None:
    """Questions, positives and two lists of candidates, one of them empty for every other question."""
    groups = [
        Group(
            Question(f"q{row}", f"question {row}", ("answer", "another")),
            tuple(Positive(f"p{place}") for place in range(row % 3 + 1)),
            tuple(Candidate(f"p{place}", ("bm25", "random")[row % 2], place, 0.5) for place in range(5, 9)),
        )
        for row in range(20)
    ]
    repair = Repair(without_positives="refuse", passages_missing="refuse", positive_as_negative="refuse")
    store: Any = _Rows()
    options: dict[str, Any] = {"tiers": ("gold",), "train": True, "sources": ("bm25", "random"), "receipt": {}}
    _split_builder.build(target, groups, Split(20, trains=True), store, repair=repair, **options)


def _tokenizer() -> Tokenizer:
    pieces = ["[UNK]", "text", "of", "the", *(str(number) for number in range(10))]
    tokenizer = Tokenizer(models.WordLevel({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def _tokens(target: Path) -> None:
    """Token ids of titles and texts, with their offsets and lengths."""
    pairs = ((f"title {row}", f"text {row % 10} of the passage") for row in range(40))
    tokens.build(target, pairs, _tokenizer(), cap=4, receipt={"source": "small"})


_ENCODER = NewEncoder(layers=1, width=8, heads=1, feed_forward=8, vocabulary=300)


def _vocabulary(target: Path) -> None:
    """A learned WordPiece vocabulary."""
    vocabulary.build(target, lambda: iter(["a small text of a small corpus"] * 3), _ENCODER, {"corpus": "small"})


@cache
def _built(task: str, **towers: Any) -> tuple[Any, Tokenizer]:
    """A model with random weights and its tokenizer; made once: what is tried is the writing."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    tokenizer = vocabulary.learn(lambda: iter(["a small text of a small corpus"] * 3), _ENCODER)
    settings = Towers(new=_ENCODER, share=True, normalize=False, question_length=8, **towers)
    return import_module(f"mpr.models.{task}").build(settings, tokenizer, 1), tokenizer


def _model(target: Path) -> None:
    """A model folder: files of ours, and those that transformers and safetensors write into the stage."""
    from mpr.models import towers_folder

    built = _built("towers", pooling="mean", projection=4, title="pair", passage_length=8)
    towers_folder.write(target, *built, {"updates": 3})


def _cross_encoder(target: Path) -> None:
    """The folder of a model that scores pairs."""
    from mpr.models import cross_encoder

    built = _built("cross_encoder", pooling="cls", title="join", passage_length=16)
    cross_encoder.write(target, *built, {"updates": 3})


def _late_interaction(target: Path) -> None:
    """The folder of a model that compares tokens, with its projection in a file of its own."""
    from mpr.models import late_interaction

    built = _built("late_interaction", pooling="none", projection=4, title="join", passage_length=8)
    late_interaction.write(target, *built, {"updates": 3})


def _vectors(target: Path) -> None:
    """A store of vectors: shards that are committed one by one, then all of them under one name."""
    work = vectors.Unfinished(target, {"model": "small"}, 2, 3, "float16")
    with work.held() as is_missing:
        if not is_missing:
            raise StorageError("already exists", where=str(target))
        for shard in work.missing():
            numbers = np.arange(12, dtype=np.float32).reshape(4, 3) + 12 * shard
            work.add(shard, np.arange(4) + 4 * shard, numbers)
        work.commit({"note": "small"})


def _clusters(target: Path) -> None:
    """Who is in which cluster, by faiss."""
    numbers = np.arange(60, dtype=np.float32).reshape(20, 3) % 7
    clusters.build(target, numbers, Clusters(k=3, model="start", iterations=2), 1, {"of": "small"})


class _Asked:
    """Stands in for the questions of a split and for the passages of a collection: what a table of a ranking reads."""

    def __init__(self, count: int) -> None:
        self.manifest = SimpleNamespace(digest="small")
        self.ids = [f"x{row}" for row in range(count)]
        self.texts = [f"text {row % 7}" for row in range(count)]

    def batches(self) -> Iterator[Any]:
        columns = {"id": self.ids, "title": ["title"] * len(self.ids), "text": pa.array(self.texts, pa.large_string())}
        yield pa.record_batch(columns)


def _ranked() -> Ranking:
    rows_QK = np.arange(60).reshape(6, 10) % 20
    return Ranking.of_rows([f"x{row}" for row in range(6)], rows_QK, (rows_QK % 4) / 3)


def _table(target: Path) -> None:
    """A ranking with its texts, in a file that a library writes through ours."""
    questions: Any = _Asked(6)
    corpus: Any = _Asked(20)
    ranking_table.write(target, _ranked(), questions, corpus, "small")


def _fusion(target: Path) -> None:
    """A run file of several."""
    fusion.commit(
        target, _ranked(), Names(f"x{row:02}" for row in range(20)), {"runs": [{"sha256": "0", "weight": 1.1}]}
    )


def _pair_scores(target: Path) -> None:
    """Numbers for pairs, written through sorted runs beside the store."""
    blocks = [
        pair_scores.Scored(np.arange(9) % 4, np.arange(9) * 7 % 11 + 20 * part, np.arange(9, dtype=np.float32))
        for part in range(3)
    ]
    pair_scores.write(target, blocks, {"scorer": "small"}, memory=10)


def _answers(target: Path) -> None:
    """What a language model has said."""
    said = {f"{row:02}": _transcript.Reply(f"yes, {row}\nor no", "small", row % 5 == 0) for row in range(20)}
    _transcript.commit(target, said)


ARTEFACTS: dict[str, Callable[[Path], object]] = {
    "flat": _flat,
    "nested": _nested,
    "shards": _shards,
    "passages": _passages,
    "split": _split,
    "tokens": _tokens,
    "vocabulary": _vocabulary,
    "model": _model,
    "cross_encoder": _cross_encoder,
    "late_interaction": _late_interaction,
    "vectors": _vectors,
    "table": _table,
    "fusion": _fusion,
    "pair_scores": _pair_scores,
    "clusters": _clusters,
    "answers": _answers,
}


def complete(folder: Path) -> bool:
    """Whether a reader would accept the artefact; this is all that a rerun may ask."""
    try:
        storage.read_manifest(folder)
    except StorageError:
        return False
    return True


def finish(name: str, target: Path) -> str:
    """What the same command does when it is run again: builds what is not complete. The digest of the result."""
    if not complete(target):
        ARTEFACTS[name](target)
    return storage.verify(target).digest


@contextmanager
def hooked(hook: Callable[[str, Path], None]) -> Iterator[None]:
    """`storage.hook` replaced for the body."""
    before, storage.hook = storage.hook, hook
    try:
        yield
    finally:
        storage.hook = before
