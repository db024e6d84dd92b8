"""Core articles of the English Wikipedia in 100-word passages, with TREC, WebQuestions, NQ and trivia questions.

The small-scale twin of DPR's protocol: the same kind of passage, answer matching, distant positives from BM25's first
100, negatives from BM25 without an answer; about 1 % of DPR's passages, so its numbers are never compared with
published ones. The user brings the files: passages as `id, text, title` TSV (the first three or ten passages of 26,895
articles of early 2015), questions and candidate lists as JSON lines.

The files have no development set for TREC. `trec_dev` is a tenth of `trec_train`, chosen by the words of the questions,
so that equal ones go together; `trec_fit` is the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from mpr.catalogue import Parameters
from mpr.corpora import Collection as Base
from mpr.corpora import Pin, Split
from mpr.formats import dpr_tsv, questions_jsonl
from mpr.metrics.answers import normalised
from mpr.records import Group, Passage, stable_hash


class Params(Parameters):
    """Which cut of the articles."""

    cut: Literal["lead3", "lead10"]
    """The first three, or the first ten passages of each article."""
    folder: str | None = None
    """Folder with `wiki/`, `wiki/candidates/` and `qa/`."""


@dataclass(frozen=True)
class _Questions:
    """A file of questions; `candidates` is its name among the candidate lists, where it has one."""

    file: str
    sha256: str
    count: int
    licence: str
    regex: bool = False
    candidates: str = ""


_WIKIPEDIA = "CC BY-SA 3.0 and GFDL"
_CORPUS = {
    "lead3": (74_597, "862a064e25c8764e20fc4e33c058f2310e126bf8cb1e30e4d701857b17c2ab03"),
    "lead10": (211_346, "399b6bddad4522cff4ffdc6c27e6c42aaf128fa416f005631a81b8d3d1121099"),
}
_SETS = {
    "trec_train": _Questions(
        "factoid-large2470-train",
        "135522694f04dda32e64a902e9cd96875818a85d4d455f1eeb9ace02459703f0",
        1_704,
        "TREC questions, public domain",
        regex=True,
        candidates="trec-train",
    ),
    "trec_test": _Questions(
        "curatedtrec-test",
        "8b6dbe6135cde45e0290f4d785a4afd03eac97630116b20dd2c42becba8deb27",
        694,
        "as DPR's CuratedTREC test",
        regex=True,
    ),
    "webq_train": _Questions(
        "webq-train",
        "1133e104f4c050f9f6c06c7221df13ca91509a6a101ab4b730feace44b919522",
        3_778,
        "CC BY 4.0",
        candidates="webq-train",
    ),
    "webq_test": _Questions(
        "webq-test", "5472912043b793a86a75c84219793b65cb0129753fccb14ac6fbea04a7e0842b", 2_032, "CC BY 4.0"
    ),
    "nq_train": _Questions(
        "nq-dev",
        "e91007291b0ea1571ed812d1a0fdec4eba235f674598300ed09a955ae4c32987",
        8_757,
        "CC BY-SA 3.0",
        candidates="nq-dev",
    ),
    "nq_test": _Questions(
        "nq-test", "ec2a81687c6532b1cc10ed5ea8a061f139910c114250a513801a5b135b74052c", 3_610, "CC BY-SA 3.0"
    ),
    "trivia_train": _Questions(
        "opentriviaqa",
        "1894e6c2050f66e4501d43638f2c750affa821fcc8c94a2f3a21c04043a94986",
        37_570,
        "CC BY-SA 4.0",
        candidates="opentriviaqa",
    ),
}
_PARTS = {"trec_fit": ("trec_train", 1_559, False), "trec_dev": ("trec_train", 145, True)}  # of, how many, held out
_TENTH = 10
_CANDIDATES = {
    "lead10.nq-dev": "56fe22b78a12899addf292ed0c2dcccda171ae343a998460e9f91306ec8df143",
    "lead10.opentriviaqa": "79cef4bd475259834b7bcff506b83246e15264cc4732a587b4fa4a05c69ea4bd",
    "lead10.trec-train": "ecc10fcc5e5a8c42cfad89bc93e80e77d0563ecab68fa8ba823e08111f1a6efd",
    "lead10.webq-train": "ad54a14322d889532c1c68451432d0f8db5bb42d333091962e17659eb6978ceb",
    "lead3.nq-dev": "b318c17bad25c97a037da60d5705ed3a909821507146bb25bce50eebbd31090c",
    "lead3.opentriviaqa": "f063fa4342f928e93e1185229f7dfbffb29f21262d3a2870167087838101df61",
    "lead3.trec-train": "9288093190d5592384696bf27ec6b0589475bbcafce0a8d84fd46bdbd3934157",
    "lead3.webq-train": "bded81dccf6f8b4d722ad746a1756527f59cbfa973aebe57facbe6d482d02795",
}


class Collection(Base):
    words = 100

    @property
    def size(self) -> int | None:  # type: ignore[override]
        return _CORPUS[self.params.cut][0]

    @property
    def splits(self) -> Mapping[str, Split]:
        whole = {
            name: Split(
                found.count,
                trains=bool(found.candidates),
                regex=found.regex,
                sources=("bm25",) if found.candidates else (),
            )
            for name, found in _SETS.items()
        }
        return whole | {name: replace(whole[of], questions=count) for name, (of, count, _) in _PARTS.items()}

    @property
    def pins(self) -> tuple[Pin, ...]:
        return (self._corpus, *(self._questions(name) for name in _SETS))

    @property
    def _corpus(self) -> Pin:
        cut = self.params.cut
        return Pin(f"wiki/enwiki-core.{cut}.tsv.xz", sha256=_CORPUS[cut][1], licence=_WIKIPEDIA)

    @staticmethod
    def _questions(split: str) -> Pin:
        found = _SETS[split]
        return Pin(f"qa/{found.file}.jsonl.gz", sha256=found.sha256, licence=found.licence)

    def passages(self) -> Iterator[Passage]:
        return dpr_tsv.read_passages(self.fetch(self._corpus), header=False, quoted=False)

    def groups(self, split: str) -> Iterator[Group]:
        if split in _PARTS:
            of, _, is_held = _PARTS[split]
            return (group for group in self.groups(of) if _is_held(group) == is_held)
        questions, known = self.fetch(self._questions(split)), _SETS[split]
        ignore = ("category", "options")  # opentriviaqa's multiple-choice fields
        if not known.candidates:
            return (Group(question) for question in questions_jsonl.read_questions(questions, ignore))
        name = f"{self.params.cut}.{known.candidates}"
        pin = Pin(f"wiki/candidates/{name}.jsonl.gz", sha256=_CANDIDATES[name], licence=_WIKIPEDIA)
        return questions_jsonl.read_groups(self.fetch(pin), questions, ignore=ignore)


def _is_held(group: Group) -> bool:
    return stable_hash(normalised(group.question.text)) % _TENTH == 0
