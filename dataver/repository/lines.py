"""Lines of a dataset: the version that `latest` refers to, and the version that a new one must contain.

A dataset has one main line and any number of forks. A version that is published must contain the version
before it on its line, i.e. have it among its ancestors. Otherwise `find_position` raises `Behind`, unless a
fork is allowed. For the rules and their reasons see `docs/decisions/0017-publishing-upon-the-latest.md`.
"""

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from dataver.errors import Conflict, IntegrityError
from dataver.formats.names import MAX_NAME, next_label, parse_semver
from dataver.formats.record import Record
from dataver.machine.store_clock import Stopwatch
from dataver.repository.ancestry import Ancestry
from dataver.repository.records import Labels, Listed, Published, Records, VersionNames

__all__ = ["Behind", "Position", "busy", "find_position", "latest", "latest_of_each"]

_FORK = "-fork."
_TICK = timedelta(microseconds=1)  # the resolution of times in records


class Behind(Conflict):
    """The version before on the line is not among the ancestors of the one to be published.

    Attributes:
        latest: that version.
    """

    def __init__(self, record: Record, latest: Published) -> None:
        start = ", ".join(f"{each.dataset}@{each.label}" for each in record.parents) or "nothing"
        super().__init__(
            f"{latest.ref} was published, and this version of {record.dataset} was made from {start}.",
            hint="apply its changes to that version with --rebase, or publish beside it with --allow-fork",
        )
        self.latest = latest


def busy(dataset: str) -> Conflict:
    """Return the error for a writer that other writers preceded repeatedly."""
    return Conflict(f"other processes keep publishing versions of {dataset}.", hint="try again")


class Position(NamedTuple):
    """Position of a new version in its dataset.

    Attributes:
        label: its label.
        line: the name of its fork; empty on the main line.
        before: the version before it on its line, or for a new fork the latest version.
        names: the labels of the dataset for which the position was determined.
        contained: whether `before` is among its ancestors.
        found: time since the position was determined.
        newest: the time of the newest of its other parents, if there are any.
    """

    label: str
    line: str
    before: Published | None
    names: VersionNames
    contained: bool
    found: Stopwatch
    newest: datetime | None = None

    @property
    def state(self) -> str:
        """The state of the dataset for which the position was determined."""
        return self.names.state

    def place(self, record: Record) -> Record:
        """Return a record with this label and line, created later than its parents and the version before it.

        Among labels without numbers the newest is the latest, and ancestors are searched by time. Clock
        differences must not change either.
        """
        forks = self.line == self.label and bool(self.line)
        earlier = [self.before.record.created] if self.before and not forks else []
        earlier += [self.newest] if self.newest else []
        created = max([record.created, *(each + _TICK for each in earlier)])
        return replace(record, label=self.label, line=self.line, created=created)


def latest(records: Records, dataset: str, labels: Labels) -> Published:
    """Return the version that `dataset@latest` refers to, given the labels of the dataset, at least one.

    It is the newest among the highest numbered label and all labels without a number. Forks are ignored
    unless there is no other version.

    Raises:
        NotFound: all of them were deleted since they were listed.
    """
    found = latest_of_each(records, {dataset: labels}).get(dataset)
    return found or records.get(dataset, max(labels))  # raises an error that names it


def latest_of_each(records: Records, datasets: Mapping[str, Labels]) -> dict[str, Published]:
    """Return the latest version of each of some datasets, given their labels.

    Versions that were deleted since they were listed do not count.
    """
    refs: list[Listed] = []
    for dataset, labels in datasets.items():
        chosen = [label for label in labels if parse_semver(label) is None]
        chosen += [label for _, label in _numbered(labels)[:1]]
        refs += [(dataset, label, labels[label]) for label in chosen]
    found: dict[str, list[Published]] = defaultdict(list)
    for each in records.there(refs):
        found[each.record.dataset].append(each)
    if sum(map(len, found.values())) < len(refs):
        there = {(name, each.record.label) for name in found for each in found[name]}
        gone = {(name, label) for name, label, _ in refs} - there
        left = {
            name: {label: info for label, info in labels.items() if (name, label) not in gone}
            for name, labels in datasets.items()
        }
        return latest_of_each(records, {name: labels for name, labels in left.items() if labels})
    return {dataset: _newest(records, datasets[dataset], each) for dataset, each in found.items()}


def _newest(records: Records, labels: Labels, candidates: list[Published]) -> Published:
    for _, label in _numbered(labels)[1:]:
        if not candidates[-1].record.line:
            break
        # the candidate is a fork
        candidates += records.there([(candidates[-1].record.dataset, label, labels[label])])
    return max([each for each in candidates if not each.record.line] or candidates, key=_age)


def find_position(
    records: Records,
    record: Record,
    *,
    label: str | None,
    bump: str = "patch",
    mirrors: bool = False,
    allow_fork: bool = False,
) -> Position:
    """Return the position at which a record would be published now.

    Args:
        records: the published records.
        record: the record; its own label is ignored.
        label: the label that the user chose; None means the next free one.
        bump: the part of the highest label that is incremented.
        mirrors: a version without a parent in the dataset is behind if a version exists; otherwise it
            starts a new history.
        allow_fork: publish beside the latest version instead of raising `Behind`.

    Raises:
        Conflict: the label belongs to a version or to a deleted version, or the dataset was renamed.
        Behind: the previous version on the line is not among its ancestors.
    """
    found = Stopwatch()
    names = records.names(record.dataset)
    if not names.labels:
        records.refuse_renamed(record.dataset)
    taken = {*names.labels, *names.deleted}
    if label is not None:
        _refuse_taken(record.dataset, label, names)
    chosen = label or next_label(taken, bump)
    before = _before(records, names, label)
    own = [parent for parent in record.parents if parent.dataset == record.dataset]
    ancestry = Ancestry(records, {record.dataset: names.labels})
    newest = _newest_parent(ancestry, record, before)
    if before is None or ancestry.descends(own, before):
        return Position(chosen, "", before, names, True, found, newest)
    parents = [each for ref in own if (each := ancestry.parent(ref)) is not None]
    if parents and all(each.record.line for each in parents):
        line = parents[-1].record.line
        before = _end_of_fork(records, parents[-1])
        if ancestry.descends(own, before):
            return Position(label or _fork_label(line, taken), line, before, names, True, found, newest)
    elif not own and not mirrors and not allow_fork:
        return Position(chosen, "", before, names, False, found, newest)
    if not allow_fork:
        raise Behind(record, before)
    chosen = label or _fork_label((own[0] if own else before.record).label, taken)
    return Position(chosen, chosen, before, names, False, found, newest)


def _newest_parent(ancestry: Ancestry, record: Record, before: Published | None) -> datetime | None:
    """Return the time of the newest readable parent of a record, apart from the version before it."""
    times = []
    for ref in record.parents:
        if before is None or ref.record != before.record_id:
            with contextlib.suppress(IntegrityError):  # of another dataset, perhaps
                found = ancestry.parent(ref)
                times += [found.record.created] if found else []
    return max(times, default=None)


def _end_of_fork(records: Records, start: Published) -> Published:
    """Return the newest version of the fork of a version."""
    versions = records.versions(start.record.dataset)
    return max((each for each in versions if each.record.line == start.record.line), key=_age, default=start)


def _before(records: Records, names: VersionNames, label: str | None) -> Published | None:
    """Return the version on the main line before a new one with this label.

    Below the highest numbered label this is the next lower one: 1.0.4 for 1.0.5, beside 2.0.0.
    """
    number = parse_semver(label) if label is not None else None
    numbered = _numbered(names.labels)
    if number is None or not numbered or number > numbered[0][0]:
        return latest(records, names.dataset, names.labels) if names.labels else None
    for other, lower in numbered:
        if other < number:
            for found in records.there([(names.dataset, lower, names.labels[lower])]):
                if not found.record.line:
                    return found
    return None


def _refuse_taken(dataset: str, label: str, names: VersionNames) -> None:
    if label in names.deleted:
        what = "was deleted, and labels are never reused"
    elif label in names.labels:
        what = "is already published and is never overwritten"
    else:
        return
    raise Conflict(f"{dataset}@{label} {what}.", hint="finalize again with another label, then upload")


def _fork_label(stem: str, taken: set[str]) -> str:
    """Return the first free label of a fork that starts at `stem`: `1.0.0-fork.1`."""
    stem = stem.partition(_FORK)[0][: MAX_NAME - 20]
    number = 1
    while f"{stem}{_FORK}{number}" in taken:
        number += 1
    return f"{stem}{_FORK}{number}"


def _numbered(labels: Iterable[str]) -> list[tuple[tuple[int, int, int], str]]:
    """Return the numbered labels with their numbers, highest first."""
    found = ((parse_semver(label), label) for label in labels)
    return sorted(((number, label) for number, label in found if number is not None), reverse=True)


def _age(each: Published) -> tuple[object, ...]:
    return each.record.created, parse_semver(each.record.label) or (), each.record.label
