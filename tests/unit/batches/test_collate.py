"""Batches against the tokenizers of transformers, against a second reading, over workers, restarts and processes."""

from __future__ import annotations

import multiprocessing
import pickle
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mpr.batches.collate import Collator
from mpr.batches.draw import Drawer
from mpr.batches.targets import Targets
from mpr.data import tokens
from mpr.data.positives import PositiveIndex
from mpr.data.token_batches import Side, assemble
from mpr.data.tokens import PADDING, TokenStore, passage_texts
from mpr.errors import DataError, RecipeError
from mpr.models.templates import Template
from mpr.recipe.keys_draw import Draw
from mpr.records import Passage, text_hash
from mpr.runtime.processes import Place
from tests.conftest import Examined
from tests.unit.draws import entry, positives_of, ragged
from tests.unit.framings import FRAMINGS, bare, bert, texts
from tests.unit.policies import policy_of

LENGTHS = range(4, 41)
PROMPTS = ("", "passage: ")


def token_store(folder: Path, pairs: Sequence[tuple[str, str]], tokenizer: Any, cap: int = 64) -> TokenStore:
    return tokens.build(folder, pairs, tokenizer.backend_tokenizer, cap=cap, receipt={})


def rows_of(store: TokenStore, rows: Sequence[int], template: Template, length: int) -> list[list[int]]:
    """Ids of each row without padding, after looking at the padding."""
    ids, mask = assemble(store, np.array(rows, dtype=np.int64), template, length)
    assert ids.dtype == mask.dtype == np.int64
    assert ids.shape == mask.shape
    assert mask.sum(axis=1).max() == ids.shape[1] <= length  # no wider than its longest row
    assert (np.diff(mask, axis=1) <= 0).all()
    assert (ids[mask == 0] == template.pad).all()
    return [line[: line_mask.sum()].tolist() for line, line_mask in zip(ids, mask, strict=True)]


def cut(ids: list[int], length: int, suffix: int) -> list[int]:
    """From the end, but the last special token stays in its place."""
    return ids if len(ids) <= length else ids[: length - suffix] + ids[len(ids) - suffix :]


def whole(tokenizer: Any, passage: Passage, title: str, prompt: str) -> list[int]:
    """What transformers makes of the passage without any truncation; a pair has something on either side."""
    parts = [prompt + passage.text]
    if passage.title and title == "pair":
        parts = [prompt + passage.title, passage.text]
    elif passage.title and title == "join":
        parts = [f"{prompt}{passage.title} {passage.text}"]
    filled = [part for part in parts if tokenizer(part, add_special_tokens=False)["input_ids"]]
    return list(tokenizer(*(filled or [""]))["input_ids"])


@pytest.mark.parametrize("name", FRAMINGS)
@pytest.mark.parametrize("title", ["pair", "join", "none"])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_rows_are_what_transformers_makes_of_the_text(
    tmp_path: Path, name: str, title: str, prompt: str, examined: Examined
) -> None:
    tokenizer = FRAMINGS[name]()
    usable = [(head, text) for head, text in texts(3) if title != "none" or text.strip()]  # the others are refused
    passages = [Passage(str(row), text, head) for row, (head, text) in enumerate(usable)]
    store = token_store(tmp_path / "tokens", list(passage_texts(passages, title, prompt)), tokenizer)
    template = Template.of(tokenizer.backend_tokenizer)
    expected = [whole(tokenizer, passage, title, prompt) for passage in passages]
    seen: Counter[str] = Counter()
    for length in LENGTHS:
        found = rows_of(store, range(len(passages)), template, length)
        for ids, full in zip(found, expected, strict=True):
            assert ids == (cut(full, length, len(template.suffix)) or [template.pad])
            seen["cut" if len(full) > length else "whole"] += 1
    assert min(seen.values()) > 600
    examined(seen.total(), f"rows, {seen['cut']} of them cut")


@pytest.mark.parametrize("name", ["bert", "roberta", "ending"])
def test_truncation_is_that_of_transformers(tmp_path: Path, name: str, examined: Examined) -> None:
    """A single text always; a pair when its title leaves room for text, which `only_second` demands."""
    tokenizer, pairs = FRAMINGS[name](), texts(4)
    store = token_store(tmp_path / "tokens", pairs, tokenizer)
    template = Template.of(tokenizer.backend_tokenizer)
    singles = pairs_tried = 0
    for length in LENGTHS:
        found = rows_of(store, range(len(pairs)), template, length)
        for row, ((title, text), ours) in enumerate(zip(pairs, found, strict=True)):
            special = len(template.prefix) + len(template.between) + len(template.suffix)
            if not title:
                assert ours == tokenizer(text, truncation=True, max_length=length)["input_ids"]
                singles += 1
            elif len(store.text.row(row, "id")) and 0 < len(store.title.row(row, "id")) < length - special:
                options = {"truncation": "only_second", "max_length": length}
                assert ours == tokenizer(title, text, **options)["input_ids"]
                pairs_tried += 1
    examined(pairs_tried, f"pairs and {singles} single texts", at_least=700)
    assert singles > 700


def test_a_title_longer_than_the_room_is_cut_like_everything_else(tmp_path: Path) -> None:
    """[CLS] title [SEP]: no second [SEP] for a text of which nothing is left."""
    tokenizer = bert()
    title, text = "ka lo mi ren tu", "vas zel"
    store = token_store(tmp_path / "tokens", [(title, text)], tokenizer)
    template = Template.of(tokenizer.backend_tokenizer)
    head = tokenizer(title, add_special_tokens=False)["input_ids"]
    body = tokenizer(text, add_special_tokens=False)["input_ids"]
    expected = {
        4: [2, *head[:2], 3],
        6: [2, *head[:4], 3],
        7: [2, *head, 3],
        8: [2, *head, 3, 3],
        9: [2, *head, 3, body[0], 3],
        10: [2, *head, 3, *body, 3],
        40: [2, *head, 3, *body, 3],
    }
    assert {length: rows_of(store, [0], template, length)[0] for length in expected} == expected


def test_padding_rows_and_rows_without_tokens_show_one_padding_token(tmp_path: Path) -> None:
    """An encoder that may attend to nothing divides by zero; one meaningless token keeps its answer finite."""
    tokenizer = bare()
    store = token_store(tmp_path / "tokens", [("", ""), ("", "kalo")], tokenizer)
    ids, mask = assemble(store, np.array([PADDING, 0, 1]), Template.of(tokenizer.backend_tokenizer), 9)
    assert mask.sum(axis=1).tolist() == [1, 1, len(tokenizer("kalo")["input_ids"])]
    assert ids[:2].tolist() == [[0] * ids.shape[1]] * 2
    tokenizer = bert()
    store = token_store(tmp_path / "others", [("kalo", "ren")], tokenizer)
    ids, mask = assemble(store, np.array([PADDING, PADDING]), Template.of(tokenizer.backend_tokenizer), 9)
    assert (ids.tolist(), mask.tolist()) == ([[0], [0]], [[1], [1]])


def test_what_a_side_cannot_do_is_refused(tmp_path: Path) -> None:
    tokenizer = bert()
    store = token_store(tmp_path / "tokens", [("ka", "lo")], tokenizer, cap=16)
    template = Template.of(tokenizer.backend_tokenizer)
    with pytest.raises(RecipeError, match="tokenised up to 16 tokens, 17 are asked for"):
        Side(store, template, 17)
    with pytest.raises(RecipeError, match="adds 4 special tokens to a text, 4 leave no room"):
        Side(store, replace(template, prefix=(2, 2, 2)), 4)
    with pytest.raises(RecipeError, match="frames pairs and single texts differently"):
        Side(store, replace(template, pairs=False), 16)
    joined = token_store(tmp_path / "joined", [("", "ka lo")], tokenizer, cap=16)
    assert Side(joined, replace(template, pairs=False), 16).tokens(np.array([0]))["input_ids"].shape == (1, 4)


# ---- whole batches

SIZE = 120
DRAW = {
    "questions": "shuffle",
    "positives": {"policy": "up_to", "m": 2, "beyond": "rotate"},
    "negatives": (entry("a", "uniform", k=2), entry("b", "top", "random", k=1)),
    "in_batch": True,
}
IMPROVED = policy_of(siblings="ignore", shared="positive", duplicates="ignore", doubtful="ignore")


@pytest.fixture(scope="module")
def collator(tmp_path_factory: pytest.TempPathFactory) -> Collator:
    """Thirty questions about 120 passages, some of which say the same; steps of seven rows."""
    dice, folder = random.Random(5), tmp_path_factory.mktemp("collate")
    known = [positives_of(dice, SIZE) for _ in range(30)]
    lists = {name: ragged([dice.sample(range(SIZE), dice.randint(0, 4)) for _ in known]) for name in "ab"}
    draw = Draw.model_validate(DRAW)
    drawer = Drawer(draw, PositiveIndex.of(known), ("gold", "answer_match"), lists, SIZE, 7, seed=1)
    tokenizer = bert()
    template = Template.of(tokenizer.backend_tokenizer)
    pairs = (texts(6) * 2)[:SIZE]
    questions = Side(token_store(folder / "questions", texts(7)[:30], tokenizer), template, 12)
    passages = Side(token_store(folder / "passages", pairs, tokenizer), template, 24)
    hashes = np.array([text_hash(title + text) for title, text in pairs], dtype=np.uint64)
    tiers = ("gold", "answer_match")
    return Collator(
        drawer=drawer, questions=questions, passages=passages, text_hashes=hashes, tiers=tiers, policy=IMPROVED
    )


def flat(batch: dict[str, Any]) -> dict[str, Any]:
    """Everything in a batch under one level of names, comparable with ==."""
    found = {}
    for name, value in batch.items():
        for inner, content in value.items() if isinstance(value, dict) else [("", value)]:
            found[f"{name}.{inner}"] = content.tolist() if hasattr(content, "tolist") else content
    return found


def loaded(collator: Collator, steps: range, workers: int, **options: Any) -> list[dict[str, Any]]:
    loader = DataLoader(steps, batch_size=1, collate_fn=collator, num_workers=workers, **options)  # type: ignore[arg-type]
    return [flat(batch) for batch in loader]


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_any_number_of_workers_and_any_restart_give_the_same_batches(collator: Collator, examined: Examined) -> None:
    expected = [flat(collator([number])) for number in range(24)]
    compared = 0
    for workers in (0, 2, 4):
        for start in (0, 1, 5, 13, 23):
            found = loaded(collator, range(start, 24), workers)
            assert found == expected[start:]
            compared += len(found)
    assert loaded(collator, range(24), 2, prefetch_factor=7) == expected
    assert len({str(batch["passage.input_ids"]) for batch in expected}) == 24
    examined(compared, "batches through a data loader", at_least=200)


def test_a_collator_goes_to_another_process_without_its_stores(collator: Collator, tmp_path: Path) -> None:
    """Where workers are not forked the collator is pickled; gigabytes of tokens must go as the path of their file."""
    sent = pickle.dumps(collator)
    assert [flat(pickle.loads(sent)([number])) for number in range(5)] == [
        flat(collator([number])) for number in range(5)
    ]
    large = token_store(tmp_path / "large", [("", "ka lo mi ren tu vas") for _ in range(20_000)], bert())
    assert (large.folder / "text.id.bin").stat().st_size > 400_000
    assert len(pickle.dumps(replace(collator, passages=replace(collator.passages, store=large)))) < len(sent) + 1_000


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_that_are_not_forked(collator: Collator, method: str) -> None:
    context = multiprocessing.get_context(method)
    expected = [flat(collator([number])) for number in range(6)]
    assert loaded(collator, range(6), 2, multiprocessing_context=context) == expected


def test_a_batch_is_one_draw(collator: Collator) -> None:
    with pytest.raises(RecipeError, match="a batch is one draw, not 2"):
        collator([0, 1])


def test_a_batch_holds_the_step(collator: Collator) -> None:
    """Texts stand in the order of the ids, which are those of the block; the matrices are those of the relations."""
    template = collator.passages.template
    for number in range(10):
        step, batch = collator.drawer(number), collator([number])
        related = collator.relations(step)
        assert batch["draw"] == number
        assert batch["question_ids"].tolist() == step.block.question_Q.tolist()
        assert batch["passage_ids"].tolist() == step.block.passage_P.tolist()
        assert np.array_equal(batch["positives_QP"].numpy(), related.positives_QP)
        assert np.array_equal(batch["negatives_QP"].numpy(), related.negatives_QP)
        assert batch["counts"] == related.counts | {f"short of {name}": n for name, n in step.shortages.items()}
        for side, rows in (("question", step.block.question_Q), ("passage", step.block.passage_P)):
            store, length = getattr(collator, f"{side}s").store, getattr(collator, f"{side}s").length
            found = batch[side]["input_ids"], batch[side]["attention_mask"].sum(dim=1)
            assert [ids[:count].tolist() for ids, count in zip(*found, strict=True)] == [
                rows_of(store, [row], template, length)[0] for row in rows.tolist()
            ]


def test_what_was_drawn_for_a_row_is_told_from_the_rest(collator: Collator, examined: Examined) -> None:
    """Only where a term asks for it; in the whole step and in the part of a process."""
    assert "own_QP" not in collator([0])
    count = 0
    for number, place, gather in [
        (n, Place(rank, 2), gather) for n in range(6) for rank in (0, 1) for gather in (True, False)
    ]:
        batch = replace(collator, targets=Targets(owned=True), place=place, gather=gather)([number])
        block = collator.drawer(number).block
        drawn = set(zip(block.positive_row_N.tolist(), block.positive_N.tolist(), strict=True))
        drawn |= set(zip(block.negative_row_N.tolist(), block.negative_N.tolist(), strict=True))
        passages = batch["passage_ids"].tolist()
        first = 0 if gather else place.rank * len(batch["question_ids"])  # eight rows, one of them padding
        for row, cells in enumerate(batch["own_QP"].tolist()):
            expected = {passage for owner, passage in drawn if owner == first + row}
            assert {passage for passage, is_own in zip(passages, cells, strict=True) if is_own} == expected
            count += len(expected)
    examined(count, "cells of a row's own", at_least=300)


def unpadded(batches: Sequence[dict[str, Any]], side: str) -> list[list[int]]:
    found = []
    for batch in batches:
        ids, mask = batch[side]["input_ids"], batch[side]["attention_mask"]
        found += [line[: int(count)].tolist() for line, count in zip(ids, mask.sum(dim=1), strict=True)]
    return found


@pytest.mark.parametrize("processes", [1, 2, 3, 4])
def test_shares_of_processes_put_together_are_the_whole(collator: Collator, processes: int, examined: Examined) -> None:
    padded = 0
    for number in range(12):
        one = collator([number])
        parts = [replace(collator, place=Place(rank, processes))([number]) for rank in range(processes)]
        ids = {name: parts[0][f"{name}_ids"].tolist() for name in ("question", "passage")}
        for name in ("question", "passage"):
            whole = one[f"{name}_ids"].tolist()
            assert ids[name][: len(whole)] == whole
            assert set(ids[name][len(whole) :]) <= {PADDING}
            assert len(ids[name]) % processes == 0
            assert len(ids[name]) - len(whole) < processes
            assert len({len(part[name]["input_ids"]) for part in parts}) == 1  # equal work for everyone
            assert unpadded(parts, name)[: len(whole)] == unpadded([one], name)
            padded += len(ids[name]) - len(whole)
        for part in parts:
            for matrix in ("positives_QP", "negatives_QP"):
                rows, columns = one[matrix].shape
                assert torch.equal(part[matrix][:rows, :columns], one[matrix])
                assert not part[matrix][rows:].any()
                assert not part[matrix][:, columns:].any()
            assert part["counts"] == one["counts"]
            assert {name: part[f"{name}_ids"].tolist() for name in ids} == ids
    examined(padded, "padded rows and columns", at_least=0 if processes == 1 else 5)


def test_a_title_without_a_text_is_refused_where_titles_are_left_out() -> None:
    with pytest.raises(DataError, match="7: passage has a title only"):
        list(passage_texts([Passage("6", "text"), Passage("7", "", "title")], "none", ""))


def test_known_pairs_are_all_that_are_no_negatives(collator: Collator, examined: Examined) -> None:
    """Named one by one, where a matrix would have a column for each of a hundred thousand passages."""
    passages, found = len(collator.text_hashes), 0
    for number in range(12):
        questions = collator.drawer(number).block.question_Q
        for passage_P in (np.arange(passages), np.arange(passages)[::-3], np.array([PADDING, 0, 1]), np.zeros(0, int)):
            row_N, column_N = collator.known_among(questions, passage_P)
            expected_QP = np.tile(passage_P != PADDING, (len(questions), 1))
            expected_QP[row_N, column_N] = False
            assert np.array_equal(expected_QP, collator.negatives_among(questions, passage_P))
            found += len(row_N)
    examined(found, "pairs", at_least=10)
