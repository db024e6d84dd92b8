"""From a trained model to a score: vectors of corpus and questions, a ranking of each evaluation split, its scores.

```
<run>/vectors/corpus, vectors/<split role>   shards of vectors
     /vectors/corpus-<factory>               a faiss index of them, where the recipe searches with one
     /rankings/<role>/run.trec               the best passages of every question, and the receipt of what made them
     /scores/<role>/                         every question's measures
```

Each part is committed, and skipped when it is there; one that was made of other inputs is refused.
Where a launcher started several processes, all of them encode and search, and the first one writes.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpr import storage
from mpr.data.dataset import Dataset
from mpr.data.passages import PassageStore
from mpr.data.tokens import TokenStore
from mpr.errors import DataError, RecipeError
from mpr.evaluation import evaluate as evaluation
from mpr.evaluation import ranking_table
from mpr.evaluation.judgements import Judgements
from mpr.evaluation.ranking import Ranking
from mpr.evaluation.scores import Scores
from mpr.formats import trec
from mpr.recipe import faiss_settings
from mpr.runtime.processes import ONE_PROCESS, Group
from mpr.runtime.progress import Progress, silent
from mpr.search import bm25, faiss_index, search
from mpr.search.bm25 import Analysis, Settings
from mpr.search.faiss_index import FaissIndex
from mpr.search.search import Parts, Recall, Shared
from mpr.search.top_k import TopK
from mpr.search.vectors import FORK, VectorStore, changes

if TYPE_CHECKING:
    from mpr.search.encode import Options, Task
    from mpr.search.inference import Model

log = logging.getLogger("mpr.search")
RANKING = "ranking"
BM25 = Settings(0.9, 0.4, True, Analysis("english", "english"))  # Pyserini's values: a baseline that everybody knows


@dataclass
class Retrieval:
    """The stages after training, for the evaluation splits of a recipe, in the folder of a run."""

    dataset: Dataset
    folder: Path
    budget: int = 2 << 30
    """Bytes that a search may add to each process; it changes no result."""
    untrained: bool = False
    """The encoders before training; only said."""
    width: int | None = None
    """Of vectors that `cut_to` made; None: those of `encoding.width`."""
    _verified: str = field(default="", init=False, repr=False)
    """Digest of the corpus vectors of which every byte was looked at."""
    _shared: tuple[Any, Shared] | None = field(default=None, init=False, repr=False)
    """(Of what, the search) that was opened for the first split, for those that follow."""
    _index: tuple[Any, FaissIndex] | None = field(default=None, init=False, repr=False)

    @property
    def recipe(self) -> Any:
        return self.dataset.recipe

    def vectors(self, model: Model, options: Options, group: Group = ONE_PROCESS) -> dict[str, VectorStore]:
        """Encodes the corpus and the questions of every evaluation split; all processes of a launch call it."""
        from mpr.search import encode

        model.agree(self.recipe.towers)
        return {name: encode.run(task, self._place(name), group) for name, task in self.tasks(model, options).items()}

    def tasks(self, model: Model, options: Options) -> dict[str, Task]:
        """What there is to encode."""
        from mpr.search.encode import Task

        side = model.side("passage", self.dataset.tokens_of_passages(None))
        found = {"corpus": Task.of(model, "passage", side, self.dataset.corpus().ids, options)}
        for role in self.recipe.data.evaluate:
            side = model.side("question", self.dataset.tokens_of_questions(role))
            found[role] = Task.of(model, "question", side, self.dataset.split(role).ids_of, options)
        return found

    def cut_to(self, width: int) -> Retrieval:
        """The same retrieval with vectors that are cut: a folder of its own within this one. Nothing is encoded."""
        from mpr.search import encode

        made = replace(self, folder=self.folder / "widths" / f"{self.folder.name}-{width}", width=width)
        data, unit = self.dataset, self.recipe.towers.normalize
        for name in ("corpus", *self.recipe.data.evaluate):
            texts = data.tokens_of_passages(None) if name == "corpus" else data.tokens_of_questions(name)
            encode.narrowed(self._vectors(name, texts), made._place(name), width, unit, data.quiet)
        return made

    def _place(self, name: str) -> Path:
        return self.folder / "vectors" / name

    # Search

    def search(self, role: str, device: str, progress: Progress = silent, group: Group = ONE_PROCESS) -> Ranking:
        """Ranks the corpus for every question of an evaluation split by the vectors of `vectors`; all processes of a
        launch call it."""
        data = self.dataset
        # What is missing of the texts is made by the first process.
        group.first(lambda: bool([data.tokens_of_passages(None), data.tokens_of_questions(role)]))
        corpus = self._vectors("corpus", data.tokens_of_passages(None))
        questions = self._vectors(role, data.tokens_of_questions(role))
        made = self._made(role, corpus, questions)
        if not group.first(lambda: self._is_ranked(role, made)):
            group.first(lambda: self._verify(corpus, questions))
            asked_QW, wanted = questions.by_row(), self.recipe.search.feedback
            if wanted is not None:  # a first search moves the questions
                first, _ = self._found(corpus, asked_QW, made, device, silent, group)
                asked_QW = search.of_first(search.moved_by_feedback(asked_QW, first, corpus, wanted), group.place)
            hits, facts = self._found(corpus, asked_QW, made, device, progress, group)
            ids = data.split(role).ids
            group.first(lambda: self._commit(role, made | facts, Ranking.of_rows(ids, hits.rows_QK, hits.scores_QK)))
        return self.ranking(role)

    def _vectors(self, name: str, texts: TokenStore) -> VectorStore:
        """Vectors whose rows are those of these texts: rows become ids of what lies there now."""
        place = self._place(name)
        if not os.path.lexists(place):
            more = " --untrained" if self.untrained else ""
            fix = f"make them first: `mpr encode RECIPE{more}`, with the same --set and --folder; or ask for --bm25"
            raise DataError("there are no vectors yet", where=str(place), fix=fix)
        store = VectorStore(place)
        if store.manifest.receipt["work"]["data"] != texts.manifest.digest:
            what = "was encoded from other texts than those of the recipe"
            raise DataError(what, where=str(place), fix="remove it, and encode again")
        if self.width is None and store.manifest.receipt["work"].get("width") != self.recipe.encoding.width:
            wanted = self.recipe.encoding.width or "null"
            what = f"holds vectors of {store.width} numbers, and encoding.width is {wanted}"
            fix = "`mpr encode` with the same --set into another --folder, and name it here"
            raise DataError(what, where=str(place), fix=fix)
        return store

    def _made(self, role: str, corpus: VectorStore, questions: VectorStore) -> dict[str, Any]:
        """Everything that decides a ranking."""
        wanted, model = self.recipe.search, corpus.manifest.receipt["work"]["model"]
        if model != questions.manifest.receipt["work"]["model"]:
            what = "the corpus and the questions were encoded by two models"
            raise DataError(what, where=str(self._place(role)), fix="remove the older of the two folders, encode again")
        depth = min(wanted.depth, len(corpus))
        made = {
            "corpus": corpus.manifest.digest,
            "questions": questions.manifest.digest,
            "model": model,
            "index": wanted.index,
            "depth": depth,
            "passages": self.dataset.corpus().manifest.digest,
            "split": self.dataset.split(role).manifest.digest,
        }
        if wanted.feedback is not None:
            made["feedback"] = wanted.feedback.model_dump()
        if wanted.index == "exact":
            return made
        made["settings"] = faiss_settings.written(faiss_settings.parsed(wanted.settings or ""))
        made["fetch"] = min(wanted.fetch or depth, len(corpus))
        if (index := self.index_place()).exists():  # one that is gone decided no less: then its digest is not compared
            made["index digest"] = storage.read_manifest(index, faiss_index.KIND).digest
        return made

    def _found(
        self, corpus: VectorStore, queries_QW: Any, made: dict[str, Any], device: str, progress: Progress, group: Group
    ) -> tuple[TopK, dict[str, Any]]:
        """The hits on the first process, and what else its receipt says."""
        depth = made["depth"]
        if made["index"] == "exact":
            return self._best(corpus, queries_QW, depth, device, progress, group), {}
        chosen_S = search.sample(len(queries_QW))
        hits, facts = TopK.none(0), dict[str, Any]()
        if group.place.rank == 0:  # it has threads of its own, and memory for one index is enough
            index = self._faiss(corpus)
            look = partial(index.search, fetch=made["fetch"], settings=made["settings"])
            hits = search.in_batches(look, queries_QW, depth, progress)
            facts["index digest"] = index.digest
        best = self._best(corpus, queries_QW[chosen_S], depth, device, silent, group)
        if group.place.rank == 0:
            own = TopK(hits.rows_QK[chosen_S], hits.scores_QK[chosen_S])
            cuts = [int(re.sub("[^0-9]", "", measure)) for measure in self.recipe.evaluation.measures]
            facts["recall"] = asdict(Recall.measured(own, best, len(queries_QW), cuts))
        return hits, facts

    def _best(
        self, corpus: VectorStore, queries_QW: Any, depth: int, device: str, progress: Progress, group: Group
    ) -> TopK:
        """By exact search: by the processes of a launch, or in parts by whoever is there."""
        if group.is_fixed:
            return search.in_batches(self._exact(corpus, device, group).search, queries_QW, depth, progress)
        return Parts.search(
            corpus, queries_QW, depth, group, budget_bytes=self.budget, device=device, progress=progress
        )

    def _verify(self, corpus: VectorStore, questions: VectorStore) -> None:
        """Every byte that is searched, the corpus once for all splits."""
        storage.verify(questions.folder)
        if self._verified != corpus.manifest.digest:
            storage.verify(corpus.folder)
            self._verified = corpus.manifest.digest

    def _exact(self, corpus: VectorStore, device: str, group: Group) -> Shared:
        """Opened once for all splits."""
        of = corpus.manifest.digest, device, group.place
        if self._shared is None or self._shared[0] != of:
            self._shared = of, Shared.open(corpus, group.place, budget_bytes=self.budget, device=device)
            group.wait()
        return self._shared[1]

    def _faiss(self, corpus: VectorStore) -> FaissIndex:
        """Built where it is not there yet, and opened once for all splits."""
        target, digest = self.index_place(), corpus.manifest.digest
        of = target, digest
        if self._index is None or self._index[0] != of:
            build = partial(faiss_index.build, factory=self.recipe.search.index)
            make = FaissIndex.open if target.exists() else build
            self._index = of, make(target, corpus, store_digest=digest)
        return self._index[1]

    def index_place(self) -> Path:
        return self._place(f"corpus-{self.recipe.search.index.replace(',', '-')}")

    def recall(self, role: str) -> Recall | None:
        """How much of exact search an approximate ranking has; None: it was found by exact search."""
        found = storage.read_manifest(self.ranking_file(role).parent, RANKING).receipt.get("recall")
        return None if found is None else Recall(**found)

    def search_words(self, role: str, progress: Progress = silent, group: Group = ONE_PROCESS) -> Ranking:
        """The same by BM25, a baseline for every model. The first process does it."""
        group.first(lambda: self._searched_words(role, progress))
        return self.ranking(role)

    def has_word_index(self) -> bool:
        """Whether the BM25 index is there already, of which building takes more memory than anything else here."""
        corpus = self.dataset.corpus.folder / "passages"
        return corpus.exists() and bm25.place(PassageStore(corpus), BM25).exists()

    def _searched_words(self, role: str, progress: Progress) -> None:
        corpus, depth = self.dataset.corpus(), self.recipe.search.depth
        questions = self.dataset.split(role)
        made = {**BM25.origin(corpus), "questions": questions.manifest.digest, "depth": depth}
        if self._is_ranked(role, made):
            return
        index = bm25.beside(corpus, BM25, self.dataset.bar, self.budget)
        rows_QK = np.full((len(questions), depth), -1, dtype=np.int64)
        scores_QK = np.zeros(rows_QK.shape, dtype=np.float64)
        for number, text in enumerate(questions.texts):
            rows, scores = index.top(text, depth)  # fewer than depth where fewer passages share a word
            rows_QK[number, : len(rows)], scores_QK[number, : len(rows)] = rows, scores
            progress(1)
        self._commit(role, made, Ranking.of_rows(questions.ids, rows_QK, scores_QK))

    def ranked(self, role: str, group: Group = ONE_PROCESS, *, words: bool = False) -> Ranking:
        """The ranking of an evaluation split by vectors or, with `words`, by BM25; made where it is missing."""
        with self.dataset.bar(f"search {role}", group.first(lambda: len(self.dataset.split(role)))) as progress:
            if words:
                return self.search_words(role, progress, group)
            from mpr.search import encode

            return self.search(role, encode.device(group.place), progress, group)

    def write_texts(self, role: str, ranking: Ranking) -> str:
        """The ranking as a table with texts, whose tag names the ranking; the path of the table."""
        target = self.ranking_file(role).parent.with_name(f"{role}-texts")
        tag = f"{self.recipe.name}@{self.receipt(role)['ranking'][:12]}"
        if not target.exists():
            ranking_table.write(target, ranking, self.dataset.split(role), self.dataset.corpus(), tag)
        elif storage.verify(target, ranking_table.KIND).receipt["tag"] != tag:
            raise DataError("has the texts of another ranking", where=str(target), fix="remove it, and search again")
        return str(target / ranking_table.FILE)

    def ranking_file(self, role: str) -> Path:
        return self.folder / "rankings" / role / "run.trec"

    def _is_ranked(self, role: str, made: dict[str, Any]) -> bool:
        """Whether a ranking is there that was made by just this; another one is refused."""
        folder = self.ranking_file(role).parent
        if not folder.exists():
            return False
        found = storage.verify(folder, RANKING).receipt
        if others := list(changes({key: found.get(key, "absent") for key in made}, made)):
            fix = f"remove the folder, or rank into another run folder ({FORK}), and both are kept"
            raise RecipeError(f"was made with {'; '.join(others)}", where=str(folder), fix=fix)
        return True

    def _commit(self, role: str, made: dict[str, Any], ranking: Ranking) -> None:
        corpus = self.dataset.corpus()
        with (
            storage.stage(self.ranking_file(role).parent, RANKING, made) as stage,
            stage.open("run.trec") as file,
        ):
            trec.write_hits(file, ranking.hits(corpus.ids, self.recipe.name))

    def receipt(self, role: str) -> dict[str, str]:
        """What produced the ranking, to be kept with its scores."""
        return {"ranking": storage.read_manifest(self.ranking_file(role).parent, RANKING).digest}

    def ranking(self, role: str) -> Ranking:
        """As it was written: what is scored is what anybody else can score."""
        file = self.ranking_file(role)
        storage.verify(file.parent, RANKING)
        if file.stat().st_size:
            return Ranking.read(file, self.dataset.corpus())
        split = self.dataset.split(role)
        stopped = sum(not BM25.analysis(text) for text in split.texts)
        why = (
            f"{stopped:,} of {len(split):,} questions have no word but stop words" if stopped else "no word is in both"
        )
        log.warning("%s: no passage was found for any question, so every score is 0: %s", file, why)
        return Ranking.of_rows(split.ids, np.full((len(split), 1), -1), np.zeros((len(split), 1)))

    # Scores

    def evaluate(
        self, role: str, ranking: Ranking, name: str, receipt: dict[str, str], *, own: bool, drop_self: bool = False
    ) -> Scores:
        """Scores of a ranking by the recipe's measures, over all questions of the split. `own`: it was searched here,
        to the recipe's depth; how deep a foreign run was searched, its longest list tells. Only of our own rankings it
        is known, and looked at, which questions were trained on too."""
        split, corpus, wanted = self.dataset.split(role), self.dataset.corpus(), self.recipe.evaluation
        facts = self.dataset.corpus.collection.split(self.dataset.splits.names[role])
        rules = evaluation.Rules(
            run=name,
            split=self.dataset.splits.names[role],
            self_hits="drop" if drop_self else "keep",
            overlap="refuse" if self.recipe.data.overlap == "refuse" else "allow",
            depth=min(self.recipe.search.depth, len(corpus)) if own else None,
            receipt=tuple(receipt.items()),
        )
        # Nothing is known of what the maker of a foreign run trained on, and nothing was trained for it here.
        trained = self.dataset.split("train").shared_with(split) if own and self.recipe.trains else []
        if wanted.match == "judgements":
            return evaluation.by_judgements(
                ranking,
                Judgements.of(self.dataset.corpus.collection.judgements(self.dataset.splits.names[role]), corpus),
                corpus,
                rules,
                names=wanted.measures,
                least=facts.relevant,
                questions=split.ids,
                trained=trained,
            )
        cuts = [int(measure.removeprefix("top")) for measure in wanted.measures]
        tiers, positives = self.recipe.tiers, None
        if split.positives.counting(tiers).lengths().sum():  # most test splits list none
            positives = Judgements.of_positives(split, self.dataset.passages_of(role), corpus, tiers)
        return evaluation.by_answers(ranking, split, corpus, rules, cuts=cuts, positives=positives, trained=trained)

    def keep_scores(self, role: str, ranking: Ranking | None, run: Path | None, drop_self: bool) -> tuple[Scores, Path]:
        """Scores of a ranking that was searched here, or of a run file of anybody, and the folder they are kept in."""
        if ranking is not None:
            name, receipt, target = self.folder.name, self.receipt(role), self.folder / "scores" / role
        else:
            assert run is not None
            ranking, name = Ranking.read(run, self.dataset.corpus()), run.stem
            receipt = {"run file": storage.remembered_sha256(run)}
            target = self.folder / "scores" / f"{role}-{run.stem}"
        scores = self.evaluate(role, ranking, name, receipt, own=run is None, drop_self=drop_self)
        scores.keep(target)
        return scores, target
