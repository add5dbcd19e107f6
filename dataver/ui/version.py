"""One version: what it is, where it comes from, and a folder or a file in it.

Nothing here reads a version whole: a page of names is found by rank (`dataver.ui.folder`), a file is shown by
its beginning (`dataver.ui.previews`), and kinds of files are counted at once only in small versions.
"""

import shlex
from typing import Any, Final

from dataver import Version
from dataver.documents import entry_values, run_values, version_values
from dataver.errors import NotFound, PathNotFound
from dataver.formats.entry import Kind
from dataver.printable import safe
from dataver.tables import format_of
from dataver.tree import path_of
from dataver.ui.asked import Asked
from dataver.ui.folder import listing
from dataver.ui.markdown import as_html
from dataver.ui.previews import preview

__all__ = ["page"]

_FEW: Final = 20_000  # files of a version whose kinds are counted without being asked for
_SHOWN: Final = 5  # runs
_LISTED: Final = 20  # children, versions with the same content
_LONG: Final = 600.0  # seconds: kinds of files change only when profiles are made
_PANDAS: Final = {
    "csv": ("csv", ""),
    "tsv": ("csv", r', sep="\t"'),
    "jsonl": ("json", ", lines=True"),
    "parquet": ("parquet", ""),
    "arrow": ("feather", ""),
}
_DUCKDB: Final = {"csv": "csv", "tsv": "csv", "jsonl": "json", "parquet": "parquet"}


def page(asked: Asked) -> dict[str, Any]:
    """Return a version (`ref`) with a folder or a file in it (`path`)."""
    version, path = asked.version(), path_of(asked.text("path"))
    tags = [tag for tag, label in asked.tags(version.dataset).items() if label == version.label]
    document: dict[str, Any] = {
        "version": version_values(version, tags),
        "path": path,
        "folder": None,
        "file": None,
        "preview": None,
        "about": None,
        "readme": "",
    }
    entry = version.tree.get(path) if path else None
    if entry is None or entry.kind == Kind.DIRECTORY:
        folder = version.files().folders.real(path) if path else ""
        if (real := version.tree.get(folder) if folder else None) is not None and real.digest:
            entry = real  # a link in the middle of the path led to it
        else:
            document["folder"] = listing(asked, version, folder)
            tables = (each["path"] for each in document["folder"]["rows"] if format_of(each["name"]))
            document["use"] = _use(version, path, next(tables, None))
            if not path and document["folder"]["place"]["first"] == 1:
                document["readme"] = as_html(version.readme or "")
            if not path:
                document["about"] = _about(asked, version)
            return document
    document["file"] = {**entry_values(entry), "leads": _leads(version, path) if entry.target else None}
    document["use"] = _use(version, "", entry.path) if entry.digest else []
    if entry.digest:
        document["preview"] = preview(asked, version, entry)
    return document


def _leads(version: Version, path: str) -> str | None:
    """Return the path that a link leads to; None if that is not in the version."""
    try:
        return version.files().folders.real(path)
    except PathNotFound:
        return None


def _about(asked: Asked, version: Version) -> dict[str, Any]:
    """Return what other places know of a version: lineage, profiles, the cache of this machine."""
    try:
        found = asked.memory.get(
            ("origin", version.record_id), lambda: asked.repository.lineage.version(version.ref)
        )
        links = [*found.produced, *found.consumed]
    except NotFound:
        found, links = None, []
    runs = {run.key: (run, link.role if link.used else "available") for run, link in links}
    latest = sorted(runs.values(), key=lambda each: each[0].started, reverse=True)
    counted = version.file_count <= _FEW or bool(asked.text("kinds"))
    kinds = asked.memory.get(("kinds", version.record_id), version.kinds, _LONG) if counted else None
    return {
        "runs": {
            "total": len(runs),
            "first": [{**run_values(run), "role": role} for run, role in latest[:_SHOWN]],
        },
        "children": _refs(found.children) if found else None,
        "same": _refs(found.same) if found else None,
        "kinds": None if kinds is None else [each._asdict() for each in kinds],
        "fetched": version.files().fetched,
    }


def _refs(found: list[Any]) -> dict[str, Any]:
    return {"total": len(found), "first": [each.ref for each in found[:_LISTED]]}


def _use(version: Version, folder: str, file: str | None) -> list[dict[str, str]]:
    """Return how programs get a version, with a folder or one file as the example."""
    url, ref = version.repository_url, version.ref
    tool = f"dataver --repo {_shell(url)}"
    chosen = f" --include {_shell(folder)}" if folder else ""
    fetch = f"{tool} fetch {ref}{chosen}"
    code = f"import dataver\n\nrepo = dataver.open({url!r})\n"
    code += f"folder = repo.fetch({ref!r}{f', include={folder!r}' if folder else ''}).path"
    if file is not None:
        fetch += f"\n{tool} cat {ref} {_shell(file)} > {_shell(file.rpartition('/')[2])}"
        code += f"\ndata = repo.version({ref!r}).read({file!r})"
    found = [("Command line", fetch), ("Python", code)]
    place, kind = f"dataver://{ref}/{file}", format_of(file) if file else None
    if kind:
        reader, more = _PANDAS[kind]
        options = f'storage_options={{"repo": {url!r}}}'
        found.append(("pandas", f"import pandas\n\nframe = pandas.read_{reader}({place!r}, {options}{more})"))
    if kind in _DUCKDB:
        files = f'duckdb.register_filesystem(fsspec.filesystem("dataver", repo={url!r}))'
        found.append(
            ("DuckDB", f"import duckdb\nimport fsspec\n\n{files}\nduckdb.read_{_DUCKDB[kind]}({place!r})")
        )
    torch = "from dataver.integrations.torch import FileStream, Loader\n\n"
    some = f", include={folder!r}" if folder else ""
    torch += f"files = FileStream({ref!r}{some}, repo={url!r})\nloader = Loader(files, batch_size=64)"
    found += [("PyTorch", torch), ("Mount", f"mkdir data\n{tool} mount {ref} data")]
    return [{"name": name, "text": text} for name, text in found]


def _shell(text: str) -> str:
    """Return a word of a command line; control characters in the form of Bash."""
    if text.isprintable():
        return shlex.quote(text)
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{safe(escaped)}'"
