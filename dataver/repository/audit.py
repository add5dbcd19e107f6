"""The changes of names in a repository: publications, descriptions, moves of tags, deletions.

The idea: nothing is recorded for this. Records, descriptions, moves of tags and tombstones are never changed,
so together they are the log. A deleted version is known from its tombstone, which contains its record.

A change has two times: that of the author's machine, and that of the store, which the author cannot choose.
In a copy of a repository the latter is the time of copying. Authors are names that writers choose.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Literal

from dataver import parallel
from dataver.errors import FormatTooNew, IntegrityError, NotFound
from dataver.formats.description import Description
from dataver.formats.record import Record
from dataver.formats.tag import TagMove
from dataver.repository.layout import (
    DATASETS,
    DESCRIPTIONS,
    dataset_prefix,
    description_prefix,
    parse_description_key,
    parse_record_key,
    parse_tag_key,
    parse_tombstone_key,
)
from dataver.repository.repository import RepositoryCore
from dataver.storage import ObjectInfo

__all__ = ["Audit", "Change", "read_audit"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change of a name.

    Attributes:
        action: what was done.
        dataset: the dataset.
        label: the version; None for the removal of a tag and the description of a dataset.
        tag: the tag that was moved or removed; None otherwise.
        author: the author's name, as configured.
        recorded: time by the author's machine, aware UTC; of a publication, when the draft was finalized.
        stored: time by the store's clock; None if the store states none, or the object was deleted.
        text: the message or description of a version, or the reason of a deletion or of a move.
        protected: whether the tag is protected from then on.
    """

    action: Literal["publish", "describe", "tag", "untag", "delete"]
    dataset: str
    label: str | None
    tag: str | None = None
    author: str
    recorded: datetime
    stored: datetime | None
    text: str = ""
    protected: bool = False

    @property
    def when(self) -> datetime:
        """The store's time, else that of the author's machine."""
        return self.stored or self.recorded

    @property
    def name(self) -> str:
        """The name that was changed: `dataset@label` or `dataset@tag`."""
        selector = self.tag or self.label
        return self.dataset if selector is None else f"{self.dataset}@{selector}"


@dataclass
class Audit:
    """Changes, oldest first, and the objects that could not be read.

    Attributes:
        changes: the changes.
        problems: `(key, reason)` of objects that are damaged.
    """

    changes: list[Change] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)


def read_audit(repo: RepositoryCore, dataset: str | None = None, *, since: datetime | None = None) -> Audit:
    """Return the changes of a repository or of one dataset.

    Args:
        repo: the repository.
        dataset: only changes of this dataset, which may be deleted.
        since: only changes at that time or later; objects that are older by the store's clock are not read.

    Raises:
        NotFound: no such dataset.
        StoreError: the store failed.
    """
    listed = chain(
        repo.store.list(DATASETS if dataset is None else dataset_prefix(dataset)),
        repo.store.list(DESCRIPTIONS if dataset is None else description_prefix(dataset, None)),
    )
    infos = [info for info in listed if dataset in (None, _dataset(info.key))]
    if dataset is not None and not infos:
        repo.resolve(dataset)  # raises an error with similar names
    deleted = {name for info in infos if (name := parse_tombstone_key(info.key))}
    wanted = [
        info
        for info in infos
        if _dataset(info.key) is not None
        and parse_record_key(info.key) not in deleted  # an interrupted deletion: the tombstone has it
        and (since is None or info.modified is None or info.modified >= since)
    ]
    found = Audit()
    repo.records.prepare((*name, info) for info in wanted if (name := parse_record_key(info.key)))

    def read(info: ObjectInfo) -> list[Change] | tuple[str, str]:
        try:
            return list(_changes(repo, info))
        except (IntegrityError, FormatTooNew) as error:
            return info.key, error.message
        except NotFound:  # deleted meanwhile
            return []

    with parallel.pool(parallel.REQUESTS if repo.store.local_root is None else 1, "audit") as pool:
        for each in pool.map(read, wanted):
            if isinstance(each, list):
                found.changes += (change for change in each if since is None or change.when >= since)
            else:
                found.problems.append(each)
    found.changes.sort(key=_order)
    return found


def _order(change: Change) -> tuple[datetime, datetime, str]:
    """Return the sort key: a store states whole seconds, so within one the authors' clocks decide."""
    return change.when.replace(microsecond=0), change.recorded, change.name


def _dataset(key: str) -> str | None:
    """Return the dataset of a record, a tombstone, a move of a tag or a description; None for other keys."""
    if found := parse_record_key(key) or parse_tombstone_key(key):
        return found[0]
    other = parse_tag_key(key) or parse_description_key(key)
    return other.dataset if other else None


def _changes(repo: RepositoryCore, info: ObjectInfo) -> Iterator[Change]:
    if version := parse_record_key(info.key):
        yield _publication(repo.records.read(*version, info).record, info.modified)
    elif version := parse_tombstone_key(info.key):
        found = repo.records.tombstone(*version)
        if found is None:
            return
        if found.was is not None:
            yield _publication(found.was, None)
        yield Change(
            action="delete",
            dataset=found.dataset,
            label=found.label,
            author=found.author,
            recorded=found.deleted,
            stored=info.modified,
            text=found.reason,
        )
    elif key := parse_tag_key(info.key):
        yield _move(repo.tags.read(*key), info.modified)
    elif described := parse_description_key(info.key):
        yield _description(repo.descriptions.read(*described), info.modified)


def _publication(record: Record, stored: datetime | None) -> Change:
    return Change(
        action="publish",
        dataset=record.dataset,
        label=record.label,
        author=record.author,
        recorded=record.created,
        stored=stored,
        text=record.message,
    )


def _description(found: Description, stored: datetime | None) -> Change:
    return Change(
        action="describe",
        dataset=found.dataset,
        label=found.label,
        author=found.author,
        recorded=found.created,
        stored=stored,
        text=found.text,
    )


def _move(move: TagMove, stored: datetime | None) -> Change:
    return Change(
        action="untag" if move.label is None else "tag",
        dataset=move.dataset,
        label=move.label,
        tag=move.tag,
        author=move.author,
        recorded=move.created,
        stored=stored,
        text=move.reason,
        protected=move.protected,
    )
