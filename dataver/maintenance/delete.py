"""Deletion of versions: of their names immediately, of their bytes by `gc` if no other version needs them.

Order: tags that point to a version → its tombstone → its record. The tombstone, created exclusively, deletes
the version; a crash

    before it    leaves a version without its tags; a repeated call completes the deletion
    after it     leaves a record that is ignored; a repeated call, or `gc`, removes it

Other versions are not affected, since `gc` keeps all objects that they need. Runs stay linked to the name and
the digest, and the tombstone contains the record, so lineage still resolves.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from dataver.errors import Conflict, NotFound
from dataver.formats.tombstone import Tombstone
from dataver.repository.create_once import Outcome, create_once
from dataver.repository.layout import record_key, tombstone_key
from dataver.repository.records import Published
from dataver.repository.repository import RepositoryCore

__all__ = ["DeletePlan", "VersionDeletion", "execute_delete", "plan_delete", "write_tombstone"]

_TRIES: Final = 3


@dataclass(frozen=True)
class VersionDeletion:
    """A version to delete, and its dependents.

    Attributes:
        published: its record.
        tags: tags that point to it.
        children: versions made from it that are kept; the deletion does not affect them.
        runs: keys of runs linked to it; None if unknown.
    """

    published: Published
    tags: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    runs: list[str] | None = None

    @property
    def ref(self) -> str:
        """Its name: `dataset@label`."""
        return self.published.ref


@dataclass(frozen=True)
class DeletePlan:
    """Plan of a deletion.

    Attributes:
        versions: the versions to delete, oldest first.
        dataset: the name of the dataset, if all of it is deleted.
    """

    versions: list[VersionDeletion]
    dataset: str | None = None

    @property
    def tagged(self) -> list[str]:
        """The tags to delete, as `dataset@tag`."""
        return [f"{each.published.record.dataset}@{tag}" for each in self.versions for tag in each.tags]


def plan_delete(repo: RepositoryCore, ref: str, *, dataset: bool = False) -> DeletePlan:
    """Plan the deletion of a version, or of a whole dataset.

    Args:
        repo: the repository.
        ref: a version; with `dataset`, the name of a dataset.
        dataset: delete all versions of the dataset.

    Raises:
        NotFound: no such version or dataset.
    """
    if dataset:
        doomed = repo.records.versions(ref)
        if not doomed:
            repo.resolve(ref)  # raises an error with similar names
    else:
        doomed = [repo.resolve(ref)]
    going = {each.record_id for each in doomed}
    name = doomed[0].record.dataset
    tags = repo.tags.current(name)
    children: dict[str, list[str]] = {}
    for each in _all_records(repo):
        for parent in each.record.parents if each.record_id not in going else ():
            children.setdefault(parent.record, []).append(each.ref)
    return DeletePlan(
        [
            VersionDeletion(
                each,
                sorted(tag for tag, move in tags.items() if move.label == each.record.label),
                sorted(children.get(each.record_id, ())),
            )
            for each in doomed
        ],
        ref if dataset else None,
    )


def execute_delete(
    repo: RepositoryCore, plan: DeletePlan, *, author: str, reason: str = "", force: bool = False
) -> list[Tombstone]:
    """Delete the versions of a plan; a repeated call completes an interrupted one.

    Raises:
        Conflict: a version has a tag and `force` is not set; nothing was deleted.
    """
    if plan.tagged and not force:
        raise Conflict(
            f"{_listing(plan.tagged)} would point to nothing.",
            hint="move or remove the tag, or delete with --force",
        )
    tombstones = []
    for each in plan.versions:
        dataset = each.published.record.dataset
        for tag, move in repo.tags.current(dataset).items():
            if move.label == each.published.record.label:
                if tag not in each.tags and not force:
                    raise Conflict(f"{dataset}@{tag} was moved to {each.ref} meanwhile.", hint="try again")
                _remove_tag(repo, dataset, tag, author)
        tombstones.append(write_tombstone(repo, each.published, author=author, reason=reason))
    return tombstones


def write_tombstone(repo: RepositoryCore, published: Published, *, author: str, reason: str) -> Tombstone:
    """Replace a version's record by a tombstone.

    Returns:
        The tombstone; of concurrent deletions, the first one.
    """
    record = published.record
    tombstone = Tombstone(
        dataset=record.dataset,
        label=record.label,
        record=published.record_id,
        tree=record.tree,
        deleted=datetime.now(UTC),
        author=author,
        reason=reason,
        write_id=os.urandom(16).hex(),
        was=record,
    )
    key = tombstone_key(record.dataset, record.label)
    if create_once(repo.store, key, tombstone.encode()) is Outcome.LOST:
        tombstone = repo.records.tombstone(record.dataset, record.label) or tombstone
    remove_record(repo, record.dataset, record.label)
    return tombstone


def remove_record(repo: RepositoryCore, dataset: str, label: str) -> None:
    """Remove the record of a version that has a tombstone."""
    repo.store.delete(record_key(dataset, label))


def _all_records(repo: RepositoryCore) -> Iterable[Published]:
    for _ in range(_TRIES):
        try:
            return repo.records.many(repo.records.everything())
        except NotFound:
            continue  # another process deletes, too
    return repo.records.many(repo.records.everything())


def _remove_tag(repo: RepositoryCore, dataset: str, tag: str, author: str) -> None:
    try:
        repo.tags.remove(dataset, tag, author=author, write_id=os.urandom(16).hex())
    except NotFound:
        return  # another process removed it


def _listing(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
