"""What questions are answered with: runs, versions, links and what joins them, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dataver.formats.event import Subset

if TYPE_CHECKING:
    from datetime import datetime

    from dataver.formats.event import Context

__all__ = ["FileAnswer", "Holding", "Link", "Run", "RunAnswer", "Saw", "Tainted", "Version", "VersionAnswer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version as the index knows it.

    Attributes:
        number: its number in the index.
        record: the id of its record, 64 hex.
        dataset: its dataset; None where only a link names the version and says no name.
        label: its label.
        tree: the digest of its tree, 64 hex.
        created: when it was finalized; None where the repository has no record of it (deleted, elsewhere).
        message: what was said of it.
        files: how many files it has.
        size: bytes of them.
    """

    number: int
    record: str
    dataset: str | None = None
    label: str | None = None
    tree: str | None = None
    created: datetime | None = None
    message: str = ""
    files: int = 0
    size: int = 0

    @property
    def known(self) -> bool:
        """Whether the repository has its record."""
        return self.created is not None

    @property
    def ref(self) -> str:
        """`dataset@label`, or the start of its record's id where it has no name."""
        return f"{self.dataset}@{self.label}" if self.dataset else f"record {self.record[:12]}"

    @property
    def digest(self) -> str | None:
        """The content's digest, `dv1:` and 64 hex."""
        return f"dv1:{self.tree}" if self.tree else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run in one line.

    Attributes:
        number: its number in the index.
        key: `system:id`, the run's primary context.
        name: what the user or the tracker calls it.
        started: when its first process began.
        ended: when its last process ended; None while one goes on (or died without a word).
        outcome: `finished`, `failed`, `killed`, or None.
        user: who ran it.
        host: where.
        commit: the git commit of its code.
        part_of: the key of the run that took over what it had.
        contexts: everything it belongs to.
    """

    number: int
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One edge between a run and a version.

    Attributes:
        role: `input` or `output`.
        run: the number of the run.
        version: the number of the version; None for an output that was never published.
        dataset: the dataset, as it was called then.
        label: the label, as it was then.
        record: the id of the version's record, 64 hex, or None like `version`.
        tree: the digest of the version's tree, 64 hex.
        subset: what of it was read.
        files: how many files that is.
        size: bytes of them.
        time: when.
        how: `fetch`, `read`, `finalize`, `declared`.
        context: the tracker's run that was active, where that is not the run itself.
    """

    role: str
    run: int
    version: int | None
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

    @property
    def ref(self) -> str:
        """`dataset@label`; of an output without a label, `dataset@(not uploaded)`."""
        return f"{self.dataset}@{self.label or '(not uploaded)'}"

    @property
    def digest(self) -> str:
        """The content's digest, `dv1:` and 64 hex."""
        return f"dv1:{self.tree}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAnswer:
    """What a run consumed and produced, and what it was.

    Attributes:
        run: the run.
        inputs: the versions it consumed, in the order of time.
        outputs: the versions it produced, in the order of time.
        facts: what its first process said of itself: argv, python, git, packages …
        processes: how many processes spoke for it.
    """

    run: Run
    inputs: list[Link]
    outputs: list[Link]
    facts: dict[str, Any]
    processes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionAnswer:
    """What a version came from, and what came of it.

    Attributes:
        version: the version.
        consumed: `(run, link)` of the runs that read it.
        produced: `(run, link)` of the runs that made it.
        parents: versions it was made from.
        children: versions made from it.
        same: other versions with the same content.
    """

    version: Version
    consumed: list[tuple[Run, Link]]
    produced: list[tuple[Run, Link]]
    parents: list[Version]
    children: list[Version]
    same: list[Version]


@dataclass(frozen=True, slots=True)
class Holding:
    """A version that holds a content, and the path it has there."""

    version: Version
    path: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Saw:
    """A run that saw a content: through which version and path.

    `certain` is False where the subset it read may or may not have held the path (a shard).
    """

    run: Run
    link: Link
    path: str
    certain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FileAnswer:
    """Where a content is, and who saw it.

    Attributes:
        asked: what was asked.
        contents: the first 16 bytes of the digests it stands for.
        holdings: versions and paths that hold it.
        saw: runs that saw it, the latest first, as many as were asked for.
        links: how many links there are to the versions that hold it: no more runs than these saw it.
    """

    asked: str
    contents: list[bytes]
    holdings: list[Holding]
    saw: list[Saw]
    links: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tainted:
    """What is affected if some data is bad.

    Attributes:
        versions: affected versions, and why, nearest first.
        runs: affected runs, why, and whether that is certain, nearest first.
    """

    versions: list[tuple[Version, str]]
    runs: list[tuple[Run, str, bool]]
