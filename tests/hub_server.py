"""A Hub on the loopback: repositories with commits in memory, behind the routes that huggingface_hub calls.

```python
with HubServer() as server:
    commit = server.add("tester/tiny", {"config.json": b"{}"})            # "datasets/tester/x" for a data set
    server.fail("commit", "drop")                                         # once, then all is well again
    api = HfApi(endpoint=server.endpoint, token=server.token)             # in this process, or in another:
    subprocess.run([...], env=server.environment(tmp_path))
    assert server.repos["tester/tiny"].files()["config.json"] == b"{}"
```

It answers as the Hub does: 401 to a wrong token, 401 to strangers and 404 to members for what does not exist or is
private, 403 to those who may only read, 409 to a name that is taken, 412 to a commit on a parent that is no longer the
newest. Every file is of the `regular` kind, so that one request carries a whole commit and no second store is involved.
"""

from __future__ import annotations

import base64
import json
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml  # type: ignore[import-untyped]

from tests.hub_repos import Files, Repo, blob_id, metadata_problems
from tests.loopback import Loopback
from tests.waiting import let_pass

_ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"  # every new repository has such a file
_DATE = "2026-01-01T00:00:00.000Z"
# Variables that would lead a client elsewhere, or keep it from going anywhere.
_LEADS_AWAY = re.compile(r"HF_.*|HUGGING_?FACE.*|TRANSFORMERS_OFFLINE|.*_proxy|XDG_CACHE_HOME", re.IGNORECASE)


How = str | int | float | Callable[[], object]


@dataclass
class Failure:
    """What goes wrong on a route, and how many times more."""

    how: How
    times: int


class HubServer(Loopback):
    """Serves `repos` until it is closed; `add` puts something there, `fail` makes a route fail."""

    token = "hf_" + "TesterTesterTesterTesterTesterTest"  # a name of its own, so that scans of a test may look for it
    read_token = "hf_" + "ReaderReaderReaderReaderReaderRead"
    user = "tester"

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}  # "owner/name", "datasets/owner/name"
        self.requests: list[tuple[str, str]] = []  # (route or method, path) in order
        self.bodies: list[bytes] = []  # everything that was ever sent here, whether or not it was accepted
        self.before: dict[str, Callable[[], object]] = {}  # route -> called once, just before its next request counts
        self.failures: dict[str, Failure] = {}
        self.guard = threading.RLock()
        super().__init__(_Handler)

    def add(self, name: str, files: Mapping[str, bytes], *, private: bool = False, title: str = "Add files") -> str:
        """Commits files to a repository, which is made where it is missing; returns the commit."""
        with self.guard:
            repo = self.repos.get(name) or self.create(name, private)
            return repo.commit({**repo.files(), **files}, title)

    def create(self, name: str, private: bool = False) -> Repo:
        repo = Repo(owner=name.split("/")[-2], private=private)
        repo.commit({".gitattributes": _ATTRIBUTES}, "initial commit")
        self.repos[name] = repo
        return repo

    def fail(self, route: str, how: How, times: int = 1) -> None:
        """Lets the next requests of a route (`commit`, `preupload`, `resolve`, `info`, `create`, ...) fail.

        A status like 503 is answered at once; "drop" reads half of what is sent and hangs up; "drop after" does what
        was asked and hangs up without an answer; "cut" sends half of the answer; 0.5 (a fraction) waits that long; a
        function is called when half of what is sent was read, and then it hangs up.
        """
        self.failures[route] = Failure(how, times)

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """Variables for a process whose Hub is this one and whose cache is its own."""
        kept = {name: value for name, value in os.environ.items() if not _LEADS_AWAY.fullmatch(name)}
        own = {"HF_ENDPOINT": self.endpoint, "HF_TOKEN": self.token, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"}
        return {**kept, **own, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", **more}

    def failing(self, route: str) -> How | None:
        with self.guard:
            failure = self.failures.get(route)
            if failure is None or failure.times <= 0:
                return None
            failure.times -= 1
            return failure.how


class _Refusal(Exception):
    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


_REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"
_ROUTES = [
    ("create", "POST", r"/api/repos/create"),
    ("whoami", "GET", r"/api/whoami-v2"),
    ("validate", "POST", r"/api/validate-yaml"),
    ("preupload", "POST", rf"/api/(?P<kind>models|datasets)/{_REPO}/preupload/(?P<revision>[^/]+)"),
    ("commit", "POST", rf"/api/(?P<kind>models|datasets)/{_REPO}/commit/(?P<revision>[^/]+)"),
    ("paths", "POST", rf"/api/(?P<kind>models|datasets)/{_REPO}/paths-info/(?P<revision>[^/]+)"),
    ("info", "GET", rf"/api/(?P<kind>models|datasets)/{_REPO}(/revision/(?P<revision>[^/]+))?"),
    ("tree", "GET", rf"/api/(?P<kind>models|datasets)/{_REPO}/tree/(?P<revision>[^/]+)(/(?P<path>.*))?"),
    ("refs", "GET", rf"/api/(?P<kind>models|datasets)/{_REPO}/refs"),
    ("commits", "GET", rf"/api/(?P<kind>models|datasets)/{_REPO}/commits/(?P<revision>[^/]+)"),
    ("resolve", "GET", rf"/((?P<kind>datasets)/)?{_REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)"),
]  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer leaves in one piece
    disable_nagle_algorithm = True
    stand: HubServer

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        method = "GET" if self.command == "HEAD" else self.command
        matches = ((name, re.fullmatch(pattern, parts.path)) for name, wanted, pattern in _ROUTES if wanted == method)
        route, found = next((match for match in matches if match[1]), ("unknown", None))
        self.stand.requests.append((route, unquote(parts.path)))
        how = self.stand.failing(route)
        if isinstance(how, float):
            let_pass(how)
        length = int(self.headers.get("Content-Length") or 0)
        if how == "drop" or callable(how):
            self.stand.bodies.append(self.rfile.read(length // 2))
            if callable(how):
                how()
            return self._hang_up()
        self._body = self.rfile.read(length)
        self.stand.bodies.append(self._body)
        self._query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        try:
            if isinstance(how, int):
                raise _Refusal(how, f"this server was told to answer {how}")
            with self.stand.guard:
                if early := self.stand.before.pop(route, None):
                    early()
                names = {key: unquote(value) for key, value in (found.groupdict() if found else {}).items() if value}
                answer = getattr(self, f"_{route}")(**names)
            if how == "drop after":
                return self._hang_up()
            self._answer(200, answer, cut=how == "cut")
        except _Refusal as refusal:
            headers = {"X-Error-Message": str(refusal)} | ({"X-Error-Code": refusal.code} if refusal.code else {})
            self._answer(refusal.status, {"error": str(refusal)}, headers)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.close()

    def _answer(self, status: int, content: Any, headers: Mapping[str, str] | None = None, cut: bool = False) -> None:
        data, own = content if isinstance(content, tuple) else (json.dumps(content).encode(), {})
        self.send_response(own.pop("status", status))
        content_type = "application/json" if not own else "application/octet-stream"
        sent = {"Content-Type": content_type, "Content-Length": str(len(data)), **own, **(headers or {})}
        for name, value in sent.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self.wfile.flush()
            self._hang_up()

    # Who is asking, and for what

    def _role(self) -> str | None:
        """`write`, `read`, or nothing for a stranger."""
        given = self.headers.get("Authorization")
        if given is None:
            return None
        roles = {self.stand.token: "write", self.stand.read_token: "read"}
        role = roles.get(given.removeprefix("Bearer "))
        if role is None:
            raise _Refusal(401, "Invalid credentials in Authorization header")
        return role

    def _must_write(self, owner: str) -> None:
        role = self._role()
        if role is None:
            raise _Refusal(401, "Invalid username or password.")
        if role == "read" or owner != self.stand.user:
            raise _Refusal(403, f"You don't have the required permissions to write under the namespace {owner}")

    def _found(self, kind: str, repo: str) -> Repo:
        role = self._role()
        found = self.stand.repos.get(repo if kind == "models" else f"datasets/{repo}")
        if found is None or (found.private and (role is None or found.owner != self.stand.user)):
            raise _Refusal(401 if role is None else 404, "Repository not found", "RepoNotFound")
        return found

    def _at(self, kind: str, repo: str, revision: str) -> tuple[Repo, str, Files]:
        found = self._found(kind, repo)
        oid = found.resolved(revision)
        if oid is None:
            raise _Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return found, oid, found.commits[oid].files

    # Routes

    def _unknown(self) -> Any:
        raise _Refusal(404, "no such route")

    def _create(self) -> Any:
        wanted = json.loads(self._body)
        owner = wanted.get("organization") or self.stand.user
        self._must_write(owner)
        kind = wanted.get("type") or "model"
        name = ("" if kind == "model" else f"{kind}s/") + f"{owner}/{wanted['name']}"
        url = f"{self.stand.endpoint}/{name}"
        if name in self.stand.repos:
            return json.dumps({"error": "You already created this repo", "url": url}).encode(), {"status": 409}
        self.stand.create(name, wanted.get("private") is True or wanted.get("visibility") == "private")
        return {"url": url, "name": f"{owner}/{wanted['name']}", "id": name}

    def _whoami(self) -> Any:
        role = self._role()
        if role is None:
            raise _Refusal(401, "Invalid username or password.")
        return {"type": "user", "name": self.stand.user, "orgs": [], "auth": {"accessToken": {"role": role}}}

    def _validate(self) -> Any:
        """Metadata must be a mapping that a safe YAML reader understands, with the shapes that the Hub insists on."""
        found = re.match(r"---\n(.*?)\n---\n", json.loads(self._body)["content"], re.DOTALL)
        try:
            metadata = yaml.safe_load(found[1]) if found else None
        except yaml.YAMLError as error:
            metadata = str(error)
        problems = metadata_problems(metadata)
        if problems:
            content = {"errors": [{"message": problem} for problem in problems], "warnings": []}
            return json.dumps(content).encode(), {"status": 400}
        return {"errors": [], "warnings": []}

    def _preupload(self, kind: str, repo: str, revision: str) -> Any:
        found, _, files = self._at(kind, repo, revision)
        self._must_write(found.owner)
        answer = []
        for file in json.loads(self._body)["files"]:
            there = files.get(file["path"])
            oid = None if there is None else blob_id(there)
            answer.append({"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": oid})
        return {"files": answer}

    def _commit(self, kind: str, repo: str, revision: str) -> Any:
        found, oid, files = self._at(kind, repo, revision)
        self._must_write(found.owner)
        header, *operations = [json.loads(line) for line in self._body.splitlines()]
        parent = header["value"].get("parentCommit")
        request = self._query.get("create_pr") == "1"
        if parent is not None and parent != oid and not request:
            raise _Refusal(412, "A commit has happened since. Please refresh and try again.")
        changed = dict(files)
        for operation in operations:
            key, value = operation["key"], operation["value"]
            if key == "file":
                changed[value["path"]] = base64.b64decode(value["content"])
            elif key == "deletedFile" and value["path"] not in changed:
                raise _Refusal(400, f"there is no {value['path']}")
            elif key == "deletedFile":
                del changed[value["path"]]
            elif key == "deletedFolder":
                changed = {name: data for name, data in changed.items() if not name.startswith(value["path"])}
            else:
                raise _Refusal(400, f"no {key} was offered")
        number = sum(ref.startswith("refs/pr/") for ref in found.refs) + 1
        ref = f"refs/pr/{number}" if request else revision
        new = found.commit(changed, header["value"]["summary"], ref, parent=oid)
        place = f"{self.stand.endpoint}/{'' if kind == 'models' else 'datasets/'}{repo}"
        answer = {"success": True, "commitOid": new, "commitUrl": f"{place}/commit/{new}", "hookOutput": ""}
        return answer | ({"pullRequestUrl": f"{place}/discussions/{number}"} if request else {})

    def _info(self, kind: str, repo: str, revision: str = "main") -> Any:
        found, oid, files = self._at(kind, repo, revision)
        siblings = [
            {"rfilename": name, "size": len(files[name]), "blobId": blob_id(files[name])} for name in sorted(files)
        ]
        return {
            "_id": "0" * 24,
            "id": repo,
            "modelId": repo,
            "author": found.owner,
            "sha": oid,
            "private": found.private,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "lastModified": _DATE,
            "createdAt": _DATE,
            "siblings": siblings,
        }

    def _tree(self, kind: str, repo: str, revision: str, path: str = "") -> Any:
        _, oid, files = self._at(kind, repo, revision)
        inside = {name: data for name, data in sorted(files.items()) if not path or name.startswith(f"{path}/")}
        if path and not inside:
            raise _Refusal(404, f"{path} does not exist on {oid}", "EntryNotFound")
        folders = {str(parent) for name in inside for parent in Path(name).parents} - {".", path}
        entries = [_entry(name) for name in sorted(folders)]
        entries += [_entry(name, data) for name, data in inside.items()]
        deep = self._query.get("recursive", "").lower() in ("true", "1")
        start = len(f"{path}/") if path else 0
        return [entry for entry in entries if deep or "/" not in entry["path"][start:]]

    def _paths(self, kind: str, repo: str, revision: str) -> Any:
        _, _, files = self._at(kind, repo, revision)
        plain = self.headers.get("Content-Type", "").startswith("application/json")
        wanted = json.loads(self._body)["paths"] if plain else parse_qs(self._body.decode())["paths"]
        return [_entry(name, files[name]) for name in wanted if name in files]

    def _refs(self, kind: str, repo: str) -> Any:
        refs = self._found(kind, repo).refs
        entries = {
            ref: {"name": ref, "ref": ref if "/" in ref else f"refs/heads/{ref}", "targetCommit": oid}
            for ref, oid in refs.items()
        }
        requests = [entry for ref, entry in entries.items() if ref.startswith("refs/pr/")]
        branches = [entry for ref, entry in entries.items() if not ref.startswith("refs/")]
        return {"branches": branches, "converts": [], "tags": [], "pullRequests": requests}

    def _commits(self, kind: str, repo: str, revision: str) -> Any:
        found, _, _ = self._at(kind, repo, revision)
        return [
            {"id": oid, "title": found.commits[oid].title, "message": "", "date": _DATE, "authors": []}
            for oid in found.history(revision)
        ]

    def _resolve(self, repo: str, revision: str, path: str, kind: str = "models") -> Any:
        _, oid, files = self._at(kind, repo, revision)
        headers: dict[str, Any] = {"X-Repo-Commit": oid}
        if path not in files:
            raise _Refusal(404, "Entry not found", "EntryNotFound")
        data = files[path]
        headers |= {"ETag": f'"{blob_id(data)}"', "Accept-Ranges": "bytes"}
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(wanted[1]), int(wanted[2] or len(data) - 1)
            headers |= {"Content-Range": f"bytes {first}-{last}/{len(data)}", "status": 206}
            data = data[first : last + 1]
        return data, headers


def _entry(name: str, data: bytes | None = None) -> dict[str, Any]:
    """A file of a listing, or a folder."""
    if data is None:
        return {"type": "directory", "oid": "0" * 40, "size": 0, "path": name}
    return {"type": "file", "oid": blob_id(data), "size": len(data), "path": name}
