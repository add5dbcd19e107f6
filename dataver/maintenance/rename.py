"""Renaming of a dataset: its versions are published under the new name, then deleted under the old one.

Records are immutable and contain their name, so each version gets a new record, with the same tree, label,
time, author, message and metadata; its parents of this dataset are those of the new name. No data is
transferred. Order: records of the new name, oldest first → its descriptions and profiles → its tags → tags
and tombstones of the old name. The tombstones name the new dataset, so that errors for old references contain
it, and nothing is published under the old name. A crash

    before the tombstones    leaves versions under both names
    after some of them       leaves the rest under both names

and a repeated call continues: the write id of a new record is a hash of the old record's id and the new name,
by which it recognises the versions that it has published. Versions that other writers publish under the old
name meanwhile are renamed as well. Runs stay linked to the old name; lineage finds them by content.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from dataver._about import __version__
from dataver.errors import AlreadyExists, Conflict, InvalidInput, NotFound, StoreError
from dataver.formats.names import check_dataset_name
from dataver.formats.record import ParentRef
from dataver.hashing import new_hasher
from dataver.maintenance.delete import write_tombstone
from dataver.repository import Published, RepositoryCore
from dataver.repository.create_once import Outcome, create_once
from dataver.repository.holds import writer_hold
from dataver.repository.layout import PROFILES, description_key, record_key
from dataver.short_repr import short_repr

__all__ = ["RenamePlan", "execute_rename", "plan_rename"]

_ROUNDS: Final = 20  # rounds in which other writers publish under the old name


@dataclass(frozen=True)
class RenamePlan:
    """Plan of a rename, or its result.

    Attributes:
        old: the dataset.
        new: its new name.
        versions: labels of the versions to rename, oldest first.
        tags: labels of the tagged versions, by tag.
        done: labels that an interrupted call has published under the new name.
        problems: what was not renamed, and why: profiles, which can be made again.
    """

    old: str
    new: str
    versions: list[str] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)

    __repr__ = short_repr


def plan_rename(repo: RepositoryCore, old: str, new: str) -> RenamePlan:
    """Plan the renaming of a dataset; after an interrupted call, of the rest.

    Raises:
        NotFound: no such dataset.
        InvalidInput: the new name is not valid, or differs from another one in case only.
        AlreadyExists: the new name has other versions, or had versions with these labels.
    """
    check_dataset_name(old)
    check_dataset_name(new)
    if old == new:
        raise InvalidInput(f"'{new}' is the name of the dataset already.", hint="choose another name")
    found = repo.records.versions(old)
    if not found:
        gone = repo.records.renamed(old)
        if gone is not None and gone.renamed == new:
            return RenamePlan(old, new)  # an earlier call has renamed everything
        repo.resolve(old)  # raises an error with similar names
    names = repo.records.names(new)
    if not names.labels and not names.deleted:
        repo.records.refuse_dataset(new)
    done = [label for label in names.labels if _is_renamed(repo, old, new, label)]
    if len(done) < len(names.labels) and not done:
        raise AlreadyExists(f"there is a dataset '{new}' in {repo.url}.", hint="choose another name")
    for each in found:
        label = each.record.label
        if label in names.deleted or (label in names.labels and label not in done):
            raise AlreadyExists(
                f"{new}@{label} exists or was deleted, and labels are never reused.",
                hint="choose another name",
            )
    tags = {tag: str(move.label) for tag, move in repo.tags.current(old).items()}
    return RenamePlan(old, new, [each.record.label for each in found], tags, done)


def execute_rename(repo: RepositoryCore, plan: RenamePlan, *, author: str) -> None:
    """Rename a dataset; a repeated call completes an interrupted one. Adds to the problems of the plan.

    Raises:
        AlreadyExists: another writer has published under the new name.
        Conflict: other writers keep publishing under the old name, or a version was deleted meanwhile.
    """
    with writer_hold(repo.store, None) as hold:
        hold.establish(lambda _sweeps: None)
        for _ in range(_ROUNDS):
            versions = repo.records.versions(plan.old)
            if not versions and not repo.tags.current(plan.old):
                _carry_descriptions(repo, plan)  # those that were written before the tombstones
                return
            for each in versions:
                _publish(repo, each, plan.new)
            _carry_descriptions(repo, plan)
            _carry_profiles(repo, plan)
            moved = _move_tags(repo, plan, author)
            hold.renew()  # raises an error if this process was suspended until the hold expired
            _delete(repo, plan, versions, moved, author)
    raise Conflict(f"other processes keep publishing versions of {plan.old}.", hint="try again")


def _publish(repo: RepositoryCore, version: Published, new: str) -> None:
    """Create the record of a version under the new name, unless it exists."""
    record = version.record
    parents = [_parent(repo, each, record.dataset, new) for each in record.parents]
    copy = replace(
        record,
        dataset=new,
        parents=tuple(parents),
        tool=f"dataver {__version__}",
        write_id=_write_id(version.record_id, new),
    )
    if create_once(repo.store, record_key(new, record.label), copy.encode()) is Outcome.LOST:
        there = repo.records.read_back(new, record.label)
        if there is None or there.record.write_id != copy.write_id:
            raise AlreadyExists(
                f"another version was published as {new}@{record.label}.", hint="choose another name"
            )


def _parent(repo: RepositoryCore, parent: ParentRef, old: str, new: str) -> ParentRef:
    """Return a parent under the new name; unchanged if it was not renamed, such as a deleted one."""
    if parent.dataset != old:
        return parent
    found = repo.records.read_back(new, parent.label)
    if found is None or found.record.write_id != _write_id(parent.record, new):
        return parent
    return ParentRef(new, parent.label, found.record_id, parent.tree)


def _carry_descriptions(repo: RepositoryCore, plan: RenamePlan) -> None:
    """Copy the descriptions of the dataset and its versions to the new name, unless they exist there."""
    for label in [None, *repo.records.names(plan.new).labels]:
        there = None if label is None else repo.records.read_back(plan.new, label)
        if label is not None and there is None:
            continue  # it was deleted meanwhile
        for each in repo.descriptions.history(plan.old, label):
            copy = replace(each, dataset=plan.new, record=None if there is None else there.record_id)
            create_once(repo.store, description_key(plan.new, label, each.number), copy.encode())


def _carry_profiles(repo: RepositoryCore, plan: RenamePlan) -> None:
    """Copy the profiles to the new name; a problem is added to the plan."""
    try:
        for listed in repo.profiles.objects(plan.old):
            repo.profiles.copy(listed, repo.profiles, plan.new)
    except StoreError as error:
        plan.problems[:] = [(PROFILES, error.message)]


def _move_tags(repo: RepositoryCore, plan: RenamePlan, author: str) -> dict[str, int]:
    """Move the tags of the new name to the versions of those of the old one.

    A tag that was moved under the old name since an earlier round, or since an interrupted call, is moved
    again, unless it was also moved under the new name.

    Returns:
        The tags of the old name that are no longer needed, with the numbers of their moves. A tag that
        points to a version that was published meanwhile is moved in the next round.
    """
    reason, done = f"renamed from {plan.old}", dict[str, int]()
    there, tags = repo.tags.current(plan.new), repo.tags.current(plan.old)
    left = repo.records.names(plan.old).labels
    for tag, move in tags.items():
        target, ours = repo.records.read_back(plan.new, str(move.label)), there.get(tag)
        if target is not None and (ours is None or ours.reason == reason):
            protect = move.protected or None  # protection is kept
            same = ours is not None and ours.record == target.record_id
            if not same or (ours and protect and not ours.protected):
                repo.tags.move(target, tag, author=author, protect=protect, force=True, reason=reason)
        if target is not None or move.label not in left:
            done[tag] = move.number
    return done


def _delete(
    repo: RepositoryCore, plan: RenamePlan, versions: Sequence[Published], moved: dict[str, int], author: str
) -> None:
    """Delete the versions of the old name, and its tags that were moved."""
    labels = repo.records.names(plan.new).labels
    for each in versions:
        if each.record.label not in labels:
            raise Conflict(f"{plan.new}@{each.record.label} was deleted meanwhile.", hint="try again")
    reason = f"renamed to {plan.new}"
    for tag, number in moved.items():
        with contextlib.suppress(NotFound, Conflict):  # another process removed or moved it
            repo.tags.remove(plan.old, tag, author=author, force=True, reason=reason, after=number)
    for each in versions:
        write_tombstone(repo, each, author=author, reason=reason, renamed=plan.new)


def _is_renamed(repo: RepositoryCore, old: str, new: str, label: str) -> bool:
    """Return whether a version of the new name is that of the old name with the same label."""
    there = repo.records.read_back(new, label)
    was = repo.records.read_back(old, label)
    gone = repo.records.tombstone(old, label) if was is None else None
    record = was.record_id if was else gone.record if gone else None
    return there is not None and record is not None and there.record.write_id == _write_id(record, new)


def _write_id(record: str, new: str) -> str:
    hasher = new_hasher()
    hasher.update(f"rename {record} {new}".encode())
    return hasher.digest()[:16].hex()
