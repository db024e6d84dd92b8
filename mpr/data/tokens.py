"""Texts tokenised once per tokenizer into a memory-mapped store; training, encoding and the audit read from it.

Kept are the first `cap` tokens of each text and its full length, without special tokens: those are added when a batch
is put together, so the same store serves every length up to the cap. A prompt is part of the text before tokenising.

`of_passages` and `of_questions` are the one way to the store of a collection or split: it lies beside the texts under a
name made of all that it depends on, so whoever reads these texts in the same way reads the same store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from mpr import storage
from mpr.data.passages import PassageStore
from mpr.data.questions import SplitStore
from mpr.errors import DataError
from mpr.models import templates
from mpr.models.templates import digest
from mpr.recipe.keys_towers import Towers
from mpr.records import Passage
from mpr.runtime.progress import Bar, Progress, silent
from mpr.storage.ragged import Ragged, RaggedWriter, memory_map

KIND = "tokens"
PADDING = -1  # the row of no text, which fills a batch up
KEPT = 512  # tokens kept of each text at least; more where the towers read longer texts
MAX_CHARACTERS = 1 << 20  # a longer text is cut before tokenising; the receipt counts how many were
_BATCH = 4_096
_COLUMNS = {"id": "<i4"}


def of_passages(store: PassageStore, towers: Towers, tokenizer: Any, bar: Bar) -> TokenStore:
    """Token ids of passages as these towers read them, made where they are not there yet."""
    texts = passage_texts(store, towers.title, towers.passage_prompt)
    how = (towers.title, towers.passage_prompt, max(KEPT, towers.passage_length))
    return _beside(store.folder, texts, len(store), tokenizer, how, bar)


def of_questions(store: SplitStore, towers: Towers, tokenizer: Any, bar: Bar) -> TokenStore:
    """Token ids of the questions of a split, in its order, made where they are not there yet."""
    straight = towers.question_apostrophe == "straight"
    read = (question.text.replace("\u2019", "'") if straight else question.text for question in store)
    texts = (("", towers.question_prompt + text) for text in read)
    how = (question_form(towers), towers.question_prompt, max(KEPT, towers.question_length))
    return _beside(store.folder, texts, len(store), tokenizer, how, bar)


def question_form(towers: Towers) -> str:
    """How a store says that its texts are questions, and what was done to them."""
    return "question" if towers.question_apostrophe == "keep" else f"question, {towers.question_apostrophe} apostrophe"


def passage_texts(store: Iterable[Passage], title: str, prompt: str) -> Iterator[tuple[str, str]]:
    """(title, text) as the tokenizer is to see them; a prompt goes in front of whatever comes first."""
    for passage in store:
        if title == "none" and not passage.text.strip():
            what = "passage has a title only, and titles are left out"
            raise DataError(what, key=passage.id, fix="set towers.title: pair or join, or remove it from the corpus")
        if title == "pair" and passage.title:
            yield prompt + passage.title, passage.text
        elif title == "join" and passage.title:
            yield "", f"{prompt}{passage.title} {passage.text}"
        else:
            yield "", prompt + passage.text


def _beside(
    source: Path, texts: Iterator[tuple[str, str]], count: int, tokenizer: Any, how: tuple[str, str, int], bar: Bar
) -> TokenStore:
    """The store beside the texts in `source`; `how` is (title, prompt, cap)."""
    name = storage.json_digest({"tokenizer": digest(tokenizer), "how": how})
    target = source.with_name(f"{source.name}-tokens-{name[:8]}")
    with storage.missing(target) as is_missing:
        if is_missing:
            receipt = {"title": how[0], "prompt": how[1], "source": storage.read_manifest(source).digest}
            with bar(f"tokens of {source.name}", count) as progress:
                build(target, texts, tokenizer, cap=how[2], receipt=receipt, progress=progress)
    return TokenStore(target)


def build(
    target: Path,
    texts: Iterable[tuple[str, str]],
    tokenizer: Any,
    *,
    cap: int,
    receipt: dict[str, Any],
    progress: Progress = silent,
) -> TokenStore:
    """Tokenises (title, text) pairs; give an empty title where there is none or where it is part of the text."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    receipt |= {"tokenizer": digest(tokenizer), "cap": cap, "characters_cut": 0}
    with (
        storage.stage(target, KIND, receipt) as stage,
        RaggedWriter(stage, "title", _COLUMNS) as titles,
        RaggedWriter(stage, "text", _COLUMNS) as bodies,
        stage.open("lengths.bin") as lengths,
    ):
        source = iter(texts)
        while batch := list(islice(source, _BATCH)):
            receipt["characters_cut"] += sum(len(max(pair, key=len)) > MAX_CHARACTERS for pair in batch)
            _append(titles, tokenizer, [title for title, _ in batch], cap)
            full = _append(bodies, tokenizer, [text for _, text in batch], cap)
            lengths.write(np.array(full, dtype="<i4").tobytes())
            progress(len(batch))
    return TokenStore(target)


def _append(writer: RaggedWriter, tokenizer: Any, texts: list[str], cap: int) -> list[int]:
    """Adds the first `cap` tokens of each text; returns the full lengths."""
    bounded = [text[:MAX_CHARACTERS] for text in texts]
    with templates.refusing("tokenizer.json", "the tokenizer of towers.base fails on a text"):
        found = tokenizer.encode_batch_fast(bounded, add_special_tokens=False)
    encoded = [encoding.ids for encoding in found]
    kept = [ids[:cap] for ids in encoded]
    writer.append([len(ids) for ids in kept], id=np.fromiter(chain.from_iterable(kept), dtype=np.int32))
    return [len(ids) for ids in encoded]


class TokenStore(storage.Opened):
    """Read access: `title` and `text` are ragged token ids, `lengths` the full number of tokens of each text."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.manifest = storage.read_manifest(self.folder, KIND)
        self.title = Ragged.open(self.folder, "title", _COLUMNS)
        self.text = Ragged.open(self.folder, "text", _COLUMNS)
        self.lengths = memory_map(self.folder / "lengths.bin", "<i4")

    def __len__(self) -> int:
        return len(self.text)

    @property
    def cap(self) -> int:
        return int(self.manifest.receipt["cap"])
