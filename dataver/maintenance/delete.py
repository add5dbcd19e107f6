"""Deletion of versions: of their names immediately, of their bytes by `gc` if no other version needs them.

Order: tags that point to a version → its tombstone → its record. The tombstone, created exclusively, deletes
the version; a crash

    before it    leaves a version without its tags; a repeated call completes the deletion
    after it     leaves a record that is ignored; a repeated call, or `gc`, removes it

Other versions are not affected, since `gc` keeps all objects that they need. Runs stay linked to the name and
the digest, and the tombstone contains the record, so lineage still resolves.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from dataver.errors import Conflict, InvalidInput, NotFound
from dataver.formats.tag import TagMove
from dataver.formats.tombstone import Tombstone
from dataver.machine.store_clock import store_now
from dataver.repository.create_once import Outcome, create_once
from dataver.repository.layout import record_key, tombstone_key
from dataver.repository.records import Published
from dataver.repository.repository import RepositoryCore
from dataver.short_repr import short_repr

__all__ = [
    "DeletePlan",
    "DeleteRule",
    "VersionDeletion",
    "execute_delete",
    "plan_delete",
    "refuse_tagged",
    "write_tombstone",
]

_TRIES: Final = 3


class DeleteRule(NamedTuple):
    """Choice among the versions of a dataset: the old ones, without the latest and the tagged ones.

    Attributes:
        keep_last: how many of the newest versions are kept.
        older_than: the age by the store's clock from which a version is old; None means any age.
    """

    keep_last: int = 0
    older_than: timedelta | None = None


@dataclass(frozen=True)
class VersionDeletion:
    """A version to delete, and its dependents.

    Attributes:
        published: its record.
        tags: tags that point to it.
        children: versions made from it that are kept, if they were looked for; the deletion does not affect
            them.
        runs: keys of runs linked to it; None if unknown.
    """

    published: Published
    tags: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    runs: list[str] | None = None

    __repr__ = short_repr

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
        kept: versions that the rule chose and that are not deleted, by `dataset@label`, with the reason.
    """

    versions: list[VersionDeletion]
    dataset: str | None = None
    kept: dict[str, str] = field(default_factory=dict)

    __repr__ = short_repr

    @property
    def tagged(self) -> list[str]:
        """The tags to delete, as `dataset@tag`."""
        return [f"{each.published.record.dataset}@{tag}" for each in self.versions for tag in each.tags]


def plan_delete(
    repo: RepositoryCore,
    refs: Sequence[str],
    *,
    dataset: bool = False,
    rule: DeleteRule | None = None,
    children: bool = True,
) -> DeletePlan:
    """Plan the deletion of versions, of whole datasets, or of the versions of datasets that a rule chooses.

    Args:
        repo: the repository.
        refs: versions; with `dataset` or `rule`, names of datasets.
        dataset: delete all versions of the datasets.
        rule: which versions of the datasets to delete.
        children: find the children, which reads the records of all versions.

    Raises:
        NotFound: no such version or dataset.
        InvalidInput: `refs` is empty.
    """
    if not refs:
        raise InvalidInput(
            "no version to delete was given.", hint="name a version, such as vision/cats@1.0.0"
        )
    kept: dict[str, str] = {}
    if rule is not None:
        doomed = [each for name in refs for each in _chosen(repo, name, rule, kept)]
    elif dataset:
        doomed = [each for name in refs for each in _versions(repo, name)]
    else:
        doomed = [repo.resolve(ref) for ref in refs]
    doomed = list({each.record_id: each for each in doomed}.values())
    tags = {name: repo.tags.current(name) for name in {each.record.dataset for each in doomed}}
    kept_children = _children(repo, {each.record_id for each in doomed}) if doomed and children else {}
    return DeletePlan(
        [
            VersionDeletion(
                each, _tags_of(each, tags[each.record.dataset]), sorted(kept_children.get(each.record_id, ()))
            )
            for each in doomed
        ],
        refs[0] if dataset and len(refs) == 1 else None,
        kept,
    )


def _versions(repo: RepositoryCore, name: str) -> list[Published]:
    """Return the versions of a dataset, oldest first."""
    found = repo.records.versions(name)
    if not found:
        repo.resolve(name)  # raises an error with similar names
    return found


def _chosen(repo: RepositoryCore, name: str, rule: DeleteRule, kept: dict[str, str]) -> list[Published]:
    """Return the versions that a rule chooses, oldest first, and add to `kept` those that it must keep."""
    versions = _versions(repo, name)
    old = versions[: max(0, len(versions) - rule.keep_last)]
    if rule.older_than is not None and old:
        limit = store_now(repo.store) - rule.older_than
        old = [each for each in old if each.record.created < limit]
    last, tags = repo.resolve(name).record_id, repo.tags.current(name)
    for each in old:
        tagged = _tags_of(each, tags)
        if tagged:
            kept[each.ref] = f"tagged {', '.join(tagged)}"
        elif each.record_id == last:
            kept[each.ref] = "the latest version"
    return [each for each in old if each.ref not in kept]


def _tags_of(published: Published, tags: Mapping[str, TagMove]) -> list[str]:
    return sorted(tag for tag, move in tags.items() if move.label == published.record.label)


def refuse_tagged(plan: DeletePlan) -> None:
    """Raise an error if a version of a plan has a tag.

    Raises:
        Conflict: names the tags.
    """
    if plan.tagged:
        raise Conflict(
            f"{_listing(plan.tagged)} would point to nothing.",
            hint="move or remove the tag, or delete with --force",
        )


def execute_delete(
    repo: RepositoryCore, plan: DeletePlan, *, author: str, reason: str = "", force: bool = False
) -> list[Tombstone]:
    """Delete the versions of a plan; a repeated call completes an interrupted one.

    Raises:
        Conflict: a version has a tag and `force` is not set, or a protected tag and there is no reason;
            nothing was deleted.
    """
    if not force:
        refuse_tagged(plan)
    elif not reason.strip():
        for each in plan.versions:
            for tag in each.tags:
                repo.tags.refuse_protected(each.published.record.dataset, tag)
    tombstones = []
    for each in plan.versions:
        dataset = each.published.record.dataset
        for tag, move in repo.tags.current(dataset).items():
            if move.label == each.published.record.label:
                if tag not in each.tags and not force:
                    raise Conflict(f"{dataset}@{tag} was moved to {each.ref} meanwhile.", hint="try again")
                _remove_tag(repo, dataset, tag, author, reason)
        tombstones.append(write_tombstone(repo, each.published, author=author, reason=reason))
    return tombstones


def write_tombstone(
    repo: RepositoryCore, published: Published, *, author: str, reason: str, renamed: str = ""
) -> Tombstone:
    """Replace a version's record by a tombstone; `renamed` is the dataset that has the version now.

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
        renamed=renamed,
    )
    key = tombstone_key(record.dataset, record.label)
    if create_once(repo.store, key, tombstone.encode()) is Outcome.LOST:
        tombstone = repo.records.tombstone(record.dataset, record.label) or tombstone
    remove_record(repo, record.dataset, record.label)
    return tombstone


def remove_record(repo: RepositoryCore, dataset: str, label: str) -> None:
    """Remove the record of a version that has a tombstone."""
    repo.store.delete(record_key(dataset, label))


def _children(repo: RepositoryCore, going: set[str]) -> dict[str, list[str]]:
    """Return the versions made from each version, by record id, without those that are deleted."""
    found: dict[str, list[str]] = {}
    for each in _all_records(repo):
        for parent in each.record.parents if each.record_id not in going else ():
            found.setdefault(parent.record, []).append(each.ref)
    return found


def _all_records(repo: RepositoryCore) -> Iterable[Published]:
    for _ in range(_TRIES):
        try:
            return repo.records.many(repo.records.everything())
        except NotFound:
            continue  # another process deletes, too
    return repo.records.many(repo.records.everything())


def _remove_tag(repo: RepositoryCore, dataset: str, tag: str, author: str, reason: str) -> None:
    try:
        repo.tags.remove(dataset, tag, author=author, force=bool(reason.strip()), reason=reason)
    except NotFound:
        return  # another process removed it


def _listing(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
