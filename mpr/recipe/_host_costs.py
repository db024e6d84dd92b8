"""What a row will cost the processor, its memory and the network, predicted from formulas.

The seconds were fitted to what `benchmarks/scale.py` measured, the rest to what `benchmarks/host.py` did;
`docs/plan.md` derives each formula and says how far it is from the measurement. Unknown stays unknown (None).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mpr import corpora
from mpr.corpora import Collection
from mpr.recipe._costs import TOKENS_PER_WORD
from mpr.recipe.keys import DUAL_ENCODER, Recipe

INDEX, WORDS = "BM25 index", "BM25 baseline"  # an index that the recipe asks for, and that of the baseline alone
HOUR = 3600.0
SECONDS_PER_WORD = 0.15e-6  # of one core: a passage is read, checked, hashed and stored
SECONDS_PER_TOKEN = 2.4e-6  # it is tokenised and stored
SECONDS_PER_POSTING = 1.1e-6  # a passage and a word in it are indexed
SECONDS_PER_PAIR = 1.0e-9  # BM25 scores a passage for a question
POSTINGS_PER_WORD = {"english": 0.55, "none": 0.69}  # different words of a passage, without stop words and with them
BYTES_PER_POSTING = 8.0  # in the index: a weight and a passage
BYTES_PER_POSTING_BUILDING = 48.0  # in memory while it is merged, as far as `--memory` allows,
BYTES_PER_PASSAGE_INDEXED = 80.0  # for each passage, most of it words that are remembered,
BYTES_BUILDING = 1.5e8  # and besides, of what is in work at once
BYTES_PER_PASSAGE_BUILDING = 64.0  # hashes of ids and texts and their order
BYTES_AT_ONCE = 1.5e8  # texts and tokens that are in work together
SEARCH_BYTES = 2.0e9  # what `--memory` allows if nothing else is said
BASELINE = {"k1": 0.9, "b": 0.4, "title": True, "stopwords": "english", "stemmer": "english"}
"""Settings of the BM25 baseline; a test compares them with those that it uses."""


@dataclass(frozen=True)
class HostCosts:
    """By what is done, in the order in which it is done; None: unknown."""

    memory: dict[str, float | None]
    """Bytes that it adds to a process. One comes after the other, so they do not add up."""
    hours: dict[str, float | None]
    """Of one core."""
    indexes: float | None
    """Bytes of BM25 indexes on disk."""


def of(recipe: Recipe, offered: Collection) -> HostCosts:
    """Those of a whole row with its baselines."""
    is_searched, settings, mined = recipe.task == DUAL_ENCODER, _indexes(recipe), _mined(recipe)
    built = {INDEX: settings, WORDS: [BASELINE] if is_searched and BASELINE not in settings else []}
    built = {name: each for name, each in built.items() if each}
    memory: dict[str, float | None] = dict.fromkeys(("texts and tokens", *built))
    hours: dict[str, float | None] = dict.fromkeys(("texts", "tokens", *built, *mined))
    total: float | None = None if built else 0.0
    if offered.size is not None:
        words = float(offered.size * offered.words)
        memory["texts and tokens"] = offered.size * BYTES_PER_PASSAGE_BUILDING + BYTES_AT_ONCE
        hours["texts"] = words * SECONDS_PER_WORD / HOUR
        hours["tokens"] = words * TOKENS_PER_WORD * SECONDS_PER_TOKEN / HOUR
        postings = {name: [words * POSTINGS_PER_WORD[one["stopwords"]] for one in each] for name, each in built.items()}
        for name, each in postings.items():
            merged = min(max(each) * BYTES_PER_POSTING_BUILDING, SEARCH_BYTES)
            memory[name] = merged + offered.size * BYTES_PER_PASSAGE_INDEXED + BYTES_BUILDING
            hours[name] = sum(each) * SECONDS_PER_POSTING / HOUR
        for name, questions in mined.items():
            hours[name] = None if questions is None else offered.size * questions * SECONDS_PER_PAIR / HOUR
        total = sum(map(sum, postings.values())) * BYTES_PER_POSTING
    if is_searched:
        memory["search"] = SEARCH_BYTES
    return HostCosts(memory, hours, total)


def _indexes(recipe: Recipe) -> list[dict[str, Any]]:
    """Different settings of the BM25 indexes of the corpus that sources and labels need, in all stages."""
    found: list[dict[str, Any]] = []
    for stage in recipe.stages if recipe.trains else ():
        if corpora.of(stage.data.corpus).split(stage.data.train).inline:
            continue  # they index the texts that come with its records, which are few
        for part in (*stage.sources, *stage.labels):
            settings = {key: getattr(part, key, None) for key in BASELINE}
            if None not in settings.values() and settings not in found:
                found.append(settings)
    return found


def _mined(recipe: Recipe) -> dict[str, int | None]:
    """Sources that search by words, as a line of hours calls them -> how many questions they search for."""
    found: dict[str, int | None] = {}
    for stage in recipe.stages if recipe.trains else ():
        split = corpora.of(stage.data.corpus).split(stage.data.train)
        asked = split.trainable if split.trainable is not None else split.about
        for source in stage.sources:
            if source.name == "bm25":
                name = source.as_  # type: ignore[attr-defined]
                place = f" of {stage.stage}" if stage.stage else ""
                found[f"mining {name}{place}"] = None if split.inline else asked
    return found
