"""The folder of a model that a recipe or a command names: a path, a commit on the Hub, or a stage of a plan.

This is the one place where a name becomes a folder. Of a plan, `stage:<name>` is the model of an earlier stage and
`start` is the model that a training starts from.

A model on the Hub is the very artefact that was pushed. A model folder has a manifest, and so has its repository. What
the manifest lists is fetched at a pinned commit into a stage, compared byte by byte, and committed wholly or not at all
as `<home>/models/<owner>--<name>-<commit>/`, with the digest of the folder that was pushed: vectors made with either
are the same work. What the manifest does not list (the card, results) stays on the Hub, and so does everything that is
no data file: a pickle is not even downloaded.
"""

from __future__ import annotations

import glob
import json
import logging
import os
import re
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mpr import storage
from mpr.errors import DataError, MprError, Problem, RecipeError, StorageError, excerpt, nearest_beside
from mpr.models import contract
from mpr.models.contract import KIND
from mpr.recipe import model_names
from mpr.recipe.keys import SCORERS, Recipe
from mpr.recipe.model_names import START

DATA = (".json", ".safetensors", ".txt")
_NAME = re.compile(r"(?!.*(--|\.\.))[a-zA-Z0-9][\w.-]*/[a-zA-Z0-9][\w.-]*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NOTES = ".cache"  # of the client, about what it downloaded
_PATIENCE = 86_400.0  # seconds to wait for a process that is at it
log = logging.getLogger(__name__)

Models = Mapping[str, Path]
"""Name of a stage -> its model folder, which may not be there yet; `start`: what this training starts from."""


def split_name(text: str, key: str = "model") -> tuple[str, str | None]:
    """`org/name@<commit>` as repository and commit; the commit may be left out."""
    name, at, revision = text.partition("@")
    if not _NAME.fullmatch(name):
        what = f"{excerpt(text)} is neither a folder here nor the name of a Hub repository"
        raise RecipeError(what, key=key, fix="give a model folder, or org/name@<40 hex digits of a commit>")
    if at:
        _refuse_moving(name, revision, key)
    return name, revision or None


def model_folder(
    reference: str,
    home: Path,
    models: Models | None = None,
    revision: str | None = None,
    *,
    key: str = "model",
    quiet: bool = False,
    unpinned: bool = False,
) -> Path:
    """The model folder of that path, of `org/name@<commit>` on the Hub, or of `stage:<name>` or `start` in `models`.

    `revision` may give the commit instead. Without `models` there is no plan, and its words are read as paths.
    """
    name = START if reference == START else model_names.stage(reference)
    if models is not None and name is not None:
        if name not in models:
            what = "this training starts from no model" if name == START else f"no earlier stage is called '{name}'"
            raise DataError(what, key=key, fix=f"known: {', '.join(models) or 'none'}")
        if not os.path.isdir(models[name]):
            what = f"the model of '{reference}' is not there yet"
            fix = "`mpr train RECIPE` trains all stages in order; with --stage this one comes after that one"
            raise DataError(what, where=str(models[name]), key=key, fix=fix)
        return models[name]
    if os.path.isdir(reference):
        if revision is not None:
            raise RecipeError("a folder has no revision", key=key, fix="remove the revision, or name a Hub repository")
        return Path(reference)
    refuse_missing_folder(reference, key, revision)
    return from_hub(reference, revision, home, quiet, unpinned=unpinned, key=key)


def refuse_missing_folder(name: str, key: str, revision: str | None = None) -> None:
    """A name that is meant as a folder, which is not there: said at once, without a question to the Hub. A name with a
    commit, here or as `revision`, is one of the Hub, even where a folder is called like its owner."""
    place, above = Path(name).expanduser(), Path(name).expanduser().parent
    pinned = "@" in name or revision is not None
    meant = name[:1] in "/.~" or len(place.parts) > 2 or (len(place.parts) == 2 and os.path.isdir(above) and not pinned)
    if os.path.isdir(name) or not meant:
        return
    what = f"there is no folder '{name}'" + ("" if place.is_absolute() else f" in {Path.cwd()}")
    fix = f"write it in full: {place}" if os.path.isdir(place) else nearest_beside(place)
    fix = fix or "check the path, or name a model on the Hub: org/name"
    raise DataError(what, key=key, fix=fix)


def refuse_missing_bases(recipe: Recipe) -> None:
    """The pretrained encoders of a recipe, before anything long begins."""
    for stage in recipe.stages:
        for key in ("base", "passage_base"):
            if (name := getattr(stage.towers, key)) is not None:
                refuse_missing_folder(name, f"towers.{key}", getattr(stage.towers, key.replace("base", "revision")))


def without_retries() -> dict[str, Any]:
    """What to tell the Hub's client where the Hub's address is not even known: to look only into its own store. It
    would otherwise try again and again for half a minute."""
    if not {"http_proxy", "https_proxy", "all_proxy"} & {name.lower() for name in os.environ}:
        host = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).hostname
        try:
            socket.getaddrinfo(host, None)
        except OSError:
            return {"local_files_only": True}
    return {}


@dataclass(frozen=True)
class ModelFolders:
    """The models that a recipe, or one of its parts, may name."""

    recipe: Recipe
    home: Path
    stages: Models
    """Models of earlier stages, where the recipe is a stage of a plan."""
    quiet: bool = False

    @cached_property
    def start(self) -> Path | None:
        """The folder of the model that training starts from; None: it starts from `towers.base` or `towers.new`."""
        if self.recipe.start is None:
            return None
        how: Any = {"key": "start", "quiet": self.quiet, "unpinned": self.recipe.draft}
        return model_folder(self.recipe.start, self.home, self.stages, **how)

    def of(self, part: Any) -> Models:
        """Where the models are that a source or a label may name; `start` is looked for only if it names it."""
        if getattr(part, "model", None) != START or self.start is None:
            return self.stages
        return {**self.stages, START: self.start}


def from_hub(
    name: str, revision: str | None, home: Path, quiet: bool = False, *, unpinned: bool = False, key: str = "model"
) -> Path:
    """The verified folder of a model repository at a commit; downloaded if it is not there yet.

    The commit is given by `revision` or in the name (`org/name@<commit>`). Without one it is refused, unless `unpinned`
    allows to take the newest commit, which is then logged.
    """
    name, own = split_name(name, key)
    if own is not None and revision not in (None, own):
        raise RecipeError(f"'{name}' is pinned to two commits", key=key, fix="give one of them")
    revision = revision or own or _newest(name, unpinned, key)
    _refuse_moving(name, revision, key)
    target = Path(home) / "models" / f"{name.replace('/', '--')}-{revision[:12]}"
    if not target.exists():
        with storage.lock(target.with_name(f".{target.name}.bringing"), _PATIENCE):
            if not target.exists():  # otherwise the process that we waited for has downloaded it
                _download(name, revision, target, quiet, key)
    storage.verify(target, KIND)
    return target


def _refuse_moving(name: str, revision: str, key: str) -> None:
    if not _COMMIT.fullmatch(revision):
        what = f"{excerpt(revision)} is no commit: branches and tags move, and the model with them"
        raise RecipeError(what, key=key, fix=f"say {name}@ and the 40 hex digits of a commit")


def _newest(name: str, allowed: bool, key: str) -> str:
    if not allowed:
        what = f"'{name}' is not a folder here, and as a Hub repository it is not pinned to a commit"
        raise RecipeError(
            what, key=key, fix=f"give the folder of a model, or {name}@ and the 40 hex digits of a commit"
        )
    from huggingface_hub import HfApi

    with _explained(name, "its newest commit", key):
        found = str(HfApi().model_info(name).sha)
    log.warning("%s: took the newest commit; to get the same model again, say %s@%s", name, name, found)
    return found


def _download(name: str, revision: str, target: Path, quiet: bool, key: str) -> None:
    """Commits what the repository's manifest lists, under the manifest that it came with."""
    from huggingface_hub import hf_hub_download, snapshot_download

    where, receipt = f"{name}@{revision}", dict[str, Any]()
    with storage.stage(target, KIND, receipt) as stage:
        staging = stage.folder
        with _explained(name, revision, key), bars(quiet):
            hf_hub_download(name, storage.MANIFEST, revision=revision, local_dir=staging)
        sizes = _listed(staging / storage.MANIFEST, where, key)
        storage.require_space(target.parent, sum(sizes.values()))
        with _explained(name, revision, key), bars(quiet):
            wanted = [glob.escape(file) for file in sizes]
            snapshot_download(name, revision=revision, local_dir=staging, allow_patterns=wanted)
        storage.remove(staging / _NOTES)
        receipt |= _verified(staging, where, key)
        storage.remove(staging / storage.MANIFEST)  # the commit writes it again, the same byte for byte


def _listed(path: Path, where: str, key: str) -> dict[str, int]:
    """Files and sizes as a manifest says: what to fetch. Whether it is true is looked at when they are here."""
    try:
        content = json.loads(path.read_bytes())
        kind, sizes = content["kind"], {str(name): int(entry["bytes"]) for name, entry in content["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise _foreign(f"has a {storage.MANIFEST} that mpr did not write", where, key) from error
    if kind != KIND:
        raise _foreign(f"holds an artefact of kind {excerpt(str(kind))}, not a {KIND}", where, key)
    if contract.FILE not in sizes:
        raise _foreign(f"has no {contract.FILE}, which says how the model is to be used", where, key)
    others = sorted(name for name in sizes if not name.endswith(DATA))
    for name in sizes:
        if problem := storage.name_problem(name):
            what = f"lists {excerpt(name)}, which {problem}"
            raise DataError(what, where=where, key=key, fix="push the model as mpr wrote it")
    if others:
        what = f"lists {excerpt(others[0])} as a part of the model, and only {', '.join(DATA)} files are brought"
        raise DataError(what, where=where, key=key, fix="push the model as mpr wrote it")
    return sizes


def _verified(staging: Path, where: str, key: str) -> dict[str, Any]:
    """The receipt in the manifest, once every byte agrees with it and the contract can be read."""
    edited = (
        "it was changed after it was pushed, or the download is not whole: try again, or pin the commit of the push"
    )

    def there(problem: Problem) -> str:
        return problem.where.replace(str(staging), where)  # the place in the stage, as a place in the repository

    try:
        manifest = storage.verify(staging, KIND)
    except StorageError as error:
        found = [replace(each, where=there(each), key=key, fix=edited) for each in error.problems]
        raise StorageError(found) from error
    try:
        if contract.task(staging) not in SCORERS:  # whose readers look at theirs when they open them
            contract.read(staging)
    except DataError as error:
        raise DataError([replace(each, where=there(each)) for each in error.problems]) from error
    return manifest.receipt


def _foreign(what: str, where: str, key: str) -> DataError:
    fix = "only what mpr pushed can be opened; an encoder of others is a start for training: name it as towers.base"
    return DataError(what, where=where, key=key, fix=fix)


@contextmanager
def _explained(name: str, revision: str, key: str) -> Iterator[None]:
    """Whatever the client runs into becomes one error that says what is wanted and how to get it."""
    from huggingface_hub.errors import HfHubHTTPError

    broken: Any = HfHubHTTPError.__mro__[1]  # what httpx, or in later clients httpx2, raises when a connection breaks
    try:
        yield
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, broken) as error:
        raise _translated(error, name, revision, key) from error


def _translated(error: BaseException, name: str, revision: str, key: str) -> MprError:
    from huggingface_hub import errors

    where = f"{name}@{revision}" if _COMMIT.fullmatch(revision) else name
    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        cause = error.__cause__ or error
        offline = isinstance(cause, errors.OfflineModeIsEnabled)
        reason = "HF_HUB_OFFLINE is set" if offline else _line(cause)
        what = f"'{name}' at {revision} is not on this machine, and the Hub cannot be read: {reason}"
        return DataError(what, key=key, fix="go online once and run the same command again, or give a folder")
    if isinstance(error, errors.GatedRepoError):
        fix = "accept its terms on the Hub, and set HF_TOKEN"
        return DataError("is gated, and this token has no access", where=where, key=key, fix=fix)
    if isinstance(error, errors.RevisionNotFoundError):
        return DataError("there is no such commit", where=where, key=key, fix="check the revision")
    if isinstance(error, errors.RepositoryNotFoundError):
        fix = "check the name; if it is private, set HF_TOKEN"
        return DataError("there is no such repository on the Hub, or it is private", where=where, key=key, fix=fix)
    if isinstance(error, errors.EntryNotFoundError):
        return _foreign(f"has no {storage.MANIFEST}, so mpr did not write it", where, key)
    if isinstance(error, errors.HfHubHTTPError):
        fix = "check HF_TOKEN, or try again later"
        return DataError(f"the Hub refuses: {_line(error)}", where=where, key=key, fix=fix)
    what = f"could not be brought from the Hub: {_line(error)}; nothing was kept"
    return DataError(what, where=where, key=key, fix="check network and disk, and run the same command again")


def _line(error: BaseException) -> str:
    """The first line of a message, safe on a terminal."""
    text = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return excerpt(text, 200)


@contextmanager
def bars(quiet: bool) -> Iterator[None]:
    """The client's own progress bars, where the screen is a terminal and they are wanted."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    before = are_progress_bars_disabled()
    if quiet or not sys.stderr.isatty():
        disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()
