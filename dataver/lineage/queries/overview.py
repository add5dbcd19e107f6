"""Numbers of all datasets at once: the sizes of their versions, and the runs that used them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

__all__ = ["DatasetOverview", "overview"]

_VERSIONS = """SELECT dataset, size FROM versions
    WHERE dataset IS NOT NULL AND created IS NOT NULL AND deleted IS NULL ORDER BY created"""
_RUNS = """SELECT v.dataset, v.label, count(DISTINCT l.run) FROM links l JOIN versions v ON v.id = l.version
    WHERE v.dataset IS NOT NULL GROUP BY v.dataset, v.label"""
_DATASETS = """SELECT v.dataset, count(DISTINCT l.run) FROM links l JOIN versions v ON v.id = l.version
    WHERE v.dataset IS NOT NULL GROUP BY v.dataset"""


@dataclass(slots=True)
class DatasetOverview:
    """Numbers of a dataset.

    Attributes:
        sizes: bytes of the files of each version, oldest first.
        runs: number of runs that read or produced any version, or had it available.
        runs_of: the same of each version, by label; versions without runs are missing.
    """

    sizes: list[int] = field(default_factory=list)
    runs: int = 0
    runs_of: dict[str, int] = field(default_factory=dict)


def overview(db: sqlite3.Connection) -> dict[str, DatasetOverview]:
    """Return the numbers of each dataset by name."""
    found = defaultdict[str, DatasetOverview](DatasetOverview)
    for dataset, size in db.execute(_VERSIONS):
        found[dataset].sizes.append(size or 0)
    for dataset, label, runs in db.execute(_RUNS):
        found[dataset].runs_of[label] = runs
    for dataset, runs in db.execute(_DATASETS):
        found[dataset].runs = runs
    return dict(found)
