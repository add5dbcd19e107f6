"""Conversion of versions, entries and differences to JSON values and lines of text, for all commands."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from dataver.documents import kind_of_change, version_values
from dataver_cli.output import Coloured, count, size, when

if TYPE_CHECKING:
    from datetime import datetime

    from dataver import AddReport, Diff, Entry, UploadReport, Version
    from dataver.formats.description import Description

__all__ = [
    "add_line",
    "add_values",
    "diff_lines",
    "diff_summary",
    "description_lines",
    "time_notes",
    "upload_line",
    "upload_notes",
    "upload_values",
    "version_lines",
]

_NAMED = 5  # names in a line
_MARKS = {
    "added": ("A", "green"),
    "removed": ("D", "red"),
    "modified": ("M", "yellow"),
    "renamed": ("R", "cyan"),
}


def description_lines(found: "Description | None") -> list[tuple[str, str]]:
    """Return the text, license and owner of a description as pairs of a name and a value."""
    if found is None:
        return []
    values = [("description", found.text), ("license", found.license), ("owner", found.owner)]
    return [(name, value) for name, value in values if value]


def add_values(report: "AddReport") -> dict[str, Any]:
    """Return the report of an `add` or `sync` as JSON values."""
    return {
        "files": report.files,
        "size": report.size,
        "unchanged": report.unchanged,
        "removed": report.removed,
        "renamed": report.renamed,
        "ignored": report.ignored,
        "left_out": report.left_out,
        "new_chunks": report.new_chunks,
        "new_size": report.new_size,
        "stored": report.stored,
        "sent": report.sent_size,
        "seconds": round(report.seconds, 3),
        "problems": [{"name": name, "reason": reason} for name, reason in report.problems],
    }


def add_line(report: "AddReport") -> str:
    """Return the report of an `add` or `sync` in one line."""
    parts = [f"{count(report.files, 'file')} ({size(report.size)})"]
    changed = report.files - report.unchanged - report.renamed
    if 0 < changed < report.files:
        parts.append(f"{changed:,} added or modified")
    if report.unchanged:
        parts.append(f"{report.unchanged:,} unchanged")
    if report.removed:
        parts.append(f"{report.removed:,} removed")
    if report.renamed:
        parts.append(f"{report.renamed:,} renamed")
    if report.ignored:
        parts.append(f"{report.ignored:,} ignored")
    if report.left_out:
        parts.append(f"omitted: {' '.join(report.left_out[:_NAMED])}{' …' * (len(report.left_out) > _NAMED)}")
    parts.append(f"{size(report.new_size)} new, {size(report.stored)} stored")
    if report.sent_packs:
        parts.append(f"{size(report.sent_size)} sent meanwhile")
    return ", ".join(parts)


def upload_values(report: "UploadReport") -> dict[str, Any]:
    """Return the report of an upload as JSON values."""
    return {
        "version": version_values(report.version),
        "packs": report.packs,
        "blocks": report.blocks,
        "size": report.size,
        "seconds": round(report.seconds, 3),
        "already": report.already,
        "onto": report.onto,
        "beside": report.beside,
        "replaced": report.replaced,
    }


def upload_line(report: "UploadReport") -> str:
    """Return the transferred data of an upload in one line."""
    return f"{count(report.packs, 'pack')} and {count(report.blocks, 'tree block')}, {size(report.size)}"


def upload_notes(report: "UploadReport", did: str) -> Iterator[str]:
    """Yield notes about other versions; `did` describes how the upload was applied to a new one."""
    version = report.version
    if report.onto:
        yield f"{report.onto} was published meanwhile; {did}."
    if report.beside:
        yield f"{version.ref} is a fork beside {report.beside}; {version.dataset}@latest is not changed."
    if report.replaced:
        yield f"{version.ref} was not made from {report.replaced}: it contains only the added files."


def time_notes(version: "Version", wanted: "datetime | None") -> list[str]:
    """Return a note if a version got another time than the wanted one."""
    if wanted is None or version.created == wanted:
        return []
    return [f"{version.ref} has the time {version.created:%Y-%m-%d %H:%M:%S}, after the version before it."]


def diff_lines(diff: "Diff") -> Iterator[str]:
    """Yield one line per path, in path order: A added, D removed, M modified, R renamed."""
    for change in diff:
        kind = kind_of_change(change)
        mark, colour = _MARKS[kind]
        old, new = change.old, change.new
        if old is None or new is None:
            detail = f"  ({_what(old or new)})"
        else:
            detail = f" -> {new.path}" if kind == "renamed" else f"  ({_what(old)} -> {_what(new)})"
        yield Coloured(f"{mark}  {change.path}{detail}", colour)


def diff_summary(diff: "Diff") -> str:
    """Return the counts of a difference in one line."""
    found = diff.summary()
    counts = [
        f"{found[kind]:,} {kind}" for kind in ("added", "removed", "modified", "renamed") if found[kind]
    ]
    if not counts:
        return "no difference"
    return f"{', '.join(counts)}; {size(found['size_added'])} in, {size(found['size_removed'])} out"


def _what(entry: "Entry | None") -> str:
    assert entry is not None  # what a change has
    if entry.kind == 2:
        return f"link to {entry.target}"
    return "empty folder" if entry.kind == 3 else size(entry.size)


def version_lines(version: "Version", tags: Iterable[str]) -> list[tuple[str, str]]:
    """Return the details of a version as pairs of a name and a value."""
    pairs = [
        ("version", version.ref),
        ("digest", version.digest),
        ("record", version.record_id or "(not uploaded)"),
        ("tags", ", ".join(sorted(tags)) or "-"),
        ("files", f"{version.file_count:,}"),
        ("size", f"{size(version.size)} ({version.size:,} bytes)"),
        ("created", when(version.created)),
        ("author", version.author),
        ("message", version.message or "-"),
        *description_lines(version.description),
        *([("fork", f"{version.line} (`latest` never refers to it)")] if version.line else []),
        ("parents", ", ".join(f"{each.dataset}@{each.label}" for each in version.parents) or "-"),
    ]
    return pairs + [(f"  {key}", str(value)) for key, value in sorted(version.metadata.items())]
