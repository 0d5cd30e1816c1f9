"""A small Hub on loopback that speaks its protocol to the unmodified clients: users, commits, large files, faults.

Repositories live in memory. As on the real Hub, large files go to and come from another host (here: another port) by
signed URLs, which must be asked for without the token.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

LARGE = (".h5", ".parquet", ".arrow", ".safetensors", ".bin", ".pt", ".gz", ".zst", ".zip", ".model")
"""Suffixes that a new repository's .gitattributes sends to the storage for large files."""

FAULTS = ("503", "429", "reset", "lost")
"""Kinds of faults for any request: two statuses, a connection reset before the work is done, and one after it."""


@dataclass(frozen=True)
class User:
    """Who a token belongs to; `role` is "write" or "read", `orgs` are further namespaces."""

    name: str
    role: str = "write"
    orgs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong at request number `at`, counted from 1 since `HubServer.start_counting`.

    `kind` is one of FAULTS, or "cut": half of the answer's body comes, then the connection ends. With `repeat`, all
    later requests fail as well.
    """

    at: int
    kind: str
    repeat: bool = False


@dataclass(frozen=True)
class File:
    """A file of a commit."""

    content: bytes
    is_large: bool

    @cached_property
    def oid(self) -> str:
        """What the Hub calls it by: SHA-256 of a large file, git's SHA-1 of another."""
        return sha256(self.content) if self.is_large else git_oid(self.content)

    def entry(self, path: str) -> dict[str, Any]:
        """The file as listings show it."""
        entry = {"type": "file", "path": path, "size": len(self.content), "oid": git_oid(self.content)}
        if self.is_large:
            entry["lfs"] = {"oid": self.oid, "size": len(self.content), "pointerSize": 130}
        return entry


@dataclass(frozen=True)
class Commit:
    """One state of a repository."""

    sha: str
    message: str
    files: Mapping[str, File]


@dataclass
class Repo:
    """A repository: its commits, oldest first, and the large files that were uploaded, committed or not."""

    private: bool
    commits: list[Commit] = field(default_factory=list)
    stored: dict[str, bytes] = field(default_factory=dict)

    def commit(self, message: str, files: Mapping[str, File]) -> Commit:
        """Add a commit with these files, and no others."""
        what = [self.commits[-1].sha if self.commits else "", message, {path: f.oid for path, f in files.items()}]
        self.stored |= {f.oid: f.content for f in files.values() if f.is_large}
        self.commits.append(Commit(hashlib.sha1(json.dumps(what).encode()).hexdigest(), message, dict(files)))
        return self.commits[-1]


@dataclass
class Reply:
    """An answer."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Refused(Exception):
    """A request that is answered with an error; `code` is what clients tell the reasons apart by."""

    def __init__(self, status: int, message: str, code: str = "", **headers: str) -> None:
        super().__init__(message)
        named = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {}), **headers}
        self.reply = Reply(status, json.dumps({"error": message}).encode(), named)


@dataclass(frozen=True)
class Request:
    """A request that came whole."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    user: User | None

    def json(self) -> Any:
        """The body's JSON."""
        return json.loads(self.body)


def sha256(content: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(content).hexdigest()


def git_oid(content: bytes) -> str:
    """The SHA-1 that git gives a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class HubServer:
    """The state of the Hub, and what it answers. `users` has whom each token belongs to.

    With `xet_folder`, clients that have xet are sent there: it is the content-addressed storage that hf_xet keeps on a
    disk. What the real Hub learns from that storage, the test says beforehand in `xet_files`: SHA-256 to xet's hash and
    the content.
    """

    def __init__(self, users: Mapping[str, User]) -> None:
        self.users = dict(users)
        self.repos: dict[tuple[str, str], Repo] = {}
        self.requests: list[str] = []
        self.fault: Fault | None = None
        self.url = self.storage_url = ""
        self.xet_folder: Path | None = None
        self.xet_files: dict[str, tuple[str, bytes]] = {}
        self.lock = threading.RLock()

    def start_counting(self, fault: Fault | None = None) -> None:
        """Forget the requests so far, and let something go wrong with one of the next."""
        with self.lock:
            self.requests, self.fault = [], fault

    def count(self, method: str, part: str = "") -> int:
        """Number of requests since `start_counting` with a method, and a part of their path."""
        return sum(line.startswith(f"{method} ") and part in line for line in self.requests)

    def next_fault(self, line: str) -> str | None:
        """Note a request; return the kind of the fault that hits it."""
        with self.lock:
            self.requests.append(line)
            number, fault = len(self.requests), self.fault
        hit = fault is not None and (number == fault.at or (fault.repeat and number > fault.at))
        return fault.kind if fault and hit else None

    def answer(self, request: Request, at_storage: bool) -> Reply:
        """Do what a request asks for."""
        routes = _STORAGE_ROUTES if at_storage else _ROUTES
        for methods, pattern, answer in routes:
            if request.method in methods and (match := re.fullmatch(pattern, request.path)):
                names = {name: unquote(value) for name, value in match.groupdict(default="").items()}
                if "kind" in names:
                    names["kind"] = names["kind"] or "model"
                with self.lock:
                    return answer(self, request, **names)
        raise Refused(404, f"this small Hub has no {request.method} {request.path}")

    # who may do what

    def repo(self, request: Request, kind: str, repo_id: str, write: bool = False) -> Repo:
        """Return a repository that the user may see, or write to."""
        repo = self.repos.get((kind, repo_id))
        if repo is None or (repo.private and not self._owns(request.user, repo_id)):
            raise Refused(404 if request.user else 401, "Repository not found", "RepoNotFound")
        if write:
            self._check_write(request.user, repo_id)
        return repo

    def _owns(self, user: User | None, repo_id: str) -> bool:
        return user is not None and repo_id.split("/")[0] in (user.name, *user.orgs)

    def _check_write(self, user: User | None, repo_id: str) -> None:
        if user is None:
            raise Refused(401, "Invalid username or password.")
        if not self._owns(user, repo_id) or user.role != "write":
            raise Refused(403, f"You don't have the rights to write to {repo_id}")

    def commit_of(self, repo: Repo, revision: str) -> Commit:
        """Return what a revision stands for: "main", or a commit's hash."""
        found = repo.commits[-1] if revision in ("", "main") else None
        found = found or next((c for c in repo.commits if c.sha == revision), None)
        if found is None:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return found

    # accounts and repositories

    def whoami(self, request: Request) -> Reply:
        """Say whose token it is."""
        if request.user is None:
            raise Refused(401, "Invalid username or password.")
        user = request.user
        token = {"displayName": "test", "role": user.role}
        orgs = [{"type": "org", "name": org} for org in user.orgs]
        return _json(
            {"type": "user", "name": user.name, "orgs": orgs, "auth": {"type": "access_token", "accessToken": token}}
        )

    def create(self, request: Request) -> Reply:
        """Create a repository with a first commit."""
        asked = request.json()
        kind = asked.get("type") or "model"
        repo_id = f"{asked.get('organization') or (request.user.name if request.user else '')}/{asked['name']}"
        self._check_write(request.user, repo_id)
        url = f"{self.url}/{_PREFIX[kind]}{repo_id}"
        if (kind, repo_id) in self.repos:
            return _json({"error": "You already created this repo", "url": url}, 409)
        self.add_repo(repo_id, kind, private=asked.get("visibility") == "private" or bool(asked.get("private")))
        return _json({"url": url, "name": repo_id})

    def add_repo(self, repo_id: str, kind: str = "dataset", private: bool = True) -> Repo:
        """Create a repository without a request."""
        repo = self.repos[kind, repo_id] = Repo(private)
        attributes = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LARGE)
        repo.commit("initial commit", {".gitattributes": File(attributes.encode(), is_large=False)})
        return repo

    def validate_yaml(self, request: Request) -> Reply:
        """Say whether a card's front matter is YAML."""
        parts = request.json()["content"].split("---\n")
        try:
            valid = isinstance(yaml.safe_load(parts[1]), dict) and parts[0] == ""
        except (yaml.YAMLError, IndexError):
            valid = False
        errors = [] if valid else [{"message": "the front matter is no YAML mapping"}]
        return _json({"errors": errors, "warnings": []}, 200 if valid else 400)

    def info(self, request: Request, kind: str, repo_id: str, revision: str = "") -> Reply:
        """Describe a repository at a revision."""
        repo = self.repo(request, kind, repo_id)
        commit = self.commit_of(repo, revision)
        return _json(
            {
                "_id": git_oid(repo_id.encode()), "id": repo_id, "author": repo_id.split("/")[0], "sha": commit.sha,
                "private": repo.private, "gated": False, "disabled": False, "downloads": 0, "likes": 0, "tags": [],
                "lastModified": "2026-01-01T00:00:00.000Z", "createdAt": "2026-01-01T00:00:00.000Z",
                "siblings": [{"rfilename": path} for path in commit.files],
            }
        )  # fmt: skip

    def tree(self, request: Request, kind: str, repo_id: str, revision: str, path: str = "") -> Reply:
        """List files, with `recursive` those in folders as well."""
        files = self.commit_of(self.repo(request, kind, repo_id), revision).files
        below = {p: f for p, f in files.items() if not path or p.startswith(f"{path}/")}
        if path and not below:
            raise Refused(404, f"{path} does not exist", "EntryNotFound")
        start = len(path) + 1 if path else 0
        folders = sorted({p[: p.index("/", start)] for p in below if "/" in p[start:]})
        entries = [{"type": "directory", "path": f, "oid": git_oid(f.encode()), "size": 0} for f in folders]
        deep = request.query.get("recursive", [""])[0].lower() == "true"
        return _json(entries + [f.entry(p) for p, f in below.items() if deep or "/" not in p[start:]])

    def paths_info(self, request: Request, kind: str, repo_id: str, revision: str) -> Reply:
        """Describe the files among some paths."""
        files = self.commit_of(self.repo(request, kind, repo_id), revision).files
        asked = parse_qs(request.body.decode()).get("paths", [])
        return _json([files[path].entry(path) for path in asked if path in files])

    # writing

    def preupload(self, request: Request, kind: str, repo_id: str, revision: str) -> Reply:
        """Say for each file how it is to be uploaded, and which content it has now."""
        files = self.commit_of(self.repo(request, kind, repo_id, write=True), revision).files
        answers = []
        for asked in request.json()["files"]:
            path = asked["path"]
            mode = "lfs" if path.endswith(LARGE) or asked["size"] > 10_000_000 else "regular"
            now = {"oid": files[path].oid} if path in files else {}
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, **now})
        return _json({"files": answers})

    def lfs_batch(self, request: Request, kind: str, repo_id: str) -> Reply:
        """Say where large files are to be put; those that the storage has need no action."""
        stored = self.repo(request, kind, repo_id, write=True).stored
        objects: list[dict[str, Any]] = []
        for asked in request.json()["objects"]:
            verify = {"href": f"{self.url}/{_PREFIX[kind]}{repo_id}.git/info/lfs/verify"}
            upload = {"href": self.signed_url(kind, repo_id, asked["oid"])}
            actions = {} if asked["oid"] in stored else {"actions": {"upload": upload, "verify": verify}}
            objects.append({"oid": asked["oid"], "size": asked["size"], "authenticated": True, **actions})
        return _json({"transfer": "basic", "objects": objects})

    def lfs_verify(self, request: Request, kind: str, repo_id: str) -> Reply:
        """Say whether a large file arrived."""
        stored = self.repo(request, kind, repo_id, write=True).stored
        asked = request.json()
        if len(stored.get(asked["oid"], b"")) != asked["size"]:
            raise Refused(404, "the object was not uploaded")
        return _json({})

    def commit(self, request: Request, kind: str, repo_id: str, revision: str) -> Reply:
        """Change files: all of them or none."""
        repo = self.repo(request, kind, repo_id, write=True)
        head = self.commit_of(repo, revision)
        files, message = dict(head.files), ""
        for line in request.body.splitlines():
            item = json.loads(line)
            key, value = item["key"], item["value"]
            if key == "header":
                message = value["summary"]
                if value.get("parentCommit") not in (None, head.sha):
                    raise Refused(412, "A commit has happened since. Please refresh and try again.")
            elif key == "file":
                files[value["path"]] = File(base64.b64decode(value["content"]), is_large=False)
            elif key == "lfsFile":
                if value["oid"] in self.xet_files and self.xet_folder and any(self.xet_folder.rglob("*")):
                    repo.stored[value["oid"]] = self.xet_files[value["oid"]][1]
                if value["oid"] not in repo.stored:
                    raise Refused(400, f"the large file {value['path']} was not uploaded")
                files[value["path"]] = File(repo.stored[value["oid"]], is_large=True)
            elif key in ("deletedFile", "deletedFolder"):
                gone = [p for p in files if p == value["path"] or p.startswith(value["path"].rstrip("/") + "/")]
                if not gone:
                    raise Refused(404, "A file with this name doesn't exist", "EntryNotFound")
                for path in gone:
                    del files[path]
        made = repo.commit(message, files)
        url = f"{self.url}/{_PREFIX[kind]}{repo_id}/commit/{made.sha}"
        return _json({"success": True, "commitOid": made.sha, "commitUrl": url, "hookOutput": ""})

    def xet_token(self, request: Request, kind: str, repo_id: str, right: str, revision: str) -> Reply:
        """Say where xet's storage is."""
        self.repo(request, kind, repo_id, write=right == "write")
        if self.xet_folder is None:
            raise Refused(404, "this Hub has no xet")
        answer = {"casUrl": f"local://{self.xet_folder}", "accessToken": "none", "exp": 2**31}
        named = {"X-Xet-Cas-Url": "casUrl", "X-Xet-Access-Token": "accessToken", "X-Xet-Token-Expiration": "exp"}
        return Reply(200, json.dumps(answer).encode(), {name: str(answer[key]) for name, key in named.items()})

    # reading

    def resolve(self, request: Request, kind: str, repo_id: str, revision: str, path: str) -> Reply:
        """Give a file's content, or where the storage has it."""
        commit = self.commit_of(self.repo(request, kind, repo_id), revision)
        if path not in commit.files:
            raise Refused(404, f"{path} does not exist", "EntryNotFound", **{"X-Repo-Commit": commit.sha})
        file = commit.files[path]
        headers = {"X-Repo-Commit": commit.sha, "ETag": f'"{file.oid}"'}
        if not file.is_large:
            return _ranged(request, file.content, headers)
        headers["X-Linked-ETag"], headers["X-Linked-Size"] = f'"{file.oid}"', str(len(file.content))
        if self.xet_folder and file.oid in self.xet_files:
            headers["X-Xet-Hash"] = self.xet_files[file.oid][0]
            headers["X-Xet-Refresh-Route"] = f"{self.url}/api/{kind}s/{repo_id}/xet-read-token/{commit.sha}"
        headers["Location"] = self.signed_url(kind, repo_id, file.oid)
        return Reply(302, headers=headers)

    def signed_url(self, kind: str, repo_id: str, oid: str) -> str:
        """Return where a large file is put and got without a token."""
        path = f"/{kind}s/{repo_id}/{oid}"
        return f"{self.storage_url}{path}?signature={self.signature(path)}"

    def signature(self, path: str) -> str:
        """Return what lets the storage take or give an object."""
        return sha256(f"signed {path}".encode())[:32]

    def storage(self, request: Request, kind: str, repo_id: str, oid: str) -> Reply:
        """Take or give a large file."""
        stored = self.repos[kind, repo_id].stored
        if "Authorization" in request.headers:
            raise Refused(400, "Only one auth mechanism allowed")
        if request.query.get("signature") != [self.signature(request.path)]:
            raise Refused(403, "SignatureDoesNotMatch")
        if request.method == "PUT":
            if sha256(request.body) != oid:
                raise Refused(400, "the content has another SHA-256")
            stored[oid] = request.body
            return Reply()
        if oid not in stored:
            raise Refused(404, "NoSuchKey")
        return _ranged(request, stored[oid], {"ETag": f'"{oid}"'})


def _json(value: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def _ranged(request: Request, content: bytes, headers: dict[str, str]) -> Reply:
    """Give a content, or the part of it that is asked for."""
    headers = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream", **headers}
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
    if not asked:
        return Reply(200, content, headers)
    first, last = int(asked[1]), min(int(asked[2] or len(content) - 1), len(content) - 1)
    if first >= len(content):
        return Reply(416, b"", {"Content-Range": f"bytes */{len(content)}"})
    return Reply(206, content[first : last + 1], {**headers, "Content-Range": f"bytes {first}-{last}/{len(content)}"})


_PREFIX = {"model": "", "dataset": "datasets/", "space": "spaces/"}
_ID = r"(?P<repo_id>[^/]+/[^/]+?)"
_API = rf"/api/(?P<kind>model|dataset|space)s/{_ID}"
_REPO = rf"/(?:(?P<kind>dataset|space)s/)?{_ID}"
_REV = r"(?P<revision>[^/]+)"

Answer = Callable[..., Reply]
_ROUTES: list[tuple[tuple[str, ...], str, Answer]] = [
    (("GET",), "/api/whoami-v2", HubServer.whoami),
    (("POST",), "/api/repos/create", HubServer.create),
    (("POST",), "/api/validate-yaml", HubServer.validate_yaml),
    (("POST",), rf"{_API}/preupload/{_REV}", HubServer.preupload),
    (("POST",), rf"{_API}/commit/{_REV}", HubServer.commit),
    (("POST",), rf"{_API}/paths-info/{_REV}", HubServer.paths_info),
    (("GET",), rf"{_API}/xet-(?P<right>read|write)-token/{_REV}", HubServer.xet_token),
    (("GET",), rf"{_API}/tree/{_REV}(?:/(?P<path>.+))?", HubServer.tree),
    (("GET",), rf"{_API}(?:/revision/{_REV})?", HubServer.info),
    (("POST",), rf"{_REPO}\.git/info/lfs/objects/batch", HubServer.lfs_batch),
    (("POST",), rf"{_REPO}\.git/info/lfs/verify", HubServer.lfs_verify),
    (("GET", "HEAD"), rf"{_REPO}/resolve/{_REV}/(?P<path>.+)", HubServer.resolve),
]
_STORAGE_ROUTES: list[tuple[tuple[str, ...], str, Answer]] = [
    (("GET", "HEAD", "PUT"), rf"/(?P<kind>model|dataset|space)s/{_ID}/(?P<oid>[0-9a-f]{{64}})", HubServer.storage),
]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes: without it each answer waits 40 ms
    server: _Http

    def log_message(self, *_: object) -> None:
        pass

    def _handle(self) -> None:
        hub, url = self.server.hub, urlsplit(self.path)
        body = self._body()
        fault = hub.next_fault(f"{self.command} {url.path}")
        if fault == "reset":
            return self._reset()
        if fault in ("503", "429"):
            page = b"<!DOCTYPE html><html><body>Please wait</body></html>"
            return self._send(Reply(int(fault), page, {"Content-Type": "text/html", "Retry-After": "1"}))
        try:
            request = Request(self.command, url.path, parse_qs(url.query), self.headers, body, self._user(hub))  # type: ignore[arg-type]
            reply = hub.answer(request, self.server.is_storage)
        except Refused as e:
            reply = e.reply
        return self._reset() if fault == "lost" else self._send(reply, cut=fault == "cut")

    do_GET = do_HEAD = do_POST = do_PUT = _handle

    def _user(self, hub: HubServer) -> User | None:
        """Return whose token came, if one came."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in hub.users and not self.server.is_storage:
            raise Refused(401, "Invalid credentials in Authorization header")
        return hub.users.get(token)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _reset(self) -> None:
        """Break the connection without a word: with no time to linger, closing sends a reset."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    def _send(self, reply: Reply, cut: bool = False) -> None:
        self.send_response(reply.status)
        for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body[: len(reply.body) // 2] if cut else reply.body)
        self.close_connection = self.close_connection or cut


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, hub: HubServer, is_storage: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub, self.is_storage = hub, is_storage

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that are gone."""


@contextmanager
def serving_hub(users: Mapping[str, User]) -> Iterator[HubServer]:
    """Serve a Hub without repositories on free ports of loopback until the block ends."""
    hub = HubServer(users)
    servers = [_Http(hub, is_storage=False), _Http(hub, is_storage=True)]
    hub.url, hub.storage_url = (server.url for server in servers)
    threads = [threading.Thread(target=s.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True) for s in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()
