"""Objects of git-lfs: in the repository, in another one on this machine, or on a server.

The idea: a server returns the addresses of a hundred objects in one request (the batch API of git-lfs). They
expire, so they are asked for when an object is read.
"""

import base64
import json
import threading
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property, partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import unquote

from dataver.errors import DataverError, NotFound, StoreError
from dataver.importers.git_program import GitProgram, without_login

__all__ = ["LfsObjects"]

_TYPE: Final = {"Accept": "application/vnd.git-lfs+json", "Content-Type": "application/vnd.git-lfs+json"}
_AT_ONCE: Final = 100  # objects of a request
_MAX_ANSWER: Final = 16 << 20
_TIMEOUT: Final = 60  # seconds
_LOGIN: Final = "log in with git, e.g. `git fetch`, or run `git lfs fetch --all`"


class LfsObjects:
    """Where the objects of a repository are.

    Args:
        git: the repository.
    """

    def __init__(self, git: GitProgram) -> None:
        self._git = git
        remote = git.url or self._setting("remote.origin.url")
        place = git.common / unquote(remote.removeprefix("file://"))
        own = git.common / (git.setting("lfs.storage") or "lfs")
        places = (own, place / "lfs", place / ".git" / "lfs", *self._borrowed())
        self._folders = [each / "objects" for each in places]
        server = self._setting("lfs.url") or self._setting("remote.origin.lfsurl")
        self._server = server or f"{remote.rstrip('/').removesuffix('.git')}.git/info/lfs"
        self._order: list[tuple[str, int]] = []
        self._position: dict[str, int] = {}
        self._answers: dict[str, Mapping[str, Any]] = {}
        self._turn = threading.Lock()

    def find(self, sha256: str, size: int) -> dict[str, Any]:
        """Return where an object is, as fields of a `SourceFile`."""
        for folder in self._folders:
            if (path := folder / sha256[:2] / sha256[2:4] / sha256).is_file():
                return {"url": str(path)}
        if not self._server.startswith(("http://", "https://")):
            return {"missing": "it is not in the repository; `git lfs fetch --all` gets it"}
        if sha256 not in self._position:
            self._position[sha256] = len(self._order)
            self._order.append((sha256, size))
        return {"read": partial(self._open, sha256)}

    def _borrowed(self) -> list[Path]:
        """Return where repositories keep files whose objects this one uses (`git clone --reference`)."""
        objects = self._git.common / "objects"
        with suppress(OSError):
            lines = (objects / "info" / "alternates").read_text("utf-8", "surrogateescape").splitlines()
            return [(objects / line).parent / "lfs" for line in lines]
        return []

    def _open(self, sha256: str) -> HTTPResponse:
        with self._turn:
            known = sha256 in self._answers
            answer = self._answers[sha256] if known else self._ask(sha256)
        try:
            return self._download(answer)
        except DataverError:
            if not known:
                raise
        with self._turn:  # the address may have expired
            answer = self._ask(sha256)
        return self._download(answer)

    def _download(self, answer: Mapping[str, Any]) -> HTTPResponse:
        try:
            action = answer["actions"]["download"]
            return _send(action["href"], action.get("header", {}))
        except (KeyError, TypeError, AttributeError) as error:
            said = answer.get("error")
            reason = said.get("message") if isinstance(said, dict) else "its server gives no address for it"
            raise NotFound(f"it is not on its server: {reason!s:.200}.") from error

    def _ask(self, sha256: str) -> Mapping[str, Any]:
        """Ask for the addresses of an object and those after it; return the answer for it."""
        at = self._position[sha256]
        wanted = [{"oid": oid, "size": size} for oid, size in self._order[at : at + _AT_ONCE]]
        body = {"operation": "download", "transfers": ["basic"], "objects": wanted, "hash_algo": "sha256"}
        url = f"{without_login(self._server)}/objects/batch"
        try:
            response = _send(url, self._headers, json.dumps(body).encode())
            with response:
                found = json.loads(response.read(_MAX_ANSWER))["objects"]
            self._answers |= {each["oid"]: each for each in found}
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{url} does not answer as a server of git-lfs.") from error
        return self._answers.get(sha256, {})

    @cached_property
    def _headers(self) -> dict[str, str]:
        """The headers of a request, with the login of the URL or of a credential helper of git."""
        login = self._git.login(self._server)
        text = base64.b64encode(":".join(login).encode()).decode()
        return _TYPE | ({"Authorization": f"Basic {text}"} if login else {})

    def _setting(self, name: str) -> str:
        """Return a setting of git, else of `.lfsconfig`, else ""."""
        found = self._git.setting(name)
        for _, data in [] if found else self._git.read(["HEAD:.lfsconfig"], 1 << 16):
            found = self._git.setting(name, data.decode("utf-8", "replace").splitlines())
        return found


def _send(url: str, headers: Mapping[str, str], body: bytes | None = None) -> HTTPResponse:
    if not url.startswith(("http://", "https://")):
        raise StoreError(f"{url:.100} is no address on the web.")
    request = urllib.request.Request(url, body)  # noqa: S310  # checked above
    for name, value in headers.items():
        request.add_unredirected_header(str(name), str(value))  # a login is for this server only
    where = url.partition("?")[0]
    try:
        return urllib.request.urlopen(request, timeout=_TIMEOUT)  # type: ignore[no-any-return]  # noqa: S310
    except HTTPError as error:
        error.close()
        raise StoreError(
            f"{where} answers {error.code} {error.reason}.",
            hint=_LOGIN if error.code in (401, 403) else None,
            transient=error.code >= 500 or error.code == 429,
        ) from error
    except (OSError, HTTPException) as error:
        raise StoreError(f"{where} cannot be reached: {error}.", transient=True) from error
