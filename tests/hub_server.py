"""A small Hugging Face Hub on loopback, for tests: real HTTP, everything in memory, failures on request.

It speaks what huggingface_hub 2.4 uses to push a model and to load it by its id: creation of repositories and
branches, validation of cards, pre-upload, the large-file protocol, commits, information, file lists, and files with
their hashes. Large files come from another host name than the rest, as on the Hub, and no token may reach it. The
chunk protocol of hf_xet is not spoken, so clients set `HF_HUB_DISABLE_XET=1`.
"""

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from huggingface_hub import ModelCard
from yaml import YAMLError

TOKEN, USER = "hf_test", "tester"
LARGE = 1_000_000  # bytes from which a file is large whatever its name
LARGE_NAMES = (".safetensors", ".bin", ".pt", ".model")


@dataclass(frozen=True)
class File:
    """A file of a commit: its bytes, or the SHA-256 of a large one."""

    content: bytes
    sha256: str | None = None

    @property
    def oid(self) -> str:
        """What the client compares with its own file: SHA-256 of a large file, Git's hash of any other."""
        return self.sha256 or hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()


@dataclass(frozen=True)
class Commit:
    """All files after a commit."""

    sha: str
    files: dict[str, File]
    message: str = ""


@dataclass
class Repository:
    """Branches, each a list of commits, the newest last."""

    private: bool
    branches: dict[str, list[Commit]] = field(default_factory=dict)

    def commit(self, revision: str) -> Commit | None:
        """The commit of a branch or hash."""
        if revision in self.branches:
            return self.branches[revision][-1]
        return next((commit for row in self.branches.values() for commit in row if commit.sha == revision), None)


@dataclass
class Failure:
    """What to do to requests instead of answering them."""

    method: str
    path: str
    times: int
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    error: str = ""
    after_bytes: int = 0  # where no status is set: of the body read before the connection is cut


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, error: str, code: str | None = None, **body: Any):
        super().__init__(error)
        self.status, self.body = status, {"error": error, **body}
        self.headers = {"X-Error-Message": error} | ({"X-Error-Code": code} if code else {})


class LoopbackHub:
    """The Hub: use it in a `with`, and give `url` to the client as its endpoint."""

    def __init__(self):
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}  # large files by SHA-256
        self.requests: list[tuple[str, str]] = []
        self.uploads: list[str] = []  # hashes of the large files that arrived
        self.failures: list[Failure] = []
        self.lock = threading.RLock()

    def __enter__(self) -> "LoopbackHub":
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.hub, self.server.daemon_threads = self, True  # type: ignore[attr-defined]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()
        port = self.server.server_address[1]
        self.url, self.storage = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
        return self

    def __exit__(self, *_) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def fail(self, method: str, path: str, status: int, error: str = "", times: int = 1, **headers: str) -> None:
        """Answer the next `times` requests whose path contains the expression with a status."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        self.failures.append(Failure(method, path, times, status, sent, error))

    def cut(self, method: str, path: str, after_bytes: int = 0, times: int = 1) -> None:
        """Close the connection of the next `times` such requests after so many bytes of their body."""
        self.failures.append(Failure(method, path, times, after_bytes=after_bytes))

    def failure(self, method: str, path: str) -> Failure | None:
        """The failure that is due for a request."""
        with self.lock:
            due = (each for each in self.failures if each.times and each.method == method)
            failure = next((each for each in due if re.search(each.path, path)), None)
            if failure:
                failure.times -= 1
            return failure

    def asked(self, method: str, path: str) -> int:
        """How many such requests came in."""
        return sum(how == method and re.search(path, what) is not None for how, what in self.requests)

    def files(self, repo_id: str, revision: str = "main") -> dict[str, bytes]:
        """Contents of a repository's files by name."""
        commit = self.repositories[repo_id].commit(revision)
        assert commit is not None
        return {name: file.content for name, file in commit.files.items()}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    @property
    def hub(self) -> LoopbackHub:
        """The Hub that this connection is to."""
        return self.server.hub  # type: ignore[attr-defined]

    def handle_request(self) -> None:
        """Fail if that is due, or find the route and answer."""
        parts = urlsplit(self.path)
        path, self.query = parts.path, {name: v[-1] for name, v in parse_qs(parts.query).items()}
        failure = self.hub.failure(self.command, path)
        if failure and failure.status is None:
            self.rfile.read(failure.after_bytes)
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        self.body = b"".join(self.read_body())
        with self.hub.lock:
            self.hub.requests.append((self.command, path))
            try:
                if failure and failure.status is not None:
                    self.answer(failure.status, {"error": failure.error}, **failure.headers)
                    return
                for method, pattern, handle in ROUTES:
                    match = re.fullmatch(pattern, path)
                    if match and self.command in method:
                        handle(self, **{name: part and unquote(part) for name, part in match.groupdict().items()})
                        return
                raise Refused(404, f"no such address: {self.command} {path}")
            except Refused as refused:
                self.answer(refused.status, refused.body, **refused.headers)

    do_GET = do_HEAD = do_POST = do_PUT = handle_request  # noqa: N815

    def read_body(self) -> Iterator[bytes]:
        """The body, of known length or in chunks."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            yield self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status: int, content: Any = None, **headers: str) -> None:
        """Send JSON, or bytes as they are."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        sent = {"Content-Length": str(len(body)), "Content-Type": "application/json"} | headers
        for name, value in sent.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    # ------------------------------------------------------------------ who may do what

    def check_token(self) -> None:
        """Refuse a request without the right token."""
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise Refused(401, "Invalid credentials in Authorization header")

    def repository(self, repo: str) -> Repository:
        """A repository that the request may see."""
        found = self.hub.repositories.get(repo)
        allowed = found and (not found.private or self.headers.get("Authorization") == f"Bearer {TOKEN}")
        if not found or not allowed:
            raise Refused(401 if "Authorization" not in self.headers else 404, "Repository not found", "RepoNotFound")
        return found

    def commit(self, repo: str, revision: str) -> Commit:
        """A commit that the request may see."""
        found = self.repository(repo).commit(revision)
        if found is None:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return found

    # ------------------------------------------------------------------ writing

    def create(self) -> None:
        """Make a repository with its first commit."""
        self.check_token()
        asked = json.loads(self.body)
        repo = f"{asked.get('organization') or USER}/{asked['name']}"
        if repo.split("/")[0] != USER:
            raise Refused(403, f"You don't have the rights to create a model under the namespace {repo.split('/')[0]}")
        if repo in self.hub.repositories:
            raise Refused(409, "You already created this model repo", url=f"{self.hub.url}/{repo}")
        private = asked.get("visibility") == "private" or asked.get("private") is True
        first = Commit(new_sha(repo), {".gitattributes": File(b"*.safetensors filter=lfs\n")}, "initial commit")
        self.hub.repositories[repo] = Repository(private, {"main": [first]})
        self.answer(200, {"url": f"{self.hub.url}/{repo}", "name": repo})

    def branch(self, repo: str, branch: str) -> None:
        """Make a branch of main."""
        self.check_token()
        branches = self.repository(repo).branches
        if branch in branches:
            raise Refused(409, f"Reference already exists: {branch}")
        branches[branch] = list(branches["main"])
        self.answer(200, {})

    def validate(self) -> None:
        """Check the metadata of a card, as far as that they are a mapping."""
        try:
            ModelCard(json.loads(self.body)["content"])
            self.answer(200, {"errors": [], "warnings": []})
        except (ValueError, YAMLError) as error:
            self.answer(400, {"errors": [{"message": " ".join(str(error).split())}], "warnings": []})

    def preupload(self, repo: str, revision: str) -> None:
        """Say of each file whether it is large, and which content the repository has."""
        self.check_token()
        known = self.commit(repo, revision).files
        files = []
        for file in json.loads(self.body)["files"]:
            large = file["size"] >= LARGE or file["path"].endswith(LARGE_NAMES)
            row = {"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
            files.append(row | ({"oid": known[file["path"]].oid} if file["path"] in known else {}))
        self.answer(200, {"files": files})

    def batch(self, repo: str) -> None:
        """Say where the large files go that are not there yet."""
        self.check_token()
        self.repository(repo)
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            row = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.hub.objects:
                verify = {"href": f"{self.hub.url}/{repo}.git/info/lfs/objects/verify"}
                row["actions"] = {"upload": {"href": f"{self.hub.storage}/objects/{wanted['oid']}"}, "verify": verify}
            objects.append(row)
        self.answer(200, {"transfer": "basic", "objects": objects})

    def store(self, oid: str) -> None:
        """Take a large file."""
        assert "Authorization" not in self.headers, "the token went to the storage host"
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise Refused(400, "the content does not have this hash")
        self.hub.objects[oid] = self.body
        self.hub.uploads.append(oid)
        self.answer(200, {})

    def verify(self, repo: str) -> None:
        """Say whether a large file has arrived."""
        self.check_token()
        asked = json.loads(self.body)
        if len(self.hub.objects.get(asked["oid"], b"")) != asked["size"]:
            raise Refused(404, "the object has not arrived")
        self.answer(200, {})

    def take_commit(self, repo: str, revision: str) -> None:
        """Add a commit to a branch."""
        self.check_token()
        parent = self.commit(repo, revision)
        lines = [json.loads(line) for line in self.body.splitlines()]
        files, header = dict(parent.files), lines[0]["value"]
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = File(base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.hub.objects:
                    raise Refused(400, f"{value['path']} was never uploaded")
                files[value["path"]] = File(self.hub.objects[value["oid"]], value["oid"])
            elif line["key"] == "deletedFile":
                files.pop(value["path"])
            else:
                raise Refused(400, f"no such operation: {line['key']}")
        commit = Commit(new_sha(parent.sha, self.body), files, header["summary"])
        self.repository(repo).branches[revision].append(commit)
        self.answer(200, {"commitUrl": f"{self.hub.url}/{repo}/commit/{commit.sha}", "commitOid": commit.sha})

    # ------------------------------------------------------------------ reading

    def info(self, repo: str, revision: str | None = None) -> None:
        """Describe a repository."""
        commit = self.commit(repo, revision or "main")
        siblings = [{"rfilename": name} for name in sorted(commit.files)]
        private = self.repository(repo).private
        self.answer(200, {"id": repo, "sha": commit.sha, "private": private, "siblings": siblings, "tags": []})

    def refs(self, repo: str) -> None:
        """List the branches."""
        names = self.repository(repo).branches
        rows = [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": names[name][-1].sha} for name in names]
        self.answer(200, {"branches": rows, "converts": [], "tags": []})

    def tree(self, repo: str, revision: str, folder: str | None = None) -> None:
        """List the files of a folder, and with `recursive` those below it."""
        files = self.commit(repo, revision).files
        prefix = f"{folder}/" if folder else ""
        rows: dict[str, dict[str, Any]] = {}
        for name, file in sorted(files.items()):
            below = name.removeprefix(prefix) if name.startswith(prefix) else ""
            parents = below.split("/")[:-1]
            for depth in range(1, len(parents) + 1):
                path = prefix + "/".join(parents[:depth])
                if depth == 1 or self.recursive:
                    rows[path] = {"type": "directory", "path": path, "oid": new_sha(path), "size": 0}
            if below and (self.recursive or not parents):
                rows[name] = {"type": "file", "path": name, "oid": file.oid, "size": len(file.content)}
                if file.sha256:
                    rows[name]["lfs"] = {"oid": file.sha256, "size": len(file.content), "pointerSize": 134}
        if folder and not rows:
            raise Refused(404, f"{folder} does not exist", "EntryNotFound")
        self.answer(200, list(rows.values()))

    @property
    def recursive(self) -> bool:
        """Whether folders are listed with all that is below them."""
        return self.query.get("recursive", "").lower() in ("true", "1")

    def resolve(self, repo: str, revision: str, path: str) -> None:
        """Send a file, or the way to a large one."""
        commit = self.commit(repo, revision)
        file, found = commit.files.get(path), {"X-Repo-Commit": commit.sha}
        if file is None:
            self.answer(404, {"error": "Entry not found"}, **found, **{"X-Error-Code": "EntryNotFound"})
        elif file.sha256:
            found |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.content))}
            self.answer(302, b"", Location=f"{self.hub.storage}/objects/{file.sha256}", **found)
        else:
            self.answer(200, file.content, ETag=f'"{file.oid}"', **found)

    def fetch(self, oid: str) -> None:
        """Send a large file."""
        assert "Authorization" not in self.headers, "the token went to the storage host"
        if oid not in self.hub.objects:
            raise Refused(404, "no such object")
        self.answer(200, self.hub.objects[oid], ETag=f'"{oid}"')


def new_sha(*parts: str | bytes) -> str:
    """A hash of 40 digits, the same for the same parts."""
    return hashlib.sha1(b"\0".join(part.encode() if isinstance(part, str) else part for part in parts)).hexdigest()


REPO, REVISION = r"(?P<repo>[^/]+/[^/]+)", r"(?P<revision>[^/]+)"
ROUTES = (
    (("POST",), "/api/repos/create", Handler.create),
    (("POST",), "/api/validate-yaml", Handler.validate),
    (("POST",), f"/api/models/{REPO}/branch/(?P<branch>.+)", Handler.branch),
    (("POST",), f"/api/models/{REPO}/preupload/{REVISION}", Handler.preupload),
    (("POST",), rf"/{REPO}\.git/info/lfs/objects/batch", Handler.batch),
    (("POST",), rf"/{REPO}\.git/info/lfs/objects/verify", Handler.verify),
    (("PUT",), "/objects/(?P<oid>[0-9a-f]{64})", Handler.store),
    (("POST",), f"/api/models/{REPO}/commit/{REVISION}", Handler.take_commit),
    (("GET",), f"/api/models/{REPO}", Handler.info),
    (("GET",), f"/api/models/{REPO}/revision/{REVISION}", Handler.info),
    (("GET",), f"/api/models/{REPO}/refs", Handler.refs),
    (("GET",), f"/api/models/{REPO}/tree/{REVISION}(/(?P<folder>.+))?", Handler.tree),
    (("GET", "HEAD"), f"/{REPO}/resolve/{REVISION}/(?P<path>.+)", Handler.resolve),
    (("GET", "HEAD"), "/objects/(?P<oid>[0-9a-f]{64})", Handler.fetch),
)
