"""Results of queries as plain values: runs, versions and links."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dataver.formats.event import Subset
from dataver.html_repr import ROWS, card, facts, table
from dataver.lineage.queries.drawing import Node, draw
from dataver.printable import count, size
from dataver.short_repr import short_repr

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from dataver.formats.event import Context

__all__ = [
    "ContentLocation",
    "ContentRead",
    "FileAnswer",
    "IndexedLink",
    "IndexedRun",
    "IndexedVersion",
    "RunAnswer",
    "Tainted",
    "VersionAnswer",
    "words_of",
]

_NAMES = 2  # patterns or paths in a description


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedVersion:
    """A version in the index.

    Attributes:
        row: its row in the local index, which may change when the index is rebuilt.
        record: the id of its record, 64 hex.
        dataset: its dataset; None if the version is only known from a link without a name.
        label: its label.
        tree: the digest of its tree, 64 hex.
        created: time of `finalize`; None if the repository has no record of it.
        deleted: time of the deletion, or None.
        message: its message.
        files: number of files.
        size: bytes of the files.
    """

    row: int
    record: str
    dataset: str | None = None
    label: str | None = None
    tree: str | None = None
    created: datetime | None = None
    message: str = ""
    files: int = 0
    size: int = 0
    deleted: datetime | None = None

    def __repr__(self) -> str:
        return f"IndexedVersion({self.ref!r})"

    @property
    def known(self) -> bool:
        """Whether its record is known, from the repository or from a tombstone."""
        return self.created is not None

    @property
    def ref(self) -> str:
        """`dataset@label`, or without a name the start of its record's id."""
        return f"{self.dataset}@{self.label}" if self.dataset else f"record {self.record[:12]}"

    @property
    def digest(self) -> str | None:
        """The content's digest, `dv1:` and 64 hex."""
        return f"dv1:{self.tree}" if self.tree else None

    def node(self) -> Node:
        """Return it for a drawing."""
        text = "deleted" if self.deleted else "not in this repository"
        if self.known and not self.deleted:
            text = f"{count(self.files, 'file')} · {size(self.size)} · {self.created:%Y-%m-%d}"
        return Node("version", self.ref, text, self.ref)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedRun:
    """A run.

    Attributes:
        row: its row in the local index, which may change when the index is rebuilt.
        key: `system:id`, the run's primary context.
        name: its name, from the user or the tracker.
        started: start of its first process.
        ended: end of its last process; None while one runs (or ended without an event).
        outcome: `finished`, `failed`, `killed`, or None.
        user: the user who started it.
        host: its machine.
        commit: the git commit of its code.
        part_of: the key of the run to which its links were assigned.
        contexts: all its contexts.
    """

    row: int
    key: str
    started: datetime
    name: str | None = None
    ended: datetime | None = None
    outcome: str | None = None
    user: str | None = None
    host: str | None = None
    commit: str | None = None
    part_of: str | None = None
    contexts: tuple[Context, ...] = ()

    def __repr__(self) -> str:
        return f"IndexedRun({self.key!r}, name={self.name!r}, outcome={self.outcome!r})"

    def node(self) -> Node:
        """Return it for a drawing."""
        system = f"{self.key.partition(':')[0]} · " if self.name else ""
        text = f"{system}{self.outcome or 'open'} · {self.started:%Y-%m-%d}"
        return Node("run", self.name or self.key, text, self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedLink:
    """One edge between a run and a version.

    Attributes:
        role: `input` or `output`.
        run: the run's key.
        dataset: the dataset, as it was called then.
        label: the label, as it was then.
        record: the id of the version's record, 64 hex; None for an output that was never published.
        tree: the digest of the version's tree, 64 hex.
        subset: the part that was read.
        files: number of files read.
        size: bytes of the files read.
        time: time of the first read or of the output.
        how: `fetch`, `read`, `available`, `finalize`, `declared`.
        context: the tracker's run that was active, unless it is the run itself.
        run_row: the run's row in the local index, which may change when the index is rebuilt.
        version_row: the version's row there; None for an output that was never published.
    """

    role: str
    run: str
    dataset: str
    label: str | None
    record: str | None
    tree: str
    subset: Subset = field(default_factory=Subset)
    files: int = 0
    size: int = 0
    time: datetime
    how: str
    context: str | None = None
    run_row: int
    version_row: int | None

    def __repr__(self) -> str:
        return f"IndexedLink({self.role!r}, {self.ref!r}, how={self.how!r})"

    @property
    def ref(self) -> str:
        """`dataset@label`; for an output without a label, `dataset@(not uploaded)`."""
        return f"{self.dataset}@{self.label or '(not uploaded)'}"

    @property
    def digest(self) -> str:
        """The content's digest, `dv1:` and 64 hex."""
        return f"dv1:{self.tree}"

    @property
    def part(self) -> str:
        """A short description of the part of the version."""
        subset = self.subset
        parts = [
            *([_few(subset.patterns)] if subset.patterns else []),
            *([_few(subset.paths)] if subset.paths else []),
            *(["a list of files"] if subset.listed else []),
            *([f"without {_few(subset.exclude)}"] if subset.exclude else []),
            *([f"shard {subset.shard[0]} of {subset.shard[1]}"] if subset.shard else []),
        ]
        return ", ".join(parts) or "whole"

    @property
    def used(self) -> bool:
        """Whether the run used it; False if it was only available."""
        return self.how != "available"

    def node(self) -> Node:
        """Return its version for a drawing."""
        text = f"{count(self.files, 'file')} · {size(self.size)} · {self.how}"
        return Node("version", self.ref, text, self.ref)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return " ".join(names[:_NAMES]) + more


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAnswer:
    """A run with its inputs and outputs.

    Attributes:
        run: the run.
        inputs: the versions it consumed, in chronological order.
        outputs: the versions it produced, in chronological order.
        facts: facts of its first process: argv, python, git, packages …
        processes: number of processes that recorded events of it.
    """

    run: IndexedRun
    inputs: list[IndexedLink]
    outputs: list[IndexedLink]
    facts: dict[str, Any]
    processes: int

    __repr__ = short_repr

    @property
    def command(self) -> list[str]:
        """The words of its command line; empty if they are unknown."""
        return words_of(self.facts)

    def _repr_html_(self) -> str:
        run, node = self.run, self.run.node()
        links = [(each.node(), node, "input") for each in self.inputs]
        links += [(node, each.node(), "output") for each in self.outputs]
        about = facts(
            [
                ("outcome", run.outcome or "open"),
                ("started", f"{run.started:%Y-%m-%d %H:%M} UTC"),
                ("ended", run.ended and f"{run.ended:%Y-%m-%d %H:%M} UTC"),
                ("user", " at ".join(filter(None, (run.user, run.host)))),
                ("command", " ".join(self.command)),
                ("commit", run.commit),
            ]
        )
        return card(node.title, f"run {run.key}", about, draw(node, links))


def words_of(facts: dict[str, Any]) -> list[str]:
    """Return the words of a command line in the facts of a run, which may hold any value."""
    found = facts.get("argv")
    return list(map(str, found)) if isinstance(found, list) else []


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionAnswer:
    """A version with its origin and its uses.

    Attributes:
        version: the version.
        consumed: `(run, link)` of the runs that read it.
        produced: `(run, link)` of the runs that produced it.
        parents: versions it was made from.
        children: versions made from it.
        same: other versions with the same content.
    """

    version: IndexedVersion
    consumed: list[tuple[IndexedRun, IndexedLink]]
    produced: list[tuple[IndexedRun, IndexedLink]]
    parents: list[IndexedVersion]
    children: list[IndexedVersion]
    same: list[IndexedVersion]

    __repr__ = short_repr

    def _repr_html_(self) -> str:
        node = self.version.node()
        links = [(each.node(), node, "parent") for each in self.parents]
        links += [(node, each.node(), "parent") for each in self.children]
        links += [(run.node(), node, "output") for run, _ in self.produced]
        links += [(node, run.node(), "input") for run, _ in self.consumed]
        about = facts(
            [
                ("digest", self.version.digest),
                ("message", self.version.message),
                ("same content", ", ".join(each.ref for each in self.same[:ROWS])),
            ]
        )
        return card(node.title, "version and its runs", about, draw(node, links))


@dataclass(frozen=True, slots=True)
class ContentLocation:
    """An occurrence of a content.

    Attributes:
        version: the version.
        path: the path in it.
        content: the first 16 bytes of the digest.
    """

    version: IndexedVersion
    path: str
    content: bytes

    __repr__ = short_repr


@dataclass(frozen=True, slots=True)
class ContentRead:
    """A run that read a content.

    Attributes:
        run: the run.
        link: its link to the version.
        path: the path in the version.
        certain: False if it is unknown whether the subset that it read includes the path (a shard), or if the
            version was only available to it.
    """

    run: IndexedRun
    link: IndexedLink
    path: str
    certain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FileAnswer:
    """Occurrences and reads of a content.

    Attributes:
        asked: text of the query.
        contents: the first 16 bytes of the digests that it matches.
        holdings: versions and paths with the content.
        saw: runs that read it, latest first, up to the limit.
        links: number of links to the versions with the content: an upper bound of the reads.
    """

    asked: str
    contents: list[bytes]
    holdings: list[ContentLocation]
    saw: list[ContentRead]
    links: int

    __repr__ = short_repr

    def _repr_html_(self) -> str:
        found = ((each.version.ref, each.path) for each in self.holdings)
        reads = (
            (each.run.node().title, each.path, each.link.ref, "" if each.certain else "possibly")
            for each in self.saw
        )
        return card(
            self.asked,
            f"content in {count(len(self.holdings), 'place')}",
            table(("version", "path"), found, len(self.holdings)),
            table(("read by run", "path", "version", ""), reads, len(self.saw)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tainted:
    """Versions and runs affected by incorrect data.

    Attributes:
        versions: affected versions with reasons, nearest first.
        runs: affected runs with reasons, and whether that is certain, nearest first.
        possible: those of `versions` of which that is not certain.
        mended: children of affected versions that were produced again from other data, and a run that did;
            they are not affected, unless that run kept files of the parent.
    """

    versions: list[tuple[IndexedVersion, str]]
    runs: list[tuple[IndexedRun, str, bool]]
    mended: list[tuple[IndexedVersion, IndexedRun]] = field(default_factory=list)
    possible: list[IndexedVersion] = field(default_factory=list)

    __repr__ = short_repr

    def _repr_html_(self) -> str:
        rows = [("version", each.ref, why) for each, why in self.versions]
        rows += [("run" if sure else "run, possibly", run.node().title, why) for run, why, sure in self.runs]
        rows += [("mended", each.ref, f"made again by {run.node().title}") for each, run in self.mended]
        title = f"{count(len(self.versions), 'version')} and {count(len(self.runs), 'run')} affected"
        return card(title, "impact", table(("", "affected", "reason"), rows, len(rows)))
