"""What of a run goes to the Hub: a list of files, each of them named here, whole and verified, and nothing else.

```
config.json, model.safetensors, tokenizer.json, modules.json ...   the model folder as it is, its manifest included
recipe.yaml, recipe.lock (if there is one), result.json            what was run, and every question's score
rankings/<split>/run.trec (or .gz) and manifest.json               what was found
README.md                                                          the card, rendered from these
```

Names are on a list: a checkpoint, an optimizer, pickled arguments, a log or a stranger in the run folder has no place
in it. What the pieces say of one another is compared first, so that scores of another model cannot be published.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mpr import storage
from mpr.errors import DataError, Problem, Problems, excerpt
from mpr.models import contract
from mpr.models.contract import Contract
from mpr.publishing import _card
from mpr.publishing._card import Facts
from mpr.publishing._card_snippets import is_adapted
from mpr.publishing._secret_scan import Scan
from mpr.recipe import plan, read
from mpr.recipe.keys import Recipe
from mpr.recipe.lock import SUFFIX
from mpr.rows.result import Result
from mpr.storage import MANIFEST

CARD = "README.md"
LARGE = 1 << 20  # bytes from which a run is compressed
_TRANSFORMER = (
    r"config\.json|model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json"
    r"|adapter_config\.json|adapter_model\.safetensors|tokenizer\.json|tokenizer_config\.json"
)
_MODEL = re.compile(
    rf"((query|document)_0_Transformer/)?(adapter/)?({_TRANSFORMER})"
    r"|((query|document)_0_Transformer/)?(modules\.json|sentence_bert_config\.json|config_sentence_transformers\.json)"
    r"|((query|document)_0_Transformer/)?\d_(Pooling|Dense)/(config\.json|model\.safetensors)"
    r"|(query|document)_\d_(Pooling|Dense)/(config\.json|model\.safetensors)"
    r"|router_config\.json|mpr\.json"
)
_BESIDE = re.compile(
    r"manifest\.json|recipe\.yaml|recipe\.lock|result\.json|rankings/[A-Za-z0-9_.-]+/(run\.trec(\.gz)?|manifest\.json)"
)
_PROSE = re.compile(r"(?!.*tokenizer\.json)(.*/)?[^/]+\.(json|yaml|lock|md)")  # texts about something
_REPO = re.compile(r"([A-Za-z0-9][\w.-]*/)?[\w.-]+", re.ASCII)  # old repositories have no owner
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class File:
    """One file of a repository: where it lies there, and its bytes or where they lie here."""

    name: str
    source: Path | bytes
    raw: Path | None = None
    """What a compressed file was made from."""

    def open(self) -> BinaryIO:
        return io.BytesIO(self.source) if isinstance(self.source, bytes) else open(self.source, "rb")

    @property
    def bytes(self) -> int:
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    @property
    def sha256(self) -> str:
        if isinstance(self.source, bytes):
            return hashlib.sha256(self.source).hexdigest()
        return storage.remembered_sha256(self.source)

    def kinds(self, scan: Scan) -> list[str]:
        """What must not leave this machine, in its bytes or in those under the compression."""
        with File(self.name, self.raw).open() if self.raw is not None else self.open() as file:
            return scan.kinds(file, bool(_PROSE.fullmatch(self.name)))


@dataclass(frozen=True)
class Publication:
    """Everything that one commit puts into one repository."""

    repo: str
    kind: str
    """`model` or `dataset`."""
    title: str
    """Of the commit."""
    files: tuple[File, ...]
    reasons: tuple[str, ...] = ()
    """Why it is no row: it may then only be private."""

    def belongs(self, name: str) -> bool:
        """Whether a file of the repository is of the sort that mpr writes there, so that a push may replace it."""
        if self.kind == "dataset":
            return re.fullmatch(r"(candidates|vectors)/.+", name) is not None
        return bool(_MODEL.fullmatch(name) or _BESIDE.fullmatch(name))

    @property
    def card(self) -> str:
        return next(file.source for file in self.files if file.name == CARD).decode()  # type: ignore[union-attr]

    def refuse_secrets(self, scan: Scan) -> None:
        """Nothing is sent if anything in it must not leave."""
        problems = Problems(DataError)
        for file in self.files:
            for what in file.kinds(scan):
                fix = "remove it from what the file was made of and make it again"
                if what.startswith("the name of"):
                    fix += "; a name that may be told: --public NAME"
                problems.add(f"holds {what}; nothing was pushed", where=file.name, fix=fix)
        problems.stop_if_any()


@dataclass(frozen=True)
class PushOptions:
    """What the person who pushes says."""

    run: Path
    repo: str
    recipe: Path | None = None
    """The recipe's file; default: found by the row's name."""
    model: Path | None = None
    """The model folder, where it is not the run's own: the merged copy."""
    baselines: tuple[Path, ...] = ()
    licence: str | None = None
    draft: bool = False
    merged: bool = False
    """Adapters are added to the weights first."""
    base: Path | None = None
    """Folder of the base that the adapters go on, where the recipe's path does not lead to it any more."""
    passage_base: Path | None = None
    data: tuple[str, ...] = ()
    """Artefacts that become data sets of their own: `candidates`, `vectors`."""
    home: Path = Path(".mpr")
    public: tuple[str, ...] = ()
    """Names of users and hosts that may be told."""


def of_run(options: PushOptions) -> Publication:
    """The model of a finished run with all that belongs to it, or every reason why it cannot be published."""
    run, result = options.run, Result.of_run(options.run)
    if result.document["system"] != "trained":
        what = f"is the result of '{result.document['system']}', which has no model of its own"
        raise DataError(what, where=str(run), fix="push the trained run, and name this one with --baseline")
    _refuse_names(result, run)
    folder = options.model or run / "model"
    _refuse_links(run, folder, result)
    recipe, texts = _recipe(options, result)
    model = list(_model_files(folder))
    reasons = tuple(why_no_row(result))
    if reasons and not options.draft:
        fix = "make the run again without it, or push it with --draft --private for yourself"
        raise DataError([Problem(f"cannot be published: {reason}", str(run), fix=fix) for reason in reasons])
    measured, manifest = (result.document["model"] or {}).get("digest"), storage.read_manifest(folder, "model")
    if measured not in (manifest.digest, manifest.receipt.get("merged from")):
        what = f"is not the model that was measured: result.json says {str(measured)[:12]}, this is "
        raise DataError(what + manifest.digest[:12], where=str(folder), fix=f"finish the run again: {run}")
    made = contract.read(folder)
    contract.agree(made, recipe.towers, made.tokenizer, str(folder))
    refuse_bad_bases(made, folder)
    baselines = tuple(_baseline(path, result) for path in options.baselines)
    rankings = [file for role in result.document["scores"] for file in _ranking(run, role, result)]
    facts = Facts(options.repo, result, made, recipe, baselines, options.licence, reasons)
    beside = [*texts, File("result.json", result.to_bytes())]
    files = [*model, *beside, *rankings, File(CARD, _card.render(facts).encode())]
    title = f"{result.document['row']}, {result.name}, result {result.digest[:12]}"
    return Publication(options.repo, "model", title, tuple(sorted(files, key=lambda file: file.name)), reasons)


def why_no_row(result: Result) -> Iterator[str]:
    """What keeps a run from being a row."""
    document = result.document
    if document["recipe"]["draft"]:
        yield "its recipe is a draft, whose inputs are not pinned"
    if document["environment"].get("code", {}).get("dirty"):
        yield "the code that ran differs from its commit"
    if len({stage["code"] for stage in document["stages"].values()}) > 1:
        yield "its stages were made by several states of the code"
    blocks = document["stages"].get("encode", {}).get("fallback_blocks", 0)
    if blocks:
        yield f"{blocks:,} blocks were encoded by the fallback for too little memory"


def refuse_bad_bases(made: Contract, folder: Path) -> None:
    """Adapters are of use to others only on a base that they can get: a commit on the Hub."""
    problems = Problems(DataError)
    for role, base in zip(("question", "passage"), made.bases, strict=True):
        if base is not None and not base.local and not _REPO.fullmatch(base.name):
            what = f"names {excerpt(base.name)} as its base, which is no name of a repository"
            problems.add(what, where=str(folder / contract.FILE), fix="train the model again")
        elif is_adapted(made, role) and (base is None or base.local or not _COMMIT.fullmatch(base.revision or "")):
            where = "random weights" if base is None else f"'{base.name}', which is no commit on the Hub"
            what = f"holds adapters of the {role} tower on {where}; nobody could use them"
            problems.add(
                what,
                where=str(folder),
                fix="push it with the adapters added: --merged, and --base FOLDER if the base is not where it was",
            )
    problems.stop_if_any()


def merged_model(options: PushOptions) -> Path:
    """A copy of the model that needs no base, kept in the run folder."""
    from mpr.models import towers_folder

    source, target = options.run / "model", options.run / "model-merged"
    if not target.exists():
        towers = _recipe(options, Result.of_run(options.run))[0].towers
        named = ((options.base, towers.base), (options.passage_base, towers.passage_base))
        bases = (said or (Path(base) if base and Path(base).is_dir() else None) for said, base in named)
        towers_folder.merge(source, target, *bases)
    origin = storage.verify(target, contract.KIND).receipt.get("merged from")
    if origin != storage.verify(source, contract.KIND).digest:
        raise DataError("was merged from another model", where=str(target), fix="remove it, and push again")
    return target


def _model_files(folder: Path) -> Iterator[File]:
    """The model folder, every byte verified: its manifest lists all there is, and each name is one that we know."""
    manifest, problems = storage.verify(folder, "model"), Problems(DataError)
    for name in manifest.files:
        if not _MODEL.fullmatch(name):
            what = f"holds {name!r}, which is no file of a model of mpr"
            problems.add(what, where=str(folder), fix="train or merge the model again with this version of mpr")
        yield File(name, folder / name)
    problems.stop_if_any()
    yield File(MANIFEST, folder / MANIFEST)


def _ranking(run: Path, role: str, result: Result) -> Iterator[File]:
    """The run file behind the scores of a split, with the receipt of what made it."""
    scores = storage.verify(run / "scores" / role, "scores")
    folder = run / "rankings" / role
    ranking = storage.verify(folder, "ranking")
    if scores.digest != result.document["scores"][role]["digest"]:
        raise DataError("are not the scores in result.json", where=str(run / "scores" / role), fix="make the run again")
    if scores.receipt["receipt"].get("ranking") != ranking.digest:
        raise DataError("is not the ranking that was scored", where=str(folder), fix="evaluate again")
    if list(ranking.files) != ["run.trec"]:
        raise DataError("holds more than a run", where=str(folder), fix="search again")
    name, path = f"rankings/{role}", folder / "run.trec"
    yield File(f"{name}/{MANIFEST}", folder / MANIFEST)
    if ranking.files["run.trec"]["bytes"] < LARGE:
        yield File(f"{name}/run.trec", path)
    else:
        yield File(f"{name}/run.trec.gz", gzip.compress(path.read_bytes(), mtime=0), raw=path)


def _recipe(options: PushOptions, result: Result) -> tuple[Recipe, list[File]]:
    """The recipe that ran, checked by its digest, and its file, with its lock if it has one."""
    row, said = result.document["row"], result.document["recipe"]
    inside = options.run / "recipe" / f"{row}.yaml"
    found = [inside] if inside.is_file() else sorted(Path("recipes").rglob(f"{row}.yaml"))
    path = options.recipe or next(iter(found), None)
    if path is None:
        what = f"the recipe of row '{row}' is neither in the run folder nor below recipes/"
        raise DataError(what, where=str(options.run), fix="name its file with --recipe")
    recipe = read.load(path, [text for text in said["overrides"] if not text.endswith("=(a folder)")])
    if plan.digest(recipe) != said["digest"]:
        what = f"is not the recipe that ran: its digest is {plan.digest(recipe)[:12]}, not {said['digest'][:12]}"
        raise DataError(what, where=str(path), fix="restore it, or name the right file with --recipe")
    pins = path.with_suffix(SUFFIX)
    locks = [File(f"recipe{SUFFIX}", pins.read_bytes())] if recipe.pinned_by_maker else []
    return recipe, [File("recipe.yaml", path.read_bytes()), *locks]


def _refuse_names(result: Result, run: Path) -> None:
    """Row and splits become parts of paths, here and in the repository."""
    for name in (result.document["row"], *result.document["scores"]):
        if not _NAME.fullmatch(name):
            raise DataError(f"{excerpt(name)} is no plain name", where=str(run / "result.json"), fix="make it again")


def _refuse_links(run: Path, model: Path, result: Result) -> None:
    """A link may lead to anything on this machine; what is published lies in the run folder itself."""
    row, roles = result.document["row"], list(result.document["scores"])
    places = [run / "result.json", run / "recipe", run / "recipe" / f"{row}.yaml", model]
    places += [run / "recipe" / f"{row}{SUFFIX}"]
    places += [run / kind for kind in ("scores", "rankings")]
    places += [run / kind / role for kind in ("scores", "rankings") for role in roles]
    what, fix = "is a link, and links are not published", "put the files themselves there"
    if links := [Problem(what, str(place), fix=fix) for place in places if place.is_symlink()]:
        raise DataError(links)


def _baseline(path: Path, result: Result) -> Result:
    """Another system's result on the same questions of the same row."""
    found = Result.of_run(path)
    for role, scores in result.document["scores"].items():
        other = found.document["scores"].get(role)
        if other is None or other["questions"] != scores["questions"] or other["split"] != scores["split"]:
            what = f"was not measured on the questions of '{role}' that this run was measured on"
            raise DataError(what, where=str(path), fix="name a baseline of the same row")
    return found
