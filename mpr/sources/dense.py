"""The passages that a trained model scores highest for the question, by exact search over all of them.

The model is a folder that `mpr train` wrote. Texts are tokenised as it was trained (prompts, titles, lengths) and
encoded once; token ids and vectors are kept beside the texts, so that mining again with the same model only searches.
Searching needs memory for the vectors of the questions and `_BUDGET` for the passages, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from mpr import sources
from mpr.catalogue import Parameters
from mpr.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mpr.exact import Exact
    from mpr.inference import Model
    from mpr.ragged import Ragged
    from mpr.tokens import TokenStore
    from mpr.vectors import VectorStore

_BUDGET = 2 << 30  # bytes that a search may add to the process; it changes no result


class Params(Parameters):
    """Which model, and how many passages are proposed."""

    as_: Annotated[str, Field(alias="as", min_length=1)]
    """Name of this source in `draw`."""
    model: Annotated[str, Field(min_length=1)]
    """Folder of a trained model: `runs/<run>/model`."""
    depth: Annotated[int, Field(ge=1, le=10_000)]
    """Passages looked at per question; known positives among them are then taken out."""
    dtype: Literal["float32", "float16", "bfloat16"]
    """How vectors are stored."""
    compute: Literal["float32", "bfloat16"]
    """How they are computed."""


class Source(sources.Source):
    @property
    def origin(self) -> dict[str, Any]:
        from mpr import storage

        return {
            "model": storage.read_manifest(self._folder).digest,
            "passages": self.ground.passages.manifest.digest,
        }

    def __call__(self, rows: Any) -> Ragged:
        from mpr.candidate_table import proposals

        hits = self._search.search(self._questions_QW[rows], self.params.depth)
        return proposals(list(zip(hits.rows_QK, hits.scores_QK, strict=True)))

    @cached_property
    def _folder(self) -> Path:
        folder = Path(self.params.model)
        if not folder.is_dir():
            fix = "give the `model` folder of a run; one on the Hub is to be brought to this disk first"
            raise DataError("model is not a folder here", where=self.params.model, key="sources", fix=fix)
        return folder

    @cached_property
    def _model(self) -> Model:
        from mpr.inference import Model

        return Model.opened(self._folder)

    @cached_property
    def _search(self) -> Exact:
        from mpr import encode
        from mpr.exact import Exact
        from mpr.processes import Place

        vectors = self._vectors("passage", self.ground.passages.folder, self._passages(), self.ground.passages.ids)
        return Exact.open(vectors, budget_bytes=_BUDGET, device=encode.device(Place.here()))

    @cached_property
    def _questions_QW(self) -> NDArray[Any]:
        """Vectors of the questions in the order of the split."""
        questions = self.ground.questions
        prompt = self._model.towers.settings.question_prompt
        texts = (("", prompt + question.text) for question in questions)
        ids: Any = lambda rows: [questions[int(row)].id for row in rows]  # noqa: E731
        return self._vectors("question", questions.folder, texts, ids).by_row()

    def _passages(self) -> Iterator[tuple[str, str]]:
        from mpr.dataset import passage_texts

        settings = self._model.towers.settings
        return passage_texts(self.ground.passages, settings.title, settings.passage_prompt)

    def _vectors(self, role: str, source: Path, texts: Iterator[tuple[str, str]], ids: Any) -> VectorStore:
        """Vectors of one side, encoded where they are not there yet."""
        from mpr import encode, storage
        from mpr.processes import Place

        device = encode.device(Place.here())
        options = encode.Options(self.params.dtype, self.params.compute, device, quiet=True)
        side = self._model.side(role, self._tokens(role, source, texts))
        task = encode.Task.of(self._model, role, side, ids, options)
        digest = storage.json_digest(task.work)
        return encode.run(task, source.with_name(f"{source.name}-vectors-{digest[:8]}"))

    def _tokens(self, role: str, source: Path, texts: Iterator[tuple[str, str]]) -> TokenStore:
        """Token ids as the model wants them."""
        from mpr import storage, tokens, towers_folder

        settings = self._model.towers.settings
        cap = getattr(settings, f"{role}_length")
        prompt, title = getattr(settings, f"{role}_prompt"), settings.title if role == "passage" else "question"
        how = {"tokenizer": self._model.tokenizer, "title": title, "prompt": prompt, "cap": cap}
        target = source.with_name(f"{source.name}-tokens-{storage.json_digest(how)[:8]}")
        if not target.exists():
            tokenizer = towers_folder.load(self._folder)[1]
            receipt = {"title": title, "prompt": prompt, "source": storage.read_manifest(source).digest}
            size = len(self.ground.passages if role == "passage" else self.ground.questions)
            with self.ground.bar(f"tokens of {source.name}", size) as progress:
                tokens.build(target, texts, tokenizer, cap=cap, receipt=receipt, progress=progress)
        return tokens.TokenStore(target)
