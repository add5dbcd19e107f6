"""The lineage of one repository: the object behind `repo.lineage`, with all queries.

The idea: queries only use the local index, after `refresh` has updated it from the repository, and the unsent
events of this machine. If the repository cannot be reached, the index is used as it is, and `refresh` returns
the error. Keeps invariant 5: the index can be deleted at any time.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from datetime import timedelta
from threading import RLock
from typing import TYPE_CHECKING, Any

from dataver.arguments import check_range
from dataver.errors import InvalidInput, NotFound, StoreError
from dataver.formats.canonical_json import is_hex
from dataver.lineage.queries.resolve import find_run, find_version
from dataver.lineage.queries.rows import versions_of
from dataver.lineage.queries.runs import RunFilter, describe_run, list_runs
from dataver.progress import SILENT, Progress
from dataver.repository import ref_text
from dataver.tree.selection import Given, path_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from dataver.lineage.index.compact import CompactionPlan, CompactionReport
    from dataver.lineage.index.index import LineageIndex
    from dataver.lineage.index.pull import PullReport
    from dataver.lineage.queries.compare import Comparison, Pair
    from dataver.lineage.queries.content import Covers
    from dataver.lineage.queries.overview import DatasetOverview
    from dataver.lineage.queries.reproduce import Reading
    from dataver.lineage.queries.results import (
        FileAnswer,
        IndexedLink,
        IndexedRun,
        RunAnswer,
        Tainted,
        VersionAnswer,
    )
    from dataver.lineage.queries.versions import Graph
    from dataver.lineage.verify import LineageVerification
    from dataver.repository import Ref, RepositoryCore
    from dataver.tree import Change

# Imports in functions: each question needs another part of `queries`.

__all__ = ["Lineage"]

_FRESH = 2.0  # seconds until the next pull: the queries of one script pull once
_SHORTEST = 8  # minimum hex digits of a typed digest


class Lineage:
    """Lineage of a repository: the runs that consumed and produced its versions. See `Repository.lineage`.

    Every query updates the index first; if that fails, it uses the index as it is. Threads may share it;
    their queries wait for each other.

        for run in repo.lineage.runs(version="vision/cats@1.0.0"):
            print(run.key, run.name, run.outcome)
        tainted = repo.lineage.impact("vision/cats@1.0.0", include="bad/**")

    Attributes:
        unsent: the error of the last attempt to send this machine's records, or None; they are kept, and
            included in every query on this machine.
    """

    def __init__(self, repository: RepositoryCore) -> None:
        self._repository = repository
        self._opened: LineageIndex | None = None
        self._lock = RLock()  # held while the index is used
        self._refreshed = -_FRESH
        self._problem: str | None = None
        self.unsent: str | None = None

    def __repr__(self) -> str:
        return f"Lineage({self._repository.url!r})"

    def close(self) -> None:
        """Close the index."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    # maintenance

    def sync(self, *, full: bool = False, progress: Progress = SILENT) -> PullReport:
        """Send the records of this machine, and fetch those of others.

        Args:
            full: check every object again, not only those newer than the last pull.
            progress: receives objects.

        Raises:
            StoreError: the repository cannot be reached; unsent records remain queued.
        """
        from dataver.lineage.index.pull import pull
        from dataver.lineage.record.sender import send_waiting

        self.unsent = send_waiting(self._repository)
        with self._lock:
            report = pull(self._repository, self._index, full=full, progress=progress)
            self._refreshed, self._problem = time.monotonic(), None
        return report

    def rebuild(self, progress: Progress = SILENT) -> PullReport:
        """Rebuild the index from the repository; the old one is replaced when the new one is complete.

        Raises:
            StoreError: the repository cannot be reached; the old index remains.
        """
        from dataver.lineage.index.pull import rebuild

        self.close()
        report = rebuild(self._repository, progress=progress)
        self._refreshed, self._problem = time.monotonic(), None
        return report

    def compact(
        self, *, older_than: timedelta | None = None, plan_only: bool = False, progress: Progress = SILENT
    ) -> tuple[CompactionPlan, CompactionReport | None]:
        """Bundle the repository's many small lineage objects into few; no event is lost.

        Args:
            older_than: minimum age of events; None means three days.
            plan_only: return the plan without executing it.
            progress: receives objects.

        Returns:
            The plan, and the report, or None if it was not executed.

        Raises:
            InvalidInput: `older_than` is negative.
            StoreError: the store cannot be reached or written; only bundled events were deleted.
        """
        from dataver.lineage.index.compact import AGE, execute_compaction, plan_compaction

        check_range("older_than", older_than, timedelta(0))
        plan = plan_compaction(self._repository, older_than=AGE if older_than is None else older_than)
        if plan_only or not plan.groups:
            return plan, None
        return plan, execute_compaction(self._repository, plan, progress=progress)

    def verify(self, progress: Progress = SILENT) -> LineageVerification:
        """Read all lineage of the repository, and report damaged and missing objects; read-only.

        Raises:
            StoreError: the store cannot be reached.
        """
        from dataver.lineage.verify import verify_lineage

        return verify_lineage(self._repository, progress)

    def refresh(self, progress: Progress = SILENT) -> str | None:
        """Update the index; return the error if that failed, else None."""
        with self._lock:
            if time.monotonic() - self._refreshed >= _FRESH:
                try:
                    self.sync(progress=progress)
                except StoreError as error:
                    self._refreshed, self._problem = time.monotonic(), error.message
            return self._problem

    # queries

    def run(self, run: str) -> RunAnswer:
        """Return a run with its facts, and the versions that it consumed and produced.

        Args:
            run: its id in any of its systems, as `mlflow:4f1c…`, or an unambiguous prefix.

        Raises:
            NotFound: there is no such run.
            InvalidInput: several runs match.
        """
        with self._asking() as db:
            return describe_run(db, run)

    def runs(
        self,
        *,
        version: Ref | None = None,
        system: str | None = None,
        name: str | None = None,
        find: str | None = None,
        user: str | None = None,
        host: str | None = None,
        commit: str | None = None,
        outcome: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        everything: bool = False,
        limit: int | None = None,
    ) -> list[IndexedRun]:
        """Return runs, latest first. An argument that is None matches all runs.

        Args:
            version: runs linked to this version, or without a selector to any version of the dataset.
            system: runs of this system, such as `mlflow` or `slurm`, or of one context, such as `slurm:17`.
            name: text in the run's name.
            find: text in the run's name, or the beginning of its key or id or of those of its contexts.
            user: the user who started it.
            host: its machine.
            commit: the start of a git commit.
            outcome: `finished`, `failed`, `killed`, or `open` for a run that has not ended.
            since: started at this time (aware) or later.
            until: started before this time (aware).
            everything: also list runs whose links were assigned to another run.
            limit: the maximum number of runs; None means all.

        Raises:
            InvalidInput: a time has no time zone, there is no such outcome, or the limit is negative.
            NotFound: there is no such version or dataset.
        """
        check_range("limit", limit, 0)
        chosen = RunFilter(
            version=None if version is None else ref_text(version),
            system=system,
            name=name,
            find=find,
            user=user,
            host=host,
            commit=commit,
            outcome=outcome,
            since=since,
            until=until,
            everything=everything,
        )
        with self._asking() as db:
            return list_runs(db, chosen, limit)

    def version(self, ref: Ref) -> VersionAnswer:
        """Return the runs that consumed or produced a version, its parents and its children.

        Raises:
            NotFound: there is no such version.
        """
        from dataver.lineage.queries.versions import describe_version

        with self._asking() as db:
            return describe_version(db, ref_text(ref))

    def overview(self) -> dict[str, DatasetOverview]:
        """Return the sizes of the versions of each dataset, and the number of runs that used them."""
        from dataver.lineage.queries.overview import overview

        with self._asking() as db:
            return overview(db)

    def graph(
        self,
        ref: Ref,
        *,
        up: bool = True,
        down: bool = True,
        depth: int | None = None,
        limit: int | None = None,
    ) -> Graph:
        """Return ancestors and descendants of a version, through runs, parents and children.

        Args:
            ref: the version.
            up: include the ancestors.
            down: include the descendants.
            depth: the maximum number of edges from the version; None means all.
            limit: the maximum number of versions and runs, the nearest ones; None means all.

        Raises:
            NotFound: there is no such version.
            InvalidInput: the depth or the limit is negative.
        """
        from dataver.lineage.queries.versions import graph_of_version

        check_range("depth", depth, 0)
        check_range("limit", limit, 0)
        with self._asking() as db:
            return graph_of_version(db, ref_text(ref), up=up, down=down, depth=depth, limit=limit)

    def graph_of_run(
        self,
        run: str,
        *,
        up: bool = True,
        down: bool = True,
        depth: int | None = None,
        limit: int | None = None,
    ) -> Graph:
        """Return ancestors and descendants of a run.

        Args:
            run: its id, as for `run`.
            up: include the ancestors.
            down: include the descendants.
            depth: the maximum number of edges from the run; None means all.
            limit: the maximum number of versions and runs, the nearest ones; None means all.

        Raises:
            NotFound: there is no such run.
            InvalidInput: several runs match, or the depth or the limit is negative.
        """
        from dataver.lineage.queries.versions import graph_of_run

        check_range("depth", depth, 0)
        check_range("limit", limit, 0)
        with self._asking() as db:
            return graph_of_run(db, find_run(db, run).number, up=up, down=down, depth=depth, limit=limit)

    def graph_of_all(self, limit: int) -> Graph:
        """Return the newest versions and runs, up to a number of both, and the edges between them.

        Raises:
            InvalidInput: the limit is negative.
        """
        from dataver.lineage.queries.versions import graph_of_all

        check_range("limit", limit, 0)
        with self._asking() as db:
            return graph_of_all(db, limit)

    def packages(self, answer: RunAnswer) -> list[str]:
        """Return the packages that were installed in a run, as `name==version`; empty if they are unknown."""
        digest = answer.facts.get("packages")
        if not (isinstance(digest, str) and is_hex(digest, 64)):
            return []
        try:
            data = self._repository.events.attachment(digest)
        except NotFound:
            return []
        return data.decode("utf-8", "replace").splitlines()

    def file(self, what: str | Path, *, by: str | None = None, limit: int | None = None) -> FileAnswer:
        """Return all versions with a content, under any name, and all runs that read it.

        Args:
            what: a local file, else a path in versions, else the prefix of a digest (hex).
            by: what it is: `local`, `path` or `digest`; None means the first of them that exists.
            limit: maximum number of reads by runs, the latest ones; None means all.

        Raises:
            NotFound: no version ever contained it.
            InvalidInput: the limit is negative.
        """
        from dataver.lineage.queries.content import contents_at, contents_like, describe_content
        from dataver.lineage.version_contents import content_of_file

        check_range("limit", limit, 0)
        text, covers = os.fspath(what), self._covers()
        with self._asking(changes=True) as db:
            contents = []
            if by in (None, "local") and os.path.isfile(text):  # noqa: PTH113  # never raises
                contents = [content_of_file(text)]
            elif by in (None, "path"):
                contents = contents_at(db, path_of(text))
            digits = len(text) >= _SHORTEST and is_hex(text.lower(), len(text))
            if not contents and by in (None, "digest") and digits:
                contents = contents_like(db, text.lower())
            answer = describe_content(db, text, contents, covers, limit)
        if not answer.holdings:
            raise NotFound(
                f"no version in {self._repository.url} ever contained '{text}'.",
                hint="give a local file, a path in versions, or at least 8 digits of a digest",
            )
        return answer

    def impact(self, ref: Ref, include: Given | None = None, *, conservative: bool = False) -> Tainted:
        """Return the runs and versions that are tainted if a version, or matching files of it, are incorrect.

        Args:
            ref: the version.
            include: patterns of the incorrect files; None means all files.
            conservative: count children of tainted versions as tainted, even if runs produced them from other
                data.

        Raises:
            NotFound: there is no such version, or the paths of a deleted one are unknown.
            PathNotFound: a pattern matches no file of the version.
        """
        from dataver.lineage.queries.impact import impact_of_contents, impact_of_version
        from dataver.lineage.version_contents import chosen_contents

        with self._asking(changes=True) as db:
            number = find_version(db, ref_text(ref))
            if include is None:
                return impact_of_version(db, number, conservative=conservative)
            version = versions_of(db, [number])[number]
        contents = chosen_contents(self._repository, self._asking, version, include)
        with self._asking(changes=True) as db:
            return impact_of_contents(db, contents, self._covers(), conservative=conservative)

    def compare(self, first: str, second: str) -> Comparison:
        """Return common data and differences of the inputs of two runs, by content, not by name.

        Args:
            first: a run's id, as for `run`.
            second: another run's id.

        Raises:
            NotFound: there is no such run.
            InvalidInput: several runs match.
            StoreError: trees that are needed for the comparison cannot be read.
        """
        from dataver.lineage.queries.compare import compare_inputs
        from dataver.lineage.queries.reproduce import parts_read

        with self._asking() as db:
            runs = describe_run(db, first), describe_run(db, second)
        return compare_inputs(
            *runs, lambda link: parts_read(self._repository, link, self._listing), self._known
        )

    def changes(self, pair: Pair) -> Iterator[Change]:
        """Yield the differences between the two sides of a pair of `compare`.

        Raises:
            InvalidInput: one of the runs did not read the dataset.
            NotFound: a version's tree is missing.
        """
        if pair.first is None or pair.second is None:
            raise InvalidInput(f"one of the runs did not read {pair.dataset}.")
        if pair.changes is None:
            raise NotFound(f"the tree of {pair.first.ref} or {pair.second.ref} is missing.")
        return iter(pair.changes)

    def readings(self, run: str) -> list[Reading]:
        """Return the exact versions that a run read, with the part of each, as for `Repository.fetch_run`.

        Raises:
            NotFound: there is no such run, it read nothing, or a version is missing.
            IntegrityError: a label refers to another version now.
            InvalidInput: several runs match.
        """
        from dataver.lineage.queries.reproduce import readings_of

        return readings_of(self._repository, self.run(run), self._listing)

    def export(self) -> Iterator[dict[str, Any]]:
        """Yield all lineage as OpenLineage run events."""
        from dataver.lineage.openlineage import openlineage_events

        with self._asking() as db:
            yield from openlineage_events(db, self._repository.url)

    # internal

    @property
    def _index(self) -> LineageIndex:
        if self._opened is None:
            from dataver.lineage.index.index import LineageIndex

            self._opened = LineageIndex.open(self._repository.local_name)
        return self._opened

    @contextmanager
    def _asking(self, *, changes: bool = False) -> Iterator[sqlite3.Connection]:
        """Update the index and open it, with unsent events of this machine included.

        With `changes`, complete the changes of each version.
        """
        from dataver.lineage.record.queue_file import queue_folder, waiting

        with self._lock:
            self.refresh()
            if changes and self._problem is None:
                from dataver.lineage.index.changes import fill_changes

                fill_changes(self._repository, self._index)
            events = waiting(queue_folder(self._repository.local_name))
            with self._index.overlay(events) if events else self._index.asking() as db:
                yield db

    def _known(self, link: IndexedLink) -> set[bytes] | None:
        from dataver.lineage.version_contents import contents_read

        return contents_read(self._asking, self._covers(), link)

    def _covers(self) -> Covers:
        from dataver.lineage.queries.content import Covers

        return Covers(self._listing)

    def _listing(self, digest: str) -> list[str]:
        """Fetch the paths of a listing attachment."""
        from dataver.lineage.queries.content import parse_listing

        return parse_listing(self._repository.events.attachment(digest))
