"""The only uploader: one commit with everything, or nothing; and a pushed model brought back.

A push reads where the repository stands, and sends all files and removals as one commit on just that. Cut anywhere, it
leaves the repository at its former commit, or at the new one where the answer was lost. Which of the two need not be
known: the same push again sends only what is not there yet, and makes no commit if everything is.

The token comes from the environment (HF_TOKEN) or from `hf auth login`, is never an argument and never written.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mpr import storage
from mpr.errors import DataError, Interrupted, MprError, RecipeError, excerpt
from mpr.models import contract, locate
from mpr.publishing import _published_data, publication
from mpr.publishing._secret_scan import Scan
from mpr.publishing.publication import File, Publication, PushOptions

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


def publications(options: PushOptions) -> list[Publication]:
    """What a push sends: the model, then the data sets that were asked for. All of it was read for secrets."""
    repo, revision = locate.split_name(options.repo, "REPO")
    if revision is not None:
        raise RecipeError("one cannot push to a commit", key="REPO", fix="leave the revision out")
    if not options.merged and (options.base or options.passage_base):
        fix = "say --merged too, or leave it out"
        raise RecipeError("a base is needed where adapters are added", key="--base", fix=fix)
    if options.merged:
        options = replace(options, model=publication.merged_model(options))
    wanted = [publication.of_run(options), *(_published_data.of_run(options, kind) for kind in options.data)]
    scan = Scan.here(login(), [options.run, Path()], [repo, *options.public])
    for each in wanted:
        each.refuse_secrets(scan)
    return wanted


def push(made: Publication, *, private: bool = False, create_pr: bool = False) -> Pushed:
    """Commits a publication, whole. `private`: it must not be seen by others, or it is not pushed."""
    from huggingface_hub import CommitOperationDelete, HfApi

    if made.reasons and not private:
        what = f"is a draft ({'; '.join(made.reasons)}), and drafts are not for everybody"
        raise RecipeError(what, where=made.repo, key="--draft", fix="push it with --private")
    if login() is None:
        fix = "log in with `hf auth login`, or set HF_TOKEN to a token that may write"
        raise DataError("this machine is not logged in to the Hub", where=made.repo, fix=fix)
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="mpr")
    place: dict[str, Any] = {"repo_id": made.repo, "repo_type": made.kind}
    operations: list[Any] = [_addition(file) for file in made.files]
    try:
        parent, there = _newest(api, place, private)
        ours = {file.name for file in made.files}
        removed = tuple(sorted(name for name in there if made.belongs(name) and name not in ours))
        commit = api.create_commit(  # the client leaves out files that are there already, and a commit of none
            **place,
            operations=[*operations, *map(CommitOperationDelete, removed)],
            commit_message=made.title,
            parent_commit=parent,
            create_pr=create_pr,
        )
    except MprError:
        raise
    except Exception as error:
        raise _refusal(error, made.repo, create_pr) from error
    changed = commit.oid != parent
    return Pushed(str(commit.commit_url), commit.oid, changed, removed, commit.pr_url if changed else None)


def _addition(file: File) -> Any:
    """The bytes that were listed and scanned, and no others."""
    from huggingface_hub import CommitOperationAdd

    source = file.source if isinstance(file.source, bytes) else str(file.source)
    addition = CommitOperationAdd(file.name, source)
    if addition.upload_info.sha256.hex() != file.sha256:
        raise DataError("changed while it was pushed", where=file.name, fix=_AGAIN)
    return addition


def _newest(api: Any, place: dict[str, Any], private: bool) -> tuple[str, list[str]]:
    """The newest commit and its files, of a repository that is made where there is none."""
    from huggingface_hub.errors import RepositoryNotFoundError
    from huggingface_hub.hf_api import RepoFile

    try:
        info = api.repo_info(**place)
    except RepositoryNotFoundError:
        api.create_repo(**place, private=private, exist_ok=True)
        info = api.repo_info(**place)
    if private and not info.private:
        fix = "make it private first, or push to another name"
        raise DataError("everybody can see it, and --private was asked for", where=place["repo_id"], fix=fix)
    tree = api.list_repo_tree(**place, revision=info.sha, recursive=True)
    return str(info.sha), [entry.path for entry in tree if isinstance(entry, RepoFile)]


def _refusal(error: Exception, where: str, create_pr: bool) -> MprError:
    """What went wrong, in our words; a bug stays what it is."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    status = getattr(getattr(error, "response", None), "status_code", None)  # what the Hub answered
    said = excerpt(" ".join(str(error).split()) or type(error).__name__, 200)
    libraries = (sys.modules.get(name) for name in ("httpx", "httpx2"))  # hub 1.x has the one, hub 2.x the other
    transport = tuple(library.TransportError for library in libraries if library is not None)
    if isinstance(error, transport) or status == 429 or (status is not None and status >= 500):
        fix = f"{_AGAIN}: what has arrived is not sent twice"
        if create_pr:
            fix = "see whether a pull request was opened, then " + _AGAIN
        return Interrupted(f"the Hub could not be reached to the end: {said}", where=where, fix=fix)
    if isinstance(error, OfflineModeIsEnabled):
        return DataError("HF_HUB_OFFLINE is set", where=where, fix="unset it to push")
    if status in (409, 412):
        what = "somebody else committed to it in the meantime; nothing was pushed"
        return DataError(what, where=where, fix=f"look at what changed there, then {_AGAIN}")
    if status == 401:
        fix = "log in again with `hf auth login`, or set HF_TOKEN to a token that is valid"
        return DataError("the Hub does not accept this machine's token", where=where, fix=fix)
    if status in (403, 404):
        fix = "use a token that may write there, or another name"
        return DataError(f"this token may not write to it: {said}", where=where, fix=fix)
    if status is None and not isinstance(error, ValueError):
        raise error  # a bug, here or in the client
    return DataError(f"the Hub refused the commit: {said}", where=where, fix="nothing was pushed")


def pull(
    name: str, revision: str | None, home: Path, to: Path | None, quiet: bool, measured: str | None = None
) -> Path:
    """The model folder of a repository, verified; copied to `to` if that is given.

    `measured`: digest of the model that it has to be, as it was trained or with its adapters merged.
    """
    name, own = locate.split_name(name, "NAME")
    if own is not None and revision not in (None, own):
        raise RecipeError("two revisions were given", key="--revision", fix="give one of them")
    if to is not None and os.path.lexists(to):
        beside = to if to.is_dir() else to.parent
        fix = f"name a folder that is not there yet, such as {beside / name.rpartition('/')[2]}"
        raise DataError("is there already, and what is there is left as it is", where=str(to), key="--to", fix=fix)
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
