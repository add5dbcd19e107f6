"""The JSON documents of versions, entries, differences, runs and usage: of `--json` and of the web page."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from dataver import Diff, Entry, Version
    from dataver.formats.description import Description
    from dataver.formats.external import ExternalPack
    from dataver.lineage.queries.results import (
        FileAnswer,
        IndexedLink,
        IndexedRun,
        IndexedVersion,
        RunAnswer,
    )
    from dataver.lineage.queries.versions import Graph
    from dataver.maintenance.usage import Usage, UsageReport
    from dataver.tree import Change

# Imports in functions: most commands print no external file.

__all__ = [
    "CHANGES", "answer_values", "change_values", "description_values", "diff_values", "entry_values",
    "external_place", "file_answer_values", "graph_values", "kind_of_change", "link_values", "run_values",
    "traced_values", "usage_report_values", "usage_values", "version_values",
]  # fmt: skip

CHANGES: Final = ("added", "removed", "modified", "renamed")
"""The kinds of changes of a path."""

_KINDS: Final = ("file", "executable", "symlink", "directory")


def version_values(version: "Version", tags: Iterable[str] | None = None) -> dict[str, Any]:
    """Return a version as JSON values."""
    values: dict[str, Any] = {
        "ref": version.ref,
        "dataset": version.dataset,
        "label": version.label,
        "digest": version.digest,
        "record": version.record_id,
        "uploaded": version.uploaded,
        "created": version.created.isoformat(),
        "author": version.author,
        "message": version.message,
        "files": version.file_count,
        "size": version.size,
        "line": version.line,
        "parents": [
            {"ref": f"{each.dataset}@{each.label}", "record": each.record, "digest": f"dv1:{each.tree}"}
            for each in version.parents
        ],
        "metadata": dict(version.metadata),
        "description": None if (described := version.description) is None else description_values(described),
    }
    if tags is not None:
        values["tags"] = sorted(tags)
    return values


def description_values(found: "Description") -> dict[str, Any]:
    """Return a description as JSON values."""
    return {
        "number": found.number,
        "text": found.text,
        "license": found.license or None,
        "owner": found.owner or None,
        "readme": found.readme,
        "metadata": dict(found.metadata),
        "created": found.created.isoformat(),
        "author": found.author,
    }


def entry_values(entry: "Entry") -> dict[str, Any]:
    """Return an entry as JSON values, without its extents."""
    return {
        "path": entry.path,
        "kind": _KINDS[entry.kind],
        "size": entry.size,
        "digest": entry.digest.hex() or None,
        "target": entry.target or None,
    }


def external_place(entry: "Entry", load: "Callable[[bytes], ExternalPack]") -> str:
    """Return the URL of an external file; an empty text for a file in the repository."""
    from dataver.formats.entry import is_external

    for extent in entry.extents:
        if is_external(extent.pack):
            pack = load(extent.pack)
            return pack.uri(next(pack.runs(*pack.frames_of(extent))).source)
    return ""


def diff_values(diff: "Diff") -> dict[str, Any]:
    """Return a difference with all its paths as JSON values; long lists are iterators."""
    counts = diff.summary()
    return {
        "summary": counts,
        **{kind: _changes(diff, kind) if counts[kind] else [] for kind in CHANGES},
    }


def _changes(diff: "Diff", wanted: str) -> Iterator[dict[str, Any]]:
    """Yield the changes of a kind as JSON values."""
    for change in diff:
        if kind_of_change(change) == wanted:
            old, new = (entry and entry_values(entry) for entry in (change.old, change.new))
            both = {"old": old, "new": new}
            yield (
                {"path": change.path, **both}
                if wanted == "modified"
                else (both if wanted == "renamed" else old or new or {})
            )


def change_values(change: "Change") -> dict[str, Any]:
    """Return a change as JSON values."""
    old, new = (entry and entry_values(entry) for entry in (change.old, change.new))
    return {"kind": kind_of_change(change), "path": change.path, "old": old, "new": new}


def kind_of_change(change: "Change") -> str:
    """Return `added`, `removed`, `modified` or `renamed`."""
    if change.old is None or change.new is None:
        return "removed" if change.new is None else "added"
    return "modified" if change.old.path == change.new.path else "renamed"


def graph_values(graph: "Graph") -> dict[str, Any]:
    """Return a graph as JSON values."""
    return {
        "start": graph.start,
        "versions": {node: traced_values(each) for node, each in sorted(graph.versions.items())},
        "runs": {node: run_values(each) for node, each in sorted(graph.runs.items())},
        "edges": [
            {"source": each.source, "target": each.target, "label": each.label}
            for each in sorted(graph.edges)
        ],
        "cut": sorted(graph.cut),
    }


def traced_values(version: "IndexedVersion") -> dict[str, Any]:
    """Return the entry of a version in the index as JSON values."""
    return {
        "ref": version.ref,
        "digest": version.digest,
        "record": version.record,
        "known": version.known,
        "created": _time(version.created),
        "deleted": _time(version.deleted),
        "message": version.message,
        "files": version.files,
        "size": version.size,
    }


def run_values(run: "IndexedRun") -> dict[str, Any]:
    """Return a run as JSON values."""
    return {
        "run": run.key,
        "name": run.name,
        "started": _time(run.started),
        "ended": _time(run.ended),
        "outcome": run.outcome,
        "user": run.user,
        "host": run.host,
        "commit": run.commit,
        "part_of": run.part_of,
        "contexts": [{"key": each.key, "kind": each.kind, "facts": each.facts} for each in run.contexts],
    }


def answer_values(answer: "RunAnswer") -> dict[str, Any]:
    """Return a run with its facts and links as JSON values."""
    return {
        **run_values(answer.run),
        "processes": answer.processes,
        "facts": answer.facts,
        "inputs": [link_values(each) for each in answer.inputs],
        "outputs": [link_values(each) for each in answer.outputs],
    }


def link_values(link: "IndexedLink") -> dict[str, Any]:
    """Return a link as JSON values."""
    return {
        "role": link.role,
        "ref": link.ref,
        "digest": link.digest,
        "record": link.record,
        "subset": link.subset.values(),
        "files": link.files,
        "size": link.size,
        "time": _time(link.time),
        "how": link.how,
        "context": link.context,
    }


def file_answer_values(answer: "FileAnswer") -> dict[str, Any]:
    """Return where a content occurs and who read it as JSON values."""
    return {
        "asked": answer.asked,
        "contents": [each.hex() for each in answer.contents],
        "versions": [
            {"path": each.path, "content": each.content.hex(), "version": traced_values(each.version)}
            for each in answer.holdings
        ],
        "runs": [
            {
                **run_values(each.run),
                "path": each.path,
                "certain": each.certain,
                "link": link_values(each.link),
            }
            for each in answer.saw
        ],
    }


def usage_report_values(report: "UsageReport") -> dict[str, Any]:
    """Return the report of `du` as JSON values."""
    return {
        "datasets": [usage_values(each) for each in report.datasets],
        "versions": [usage_values(each) for each in report.versions],
        "repository": {
            "size": report.stored,
            "needed": report.needed,
            "unneeded": report.unneeded,
            "other": report.other,
            "external": report.external,
        },
    }


def usage_values(usage: "Usage") -> dict[str, Any]:
    """Return the usage of a version or dataset as JSON values."""
    return {
        "name": usage.name,
        "versions": usage.versions,
        "files": usage.files,
        "logical": usage.logical,
        "compressed": usage.compressed,
        "stored": usage.total,
        "shared": usage.shared,
        "unique": usage.unique,
        "added": usage.added,
        "external": usage.external,
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
