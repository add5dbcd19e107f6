"""Deleting versions: their names go at once, their bytes when `gc` finds that nobody else needs them.

Order: tags that point to a version → its tombstone → its record. With the tombstone, created exclusively, the
version is deleted; a crash

    before it    leaves a version that lost tags; a repeat finishes
    behind it    leaves a record that no longer counts; a repeat, or `gc`, removes it

Deleting harms no other version: each one's needs are marked for itself. Runs stay linked to the name and the
digest, and the tombstone keeps the record, so lineage still resolves.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from dataver.errors import Conflict, NotFound
from dataver.formats.tombstone import Tombstone
from dataver.repository.layout import record_key, tombstone_key
from dataver.repository.publish import Outcome, create_once
from dataver.repository.records import Published
from dataver.repository.repository import Repository

__all__ = ["DeletePlan", "Doomed", "bury", "execute_delete", "plan_delete"]

_TRIES: Final = 3


@dataclass(frozen=True)
class Doomed:
    """A version that is to be deleted, and who depends on it.

    Attributes:
        published: its record.
        tags: tags that point to it.
        children: versions made from it that stay; deleting does not harm them.
        runs: keys of runs linked to it; None where that is not known.
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
    """What a deletion would do.

    Attributes:
        versions: what goes, oldest first.
        dataset: the name of the dataset, if all of it goes.
    """

    versions: list[Doomed]
    dataset: str | None = None

    @property
    def tagged(self) -> list[str]:
        """The tags that would go, as `dataset@tag`."""
        return [f"{each.published.record.dataset}@{tag}" for each in self.versions for tag in each.tags]


def plan_delete(repo: Repository, ref: str, *, dataset: bool = False) -> DeletePlan:
    """Find out what deleting a version, or a whole dataset, means.

    Args:
        repo: the repository.
        ref: a version; with `dataset` on, a dataset's name.
        dataset: delete all its versions.

    Raises:
        NotFound: there is no such version or dataset.
    """
    if dataset:
        doomed = repo.records.versions(ref)
        if not doomed:
            repo.resolve(ref)  # raises, and says what comes near
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
            Doomed(
                each,
                sorted(tag for tag, move in tags.items() if move.label == each.record.label),
                sorted(children.get(each.record_id, ())),
            )
            for each in doomed
        ],
        ref if dataset else None,
    )


def execute_delete(
    repo: Repository, plan: DeletePlan, *, author: str, reason: str = "", force: bool = False
) -> list[Tombstone]:
    """Delete the versions of a plan; repeating it finishes what was begun.

    Raises:
        Conflict: a version has a tag and `force` is off; nothing was deleted.
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
                    raise Conflict(f"{dataset}@{tag} was put on {each.ref} just now.", hint="look again")
                _remove_tag(repo, dataset, tag, author)
        tombstones.append(bury(repo, each.published, author=author, reason=reason))
    return tombstones


def bury(repo: Repository, published: Published, *, author: str, reason: str) -> Tombstone:
    """Put a tombstone in a version's place.

    Returns:
        The tombstone: of two deletions at once, the one that came first.
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


def remove_record(repo: Repository, dataset: str, label: str) -> None:
    """Remove the record of a version that has a tombstone."""
    repo.store.delete(record_key(dataset, label))
    repo.records.forget(dataset, label)


def _all_records(repo: Repository) -> Iterable[Published]:
    for _ in range(_TRIES):
        refs = [(name, label) for name, labels in repo.records.datasets().items() for label in labels]
        try:
            return repo.records.many(refs)
        except NotFound:
            continue  # somebody else deletes, too
    return repo.records.many(refs)


def _remove_tag(repo: Repository, dataset: str, tag: str, author: str) -> None:
    try:
        repo.tags.remove(dataset, tag, author=author, write_id=os.urandom(16).hex())
    except NotFound:
        return  # somebody else did


def _listing(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
