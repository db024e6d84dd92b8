"""Rows of published checkpoints: the committed recipes, on stand-ins for encoders and collections, by `mpr reproduce`.

Small checkpoints in the published layouts come from a Hub on the loopback; collections are invented texts in the files
of the real ones. What was found is held against vectors by the libraries of the publishers, and what was measured
against scores that other code computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer

from mpr import catalogue
from mpr.recipe import read
from mpr.recipe.keys import Recipe
from mpr.rows import published, reproduction, verification
from tests import shipped
from tests.conftest import Examined
from tests.e2e import standin_files, standin_rows
from tests.e2e.standin_files import Written
from tests.e2e.standin_rows import Made
from tests.hub_login import reading
from tests.hub_repos import Commit
from tests.hub_server import HubServer
from tests.unit import framings
from tests.unit import published_checkpoints as checkpoints
from tests.unit.tiny_models import SMALL

pytestmark = pytest.mark.long

Vectors = Callable[[list[str], list[str] | None], torch.Tensor]
"""(texts, titles or None) -> vectors, by the library of the publisher."""
CLOSE = 1e-4


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    with reading(monkeypatch, tmp_path / "cache") as found:
        yield found


def there(hub: HubServer, name: str | None, revision: str | None, files: checkpoints.Files) -> None:
    """At the commit that the recipe pins, or as the newest where it pins none."""
    if revision is None:
        hub.add(str(name), files)
    else:
        repo = hub.create(str(name))
        repo.commits[revision] = Commit(repo.head, "as pinned", files)


def words() -> Any:
    backend = Tokenizer.from_str(standin_rows.base_files()["tokenizer.json"].decode())
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"
    )


def dpr(hub: HubServer, recipe: Recipe, folder: Path) -> tuple[Vectors, Vectors]:
    tokenizer, towers = words(), recipe.towers
    question, context = checkpoints.dpr(folder, tokenizer, positions=512)
    there(hub, towers.base, towers.revision, question)
    there(hub, towers.passage_base, towers.passage_revision, context)

    def side(name: str, length: int) -> Vectors:
        return lambda texts, titles: checkpoints.by_dpr(folder / name, tokenizer, texts, titles, length)

    return side("DPRQuestionEncoder", towers.question_length), side("DPRContextEncoder", towers.passage_length)


def sentences(hub: HubServer, recipe: Recipe, folder: Path) -> tuple[Vectors, Vectors]:
    towers, tokenizer = recipe.towers, words()
    config = transformers.BertConfig(vocab_size=len(tokenizer), **SMALL, max_position_embeddings=512)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        transformers.BertModel(config).save_pretrained(folder / "source")
    tokenizer.save_pretrained(folder / "source")
    more = [checkpoints.modules.Normalize()] if towers.normalize else []
    length = towers.passage_length
    saved = checkpoints.sentence(folder / "saved", folder / "source", towers.pooling, *more, length=length)
    there(hub, towers.base, towers.revision, checkpoints.files_of(folder / "saved"))

    def vectors(texts: list[str], titles: list[str] | None) -> torch.Tensor:
        joined = texts if titles is None else [f"{title} {text}" for title, text in zip(titles, texts, strict=True)]
        return torch.as_tensor(saved.encode(joined))

    return vectors, vectors


def ance(hub: HubServer, recipe: Recipe, folder: Path) -> tuple[Vectors, Vectors]:
    tokenizer, towers = framings.roberta(), recipe.towers
    model = checkpoints.Ance(len(tokenizer) + 1, int(towers.projection or 0), positions=514)
    there(hub, towers.base, towers.revision, model.files(tokenizer.backend_tokenizer))

    def side(length: int) -> Vectors:
        def vectors(texts: list[str], titles: list[str] | None) -> torch.Tensor:
            found = []
            for start in range(0, len(texts), 64):
                some = texts[start : start + 64]
                ids = tokenizer(some, max_length=length, truncation=True, padding="longest", return_tensors="pt")
                with torch.no_grad():
                    found.append(model(ids["input_ids"]))
            return torch.cat(found)

        return vectors

    return side(towers.question_length), side(towers.passage_length)


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch, recipe: Recipe, written: Written) -> Iterator[None]:
    """The collection's counts and sums are those of the stand-in."""
    kind = catalogue.find("corpora", recipe.data.corpus.name).Collection  # type: ignore[attr-defined]
    known, given, asked = kind.splits.fget, kind.given, written.counts()

    def splits(self: Any) -> Mapping[str, Any]:
        found = dict(known(self))
        return found | {split: replace(found[split], questions=count) for split, count in asked.items()}

    with monkeypatch.context() as patched:
        patched.setattr(kind, "splits", property(splits))
        patched.setattr(kind, "size", len(written.passages))
        patched.setattr(kind, "given", lambda self, pin: standin_rows.summed(given(self, pin), written.folder))
        yield


def asked(recipe: Recipe, role: str) -> list[str]:
    """Texts of the questions, in the order of their ids."""
    texts = [group.question.text for group in standin_files.asked("test")]
    is_parted = recipe.data.corpus.name == "msmarco_passage"
    return texts[standin_files.JUDGED[recipe.data.evaluate[role]]] if is_parted else texts


def found_as_by(recipe: Recipe, made: Made, role: str, question: Vectors, passage: Vectors) -> int:
    """The ranking has the scores that exact search over the library's vectors gives; how many were compared."""
    passages = list(standin_files.passages().values())
    spaced = recipe.data.corpus.name == "msmarco_passage"
    texts = [" ".join(one.text.split()) if spaced else one.text for one in passages]
    titles = None if recipe.towers.title == "none" else [one.title for one in passages]
    scores_QP = question(asked(recipe, role), None) @ passage(texts, titles).T
    lines = (made.folder / "rankings" / role / "run.trec").read_text("utf-8").splitlines()
    ranked: dict[str, list[tuple[str, float]]] = {}
    for identity, _, name, _, score, *_ in map(str.split, lines):
        ranked.setdefault(identity, []).append((name, float(score)))
    row_of = {one.id: row for row, one in enumerate(passages)}
    order = sorted(ranked, key=lambda name: int(name.rpartition("-")[2]))
    for number, identity in enumerate(order):
        depth = len(ranked[identity])
        best = scores_QP[number].topk(depth).values
        ours = torch.tensor([score for _, score in ranked[identity]])
        theirs = scores_QP[number, [row_of[name] for name, _ in ranked[identity]]]
        scale = float(best.abs().max())
        assert float((ours - theirs).abs().max()) < CLOSE * scale, (role, identity)
        assert float((ours - best).abs().max()) < CLOSE * scale, (role, identity)
    assert len(order) == len(scores_QP)
    return len(lines)


ROWS: dict[str, tuple[Any, Callable[[Path], Written]]] = {
    "dpr_single_nq": (dpr, lambda folder: standin_files.dpr(folder, "nq")),
    "dpr_multiset_trec": (dpr, lambda folder: standin_files.dpr(folder, "trec")),
    "tas_b_msmarco": (sentences, standin_files.msmarco),
    "ance_msmarco": (ance, standin_files.msmarco),
    "minilm_scifact": (sentences, standin_files.beir),
}


QUICK = ("dpr_single_nq", "tas_b_msmarco")  # every layout is compared in tests/unit/models/test_published_encoders.py


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ROWS]
)
def test_a_row_of_published_encoders(
    name: str, hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Examined
) -> None:
    publish, write = ROWS[name]
    file = shipped.ROOT / "recipes" / "checkpoints" / f"{name}.yaml"
    written = write(tmp_path / "files")
    sets = [f"data.corpus.folder={written.folder}"]
    if not shipped.recipes()[f"checkpoints/{name}"].draft:  # no folder is pinned; in the file: --set is not judged
        text = file.read_text("utf-8")
        assert text.count("varies: []\n") == 1
        file = tmp_path / file.name
        file.write_text(text.replace("varies: []\n", "varies: []\ndraft: true\n"), "utf-8")
    said: list[str] = []
    recipe = read.load(file, sets)
    question, passage = publish(hub, recipe, tmp_path / "published")
    with counted(monkeypatch, recipe, written):
        home, runs = tmp_path / "home", tmp_path / "runs"
        words = ("bm25",) if name == "dpr_single_nq" else ()
        row = reproduction.reproduce(file, sets, home, runs, said.append, baselines=words, quiet=True)
        folder = runs / f"{name}-published"
        made = Made(recipe, written, home, folder, row.results["published"][0])
        assert verification.mismatches(verification.opened(folder, home)) == []
        assert tuple(made.result.document["stages"]) == ("data", "encode", "search", "evaluate")
        compared = sum(found_as_by(recipe, made, role, question, passage) for role in recipe.data.evaluate)
        again = [line for line in said if "kept" in line]
        assert not again
        reproduction.reproduce(file, sets, home, runs, said.append, baselines=(), quiet=True)
        assert sum("kept: its receipt verifies" in line for line in said) == 4, "a second run does nothing"
    for role in recipe.data.evaluate:
        for measure in recipe.evaluation.measures:
            mean = made.scores[role]["measures"][measure]["mean"]
            if measure.startswith("top"):
                assert mean == pytest.approx(standin_rows.accuracy(made, role, int(measure[3:])), abs=1e-9)
            elif not measure.startswith("map"):
                assert mean == pytest.approx(standin_rows.judged(made, role, measure), abs=1e-9), (role, measure)
    assert made.result.document["seed"] is None
    text, problems = str(row), list(row.outside())
    first = next(iter(recipe.data.evaluate))
    assert f"published: {first} " in text
    judged = [published.verdicts(recipe, role, means(made, role)) for role in recipe.data.evaluate]
    assert len(problems) == sum(word == "off" for words in judged for word in words.values())
    if name != "minilm_scifact":
        assert problems, "random encoders do not reach published values"
    assert ("bm25" in row.results) == (name == "dpr_single_nq")
    examined(compared, f"ranked passages of {name}", at_least=200)


def means(made: Made, role: str) -> dict[str, float]:
    return {name: one["mean"] for name, one in made.scores[role]["measures"].items()}
