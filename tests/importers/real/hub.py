"""A small server that answers the Hub's HTTP API for one dataset, as far as `huggingface_hub` asks.

Its history is a list of commits; files of 64 bytes and more have a SHA-256, as in Git LFS and Xet.
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

__all__ = ["Hub"]

_LARGE = 64


@dataclass
class Hub:
    """The history of one dataset.

    Attributes:
        repo: its name.
        branches: of each branch its commits, the oldest first.
        tags: commits by tag.
        contents: the files of each commit.
        damaged: paths whose bytes are sent with a bit flipped.
        url: where it answers, while `serving`.
        asked: the paths of all requests.
    """

    repo: str = "team/cats"
    branches: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"main": []})
    tags: dict[str, str] = field(default_factory=dict)
    contents: dict[str, dict[str, bytes]] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)
    url: str = ""
    asked: list[str] = field(default_factory=list)

    def commit(self, files: dict[str, bytes], title: str, branch: str = "main") -> str:
        """Add a commit to a branch; a new branch begins with the commits of main."""
        commits = self.branches.setdefault(branch, list(self.branches["main"]))
        name = hashlib.sha1(f"{len(self.contents)} {title}".encode()).hexdigest()
        date = f"2026-01-{len(self.contents) + 1:02}T12:00:00.000Z"
        commits.append(
            {"id": name, "title": title, "message": "", "date": date, "authors": [{"user": "ada"}]}
        )
        self.contents[name] = files
        return name

    @contextmanager
    def serving(self) -> Iterator["Hub"]:
        """Answer requests."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answer", (_Answer,), {"hub": self}))
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def named(self, revision: str) -> str | None:
        """Return the commit of a revision."""
        if revision in self.branches:
            return str(self.branches[revision][-1]["id"])
        found = self.tags.get(revision, revision)
        return found if found in self.contents else None


def _file(path: str, data: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    values: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": blob}
    if len(data) >= _LARGE:
        values["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return values


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET(asked)

    def do_GET(self, asked: bytes = b"") -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        api, files = f"/api/datasets/{self.hub.repo}", f"/datasets/{self.hub.repo}/resolve/"
        if path.startswith(files):
            revision, _, name = path.removeprefix(files).partition("/")
            self._send_file(self.hub.named(revision), name)
        elif path == api or path.startswith(f"{api}/"):
            self._api(path.removeprefix(api).strip("/"), asked)
        else:
            self._send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})

    def _api(self, path: str, asked: bytes) -> None:
        hub, (what, _, rest) = self.hub, path.partition("/")
        if what == "refs":
            branches = [
                {"name": k, "ref": f"refs/heads/{k}", "targetCommit": v[-1]["id"]}
                for k, v in hub.branches.items()
            ]
            tags = [{"name": k, "ref": f"refs/tags/{k}", "targetCommit": v} for k, v in hub.tags.items()]
            self._send(200, {"branches": branches, "converts": [], "tags": tags})
        elif what == "commits":
            self._send(200, hub.branches[rest][::-1])
        elif what in ("revision", ""):
            commit = hub.named(rest or "main")
            if commit is None:
                self._send(404, {"error": "no"}, {"X-Error-Code": "RevisionNotFound"})
                return
            siblings = [{"rfilename": name} for name in hub.contents[commit]]
            self._send(
                200, {"id": hub.repo, "sha": commit, "siblings": siblings, "private": False, "gated": False}
            )
        elif what in ("tree", "paths-info"):
            files = hub.contents[hub.named(rest.partition("/")[0]) or ""]
            found = [_file(name, data) for name, data in sorted(files.items())]
            if what == "paths-info":
                wanted = (
                    json.loads(asked)["paths"]
                    if asked.startswith(b"{")
                    else re.findall(r"paths=([^&]*)", unquote(asked.decode()))
                )
                found = [each for each in found if each["path"] in wanted]
            self._send(200, found)
        else:
            self._send(404, {"error": path})

    def _send_file(self, commit: str | None, name: str) -> None:
        data = self.hub.contents.get(commit or "", {}).get(name)
        if data is None:
            self._send(404, {"error": "no"}, {"X-Error-Code": "EntryNotFound"})
            return
        about = _file(name, data)
        etag = about["lfs"]["oid"] if "lfs" in about else about["oid"]
        if name in self.hub.damaged:
            data = bytes([data[0] ^ 1]) + data[1:]
        self._send(
            200,
            data,
            {
                "ETag": f'"{etag}"',
                "X-Repo-Commit": str(commit),
                "X-Linked-Etag": f'"{etag}"',
                "X-Linked-Size": str(len(data)),
            },
        )

    def _send(self, code: int, value: Any, headers: dict[str, str] | None = None) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(code)
        for name, text in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, text)
        if not isinstance(value, bytes):
            self.send_header("Content-Type", "application/json")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
