"""The pages: each is a function that returns a JSON document, and a template of its name that draws it.

    /-/dataset?name=vision/cats        the page
    /-/dataset.json?name=vision/cats   its document

A page depends on its URL alone. No dataset is called `-`, so these addresses hide none.

Contents of datasets are untrusted. Texts are escaped by Jinja and made printable (`_printable`); a page runs
the scripts of this package and no others (`_POLICY`); files are sent by `dataver.web.content`, sandboxed.
"""

import gzip
import json
import secrets
import shlex
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from dataver import Repository
from dataver._about import __version__
from dataver.errors import Conflict, DataverError, InvalidInput, NotFound, StoreError
from dataver.printable import count, duration, safe, size
from dataver.ui import (
    compare,
    dataset,
    datasets,
    diff,
    editing,
    file,
    lineage,
    run,
    runs,
    storage,
    version,
)
from dataver.ui.asked import Asked, Memory
from dataver.ui.treemap import squares

__all__ = ["PAGES", "PREFIX", "Page", "Site", "page_url"]

PREFIX: Final = "/-/"
"""The beginning of the addresses of all pages."""

Page = Callable[[Asked], dict[str, Any]]

PAGES: Final[dict[str, Page]] = {
    "datasets": datasets.page,
    "dataset": dataset.page,
    "version": version.page,
    "diff": diff.page,
    "lineage": lineage.page,
    "runs": runs.page,
    "run": run.page,
    "compare": compare.page,
    "file": file.page,
    "storage": storage.page,
}
"""The pages by their names."""

STATUS: Final = {
    editing.Refused: HTTPStatus.FORBIDDEN,
    InvalidInput: HTTPStatus.BAD_REQUEST,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    StoreError: HTTPStatus.BAD_GATEWAY,
    DataverError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""The status of each error; the first that matches."""

_FIRST: Final = "datasets"
_LONGEST: Final = 16_384  # bytes of an address: a path has at most 4,096, each of which may be encoded
_EDITED: Final = "version"  # the page with the forms
_NO_LINEAGE: Final = ("diff", "storage")
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "private, no-cache",
    "Referrer-Policy": "same-origin",
    "Vary": "Accept-Encoding",
}


class Site:
    """The pages of a repository; `answer` runs on a thread of the pool, as it reads from the repository.

    Args:
        repository: the repository.
        report: receives failures of this side.
        edit: whether descriptions and tags may be changed.
    """

    static: Final = StaticFiles(directory=Path(__file__).parent / "static")

    def __init__(self, repository: Repository, report: Callable[[str], None], *, edit: bool = False) -> None:
        self._repository = repository
        self._report = report
        self._editing = edit
        self._memory = Memory()
        self._secret = secrets.token_urlsafe(32)
        self._jinja = _environment(repository, self._secret if edit else None)

    def answer(self, request: Request) -> Response:
        """Return a page, its document, or an error as one of both."""
        path = request.scope["path"].removeprefix(PREFIX) or _FIRST
        name, as_json = path.removesuffix(".json"), path.endswith(".json")
        return self._page(request, name, dict(request.query_params), as_json=as_json)

    async def change(self, request: Request) -> Response:
        """Make the change of a form; return a redirect to the version, or a page with the reason."""
        try:
            form = await editing.read_form(request, self._secret)
        except editing.Refused as error:
            found = self._page(request, _EDITED, {}, problem=error)
            found.headers["Connection"] = "close"  # the rest of a body may follow
            return found
        return await run_in_threadpool(self._changed, request, form)

    def _changed(self, request: Request, form: dict[str, str]) -> Response:
        try:
            done = editing.change(self._repository, request.path_params["action"], form)
        except DataverError as error:
            self._memory.clear()
            return self._page(request, _EDITED, {"ref": form.get("ref", "")}, problem=error, form=form)
        self._memory.clear()
        return RedirectResponse(f"{page_url(_EDITED, **done)}#edit", HTTPStatus.SEE_OTHER)

    def _page(
        self,
        request: Request,
        name: str,
        query: dict[str, str],
        *,
        as_json: bool = False,
        problem: DataverError | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Response:
        """Return a page, with the `problem` of a form that was sent if there is one."""
        if long := len(name) + len(request.scope["query_string"]) > _LONGEST:
            name, query = _FIRST, {}
        asked = Asked(self._repository, query, self._memory, editing=self._editing)
        status, template = HTTPStatus.OK if problem is None else _status(problem), name
        try:
            if long:
                raise InvalidInput("the address is too long.", hint="go to the list of datasets")
            if isinstance(problem, editing.Refused):
                raise problem
            if name not in PAGES:
                raise NotFound(f"there is no page '{name}'.", hint="/-/ lists all datasets")
            document = PAGES[name](asked)
        except DataverError as error:
            status = _status(error)
            template, document = "error", {"error": {"message": error.message, "hint": error.hint}}
            problem = error
        if name in PAGES and name not in _NO_LINEAGE and status < HTTPStatus.INTERNAL_SERVER_ERROR:
            document["lineage_problem"] = asked.memory.get("lineage", self._repository.lineage.refresh)
        if problem is not None and status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._report(problem.message)
        if as_json:
            text = json.dumps(document, default=str, ensure_ascii=False)
            return self._reply(request, text, status, "application/json")
        known = {"asked": asked, "page": template, "json_url": page_url(f"{name}.json", **query)}
        known |= {"form": form or {}, "problem": problem}
        text = self._jinja.get_template(f"{template}.html").render(document, **known)
        return self._reply(request, text, status, "text/html; charset=utf-8")

    def locked(self, request: Request) -> Response:
        """Return the page that asks for the token; it tells nothing of the repository."""
        query = [pair for pair in request.query_params.multi_items() if pair[0] != "token"]
        text = self._jinja.get_template("token.html").render(query=query, here="?" + urlencode(query))
        return self._reply(request, text, HTTPStatus.UNAUTHORIZED, "text/html; charset=utf-8")

    def _reply(self, request: Request, text: str, status: HTTPStatus, kind: str) -> Response:
        """Return a response, compressed on request unless its length could tell a token in it (BREACH)."""
        body, headers = text.encode("utf-8", "replace"), dict(_HEADERS)
        if not self._editing and "gzip" in request.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body, 1)
            headers["Content-Encoding"] = "gzip"
        return Response(body, status, headers, kind)


def _status(error: DataverError) -> HTTPStatus:
    return next(status for kind, status in STATUS.items() if isinstance(error, kind))


def _environment(repository: Repository, secret: str | None) -> Environment:
    made = Environment(
        loader=PackageLoader("dataver.ui"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"size": size, "count": count, "when": _when, "digest": _digest, "duration": duration}
    made.filters |= {"shell": _shell, "repr": repr, "lines": _lines, "json": _json, "typed": editing.typed_as}
    made.globals |= {
        "url": page_url,
        "raw": raw_url,
        "static": lambda name: f"{PREFIX}static/{name}?{__version__}",
        "squares": squares,
        "repository": repository.url,
        "version_of_dataver": __version__,
        "editing": secret is not None,
        "secret": secret,
        "urlencode": urlencode,
    }
    made.globals["drawing"] = made.get_template("drawings.html").module
    return made


def page_url(page: str, /, **query: object) -> str:
    """Return the URL of a page; values that are None or empty are left out."""
    given = urlencode({name: value for name, value in query.items() if value not in (None, "")}, safe="/@:")
    return f"{PREFIX}{page}{'?' if given else ''}{given}"


def raw_url(ref: str, path: str) -> str:
    """Return the URL of a file itself."""
    return quote(f"/{ref}/{path}", safe="/@:")


def _printable(value: object) -> object:
    return safe(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _lines(text: str) -> Markup:
    """Return a text of several lines, each of them printable."""
    return Markup("\n").join(safe(line) for line in text.expandtabs().split("\n"))


def _shell(text: str) -> str:
    """Return a word of a command line; control characters in the form of Bash."""
    if text.isprintable():
        return shlex.quote(text)
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{safe(escaped)}'"


def _when(text: str | None) -> Markup:
    """Return a time of ISO 8601 for people, in UTC."""
    if not text:
        return Markup("&ndash;")
    return Markup('<time datetime="{}">{}</time>').format(text, text[:16].replace("T", " "))


def _json(value: object) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


def _digest(text: str | None) -> Markup:
    """Return a digest, shortened, with the whole one as its title."""
    if not text:
        return Markup("&ndash;")
    start = text.find(":") + 1
    return Markup('<code title="{}">{}…</code>').format(text, text[: start + 12])
