"""The pages: each is a function that returns a JSON document, and a template of its name that draws it.

    /-/dataset?name=vision/cats        the page
    /-/dataset.json?name=vision/cats   its document

A page depends on its URL alone. No dataset is called `-`, so these addresses hide none.

Contents of datasets are untrusted. Texts are escaped by Jinja, made printable and cut (`_printable`; the
filter `lines` is for long ones, `whole` for values). A page runs the scripts of this package and no
others (`_POLICY`). Files are sent by `dataver.web.content`, sandboxed.
"""

import json
import secrets
import shlex
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from http import HTTPStatus
from importlib import import_module
from pathlib import Path
from threading import Event
from typing import Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dataver import Repository
from dataver._about import __version__
from dataver.errors import Conflict, DataverError, InvalidInput, NotFound, StoreError
from dataver.printable import count, duration, safe, size
from dataver.ui import compare, dataset, datasets, diff, editing, file, lineage, run, runs, storage, version
from dataver.ui.asked import Asked, Memory
from dataver.ui.treemap import squares

__all__ = ["PAGES", "PREFIX", "STATIC", "STATUS", "Page", "Site", "page_url"]

PREFIX: Final = "/-/"
"""The beginning of the addresses of all pages."""

STATIC: Final = Path(__file__).parent / "static"
"""The folder of the style and scripts, at `static/`."""

Page = Callable[[Asked], dict[str, Any]]

_MODULES: Final = (datasets, dataset, version, diff, lineage, runs, run, compare, file, storage)
PAGES: Final[dict[str, Page]] = {each.__name__.rpartition(".")[2]: each.page for each in _MODULES}
"""The pages by their names, which are those of their modules."""

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
_SHORT: Final = 300  # characters of a text among others
_WHOLE: Final = 20_000  # characters of a text with the filter `lines`
_UNASKED: Final = 5.0  # seconds without a request
_DRAWING: Final = 0.5  # seconds from an answer until a browser has drawn it
_EDITED: Final = "version"  # the page with the forms
_DESCRIBED: Final = ("datasets", "dataset", "version")
_NO_LINEAGE: Final = ("diff", "storage")
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "private, no-cache",
    "Referrer-Policy": "same-origin",
}


class Site:
    """The pages of a repository; `answer` runs on a thread of the pool, as it reads from the repository.

    Args:
        repository: the repository.
        report: receives failures of this side.
        edit: whether descriptions and tags may be changed.
    """

    def __init__(self, repository: Repository, report: Callable[[str], None], *, edit: bool = False) -> None:
        self._repository = repository
        self._report = report
        self._memory = Memory()
        self._answered = Event()
        self._secret = secrets.token_urlsafe(32)
        self._known: dict[str, Any] = {"repository": repository.url, "editing": edit}
        self._known["secret"] = self._secret if edit else None

    def prepare(self) -> None:
        """Do what first requests would wait for: read the datasets, compile templates, import a reader.

        Pages other than the first are prepared after a browser has drawn one: both at once take longer.
        """
        with suppress(DataverError):
            PAGES[_FIRST](Asked(self._repository, {}, self._memory))
        _templates().get_template(f"{_FIRST}.html")
        if self._answered.wait(_UNASKED):
            time.sleep(_DRAWING)
        for name in PAGES:
            _templates().get_template(f"{name}.html")
        with suppress(ImportError):
            import_module("pyarrow.parquet")

    def answer(self, request: Request) -> Response:
        """Return a page, its document, or an error as one of both."""
        name = request.scope["path"].removeprefix(PREFIX) or _FIRST
        found = self._page(request, name.removesuffix(".json"), dict(request.query_params))
        self._answered.set()
        return found

    def failed(self, request: Request, error: DataverError) -> Response:
        """Return an error as a page or a document; reads nothing from the repository."""
        return self._page(request, "", {}, error)

    async def change(self, request: Request) -> Response:
        """Make the change of a form; return a redirect to the version, or a page with the reason."""
        try:
            form = await editing.read_form(request, self._secret)
        except editing.Refused as error:
            found = self.failed(request, error)
            found.headers["Connection"] = "close"  # the rest of a body may follow
            return found
        return await run_in_threadpool(self._changed, request, form)

    def _changed(self, request: Request, form: dict[str, str]) -> Response:
        problem = None
        try:
            done = editing.change(self._repository, request.path_params["action"], form)
        except DataverError as error:
            problem = error
        self._memory.clear()
        if problem is not None:
            return self._page(request, _EDITED, {"ref": form.get("ref", "")}, problem, form)
        return RedirectResponse(f"{page_url(_EDITED, **done)}#edit", HTTPStatus.SEE_OTHER)

    def _page(
        self,
        request: Request,
        name: str,
        query: dict[str, str],
        problem: DataverError | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Response:
        """Return a page, with the `problem` of a form that was sent; a problem without a form is the page."""
        as_json, template = request.scope["path"].endswith(".json"), name
        asked = Asked(self._repository, query, self._memory, as_json=as_json)
        try:
            if problem is not None and form is None:
                raise problem
            if len(name) + len(request.scope["query_string"]) > _LONGEST:
                query.clear()
                raise InvalidInput("the address is too long.", hint="go to the list of datasets")
            if name not in PAGES:
                raise NotFound(f"there is no page '{name}'.", hint="/-/ lists all datasets")
            document = PAGES[name](asked)
        except DataverError as error:
            template, problem = "error", error
            document = {"error": {"message": error.message, "hint": error.hint}}
        status = HTTPStatus.OK if problem is None else _status(problem)
        if problem is not None and status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._report(problem.message)
        elif name in PAGES and name not in _NO_LINEAGE:
            document["lineage_problem"] = self._memory.get("lineage", self._repository.lineage.refresh)
        if name in _DESCRIBED:
            document["description_problem"] = self._memory.undescribed
        if as_json:
            return Response(_json(document).encode("utf-8", "replace"), status, _HEADERS, "application/json")
        known = {"asked": asked, "page": template, "form": form or {}, "problem": problem, **self._known}
        known["json_url"] = _link(f"{name if name in PAGES else _FIRST}.json", **query)
        return _html(template, status, document, **known)

    def locked(self, request: Request) -> Response:
        """Return the page that asks for the token; it tells nothing of the repository."""
        query = [pair for pair in request.query_params.multi_items() if pair[0] != "token"]
        return _html("token", HTTPStatus.UNAUTHORIZED, {"query": query})


def _status(error: DataverError) -> HTTPStatus:
    return next(status for kind, status in STATUS.items() if isinstance(error, kind))


def _html(template: str, status: HTTPStatus, document: dict[str, Any], **known: object) -> Response:
    text = _templates().get_template(f"{template}.html").render(document, **known)
    return Response(text.encode("utf-8", "replace"), status, _HEADERS, "text/html; charset=utf-8")


@cache
def _templates() -> Environment:
    made = Environment(loader=PackageLoader("dataver.ui"), autoescape=True, undefined=StrictUndefined)
    made.finalize, made.trim_blocks, made.lstrip_blocks = _printable, True, True
    made.filters.update(size=size, count=count, duration=duration, json=_json, repr=_repr, shell=_shell)
    made.filters.update(lines=_lines, whole=_whole, typed=editing.typed_as)
    stamp = zlib.crc32(b"".join(each.read_bytes() for each in sorted(STATIC.iterdir())))
    made.globals.update(
        url=_link, raw=_raw, squares=squares, urlencode=urlencode, version_of_dataver=__version__
    )
    made.globals["static"] = lambda name: f"{PREFIX}static/{name}?{stamp:x}"
    made.globals["drawing"] = made.get_template("drawings.html").module
    return made


def page_url(page: str, /, **query: object) -> str:
    """Return the URL of a page; values that are None or empty are left out."""
    given = urlencode({name: value for name, value in query.items() if value not in (None, "")}, safe="/@:")
    return f"{PREFIX}{page}{'?' if given else ''}{given}"


def _link(page: str, /, **query: object) -> Markup:
    return escape(page_url(page, **query))


def _raw(ref: str, path: str) -> Markup:
    return escape(quote(f"/{ref}/{path}", safe="/@:"))


def _printable(value: object) -> object:
    """Return a value as the templates show it: texts are short, and of printable characters."""
    return value if isinstance(value, Markup | int | float) else safe(_cut(str(value), _SHORT))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _whole(value: object) -> Markup:
    return escape(safe(str(value)))


def _lines(text: str, most: int = _WHOLE) -> Markup:
    """Return a text of several lines, each of them printable."""
    return Markup("\n").join(safe(line) for line in _cut(text, most).expandtabs().split("\n"))


def _shell(text: str) -> Markup:
    """Return a word of a command line; control characters in the form of Bash."""
    if text.isprintable():
        return escape(shlex.quote(text))
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return escape(f"$'{safe(escaped)}'")


def _repr(value: object) -> Markup:
    return escape(repr(value))


def _json(value: object) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)
