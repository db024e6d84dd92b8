"""The passages that a trained model scores highest for the question, by exact search over all of them.

The model is a folder that `mpr train` wrote, one that was pushed to the Hub, pinned to a commit, or that of an earlier
stage of the plan. Texts are tokenised
as it was trained (prompts, titles, lengths) and encoded once; token ids and vectors are kept beside the texts, so that
mining again with the same model only searches. Searching needs memory for the vectors of the questions and `_BUDGET`
for the passages, however many there are.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from mpr import sources
from mpr.catalogue import Parameters
from mpr.errors import RecipeError
from mpr.recipe import model_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mpr.data.tokens import TokenStore
    from mpr.search.exact import Exact
    from mpr.search.inference import Model
    from mpr.search.shards import Places
    from mpr.search.vectors import VectorStore
    from mpr.storage.ragged import Ragged

_BUDGET = 2 << 30  # bytes that a search may add to the process; it changes no result
_AT_ONCE = 1_024  # pairs scored at a time


class Params(Parameters):
    """Which model, and how many passages are proposed."""

    as_: Annotated[str, Field(alias="as", min_length=1)]
    """Name of this source in `draw`."""
    model: Annotated[str, Field(min_length=1)]
    """Folder of a trained model, `runs/<run>/model`, one on the Hub, `org/name@<commit>`, `stage:<name>`: that of an
    earlier stage, `start`: what this training starts from, or `self`: the model under training, at the times that
    `refresh` says."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    """Commit of the Hub repository (40 hex digits, in quotes), where `model` does not say it."""
    base: Annotated[str, Field(min_length=1)] | None = None
    """Folder of the encoder that the model's adapters were trained on, where it is not on the Hub."""
    passage_base: Annotated[str, Field(min_length=1)] | None = None
    """The same of the passage tower's encoder."""
    depth: Annotated[int, Field(ge=1, le=10_000)]
    """Passages looked at per question; known positives among them are then taken out."""
    dtype: Literal["float32", "float16", "bfloat16"]
    """How vectors are stored."""
    compute: Literal["float32", "float16", "bfloat16"]
    """How they are computed."""
    index: Annotated[str, Field(min_length=1)] = "exact"
    """What every step searches in: `exact`, or a faiss factory string such as `OPQ16,PQ16` (LTRe), which proposes
    passages whose full vectors then give the scores."""

    @property
    def pins(self) -> dict[str, str]:
        """What a plan says of the model."""
        if not model_names.is_elsewhere(self.model):
            return {}
        name, _, commit = self.model.partition("@")
        commit = self.revision or commit
        return {name: f"commit {commit}" if commit else "not pinned"}


class Source(sources.Source):
    @property
    def origin(self) -> dict[str, Any]:
        from mpr import storage

        learner = self.ground.learner
        digest = storage.read_manifest(self._folder).digest if learner is None else learner.model.digest
        return {"model": digest, "passages": self.ground.passages.manifest.digest}

    def prepare(self) -> None:
        if self.ground.learner is None:
            self.ground.group.first(lambda: bool([self._passage_texts, self._question_texts]))
        _ = self._passages, self._questions_QW

    def __call__(self, rows: Any) -> Ragged:
        from mpr.data.candidates import proposals

        hits = self._search.search(self._questions_QW[rows], self.params.depth)
        return proposals(list(zip(hits.rows_QK, hits.scores_QK, strict=True)))

    def scored(self, question_N: Any, passage_N: Any) -> Any:
        """As search writes them, whatever it found."""
        import numpy as np

        from mpr.search.top_k import exact_scores

        places, scores_N = self._places, np.zeros(len(question_N), dtype=np.float32)
        for start in range(0, len(question_N), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            vectors_NW = places.vectors(places.place_of[passage_N[some]])
            scores_N[some] = exact_scores(self._questions_QW[question_N[some]], vectors_NW)
        return scores_N

    @cached_property
    def _places(self) -> Places:
        from mpr.search.shards import Places

        return Places(tuple(self._search.first.store.shards))

    @cached_property
    def _folder(self) -> Path:
        from mpr.models import locate

        params, ground = self.params, self.ground
        place = params.model, ground.home, ground.models, params.revision
        return locate.model_folder(*place, key="sources.model", quiet=ground.quiet)

    @cached_property
    def _model(self) -> Model:
        from mpr.search.inference import Model

        if self.ground.learner is not None:
            return self.ground.learner.model
        base, passage_base = (
            None if each is None else Path(each) for each in (self.params.base, self.params.passage_base)
        )
        return Model.opened(self._folder, base, passage_base)

    @cached_property
    def _search(self) -> Exact:
        from mpr.search.exact import Exact

        passages = self.ground.passages
        if self.params.depth > len(passages):
            what = f"source '{self.params.as_}' looks for the {self.params.depth:,} best of {len(passages):,} passages"
            raise RecipeError(what, key="sources.depth", fix=f"choose a depth from 1 to {len(passages):,}")
        stays = self.ground.learner is None  # vectors of the model under training are removed after the search
        return Exact.open(self._passages, budget_bytes=_BUDGET, device=self._device, remembers=stays)

    @cached_property
    def _passage_texts(self) -> TokenStore:
        from mpr.data import tokens

        model = self._model
        return tokens.of_passages(self.ground.passages, model.towers.settings, model.backend, self.ground.bar)

    @cached_property
    def _question_texts(self) -> TokenStore:
        from mpr.data import tokens

        model = self._model
        return tokens.of_questions(self.ground.questions, model.towers.settings, model.backend, self.ground.bar)

    @cached_property
    def _passages(self) -> VectorStore:
        passages, learner = self.ground.passages, self.ground.learner
        if learner is not None and learner.passages is not None:
            return learner.passages
        return self._vectors("passage", passages.folder, self._passage_texts, passages.ids)

    @cached_property
    def _questions_QW(self) -> NDArray[Any]:
        """Vectors of the questions in the order of the split."""
        questions = self.ground.questions
        return self._vectors("question", questions.folder, self._question_texts, questions.ids_of).by_row()

    def _vectors(self, role: str, source: Path, texts: TokenStore, ids: Any) -> VectorStore:
        """Vectors of one side, encoded where they are not there yet: beside the texts, or where the learner's lie."""
        from mpr.search import encode

        options = encode.Options(self.params.dtype, self.params.compute, self._device, quiet=self.ground.quiet)
        if (learner := self.ground.learner) is not None:
            source = learner.folder / source.name
        return encode.beside(self._model, role, texts, source, ids, options, self.ground.group)

    @cached_property
    def _device(self) -> str:
        from mpr.runtime.processes import Place
        from mpr.search import encode

        return encode.device(Place.here()) if self.ground.learner is None else self.ground.learner.device
