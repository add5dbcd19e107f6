"""A bucket that keeps versions of its objects: its history, without a copy of a byte.

The idea: a dataset has no versions in a bucket, only objects have. So a version is the state of the bucket at
one moment: at given times, or wherever it was left unchanged for a while.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

from dataver.errors import InvalidInput
from dataver.importers.names import dataset_name
from dataver.importers.source import Source, SourceFile, SourceVersion
from dataver.importers.unchanged import in_line
from dataver.machine.configuration import options_for
from dataver.repository.external_trust import open_place, place_of
from dataver.storage.s3_versions import ObjectVersion, object_versions

__all__ = ["S3VersionsSource"]


class S3VersionsSource(Source):
    """The states of a bucket, or of a prefix in it, as the versions of a dataset.

    Args:
        url: `s3://bucket/prefix`.
        name: the dataset; None names it after the last part of the URL.
        at: `(tag, time)` of the states; a tag may be None. Without any, a state is taken wherever no object
            changed for `gap`; one that may still change is a problem.
        gap: the time without a change that ends a state.
        options: storage options of the bucket.

    Raises:
        InvalidInput: it is not the URL of an S3 bucket.
    """

    kind = "s3-versions"

    def __init__(
        self,
        url: str,
        name: str | None = None,
        *,
        at: Sequence[tuple[str | None, datetime]] = (),
        gap: timedelta = timedelta(hours=1),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(place_of(url))
        if not self.location.startswith("s3://"):
            raise InvalidInput(f"{url} is not the URL of an S3 bucket.", hint="write s3://bucket/prefix")
        self._name = name or dataset_name(self.location.rpartition("/")[2])
        self._at, self._gap = sorted(at, key=lambda each: each[1]), gap
        self.stores = {self.location: options or {}}

    def versions(self) -> Iterator[SourceVersion]:
        """Yield the states, oldest first; one without a change is none."""
        options = {**self.stores[self.location], **(options_for(self.location) or {})}
        found = object_versions(open_place(self.location, self.location, options))
        if all(each.id == "null" for each in found):
            raise InvalidInput(
                f"{self.location} has no objects with versions.",
                hint="does the bucket keep versions? `dataver sync` makes a version of its present state",
            )
        changes = sorted(found, key=lambda each: each.modified)
        ends = self._given(changes) if self._at else self._quiet_ends(changes)
        return in_line(self._version(changes[:end], tags) for end, tags in ends.items())

    def _version(self, changes: Sequence[ObjectVersion], tags: Iterable[str]) -> SourceVersion:
        last = changes[-1].modified
        return SourceVersion(
            key=last.isoformat(),
            dataset=self._name,
            files=partial(self._files, changes),
            message=f"{self.location} at {last:%Y-%m-%d %H:%M:%S} UTC",
            created=last,
            tags=tuple(tags),
        )

    def _given(self, changes: Sequence[ObjectVersion]) -> dict[int, list[str]]:
        """Return how many changes are before each given time, with the tags of that state."""
        ends: dict[int, list[str]] = {}
        for tag, moment in self._at:
            end = sum(each.modified <= moment for each in changes)
            if not end:
                self.problems.append((f"{self.location} at {moment}", "it had no object at that time"))
            else:
                ends.setdefault(end, []).extend([tag] if tag else [])
        return ends

    def _quiet_ends(self, changes: Sequence[ObjectVersion]) -> dict[int, list[str]]:
        times = [each.modified for each in changes]
        pairs = enumerate(pairwise(times), 1)
        ends = [end for end, (this, following) in pairs if following - this > self._gap]
        if not self._gap or datetime.now(UTC) - times[-1] > self._gap:
            ends.append(len(changes))
        else:  # as a version, it would have no place in the history that a later import finds
            reason = (
                f"it changed less than {self._gap} ago; repeat the import later, or name the time with --at"
            )
            self.problems.append((f"the present state of {self.location}", reason))
        return {end: [] for end in ends}

    def _files(self, changes: Sequence[ObjectVersion]) -> Iterator[SourceFile]:
        for each in {change.key: change for change in changes}.values():
            if not each.deleted:
                yield SourceFile(
                    each.key,
                    f"{each.key}?{each.id} {each.modified.isoformat()}",
                    size=each.size,
                    url=f"{self.location}/{each.key}",
                    object_version=each.id,
                )
