"""The lineage of one repository: the object behind `repo.lineage`, which answers every question.

The idea: answers come from the local index alone; before that, `refresh` brings the index up to date with
what the repository and this machine's queue hold. Where the repository cannot be reached, the answer is what
was known at last, and `refresh` says so. Keeps invariant 5: the index may be deleted at any time.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dataver.errors import InvalidInput, NotFound, StoreError
from dataver.formats.jsontext import is_hex
from dataver.lineage.questions.runs import RunFilter, describe_run, list_runs
from dataver.progress import SILENT, Progress

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from datetime import datetime, timedelta
    from pathlib import Path

    from dataver.lineage.compact import CompactionPlan, CompactionReport
    from dataver.lineage.index import LineageIndex
    from dataver.lineage.pull import PullReport
    from dataver.lineage.questions.answers import FileAnswer, Run, RunAnswer, Tainted, VersionAnswer
    from dataver.lineage.questions.compare import Comparison, Pair
    from dataver.lineage.questions.content import Covers
    from dataver.lineage.questions.versions import Graph
    from dataver.lineage.readings import Reading
    from dataver.repository import Repository
    from dataver.tree import Change

__all__ = ["Lineage"]

_FRESH = 2.0  # seconds for which what was pulled is fresh: one script's questions pull once
_SHORTEST = 8  # hex digits of a digest that is typed


class Lineage:
    """Which runs consumed and produced the versions of a repository. Get one from `Repository.lineage`.

    Every question brings the index up to date first, and answers from what is known where that fails.

    Attributes:
        unsent: why notes of this machine could not be sent at the last attempt, or None; they are kept, and
            every answer on this machine counts them in.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._opened: LineageIndex | None = None
        self._refreshed = -_FRESH
        self._problem: str | None = None
        self.unsent: str | None = None

    def __repr__(self) -> str:
        return f"Lineage({self._repository.url!r})"

    def close(self) -> None:
        """Let go of the index."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    # keeping

    def sync(self, *, full: bool = False, progress: Progress = SILENT) -> PullReport:
        """Send what waits on this machine, and bring what others wrote.

        Args:
            full: look at every object again, not only at those that are newer than the last look.
            progress: told of objects.

        Raises:
            StoreError: the repository cannot be reached; what waits stays queued.
        """
        from dataver.lineage.pull import pull
        from dataver.lineage.sending import send_waiting

        self.unsent = send_waiting(self._repository)
        report = pull(self._repository, self._index, full=full, progress=progress)
        self._refreshed, self._problem = time.monotonic(), None
        return report

    def rebuild(self, progress: Progress = SILENT) -> PullReport:
        """Make the index anew from the repository; the old one is replaced when the new one is complete."""
        from dataver.lineage.pull import rebuild

        self.close()
        report = rebuild(self._repository, progress=progress)
        self._refreshed, self._problem = time.monotonic(), None
        return report

    def compact(
        self, *, older_than: timedelta | None = None, plan_only: bool = False, progress: Progress = SILENT
    ) -> tuple[CompactionPlan, CompactionReport | None]:
        """Join the repository's many small objects of lineage into few; nothing that they say is lost.

        Args:
            older_than: leave what is younger; three days unless told.
            plan_only: change nothing, only tell what would be done.
            progress: told of objects.

        Returns:
            What was to be done, and what was, or None.

        Raises:
            StoreError: the store cannot be reached or written; nothing that was not joined is gone.
        """
        from dataver.lineage.compact import AGE, execute_compaction, plan_compaction

        plan = plan_compaction(self._repository, older_than=AGE if older_than is None else older_than)
        if plan_only or not plan.groups:
            return plan, None
        return plan, execute_compaction(self._repository, plan, progress=progress)

    def refresh(self, progress: Progress = SILENT) -> str | None:
        """Bring the index up to date; return why that failed, or None."""
        if time.monotonic() - self._refreshed >= _FRESH:
            try:
                self.sync(progress=progress)
            except StoreError as error:
                self._refreshed, self._problem = time.monotonic(), error.message
        return self._problem

    # asking

    def run(self, run: str) -> RunAnswer:
        """Return the versions a run consumed and produced, and what it was.

        Args:
            run: an id of any system it belongs to, as `mlflow:4f1c…`, or any unambiguous beginning.

        Raises:
            NotFound: there is no such run.
            InvalidInput: several fit.
        """
        with self._asking() as db:
            return describe_run(db, run)

    def runs(
        self,
        *,
        version: str | None = None,
        system: str | None = None,
        name: str | None = None,
        user: str | None = None,
        host: str | None = None,
        commit: str | None = None,
        outcome: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        everything: bool = False,
        limit: int | None = None,
    ) -> list[Run]:
        """Return runs, the latest first; the arguments choose as in `RunFilter`."""
        chosen = RunFilter(
            version=version,
            system=system,
            name=name,
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

    def version(self, ref: str) -> VersionAnswer:
        """Return the runs that consumed or produced a version, its parents and its children.

        Raises:
            NotFound: there is no such version.
        """
        from dataver.lineage.questions.versions import describe_version

        with self._asking() as db:
            return describe_version(db, ref)

    def graph(self, ref: str, *, up: bool = True, down: bool = True, depth: int | None = None) -> Graph:
        """Return what led to a version and what came of it, through runs, parents and children."""
        from dataver.lineage.questions.versions import graph_of_version

        with self._asking() as db:
            return graph_of_version(db, ref, up=up, down=down, depth=depth)

    def graph_of_run(
        self, run: str, *, up: bool = True, down: bool = True, depth: int | None = None
    ) -> Graph:
        """Return what led to a run and what came of it."""
        from dataver.lineage.questions.finding import find_run
        from dataver.lineage.questions.versions import graph_of_run

        with self._asking() as db:
            return graph_of_run(db, find_run(db, run).number, up=up, down=down, depth=depth)

    def file(self, what: str | Path, *, limit: int | None = None) -> FileAnswer:
        """Return every version that holds a content, under any name, and every run that saw it.

        Args:
            what: a file on this machine, else a path in versions, else the start of a digest (hex).
            limit: how many sightings by runs are wanted, the latest ones; None means all.

        Raises:
            NotFound: no version ever held it.
        """
        from dataver.lineage.questions.content import (
            CONTENT_SIZE,
            contents_at,
            contents_like,
            describe_content,
        )

        text, covers = os.fspath(what), self._covers()
        with self._asking(changes=True) as db:
            if os.path.isfile(text):  # noqa: PTH113  # never raises
                contents = [_digest_of(text)[:CONTENT_SIZE]]
            else:
                contents = contents_at(db, text)
                if not contents and len(text) >= _SHORTEST and is_hex(text.lower(), len(text)):
                    contents = contents_like(db, text.lower())
            answer = describe_content(db, text, contents, covers, limit)
        if not answer.holdings:
            raise NotFound(
                f"no version in {self._repository.url} ever held '{text}'.",
                hint="give a file on this machine, a path in versions, or at least 8 digits of a digest",
            )
        return answer

    def impact(self, ref: str, paths: Sequence[str] | None = None) -> Tainted:
        """Return the runs and versions that are tainted if a version, or the files of it that match, are bad.

        Raises:
            NotFound: there is no such version, or nothing in it matches.
        """
        from dataver.lineage.questions.content import CONTENT_SIZE
        from dataver.lineage.questions.finding import find_version
        from dataver.lineage.questions.impact import impact_of_contents, impact_of_version

        if paths is None:
            with self._asking(changes=True) as db:
                return impact_of_version(db, find_version(db, ref))
        from dataver.tree import Selection

        selection = Selection(paths)
        tree = self._repository.tree(self._repository.resolve(ref).record.tree)
        chosen = (each for each in tree.iterate(selection.prefix()) if selection.matches(each.path))
        contents = {each.digest[:CONTENT_SIZE] for each in chosen if each.digest}
        if not contents:
            raise NotFound(
                f"no file in {ref} matches {' '.join(paths)}.", hint=f"`dataver ls {ref}` lists them"
            )
        with self._asking(changes=True) as db:
            return impact_of_contents(db, contents, self._covers())

    def compare(self, first: str, second: str) -> Comparison:
        """Return what two runs read in common and what differs; `changes` tells a pair's difference."""
        from dataver.lineage.questions.compare import compare_inputs

        with self._asking() as db:
            return compare_inputs(describe_run(db, first), describe_run(db, second))

    def changes(self, pair: Pair) -> Iterator[Change]:
        """Yield what changes from the first run's version to the second's.

        Raises:
            InvalidInput: one of the runs did not read the dataset.
            NotFound: the version's tree is not in the repository any more.
        """
        from dataver.tree import diff

        if pair.first is None or pair.second is None:
            raise InvalidInput(f"one of the runs did not read {pair.dataset}.")
        before, after = bytes.fromhex(pair.first.tree), bytes.fromhex(pair.second.tree)
        return diff(before, after, self._repository.blocks.load)

    def readings(self, run: str) -> list[Reading]:
        """Return the exact versions a run read, and which part of each: what `Repository.fetch_run` fetches.

        Raises:
            NotFound: there is no such run, it read nothing, or a version is gone.
            IntegrityError: a label names another version now.
            InvalidInput: several runs fit.
        """
        from dataver.lineage.readings import readings_of

        return readings_of(self._repository, self.run(run), self._listing)

    def export(self) -> Iterator[dict[str, Any]]:
        """Yield all lineage as OpenLineage run events."""
        from dataver.lineage.openlineage import openlineage_events

        with self._asking() as db:
            yield from openlineage_events(db, self._repository.url)

    # inside

    @property
    def _index(self) -> LineageIndex:
        if self._opened is None:
            from dataver.lineage.index import LineageIndex

            self._opened = LineageIndex.open(self._repository.id)
        return self._opened

    @contextmanager
    def _asking(self, *, changes: bool = False) -> Iterator[sqlite3.Connection]:
        """Give the index, as fresh as it can be, and as if what waits on this machine were sent already.

        With `changes`, what each version changes is filled in.
        """
        from dataver.lineage.queue import queue_folder, waiting

        self.refresh()
        if changes and self._problem is None:
            from dataver.lineage.changes import fill_changes

            fill_changes(self._repository, self._index)
        events = waiting(queue_folder(self._repository.id))
        with self._index.overlay(events) if events else self._index.asking() as db:
            yield db

    def _covers(self) -> Covers:
        from dataver.lineage.questions.content import Covers

        return Covers(self._listing)

    def _listing(self, digest: str) -> list[str]:
        """Return the paths of an attachment that lists them."""
        from dataver.lineage.questions.content import parse_listing

        return parse_listing(self._repository.events.attachment(digest))


def _digest_of(path: str) -> bytes:
    from dataver.hashing import new_hasher

    hasher = new_hasher()
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            hasher.update(data)
    return hasher.digest()
