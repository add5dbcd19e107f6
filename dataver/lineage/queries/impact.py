"""Versions and runs that are tainted by incorrect data.

The idea: a version is tainted if it contains the incorrect content, if its parent is incorrect as a whole and
it kept some of it, or if a tainted run produced it. A run is tainted if it read a tainted version, or the
incorrect part of a version that is incorrect in part. If the data was only available to the run, or it is
unknown what it read, the run and its outputs are possibly tainted. The outputs of a tainted run are tainted
as a whole, since it is unknown which part is affected.

A child that was produced again from correct data is not tainted through its parents: all runs that produced
it read some data, none of it tainted. Such versions are reported, since a run may have kept files of the
parent; the conservative rule counts them as tainted.
"""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING

from dataver.lineage.queries.content import Covers, holders
from dataver.lineage.queries.results import Tainted
from dataver.lineage.queries.rows import links_where, runs_of, versions_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

__all__ = ["impact_of_contents", "impact_of_version"]

# children, except those known to have kept no file of the parent
_CHILDREN = """
SELECT p.version FROM parents p JOIN versions v ON v.id = p.version
WHERE p.parent = ? AND NOT (v.base IS p.parent AND v.kept IS 0)
"""


_READERS = """
SELECT run, max(how != 'available') FROM links WHERE version = ? AND role = 'input' GROUP BY run
"""

# a run that produced a version, if all runs that produced it are known to have read data
_MAKERS = """
SELECT o.run FROM links o WHERE o.version = :version AND o.role = 'output' AND NOT EXISTS (
    SELECT 1 FROM links p WHERE p.version = :version AND p.role = 'output' AND NOT EXISTS (
        SELECT 1 FROM links i WHERE i.run = p.run AND i.role = 'input'))
ORDER BY o.time, o.id LIMIT 1
"""


class _Propagation:
    """Propagation of the taint: tainted versions and runs in the order of discovery, with reasons."""

    def __init__(self, db: sqlite3.Connection, *, conservative: bool) -> None:
        self._db = db
        self._conservative = conservative
        self._mended: dict[int, int] = {}
        self.versions: dict[int, str] = {}
        self.runs: dict[int, tuple[str, bool]] = {}
        self._whole: dict[int, bool] = {}  # whether that is certain
        self._queue: deque[int] = deque()

    def whole(self, version: int, reason: str, *, certain: bool = True) -> None:
        """Mark a version as tainted as a whole."""
        known = self._whole.get(version)
        self.versions.setdefault(version, reason)
        if known is None or (certain and not known):
            self._whole[version] = certain
            self._queue.append(version)

    def part(self, version: int, reason: str) -> None:
        """Mark a version as tainted in part."""
        self.versions.setdefault(version, reason)

    def run(self, number: int, reason: str, *, certain: bool) -> None:
        """Mark a run and its outputs as tainted."""
        known = self.runs.get(number)
        if known is not None and (known[1] or not certain):
            return
        self.runs[number] = (reason, certain)
        for (version,) in self._db.execute(
            "SELECT version FROM links WHERE run = ? AND role = 'output' AND version IS NOT NULL", [number]
        ):
            self.whole(version, f"run:{number}", certain=certain)

    def spread(self) -> None:
        """Propagate from all versions that are tainted as a whole."""
        while self._queue:
            version = self._queue.popleft()
            certain = self._whole[version]
            for (child,) in self._db.execute(_CHILDREN, [version]):
                maker = None if self._conservative else self._maker(child)
                if maker is None:
                    self.whole(child, f"made from:{version}", certain=certain)
                else:  # if that run is tainted, it taints the child itself
                    self._mended[child] = maker
            for run, used in self._db.execute(_READERS, [version]):
                self.run(run, f"read:{version}" if used else f"had:{version}", certain=certain and bool(used))

    def _maker(self, version: int) -> int | None:
        """Return a run that produced a version from known data, or None."""
        row = self._db.execute(_MAKERS, {"version": version}).fetchone()
        return None if row is None else int(row[0])

    def result(self) -> Tainted:
        """Return the result, with reasons as text."""
        mended = {each: run for each, run in self._mended.items() if each not in self.versions}
        versions = versions_of(self._db, [*self.versions, *mended])
        runs = runs_of(self._db, [*self.runs, *mended.values()])

        def words(reason: str) -> str:
            kind, _, number = reason.partition(":")
            if kind == "run":
                perhaps = "" if self.runs[int(number)][1] else " (perhaps)"
                return f"produced by {runs[int(number)].key}{perhaps}"
            if kind == "had":
                return f"could use {versions[int(number)].ref}"
            return f"{kind} {versions[int(number)].ref}" if number else reason

        return Tainted(
            versions=[(versions[number], words(reason)) for number, reason in self.versions.items()],
            runs=[(runs[number], words(reason), certain) for number, (reason, certain) in self.runs.items()],
            mended=[(versions[number], runs[run]) for number, run in mended.items()],
            possible=[versions[number] for number in self.versions if not self._whole.get(number, True)],
        )


def impact_of_version(db: sqlite3.Connection, version: int, *, conservative: bool = False) -> Tainted:
    """Return what is tainted if all of a version is incorrect, like all versions with the same content."""
    spread = _Propagation(db, conservative=conservative)
    spread.whole(version, "asked about")
    for (same,) in db.execute(
        "SELECT o.id FROM versions v JOIN versions o ON o.tree = v.tree AND o.id != v.id WHERE v.id = ?",
        [version],
    ):
        spread.whole(same, f"same content as:{version}")
    spread.spread()
    return spread.result()


def impact_of_contents(
    db: sqlite3.Connection, contents: Iterable[bytes], covers: Covers, *, conservative: bool = False
) -> Tainted:
    """Return what is tainted if these contents are incorrect, in all versions."""
    spread = _Propagation(db, conservative=conservative)
    at: dict[int, list[str]] = {}
    for _, version, path in holders(db, contents):
        at.setdefault(version, []).append(path)
    ordered = versions_of(db, at)
    for number in sorted(at, key=lambda each: (ordered[each].created is None, ordered[each].created, each)):
        paths = at[number]
        spread.part(number, f"holds {paths[0]}" + (f" and {len(paths) - 1} more" if len(paths) > 1 else ""))
    condition = "l.role = 'input' AND l.version IN (SELECT value FROM json_each(?))"
    for link in links_where(db, condition, [json.dumps(list(at))]):
        covered = [covers(link.subset, path) for path in at[link.version_row or 0]]
        if True in covered or None in covered:
            reason = f"read:{link.version_row}" if link.used else f"had:{link.version_row}"
            spread.run(link.run_row, reason, certain=True in covered and link.used)
    spread.spread()
    return spread.result()
