"""Everything that reads a repository, each by a function that gives a comparable answer or raises.

What a reader may raise is one of dataver's errors. A command raises `Refused` with its exit code; a mount and
a server, whose clients only see a number, raise it with what they reported.
"""

import contextlib
import io
import os
import threading
from collections.abc import Callable
from datetime import timedelta
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple

import dataver
from dataver.errors import DataverError
from dataver.fs import DataverFileSystem
from dataver.lineage.index.index import LineageIndex
from dataver.lineage.index.pull import pull
from dataver.maintenance.gc import GRACE
from dataver.mounting import mount
from dataver.reading import Files
from dataver.reading.listing import Listing
from dataver.reading.samples import contents
from dataver.repository.layout import SWEPT
from dataver.serving import serve
from dataver.tree.selection import WHOLE
from dataver_cli.main import main

__all__ = ["READERS", "REFS", "Place", "Refused", "findings"]

REFS = ("d@1.0.0", "d@1.0.1", "e@1.0.0")


class Place(NamedTuple):
    """A repository, and an empty folder for what reading it leaves."""

    repo: Path
    scratch: Path


class Refused(DataverError):
    """A command, a mount or a server did not give an answer, and said why."""


Reader = Callable[[Place], object]


def findings(place: Place) -> list[str]:
    """Return what `verify` says of the whole repository; an error is a finding."""
    try:
        report = dataver.open(place.repo).verify()
    except DataverError as error:
        return [error.message]
    return [f"{name}: {what}" for name, what in report.findings]


def command(*words: str) -> Reader:
    """Return a reader that runs a command of dataver in this process."""

    def run(place: Place) -> object:
        out, said = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
            code = main([*words, "--repo", str(place.repo)])
            out.flush()
        told = said.getvalue()
        assert "defect" not in told and "Traceback" not in told, told
        if code:
            raise Refused(f"exit {code}: {told}")
        return out.buffer.getvalue()

    return run


def _fetched(place: Place) -> object:
    out = {}
    for ref in REFS:
        target = place.scratch / ref
        report = dataver.open(place.repo).fetch(ref, dest=target)
        if report.problems:
            raise Refused(str(report.problems))
        out[ref] = _contents(target)
    return out


def _cached(place: Place) -> object:
    """Fetch into the cache, one version beside what another left there."""
    out = {}
    for ref in REFS:
        report = dataver.open(place.repo).fetch(ref)
        if report.problems:
            raise Refused(str(report.problems))
        out[ref] = _contents(report.path)
    return out


def _contents(folder: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file():
            found[name] = path.read_bytes(), bool(path.stat().st_mode & 0o100)
        else:
            found[name] = None
    return found


def _files(place: Place) -> object:
    repo, out = dataver.open(place.repo), {}
    for ref in REFS:
        files = repo.files(ref)
        names = [info.path for info in files.walk() if info.type == "file"]
        parts = [files.read(name, 1, 9) for name in names]
        out[ref] = [list(files.walk(empty=True)), parts, files.read_many([(each, 0, None) for each in names])]
    return out


def _loader(place: Place) -> object:
    """Read what `integrations.torch.Loader` reads, by the functions that it reads with."""
    repo, out = dataver.open(place.repo), {}
    for ref in REFS:
        version = repo._core.resolve(ref)
        listing = Listing.of(repo._core, version.record.tree, WHOLE)
        named = list(zip(listing, listing.sizes, strict=True))
        groups = [named[start : start + 4] for start in range(0, len(named), 4)]
        out[ref] = dict(contents(Files(repo._core, version), groups))
    return out


def _fsspec(place: Place) -> object:
    DataverFileSystem.clear_instance_cache()
    fs = DataverFileSystem(repo=str(place.repo), skip_instance_cache=True)
    out: dict[str, object] = {"names": fs.ls("", detail=False)}
    for ref in REFS:
        out[ref] = [fs.find(ref, withdirs=True, detail=True), fs.cat(ref, recursive=True)]
    return out


def _mounted(place: Place) -> object:
    said: list[Exception] = []
    out = {}
    for ref in REFS:
        folder = place.scratch / f"mounted-{ref}"
        folder.mkdir()
        files = dataver.open(place.repo).files(ref)
        with mount(files, folder, report=lambda _path, error: said.append(error)):
            try:
                out[ref] = _contents(folder)
            except OSError as error:
                if not said or not all(isinstance(each, DataverError) for each in said):
                    raise
                raise Refused(f"{error}: {said}") from error
    return out


def _served(place: Place) -> object:
    said: list[str] = []
    server = serve(dataver.open(place.repo), port=0, report=said.append)
    try:
        top = HTTPConnection("127.0.0.1", server.port, timeout=120)
        with contextlib.closing(top):
            found = {path: _page(top, path, said) for path in _PAGES}
            return {path: body.replace(bytes(place.repo), b"") for path, body in found.items()}
    finally:
        threading.Thread(target=server.close).start()  # which takes a moment that nothing waits for


_PAGES = (
    "/",
    "/d/",
    "/d@1.0.0/",
    "/d@1.0.1/",
    "/d@prod/deep/",
    "/d@1.0.0/f2937",
    "/d@1.0.1/deep/1",
    "/d@1.0.1/numbers",
    "/e@1.0.0/0",
)


def _page(top: HTTPConnection, path: str, said: list[str]) -> bytes:
    try:
        top.request("GET", path, headers={"Accept": "application/json"})
        reply = top.getresponse()
        body = reply.read()
    except (HTTPException, OSError) as error:
        raise Refused(f"{path}: {error!r}, {said}") from error
    if reply.status >= 400:
        raise Refused(f"{path}: {reply.status} {body!r}")
    return body


def _pushed(place: Place) -> object:
    """Push all to a new repository, of which everything that arrived must be right."""
    target = place.scratch / "target"
    dataver.init(target)
    report = dataver.open(place.repo).push(target)
    there = dataver.open(target)
    out = {}
    for name in [summary.name for summary in there.datasets()]:
        for version in there.versions(name):
            assert not there.verify(version.ref).findings, version.ref
            out[version.ref] = version.digest, version.message, version.created
    out |= {"tags": there.tagged("d"), "lineage": _lineage(Place(target, place.scratch / "there"))}
    if report.problems:
        raise Refused(str(report.problems))
    return out


def _collected(place: Place) -> object:
    """Plan what gc frees, and free it, with the usual grace period and without any; return what is left."""
    left = []
    for name, grace in (("usual", GRACE), ("none", timedelta(0))):
        repo = dataver.open(_linked(place, name))
        plan = repo.plan_gc(grace=grace)
        repo.gc(grace=grace, delete_most=True)
        kept = _keys(Path(place.scratch / name / "repo"))
        left.append((plan.held, plan.kept, sorted(key for key in kept if not key.startswith(SWEPT))))
    return left


def _compared(place: Place) -> object:
    diff = dataver.open(place.repo).diff("d@1.0.0", "d@1.0.1")
    return diff.added, diff.removed, diff.modified, diff.renamed


def _names(place: Place) -> object:
    repo = dataver.open(place.repo)
    return [
        [(each.name, each.versions, each.latest) for each in repo.datasets()],
        [str(version) for name in ("d", "e") for version in repo.versions(name)],
        [str(version.metadata) + version.message for version in repo.versions("d")],
        repo.tagged("d"),
        repo.tag_history("d", "prod"),
        repo.version("d@prod").digest,
    ]


def _lineage(place: Place) -> object:
    """Read all lineage into a new index, and ask it."""
    repo = dataver.open(place.repo)
    place.scratch.mkdir(exist_ok=True)
    with LineageIndex.open(repo._core.local_name, place.scratch / "index.sqlite") as index:
        report = pull(repo._core, index)
        if report.problems:
            raise Refused(str(report.problems))
        tables = ("datasets", "versions", "parents", "tags", "runs", "processes", "contexts", "links")
        return [sorted(map(repr, map(tuple, index.db.execute(f"SELECT * FROM {name}")))) for name in tables]


def _continued(place: Place) -> object:
    """Publish the next version, and look at what came of it."""
    repo = dataver.open(_linked(place, "next"))
    (place.scratch / "new").mkdir()
    (place.scratch / "new" / "file").write_bytes(b"new")
    done = repo.sync(place.scratch / "new", "d", workspace=place.scratch, message="next", allow_shrink=True)
    found = dataver.open(repo.url).version(done.version.ref)
    return found.ref, found.digest, found.parents, found.read("file")


def _linked(place: Place, name: str) -> Path:
    """Return a repository that is changed without the given one: its objects are links to the given ones."""
    for key in _keys(place.repo):
        path = place.scratch / name / "repo" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(place.repo / key, path)
    return place.scratch / name / "repo"


def _keys(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


_WORDS = {
    "cat": ("d@1.0.1", "deep/1", "numbers", "f2937"),
    "diff": ("d@1.0.0", "d@1.0.1", "--json"),
    "du": ("--json",),
    "list": ("d", "--json"),
    "log": ("d", "--json"),
    "ls": ("d@1.0.1", "-r", "--json"),
    "show": ("d@prod", "--json"),
    "tag": ("d", "--json"),
    "verify": ("d@1.0.1",),
}
READERS: dict[str, Reader] = {
    "names": _names,
    "files": _files,
    "loader": _loader,
    "fsspec": _fsspec,
    "fetch": _fetched,
    "fetch into the cache": _cached,
    "diff": _compared,
    "du": lambda place: dataver.open(place.repo).du(),
    "gc": _collected,
    "repack --plan": lambda place: dataver.open(place.repo).plan_repack(dead=0.0),
    "lineage": _lineage,
    "push": _pushed,
    "serve": _served,
    "mount": _mounted,
    "the next version": _continued,
} | {f"dataver {name}": command(name, *words) for name, words in _WORDS.items()}
