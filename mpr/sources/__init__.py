"""CATALOGUE: one file per source of candidate passages: `Params`, and a `Source` that proposes passages for questions.

    Source(params, ground)(rows) -> Ragged     # of each of these questions: passage, rank, score; the best first

What is proposed for a question depends on the question, the passages and the parameters alone: not on which other
questions are asked about, nor in which order. A source need not know the positives: `mpr/mining/mine.py` takes them
out. A file imports numpy and whatever else its work needs inside its methods, because a recipe is checked without them.

Door: `sources.Source`, `sources.Ground` (what there is to propose from).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpr import catalogue
from mpr.runtime.processes import ONE_PROCESS

if TYPE_CHECKING:
    from mpr.data.passages import PassageStore
    from mpr.data.questions import SplitStore
    from mpr.runtime.processes import Group
    from mpr.runtime.progress import Bar
    from mpr.search.inference import Model
    from mpr.search.vectors import VectorStore
    from mpr.storage.ragged import Ragged


@dataclass(frozen=True)
class Learner:
    """The model under training as it is now, for a source that searches with it."""

    model: Model
    folder: Path
    """Where its vectors are kept as long as they are needed."""
    device: str
    passages: VectorStore | None = None
    """The vectors of passages that do not learn; None: they are encoded."""


@dataclass(frozen=True)
class Ground:
    """What there is to propose from, and for whom."""

    questions: SplitStore
    passages: PassageStore
    folder: Path | None
    """Where the user's files are; None: where the process runs."""
    bar: Bar
    """Opens a progress bar over so many things; gives the function to count them with."""
    home: Path = Path(".mpr")
    """Where everything that is kept lies; models that are brought go to its `models`."""
    quiet: bool = False
    """No progress bars."""
    models: Mapping[str, Path] = field(default_factory=dict)
    """Models of earlier stages by name, and what this training starts from as `start` (mpr/models/locate.py)."""
    learner: Learner | None = None
    """For a source whose model is `self`."""
    group: Group = ONE_PROCESS
    """Those who make together what is kept."""


class Source(ABC):
    """Base of the class that every file here defines. Making one reads nothing; the first call opens what it needs."""

    def __init__(self, params: Any, ground: Ground) -> None:
        self.params, self.ground = params, ground

    def __reduce__(self) -> Any:
        """It goes to another process without what it has opened."""
        return type(self), (self.params, self.ground)

    def prepare(self) -> None:
        """Makes what is kept beside the texts, before several processes come and want it at once: proposing for one
        question needs it. Every process of the group calls it."""
        import numpy as np

        if self.ground.group.workers > 1:
            self.ground.group.first(lambda: len(self(np.arange(min(1, len(self.ground.questions))))))

    @property
    @abstractmethod
    def origin(self) -> dict[str, Any]:
        """Which version of what makes the proposals: equal origins and parameters propose the same."""

    @abstractmethod
    def __call__(self, rows: Any) -> Ragged:
        """Proposals for these questions, one row for each."""

    def scored(self, question_N: Any, passage_N: Any) -> Any:
        """Scores of any pairs, on the scale of those of proposals; NaN where the source can give none. Questions
        ascend."""
        import numpy as np

        return np.full(len(question_N), np.nan, dtype=np.float32)


class Filed(Source):
    """A source whose candidates stand in a file that the user brings: all of them are read at the first call."""

    def __call__(self, rows: Any) -> Ragged:
        return self._whole.some(rows)

    @cached_property
    def _path(self) -> Path:
        from mpr.data import named_file

        return named_file.located(self.params, self.ground, "sources", of="candidates", fix="check sources.file")

    @cached_property
    @abstractmethod
    def _whole(self) -> Ragged:
        """Candidates of all questions."""


def of(part: Any, ground: Ground) -> Source:
    """The source that an entry of a recipe's `sources` names."""
    module: Any = catalogue.find("sources", part.name)
    made: Source = module.Source(part, ground)
    return made
