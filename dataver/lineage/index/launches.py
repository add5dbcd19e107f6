"""Launches of several processes, of which only one has a tracker's run.

A rank started by `torchrun` without a tracker's run belongs to the run of its launch (`torchrun:…`). A
tracker's run of another rank has the launch as a context. If exactly one run has that context, the links of
the launch are assigned to it; if several have it, the assignment is ambiguous, and the launch keeps them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

__all__ = ["assign_launches"]

_SYSTEM: Final = "torchrun:"

_OWNERS: Final = """
SELECT c.run FROM contexts c JOIN runs r ON r.id = c.run
WHERE c.key = ? AND NOT (r.key >= 'torchrun:' AND r.key < 'torchrun;') LIMIT 2
"""
_ASSIGN: Final = "UPDATE links SET said = :launch, run = :owner WHERE run = :launch OR said = :launch"
_RELEASE: Final = "UPDATE links SET run = said, said = NULL WHERE said = :launch"
_PART_OF: Final = """
UPDATE runs SET part_of = coalesce((SELECT key FROM runs WHERE id = :owner),
    (SELECT part_of FROM processes WHERE run = :launch AND part_of IS NOT NULL
     ORDER BY started, process LIMIT 1))
WHERE id = :launch
"""


def assign_launches(db: sqlite3.Connection, keys: Iterable[str]) -> None:
    """Assign the links of launches to runs, inside a transaction.

    Args:
        db: the index.
        keys: keys of changed runs and contexts.
    """
    for key in sorted({each for each in keys if each.startswith(_SYSTEM)}):
        launch = db.execute("SELECT id FROM runs WHERE key = ?", [key]).fetchone()
        if launch is None:
            continue  # every rank has a run of its own
        owners = db.execute(_OWNERS, [key]).fetchall()
        values = {"launch": launch[0], "owner": owners[0][0] if len(owners) == 1 else None}
        db.execute(_RELEASE if values["owner"] is None else _ASSIGN, values)
        db.execute(_PART_OF, values)
