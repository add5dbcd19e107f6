"""Which versions and runs are tainted if this data is bad.

The idea: a version is tainted where it holds the bad content, where it was made from a version that is bad as
a whole and kept some of it, or where a tainted run produced it. A run is tainted where it read a tainted
version, or of a version that is bad in part, the bad part. What a run produced is taken to be bad as a whole:
nobody knows better.
"""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING

from dataver.lineage.questions.answers import Tainted
from dataver.lineage.questions.content import Covers, holders
from dataver.lineage.questions.reading import links_where, runs_of, versions_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

__all__ = ["impact_of_contents", "impact_of_version"]

# a child that kept nothing of it is no heir; where that is not known, it is one
_CHILDREN = """
SELECT p.version FROM parents p JOIN versions v ON v.id = p.version
WHERE p.parent = ? AND NOT (v.base IS p.parent AND v.kept IS 0)
"""


class _Spread:
    """The taint as it spreads: versions and runs in the order of finding, each with the reason."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.versions: dict[int, str] = {}
        self.runs: dict[int, tuple[str, bool]] = {}
        self._whole: set[int] = set()
        self._queue: deque[int] = deque()

    def whole(self, version: int, reason: str) -> None:
        """Take a version as bad as a whole."""
        self.versions.setdefault(version, reason)
        if version not in self._whole:
            self._whole.add(version)
            self._queue.append(version)

    def part(self, version: int, reason: str) -> None:
        """Take a version as bad in part."""
        self.versions.setdefault(version, reason)

    def run(self, number: int, reason: str, *, certain: bool) -> None:
        """Take a run as tainted, and with it what it produced."""
        known = self.runs.get(number)
        if known is None or (certain and not known[1]):
            self.runs[number] = (reason, certain)
        if known is None:
            for (version,) in self._db.execute(
                "SELECT version FROM links WHERE run = ? AND role = 'output' AND version IS NOT NULL",
                [number],
            ):
                self.whole(version, f"run:{number}")

    def spread(self) -> None:
        """Follow everything that is bad as a whole to its end."""
        while self._queue:
            version = self._queue.popleft()
            for (child,) in self._db.execute(_CHILDREN, [version]):
                self.whole(child, f"made from:{version}")
            for (run,) in self._db.execute(
                "SELECT DISTINCT run FROM links WHERE version = ? AND role = 'input'", [version]
            ):
                self.run(run, f"read:{version}", certain=True)

    def result(self) -> Tainted:
        """Return what was found, with reasons in words."""
        versions, runs = versions_of(self._db, self.versions), runs_of(self._db, self.runs)

        def words(reason: str) -> str:
            kind, _, number = reason.partition(":")
            if kind == "run":
                return f"produced by {runs[int(number)].key}"
            return f"{kind} {versions[int(number)].ref}" if number else reason

        return Tainted(
            versions=[(versions[number], words(reason)) for number, reason in self.versions.items()],
            runs=[(runs[number], words(reason), certain) for number, (reason, certain) in self.runs.items()],
        )


def impact_of_version(db: sqlite3.Connection, version: int) -> Tainted:
    """Return what is tainted if all of a version is bad; versions of the same content are the same."""
    spread = _Spread(db)
    spread.whole(version, "asked about")
    for (same,) in db.execute(
        "SELECT o.id FROM versions v JOIN versions o ON o.tree = v.tree AND o.id != v.id WHERE v.id = ?",
        [version],
    ):
        spread.whole(same, f"same content as:{version}")
    spread.spread()
    return spread.result()


def impact_of_contents(db: sqlite3.Connection, contents: Iterable[bytes], covers: Covers) -> Tainted:
    """Return what is tainted if these contents are bad, wherever they are."""
    spread = _Spread(db)
    at: dict[int, list[str]] = {}
    for _, version, path in holders(db, contents):
        at.setdefault(version, []).append(path)
    ordered = versions_of(db, at)
    for number in sorted(at, key=lambda each: (ordered[each].created is None, ordered[each].created, each)):
        paths = at[number]
        spread.part(number, f"holds {paths[0]}" + (f" and {len(paths) - 1} more" if len(paths) > 1 else ""))
    condition = "l.role = 'input' AND l.version IN (SELECT value FROM json_each(?))"
    for link in links_where(db, condition, [json.dumps(list(at))]):
        covered = [covers(link.subset, path) for path in at[link.version or 0]]
        if True in covered or None in covered:
            spread.run(link.run, f"read:{link.version}", certain=True in covered)
    spread.spread()
    return spread.result()
