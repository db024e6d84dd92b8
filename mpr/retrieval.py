"""From a trained model to a score: vectors of corpus and questions, a ranking of each evaluation split, its scores.

```
<run>/vectors/corpus, vectors/<split role>   shards of vectors
     /rankings/<role>/run.trec               the best passages of every question, and the receipt of what made them
     /scores/<role>/                         every question's measures
```

Each part is committed, and skipped when it is there; one that was made by anything else is refused, never mixed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpr import evaluation, faiss_index, lexical, overlap, storage
from mpr.dataset import Dataset
from mpr.errors import DataError, Problem, RecipeError
from mpr.exact import Exact
from mpr.formats import trec
from mpr.judgements import Judgements
from mpr.lexical import Analysis, Settings
from mpr.ranking import Ranking
from mpr.records import Hit
from mpr.scores import Scores
from mpr.tokens import TokenStore
from mpr.vectors import VectorStore

if TYPE_CHECKING:
    from mpr.encode import Options, Task
    from mpr.inference import Model
    from mpr.processes import Group

RANKING = "ranking"
BM25 = Settings(0.9, 0.4, True, Analysis("english", "english"))  # Pyserini's values: a baseline that everybody knows
_BATCH = 1_000  # questions searched at a time


@dataclass
class Retrieval:
    """The stages after training, for the evaluation splits of a recipe, in the folder of a run."""

    dataset: Dataset
    folder: Path
    budget: int = 2 << 30
    """Bytes that a search may add to the process; it changes no result."""

    @property
    def recipe(self) -> Any:
        return self.dataset.recipe

    def vectors(self, model: Model, options: Options, group: Group | None = None) -> dict[str, VectorStore]:
        """Encodes the corpus and the questions of every evaluation split; all processes of a launch call it."""
        from mpr import encode

        model.agree(self.recipe.towers)
        group = group or encode.ALONE
        return {name: encode.run(task, self._place(name), group) for name, task in self.tasks(model, options).items()}

    def tasks(self, model: Model, options: Options) -> dict[str, Task]:
        """What there is to encode."""
        from mpr.encode import Task

        side = model.side("passage", self.dataset.tokens_of_passages(None))
        found = {"corpus": Task.of(model, "passage", side, self.dataset.corpus().ids, options)}
        for role in self.recipe.data.evaluate:
            side = model.side("question", self.dataset.tokens_of_questions(role))
            found[role] = Task.of(model, "question", side, partial(_named, self.dataset.split(role).ids), options)
        return found

    def _place(self, name: str) -> Path:
        return self.folder / "vectors" / name

    # Search

    def search(self, role: str, device: str, progress: Callable[[int], object] = lambda count: None) -> Ranking:
        """Ranks the corpus for every question of an evaluation split by the vectors of `vectors`."""
        corpus = self._vectors("corpus", self.dataset.tokens_of_passages(None))
        questions = self._vectors(role, self.dataset.tokens_of_questions(role))
        depth, index = min(self.recipe.search.depth, len(corpus)), self.recipe.search.index
        made = {
            "corpus": corpus.manifest.digest,
            "questions": questions.manifest.digest,
            "model": corpus.manifest.receipt["work"]["model"],
            "index": index,
            "depth": depth,
            "passages": self.dataset.corpus().manifest.digest,
            "split": self.dataset.split(role).manifest.digest,
        }
        if made["model"] != questions.manifest.receipt["work"]["model"]:
            what = "the corpus and the questions were encoded by two models"
            raise DataError(what, where=str(self._place(role)), fix="remove the older of the two folders, encode again")
        if (there := self._ranked(role, made)) is not None:
            return there
        if index == "exact":
            ready: Any = Exact.open(corpus, budget_bytes=self.budget, device=device)
        else:
            ready = self._faiss(corpus, index)
        queries_QW, ids = questions.by_row(), self.dataset.split(role).ids
        parts = []
        for start in range(0, len(ids), _BATCH):
            hits = ready.search(queries_QW[start : start + _BATCH], depth)
            parts.append(Ranking.of_rows(ids[start : start + _BATCH], hits.rows_QK, hits.scores_QK))
            progress(len(parts[-1]))
        return self._commit(role, made, _joined(parts))

    def _vectors(self, name: str, texts: TokenStore) -> VectorStore:
        """Vectors whose rows are those of these texts, every byte verified: rows become ids of what lies there now."""
        place = self._place(name)
        storage.verify(place)
        store = VectorStore(place)
        if store.manifest.receipt["work"]["data"] != texts.manifest.digest:
            what = "was encoded from other texts than those of the recipe"
            raise DataError(what, where=str(place), fix="remove it, and encode again")
        return store

    def search_words(self, role: str, progress: Callable[[int], object] = lambda count: None) -> Ranking:
        """The same by BM25: the baseline to stand beside every model."""
        corpus, depth = self.dataset.corpus(), self.recipe.search.depth
        questions = self.dataset.split(role)
        made = {**BM25.origin(corpus), "questions": questions.manifest.digest, "depth": depth}
        if (there := self._ranked(role, made)) is not None:
            return there
        index = lexical.beside(corpus, BM25, self.dataset.bar)
        rows_QK = np.full((len(questions), depth), -1, dtype=np.int64)
        scores_QK = np.zeros(rows_QK.shape, dtype=np.float64)
        for number, text in enumerate(questions.texts):
            rows, scores = index.top(text, depth)  # fewer than depth where fewer passages share a word
            rows_QK[number, : len(rows)], scores_QK[number, : len(rows)] = rows, scores
            progress(1)
        return self._commit(role, made, Ranking.of_rows(questions.ids, rows_QK, scores_QK))

    def _faiss(self, corpus: VectorStore, factory: str) -> faiss_index.FaissIndex:
        target = self.folder / "vectors" / f"corpus-{factory.replace(',', '-')}"
        digest = corpus.manifest.digest
        if not target.exists():
            return faiss_index.build(target, corpus, factory, store_digest=digest)
        return faiss_index.FaissIndex.open(target, corpus, store_digest=digest)

    def ranking_file(self, role: str) -> Path:
        return self.folder / "rankings" / role / "run.trec"

    def _ranked(self, role: str, made: dict[str, Any]) -> Ranking | None:
        """The ranking that is there, if it was made by just this; another one is refused."""
        folder = self.ranking_file(role).parent
        if not folder.exists():
            return None
        found = storage.verify(folder, RANKING).receipt
        fix = "remove the folder, or rank into another run folder"
        if problems := [
            Problem(f"was made with {key}: {found.get(key)!r}, not {value!r}", str(folder), fix=fix)
            for key, value in made.items()
            if found.get(key) != value
        ]:
            raise RecipeError(problems)
        return self.ranking(role)

    def _commit(self, role: str, made: dict[str, Any], ranking: Ranking) -> Ranking:
        corpus = self.dataset.corpus()
        with (
            storage.stage(self.ranking_file(role).parent, RANKING, made) as stage,
            stage.open("run.trec") as file,
        ):
            trec.write_hits(file, _hits(ranking, corpus.ids, self.recipe.name))
        return self.ranking(role)

    def receipt(self, role: str) -> dict[str, str]:
        """What produced the ranking, to be kept with its scores."""
        return {"ranking": storage.read_manifest(self.ranking_file(role).parent, RANKING).digest}

    def ranking(self, role: str) -> Ranking:
        """As it was written: what is scored is what anybody else can score."""
        storage.verify(self.ranking_file(role).parent, RANKING)
        return Ranking.read(self.ranking_file(role), self.dataset.corpus())

    # Scores

    def evaluate(
        self, role: str, ranking: Ranking, name: str, receipt: dict[str, str], *, own: bool, drop_self: bool = False
    ) -> Scores:
        """Scores of a ranking by the recipe's measures, over all questions of the split. `own`: it was searched here,
        to the recipe's depth; how deep a foreign run was searched, its longest list tells."""
        split, corpus, wanted = self.dataset.split(role), self.dataset.corpus(), self.recipe.evaluation
        rules = evaluation.Rules(
            run=name,
            split=self.dataset.splits[role],
            self_hits="drop" if drop_self else "keep",
            overlap="refuse" if self.recipe.data.overlap == "refuse" else "allow",
            depth=min(self.recipe.search.depth, len(corpus)) if own else None,
            receipt=tuple(receipt.items()),
        )
        trained = overlap.shared(self.dataset.split("train"), split)
        if wanted.match == "judgements":
            judged = Judgements.of(self.dataset.collection.judgements(self.dataset.splits[role]), corpus)
            return evaluation.by_judgements(
                ranking, judged, corpus, rules, names=wanted.measures, questions=split.ids, trained=trained
            )
        cuts = [int(measure.removeprefix("top")) for measure in wanted.measures]
        positives = self._positives(role)
        return evaluation.by_answers(ranking, split, corpus, rules, cuts=cuts, positives=positives, trained=trained)

    def _positives(self, role: str) -> Judgements | None:
        """Known positives of the split, for the share of them that was found; most test splits list none."""
        split = self.dataset.split(role)
        tiers = self._tiers
        if not split.positives.counting(tiers).lengths().sum():
            return None
        return Judgements.of_positives(split, self.dataset.passages_of(role), self.dataset.corpus(), tiers)

    @cached_property
    def _tiers(self) -> tuple[str, ...]:
        return tuple(self.recipe.labels[0].tiers)


def _named(ids: Sequence[str], rows: Any) -> list[str]:
    return [ids[int(row)] for row in rows]


def _joined(parts: list[Ranking]) -> Ranking:
    counts = np.concatenate([np.diff(part.offsets) for part in parts])
    return Ranking(
        tuple(question for part in parts for question in part.questions),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.concatenate([part.passage_N for part in parts]),
        np.concatenate([part.score_N for part in parts]),
    )


def _hits(ranking: Ranking, ids: Callable[[Any], list[str]], tag: str) -> Iterator[Hit]:
    for number, question in enumerate(ranking.questions):
        own = slice(int(ranking.offsets[number]), int(ranking.offsets[number + 1]))
        scores = ranking.score_N[own].tolist()
        for rank, (passage, score) in enumerate(zip(ids(ranking.passage_N[own]), scores, strict=True), 1):
            yield Hit(question, passage, rank, score, tag)
