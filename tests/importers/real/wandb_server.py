"""A small server that answers the GraphQL queries of W&B's client for the artifacts of one project."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["WandbServer"]

_PROJECT = {"id": "UA==", "internalId": "UA==", "name": "proj", "entity": {"name": "team"}}
_PAGE = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}


@dataclass
class WandbServer:
    """The artifact `cats` of the project `team/proj`.

    Attributes:
        versions: its versions: files, references, aliases, and the runs that made and used it.
        damaged: files whose bytes are sent with a bit flipped.
        url: where it answers, while `serving`.
        asked: the names of all queries.
    """

    versions: list[dict[str, Any]] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)
    url: str = ""
    asked: list[str] = field(default_factory=list)

    def add(self, files: dict[str, bytes], **facts: Any) -> None:
        """Add a version; `facts` are references (entries), aliases, description, made and used."""
        self.versions.append({"files": files, **facts})

    @contextmanager
    def serving(self) -> Iterator["WandbServer"]:
        """Answer requests."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answer", (_Answer,), {"wandb": self}))
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def answer(self, name: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Return the data of a query."""
        self.asked.append(name)
        viewer = {
            "id": "VQ==",
            "entity": "team",
            "username": "ada",
            "email": "",
            "flags": "{}",
            "teams": {"edges": []},
        }
        if name in ("Viewer", "GetDefaultEntity"):
            return {"viewer": viewer}
        if variables.get("id") is not None:
            number = int(base64.b64decode(variables["id"]).decode().removeprefix("artifact "))
            return {"artifact": self._about(name, number)}
        if "run" in variables or "name" in variables:
            return {"project": {"run": _run(variables.get("run") or variables["name"])}}
        kind = {
            "__typename": "ArtifactType",
            "id": "VA==",
            "name": "dataset",
            "description": "",
            "createdAt": _time(0),
        }
        nodes = [{"version": f"v{each}", "node": self._node(each)} for each in range(len(self.versions))]
        artifacts = {"totalCount": len(nodes), "pageInfo": _PAGE, "edges": nodes[::-1]}
        sequence = _sequence() | {"artifacts": artifacts}
        collections = {"totalCount": 1, "pageInfo": _PAGE, "edges": [{"node": sequence}]}
        kind |= {"artifactCollections": collections, "artifactCollection": sequence}
        return {"project": {"artifactType": kind}}

    def _about(self, name: str, number: int) -> dict[str, Any]:
        facts = self.versions[number]
        used = [{"node": _run(each)} for each in facts.get("used", [])]
        manifest = {"file": {"directUrl": f"{self.url}/manifest/{number}"}}
        made = _run(facts["made"]) if "made" in facts else None
        return self._node(number) | {
            "currentManifest": manifest,
            "createdBy": made,
            "usedBy": {"edges": used},
        }

    def _node(self, number: int) -> dict[str, Any]:
        facts = self.versions[number]
        aliases = [f"v{number}", *facts.get("aliases", [])]
        return {
            "__typename": "Artifact",
            "id": base64.b64encode(b"artifact %d" % number).decode(),
            "artifactSequence": _sequence(),
            "versionIndex": number,
            "artifactType": {"name": "dataset"},
            "description": facts.get("description"),
            "metadata": json.dumps(facts.get("metadata", {})),
            "ttlDurationSeconds": -1,
            "ttlIsInherited": True,
            "tags": [{"__typename": "Tag", "id": "VA==", "name": each} for each in facts.get("tags", [])],
            "historyStep": None,
            "state": facts.get("state", "COMMITTED"),
            "size": sum(map(len, facts["files"].values())),
            "digest": hashlib.md5(repr(self.manifest(number)).encode()).hexdigest(),
            "digestAlgorithm": "MANIFEST_MD5",
            "commitHash": f"{number}",
            "fileCount": len(facts["files"]),
            "createdAt": _time(number),
            "updatedAt": None,
            "aliases": [
                {
                    "__typename": "ArtifactAlias",
                    "id": "QQ==",
                    "alias": each,
                    "artifactCollection": _sequence(),
                }
                for each in aliases
            ],
        }

    def manifest(self, number: int) -> dict[str, Any]:
        """Return the manifest of a version."""
        entries = {
            name: {"digest": _digest(data), "size": len(data), "birthArtifactID": "QQ=="}
            for name, data in self.versions[number]["files"].items()
        }
        return {
            "version": 1,
            "storagePolicy": "wandb-storage-policy-v1",
            "storagePolicyConfig": {"storageLayout": "V2"},
            "contents": entries | self.versions[number].get("references", {}),
        }

    def content(self, digest: str) -> bytes | None:
        """Return the bytes with an MD5, in hex."""
        for version in self.versions:
            for name, data in version["files"].items():
                if hashlib.md5(data).hexdigest() == digest:
                    return bytes([data[0] ^ 1]) + data[1:] if name in self.damaged else data
        return None


def _digest(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def _time(number: int) -> str:
    return f"2026-01-{number + 1:02}T12:00:00"


def _sequence() -> dict[str, Any]:
    return {
        "__typename": "ArtifactSequence",
        "id": "Uw==",
        "name": "cats",
        "description": None,
        "createdAt": _time(0),
        "updatedAt": None,
        "project": _PROJECT,
        "type": {"name": "dataset"},
        "tags": {"edges": []},
    }


def _run(name: str) -> dict[str, Any]:
    return {
        "__typename": "Run",
        "id": base64.b64encode(name.encode()).decode(),
        "name": name,
        "displayName": f"run {name}",
        "project": _PROJECT,
        "projectId": "1",
        "tags": [],
        "state": "finished",
        "config": "{}",
        "summaryMetrics": "{}",
        "systemMetrics": "{}",
        "user": {"name": "Ada", "username": "ada"},
    }


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wandb: WandbServer

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/graphql":  # telemetry
            self._send(404, b"")
            return
        asked = json.loads(body)
        found = re.search(r"\b(?:query|mutation)\s+(\w+)", asked.get("query", ""))
        name = asked.get("operationName") or (found[1] if found else "")
        data = self.wandb.answer(name, asked.get("variables") or {})
        self._send(200, json.dumps({"data": data}).encode(), "application/json")

    def do_GET(self) -> None:
        self.wandb.asked.append(self.path)
        if self.path.startswith("/manifest/"):
            self._send(200, json.dumps(self.wandb.manifest(int(self.path[10:]))).encode())
            return
        digests = [each for each in self.path.split("/") if re.fullmatch(r"[0-9a-f]{32}", each)]
        data = self.wandb.content(digests[0]) if digests else None
        self._send(404 if data is None else 200, data or b"")

    def _send(self, code: int, data: bytes, kind: str = "application/octet-stream") -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
