"""Tiny files in the layouts in which collections are published, and servers that offer them.

No reader or writer of mpr makes them: lines, archives and records are put together as the published ones are.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import TypeAdapter

from mpr import corpora
from mpr.corpora import Collection, Pin
from mpr.data import _download
from mpr.recipe.keys import CorpusPart
from tests.hub_login import reading
from tests.hub_repos import Commit
from tests.hub_server import HubServer
from tests.loopback import Loopback

TEXTS = {str(number): (f"Title {number}", f"The text of passage {number} says {number * 7}.") for number in range(1, 9)}
Files = dict[str, bytes]


@dataclass(frozen=True)
class Layout:
    """A collection as it is published."""

    params: dict[str, Any]
    web: Files
    """Last part of an address -> what is there."""
    hub: dict[str, Files] = field(default_factory=dict)
    """Repository -> its files."""
    train: str = ""
    test: str = ""
    trained: int = 0
    """Questions of `train`, and of `test`."""
    tested: int = 0
    positives: tuple[str, ...] = ()
    """Of the first training question."""


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _lines(rows: list[str]) -> bytes:
    return "".join(row + "\n" for row in rows).encode()


def _tar(files: Files) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def _zip(files: Files) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def _context(number: str, key: str) -> dict[str, Any]:
    return {"title": TEXTS[number][0], "text": TEXTS[number][1], "score": 1000, "title_score": 1, key: number}


def _wikipedia() -> Files:
    rows = ["id\ttext\ttitle", *(f'{number}\t"{text}"\t{title}' for number, (title, text) in TEXTS.items())]
    return {"psgs_w100.tsv.gz": gzip.compress(_lines(rows), mtime=0)}


def _copy(stem: str, answer: str) -> Files:
    """Tevatron's: a record a line, test questions without lists of passages."""
    listed = {number: {"docid": number, "title": title, "text": text} for number, (title, text) in TEXTS.items()}
    record = {"query_id": "0", "query": "what says 7?", "answers": [answer]}
    lists = {"positive_passages": [listed["1"], listed["2"], listed["1"]], "negative_passages": [listed["3"]]}
    rows = {"train": [record | lists, record | lists | {"query_id": "1", "query": "and 14?"}], "test": [record]}
    rows["dev"] = rows["train"][1:]
    packed = {part: gzip.compress(_lines([json.dumps(row) for row in found]), mtime=0) for part, found in rows.items()}
    return {f"{stem}-{part}.jsonl.gz": data for part, data in packed.items()}


def dpr() -> Layout:
    """DPR's records of NQ, with the test questions of the copy on the Hub."""
    records = [
        {
            "dataset": "nq_train_psgs_w100",
            "question": f"what says {number}?",
            "answers": ["7"],
            "positive_ctxs": [_context(str(number + 1), "passage_id"), _context("2", "passage_id")],
            "negative_ctxs": [_context("7", "passage_id")],
            "hard_negative_ctxs": [_context("8", "passage_id")],
        }
        for number in range(3)
    ]
    packed = gzip.compress(_json(records), mtime=0)
    params = {"name": "dpr_wikipedia", "questions": "nq", "test": "tevatron"}
    web = _wikipedia() | {"biencoder-nq-train.json.gz": packed}
    hub = {"Tevatron/wikipedia-nq": _copy("nq", "7")}
    return Layout(params, web, hub, "nq_train", "nq_test", 3, 1, ("1", "2"))


def tevatron() -> Layout:
    """The copy of CuratedTREC, whose answers are patterns."""
    params = {"name": "dpr_wikipedia", "questions": "trec", "variant": "tevatron"}
    hub = {"Tevatron/wikipedia-curated": _copy("curated", "se[v]en|7")}
    return Layout(params, _wikipedia(), hub, "trec_train", "trec_test", 2, 1, ("1", "2"))


def msmarco() -> Layout:
    """Microsoft's archive and files, NIST's qrels; a training judgement that is there twice; an unjudged question."""
    asked = {"dev": ["20\tdev question"], "train": [f"{n}\ttraining question {n}" for n in (10, 11, 12)]}
    inside = {
        "collection.tsv": _lines([f"{number}\t{text}" for number, (_, text) in TEXTS.items()]),
        "queries.dev.small.tsv": _lines(asked["dev"]),
        "qrels.dev.small.tsv": _lines(["20\t0\t5\t1"]),
        "queries.train.tsv": _lines(asked["train"]),
    }
    web = {
        "collectionandqueries.tar.gz": _tar(inside),
        "qrels.train.tsv": _lines(["10\t0\t1\t1", "11\t0\t3\t1", "10\t0\t1\t1"]),
    }
    for year in (19, 20):
        web[f"msmarco-test20{year}-queries.tsv.gz"] = gzip.compress(_lines(["30\tjudged", "31\tnot judged"]), mtime=0)
        web[f"20{year}qrels-pass.txt"] = _lines(["30 Q0 1 3", "30 Q0 2 1", "30 Q0 3 0"])
    return Layout({"name": "msmarco_passage"}, web, {}, "official_train", "dl19", 2, 1, ("1",))


def _suite() -> Files:
    """What is in a zip, below the folder of a set. The last line of its qrels has nothing in it."""
    documents = [{"_id": n, "title": title, "text": text, "metadata": {}} for n, (title, text) in TEXTS.items()]
    asked = [{"_id": f"q{n}", "text": f"question {n}", "metadata": {}} for n in range(3)]
    head = "query-id\tcorpus-id\tscore"
    return {
        "corpus.jsonl": _lines([json.dumps(one) for one in documents]),
        "queries.jsonl": _lines([json.dumps(one) for one in asked]),
        "qrels/train.tsv": _lines([head, "q0\t1\t1", "q1\t2\t1"]),
        "qrels/test.tsv": _lines([head, "q2\t3\t2", "q2\t4\t0", ""]),
    }


def beir(dataset: str = "fiqa") -> Layout:
    files = {f"{dataset}/{name}": data for name, data in _suite().items()}
    web = {f"{dataset.partition('/')[0]}.zip": _zip(files)}
    train = "" if "/" in dataset else "train"
    return Layout({"name": "beir", "dataset": dataset}, web, {}, train, "test", 2, 1, ("1",))


LAYOUTS = {
    "DPR's records": dpr,
    "Tevatron's copy": tevatron,
    "MS MARCO": msmarco,
    "BEIR": beir,
    "CQADupStack": lambda: beir("cqadupstack/android"),
}


# Servers


@dataclass
class Offered:
    """What the servers have now; a test changes it."""

    web: Files
    server: Loopback
    hub: HubServer
    asked: list[str] = field(default_factory=list)


class _Web(BaseHTTPRequestHandler):
    """By the last part of an address."""

    offered: Offered

    def do_GET(self) -> None:
        name = urlsplit(self.path).path.rpartition("/")[2]
        self.offered.asked.append(name)
        data = self.offered.web.get(name)
        if data is None:
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def offered(layout: Layout, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Offered]:
    """Both servers, in the place of the real ones: pins keep their kind of knowledge, about these files."""
    known = layout.web | {name: data for files in layout.hub.values() for name, data in files.items()}
    with reading(monkeypatch, folder / "cache") as hub, Loopback(_Web) as server:
        found = Offered(dict(layout.web), server, hub)
        monkeypatch.setattr(_Web, "offered", found, raising=False)
        monkeypatch.setattr(_download, "_PAUSE", 0.0)
        given = Collection.given

        def here(self: Collection, pin: Pin) -> Pin:
            return localised(given(self, pin), known, server.endpoint)

        monkeypatch.setattr(corpora.Collection, "given", here)
        for name, files in layout.hub.items():
            repo = hub.create(f"datasets/{name}")
            for pin in corpora.of(part(layout)).pins:
                if pin.repo == name:
                    repo.commits[pin.revision] = Commit(repo.head, "as pinned", dict(files))
        yield found


def localised(pin: Pin, known: Files, endpoint: str) -> Pin:
    """The pin at the address of the server; whatever kind of sum was known is that of the file here."""
    archive = None if pin.archive is None else localised(pin.archive, known, endpoint)
    url = f"{endpoint}{urlsplit(pin.url).path}" if pin.url else ""
    data = known.get(pin.file)
    if data is None:  # inside an archive: its own sums are those of a file that nobody has here
        return replace(pin, url=url, archive=archive, md5=None, size=None)
    sums = {
        kind: None if getattr(pin, kind) is None else hashlib.new(kind, data, usedforsecurity=False).hexdigest()
        for kind in ("sha256", "md5")
    }
    return replace(pin, url=url, mirrors=(), archive=archive, size=None if pin.size is None else len(data), **sums)


def part(layout: Layout) -> Any:
    """The entry `data.corpus` of a recipe."""
    adapter: TypeAdapter[Any] = TypeAdapter(CorpusPart)
    return adapter.validate_python(layout.params)
