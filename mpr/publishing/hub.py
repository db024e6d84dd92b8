"""The only uploader: one commit with everything, or nothing; and a pushed model brought back.

A push reads where the repository stands, and sends all files and removals as one commit on just that. Cut anywhere, it
leaves the repository at its former commit. A connection that breaks while the Hub answers may have carried the commit
all the same: so the repository is looked at before anything is sent again. A push of what is there already changes
nothing.

The token comes from the environment (HF_TOKEN) or from `hf auth login`, is never an argument and never written.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mpr import storage
from mpr.errors import DataError, Interrupted, MprError, RecipeError, excerpt
from mpr.models import contract, locate
from mpr.publishing.publication import File, Publication

PAUSES = (1.0, 4.0)  # seconds before a commit that the network swallowed is sent again
_AGAIN = "run the same command again"


@dataclass(frozen=True)
class Pushed:
    """What became of a push."""

    url: str
    commit: str
    changed: bool
    """False: everything was there already."""
    removed: tuple[str, ...] = ()
    """Files of an earlier push that are no part of this one."""
    request: str | None = None
    """Address of the pull request, where one was asked for."""


def login() -> str | None:
    """The token of this machine, if there is one."""
    from huggingface_hub import get_token

    return get_token()


def push(
    publication: Publication, *, private: bool = False, create_pr: bool = False, pauses: Sequence[float] = PAUSES
) -> Pushed:
    """Commits a publication, whole. `private`: it must not be seen by others, or it is not pushed."""
    if publication.reasons and not private:
        what = f"is a draft ({'; '.join(publication.reasons)}), and drafts are not for everybody"
        raise RecipeError(what, where=publication.repo, key="--draft", fix="push it with --private")
    if login() is None:
        fix = "log in with `hf auth login`, or set HF_TOKEN to a token that may write"
        raise DataError("this machine is not logged in to the Hub", where=publication.repo, fix=fix)
    return _Push(publication, private, create_pr, tuple(pauses)).run()


@dataclass
class _Push:
    """One push, step by step."""

    publication: Publication
    private: bool
    create_pr: bool
    pauses: tuple[float, ...]

    def __post_init__(self) -> None:
        from huggingface_hub import HfApi

        self.api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="mpr")
        self.place: dict[str, Any] = {"repo_id": self.publication.repo, "repo_type": self.publication.kind}

    def run(self) -> Pushed:
        from huggingface_hub import CommitOperationDelete

        operations: list[Any] = [self._addition(file) for file in self.publication.files]
        parent, there = self._told(self._standing)
        ours = {file.name for file in self.publication.files}
        removed = tuple(sorted(name for name in there if self.publication.belongs(name) and name not in ours))
        operations += [CommitOperationDelete(name) for name in removed]
        return replace(self._committed(operations, parent), removed=removed)

    def _addition(self, file: File) -> Any:
        """The bytes that were listed and scanned, and no others."""
        from huggingface_hub import CommitOperationAdd

        source = file.source if isinstance(file.source, bytes) else str(file.source)
        addition = CommitOperationAdd(file.name, source)
        if addition.upload_info.sha256.hex() != file.sha256:
            raise DataError("changed while it was pushed", where=file.name, fix=_AGAIN)
        return addition

    def _standing(self) -> tuple[str, list[str]]:
        """The newest commit and its files, of a repository that is made where there is none."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            info = self.api.repo_info(**self.place)
        except RepositoryNotFoundError:
            self.api.create_repo(**self.place, private=self.private, exist_ok=True)
            info = self.api.repo_info(**self.place)
        if self.private and not info.private:
            fix = "make it private first, or push to another name"
            raise DataError("everybody can see it, and --private was asked for", where=self.publication.repo, fix=fix)
        return str(info.sha), [entry.path for entry in self._files(str(info.sha))]

    def _files(self, commit: str) -> list[Any]:
        """The files of a commit, with their sizes and checksums; folders are no files."""
        from huggingface_hub.hf_api import RepoFile

        tree = self.api.list_repo_tree(**self.place, revision=commit, recursive=True)
        return [entry for entry in tree if isinstance(entry, RepoFile)]

    def _committed(self, operations: list[Any], parent: str) -> Pushed:
        """Sends the commit; where the network breaks, looks whether it arrived, and sends it again if it did not."""
        for pause in (*self.pauses, None):
            try:
                made = self.api.create_commit(
                    **self.place,
                    operations=operations,
                    commit_message=self.publication.title,
                    parent_commit=parent,
                    create_pr=self.create_pr,
                )
                changed = made.oid != parent
                return Pushed(str(made.commit_url), made.oid, changed, request=made.pr_url if changed else None)
            except Exception as error:
                if not _is_broken(error):
                    raise self._refusal(error) from error
                found = None if self.create_pr else self._arrived(parent)
                if found is not None:
                    return found
                if pause is None or self.create_pr:
                    raise self._cut(error) from error
                time.sleep(pause)
        raise AssertionError("the last round returns or raises")

    def _arrived(self, parent: str) -> Pushed | None:
        """The commit, if the repository moved on to just these files; None if it stands where it stood."""
        info = self._told(lambda: self.api.repo_info(**self.place))
        if info.sha == parent:
            return None
        there = {entry.path: entry for entry in self._told(lambda: self._files(info.sha))}
        if not all(_is_same(file, there.get(file.name)) for file in self.publication.files):
            raise self._conflict()
        folder = "datasets/" if self.publication.kind == "dataset" else ""
        return Pushed(f"{self.api.endpoint}/{folder}{self.publication.repo}/commit/{info.sha}", str(info.sha), True)

    def _told(self, call: Any) -> Any:
        """The result of a call, or its error in our words."""
        try:
            return call()
        except MprError:
            raise
        except Exception as error:
            raise (self._cut(error) if _is_broken(error) else self._refusal(error)) from error

    def _cut(self, error: Exception) -> MprError:
        what = f"the Hub could not be reached to the end: {_line(error)}"
        where = f"{self.publication.repo} stands at its former commit; " if not self.create_pr else ""
        fix = "see whether a pull request was opened, then " + _AGAIN if self.create_pr else where + _AGAIN
        return Interrupted(what, where=self.publication.repo, fix=fix)

    def _conflict(self) -> MprError:
        what = "somebody else committed to it in the meantime; nothing was pushed"
        return DataError(what, where=self.publication.repo, fix=f"look at what changed there, then {_AGAIN}")

    def _refusal(self, error: Exception) -> MprError:
        from huggingface_hub.errors import OfflineModeIsEnabled

        where, status = self.publication.repo, _status(error)
        if isinstance(error, OfflineModeIsEnabled):
            return DataError("HF_HUB_OFFLINE is set", where=where, fix="unset it to push")
        if status in (409, 412):
            return self._conflict()
        if status == 401:
            fix = "log in again with `hf auth login`, or set HF_TOKEN to a token that is valid"
            return DataError("the Hub does not accept this machine's token", where=where, fix=fix)
        if status in (403, 404):
            fix = "use a token that may write there, or another name"
            return DataError(f"this token may not write to it: {_line(error)}", where=where, fix=fix)
        if status is None and not isinstance(error, ValueError):
            raise error  # a bug, here or in the client
        return DataError(f"the Hub refused the commit: {_line(error)}", where=where, fix="nothing was pushed")


def _is_broken(error: Exception) -> bool:
    """Whether the network or the Hub itself failed, so that the same may succeed later."""
    libraries = (sys.modules.get(name) for name in ("httpx", "httpx2"))  # hub 1.x has the one, hub 2.x the other
    transport = tuple(library.TransportError for library in libraries if library is not None)
    status = _status(error)
    return isinstance(error, transport) or status == 429 or (status is not None and status >= 500)


def _status(error: Exception) -> int | None:
    """What the Hub answered."""
    found = getattr(getattr(error, "response", None), "status_code", None)
    return found if isinstance(found, int) else None


def _line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return excerpt(text, 200)


def _is_same(file: File, entry: Any) -> bool:
    """Whether the Hub's file has these bytes: it names small ones as git does, large ones by their SHA-256."""
    if entry is None or getattr(entry, "size", None) != file.bytes:
        return False
    if entry.lfs is not None:
        return bool(entry.lfs.sha256 == file.sha256)
    blob = hashlib.sha1(b"blob %d\0" % file.bytes, usedforsecurity=False)
    with file.open() as opened:
        while chunk := opened.read(1 << 20):
            blob.update(chunk)
    return bool(entry.blob_id == blob.hexdigest())


def pull(
    name: str, revision: str | None, home: Path, to: Path | None, quiet: bool, measured: str | None = None
) -> Path:
    """The model folder of a repository, verified; copied to `to` if that is given.

    `measured`: digest of the model that it has to be, as it was trained or with its adapters merged.
    """
    name, own = locate.split_name(name, "NAME")
    if own is not None and revision not in (None, own):
        raise RecipeError("two revisions were given", key="--revision", fix="give one of them")
    folder = locate.from_hub(name, own or revision, home, quiet, unpinned=True, key="NAME")
    manifest = storage.read_manifest(folder, contract.KIND)
    if measured not in (None, manifest.digest, manifest.receipt.get("merged from")):
        fix = "tell the maintainers of the row; `mpr pull OWNER/NAME@COMMIT` brings it all the same"
        raise DataError("is another model than the one that was measured", where=f"{name}@{revision}", fix=fix)
    if to is None:
        return folder
    with storage.stage(to, contract.KIND, manifest.receipt) as stage:
        for file in manifest.files:
            with open(folder / file, "rb") as source, stage.open(file) as copy:
                shutil.copyfileobj(source, copy)
    if storage.verify(to, contract.KIND).digest != manifest.digest:
        raise DataError("changed while it was copied", where=str(folder), fix=f"remove {to} and {_AGAIN}")
    return to
