"""What a Hub keeps: repositories, their commits, and what it says of a card. `hub_server` serves them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Files = dict[str, bytes]


@dataclass(frozen=True)
class Commit:
    """One state of a repository."""

    parent: str | None
    title: str
    files: Files

    @property
    def oid(self) -> str:
        tree = {name: blob_id(data) for name, data in sorted(self.files.items())}
        return hashlib.sha1(json.dumps([self.parent, self.title, tree]).encode()).hexdigest()


@dataclass
class Repo:
    """A repository: its commits, and what points at them (`main`, `refs/pr/1`, tags and branches)."""

    owner: str
    private: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    @property
    def head(self) -> str:
        return self.refs["main"]

    def files(self, revision: str = "main") -> Files:
        oid = self.resolved(revision)
        if oid is None:
            raise KeyError(revision)
        return self.commits[oid].files

    def resolved(self, revision: str) -> str | None:
        return self.refs.get(revision) or (revision if revision in self.commits else None)

    def commit(self, files: Mapping[str, bytes], title: str, ref: str = "main", parent: str | None = None) -> str:
        """Moves `ref` to a commit of just these files."""
        commit = Commit(parent or self.refs.get(ref), title, dict(files))
        self.commits[commit.oid] = commit
        self.refs[ref] = commit.oid
        return commit.oid

    def history(self, revision: str = "main") -> list[str]:
        """Commits from the newest to the first."""
        found, oid = [], self.resolved(revision)
        while oid is not None:
            found.append(oid)
            oid = self.commits[oid].parent
        return found


def blob_id(data: bytes) -> str:
    """Git's name for a file of these bytes; clients compare it to see what has not changed."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def metadata_problems(metadata: Any) -> list[str]:
    """What the Hub would say of a card's metadata; none at all is allowed."""
    if metadata is None:
        return []
    if not isinstance(metadata, dict):
        return [f"metadata is not valid YAML: {metadata}"]
    found = []
    for key in ("license", "library_name", "pipeline_tag", "license_name"):
        if not isinstance(metadata.get(key, ""), str):
            found.append(f'"{key}" must be a string')
    for key in ("tags", "datasets", "base_model", "language"):
        values = metadata.get(key, [])
        if not all(isinstance(value, str) for value in ([values] if isinstance(values, str) else values)):
            found.append(f'"{key}" must be a string or a list of strings')
    for key in ("datasets", "base_model"):
        values = metadata.get(key, [])
        for value in [values] if isinstance(values, str) else values:
            if isinstance(value, str) and not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", value):
                found.append(f'"{key}" with value "{value}" is not valid')
    for number, model in enumerate(metadata.get("model-index") or []):
        for result in model.get("results", []):
            whole = {"task", "metrics"} <= result.keys() and isinstance(result["task"].get("type"), str)
            if not whole or not all({"type", "value"} <= metric.keys() for metric in result["metrics"]):
                found.append(f'"model-index[{number}].results" needs task.type and metrics with type and value')
    return found
