"""What versions, differences, drafts and repositories show in a notebook.

The idea: most is known without reading. Little is read, also of a large repository, and a
repository that fails, or does not answer for `_PATIENCE` seconds, costs a sentence, not the rest.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from itertools import islice
from threading import Thread
from typing import TYPE_CHECKING, Final, TypeVar

from dataver.errors import DataverError
from dataver.formats.names import parse_semver
from dataver.formats.record import Record
from dataver.html_repr import ROWS, Html, card, facts, more, note, table
from dataver.printable import count, size
from dataver.repository.lines import latest_of_each
from dataver.tree import Change, Tree

if TYPE_CHECKING:
    from dataver.api.looking import FilesOfKind
    from dataver.formats.description import Description
    from dataver.ingest import DraftCore
    from dataver.repository import Published, RepositoryCore

__all__ = ["difference", "draft", "repository", "version"]

_PATIENCE: Final = 3.0  # seconds; retries of a store that fails take up to 60
_NAMES: Final = 12  # names at the top of a version
_COUNTED: Final = 1_000  # changes of a draft
_T = TypeVar("_T")
_COLOURS: Final = {"added": "#2a9d4e", "removed": "#d9534f", "modified": "#c98a1b", "renamed": "#3b8fc4"}


def version(
    record: Record,
    ref: str,
    tree: Tree,
    read: "Callable[[], tuple[list[str], Description | None]]",
    kinds: "Callable[[], list[FilesOfKind]]",
) -> str:
    """Return the HTML of a version.

    Args:
        record: its record.
        ref: its name.
        tree: its tree.
        read: reads its tags and its description.
        kinds: reads the kinds of its files.
    """
    found = _soon(lambda: (*read(), _top(tree)))
    tags, described, top = ([], None, found) if isinstance(found, str) else found
    shown = top if isinstance(found, str) else _soon(lambda: _kinds(kinds()) + top)
    metadata = record.metadata if described is None else described.metadata
    digest = record.tree.hex()
    pairs: list[tuple[str, object]] = [
        ("content", f"{count(record.files, 'file')}, {size(record.size)}"),
        ("digest", Html(f"<span title='dv1:{digest}'>dv1:{digest[:12]}…</span>")),
        ("tags", ", ".join(tags)),
        ("created", f"{record.created:%Y-%m-%d %H:%M} UTC by {record.author}"),
        ("message", record.message),
        ("made from", ", ".join(f"{each.dataset}@{each.label}" for each in record.parents)),
        ("fork", record.line),
    ]
    if described is not None:
        pairs += [("description", described.text), ("license", described.license), ("owner", described.owner)]
    pairs += [(f"· {key}", value) for key, value in islice(metadata.items(), _NAMES)]
    return card(ref, "version", facts(pairs), more(len(metadata), _NAMES, "value"), shown)


def _kinds(kinds: "list[FilesOfKind]") -> str:
    rows = (
        (
            each.suffix,
            each.kind or "",
            each.files,
            size(each.size),
            f"{each.rows or ''}{'+' if each.rows and each.uncounted else ''}",
        )
        for each in kinds
    )
    return table(("suffix", "kind", "files", "size", "rows"), rows, len(kinds))


def difference(totals: Mapping[str, int], changes: Iterable[Change]) -> str:
    """Return the HTML of a difference, given its numbers of paths and its changes."""
    paths = {kind: number for kind, number in totals.items() if kind in _COLOURS and number}
    found = _soon(lambda: _changes(changes, sum(paths.values())))
    words = ", ".join(f"{number:,} {kind}" for kind, number in paths.items())
    sizes = f"{size(totals['size_added'])} added, {size(totals['size_removed'])} removed"
    return card(words or "no differences", f"difference · {sizes}", found)


def draft(core: "DraftCore") -> str:
    """Return the HTML of a draft."""

    def read() -> str:
        total, changes = core.tree.summary(), list(islice(core.changes(), _COUNTED + 1))
        number = count(len(changes), "path") if len(changes) <= _COUNTED else f"more than {_COUNTED:,} paths"
        content = f"{count(total.files, 'file')}, {size(total.size)}"
        return facts([("content", content), ("changed", number)]) + _changes(changes, len(changes))

    about = [
        ("made from", ", ".join(core.parents)),
        ("workspace", core.workspace),
        ("conflicts", len(core.state.conflicts) or ""),
    ]
    return card(core.dataset, f"draft {core.id} · {core.state.status}", facts(about), _soon(read))


def repository(core: "RepositoryCore") -> str:
    """Return the HTML of a repository."""

    def read() -> str:
        found = core.records.datasets()
        few = dict(islice(found.items(), ROWS))
        latest = latest_of_each(core.records, {name: few[name] for name in few if _numbered(few[name])})
        rows = ((name, len(few[name]), *_facts(latest.get(name))) for name in few)
        header = ("dataset", "versions", "latest", "files", "size", "created (UTC)", "message")
        return table(header, rows, len(found)) or note("It has no datasets yet.")

    return card(core.url, "repository", _soon(read))


def _numbered(labels: Iterable[str]) -> bool:
    """Return whether the latest version is found by reading few records."""
    return sum(parse_semver(label) is None for label in labels) <= _NAMES


def _facts(latest: "Published | None") -> tuple[object, ...]:
    if latest is None:
        return ("",) * 5
    record = latest.record
    made = f"{record.created:%Y-%m-%d %H:%M}"
    return record.label, record.files, size(record.size), made, record.message


def _top(tree: Tree) -> str:
    """Return the names at the top of a tree, of folders with the number of entries below."""
    names = list(islice(tree.list(), _NAMES + 1))
    ends = [*(each.rank for each in names[1:]), *([tree.summary().entries] if len(names) <= _NAMES else [])]
    rows = (
        (each.name, size(each.entry.size))
        if each.entry is not None
        else (f"{each.name}/", count(end - each.rank, "entry", "entries"))
        for each, end in zip(names, ends, strict=False)
    )
    return table(("name", "content"), rows, 0) + (note("…") if len(names) > _NAMES else "")


def _changes(changes: Iterable[Change], total: int) -> str:
    return table(("", "path", "size"), map(_change, changes), total)


def _change(change: Change) -> tuple[object, ...]:
    path, old, new = change
    kind = "modified" if old and new else "added" if new else "removed"
    if old and new and old.path != new.path:
        kind, path = "renamed", f"{old.path} → {new.path}"
    sizes = dict.fromkeys(size(each.size) for each in (old, new) if each is not None)
    return Html(f"<span style='color:{_COLOURS[kind]}'>{kind}</span>"), path, " → ".join(sizes)


def _soon(read: Callable[[], _T]) -> _T | str:
    """Return what a function reads, or a note that says why not, after at most `_PATIENCE` seconds."""
    answer = Future[_T]()

    def work() -> None:
        try:
            answer.set_result(read())
        except BaseException as error:  # noqa: BLE001 - raised below
            answer.set_exception(error)

    Thread(target=work, name="dataver-notebook", daemon=True).start()
    try:
        return answer.result(_PATIENCE)
    except TimeoutError:
        return note(f"The repository has not answered for {_PATIENCE:.0f} seconds.")
    except DataverError as error:
        return note(error.message)
