"""What turns lineage on and off, and the one warning it gives.

    DATAVER_LINEAGE=off        nothing is noted
    DATAVER_LINEAGE_DIFF=off   the uncommitted diff is not kept
    DATAVER_RUN=<system:id>    the run of this process and its children

Invariant 8: whatever fails in lineage is said once a process, as a `LineageWarning`, and training goes on.
"""

from __future__ import annotations

import os
import sys
import warnings

__all__ = ["LineageWarning", "enabled", "implicit_runs", "no_implicit_runs", "warn"]


class LineageWarning(UserWarning):
    """Something about lineage did not work; the data did."""


_implicit = True
_warned_in: int | None = None  # the process that has warned


def enabled() -> bool:
    """Return whether anything is noted."""
    return os.environ.get("DATAVER_LINEAGE", "").lower() not in ("off", "0", "no", "false")


def implicit_runs() -> bool:
    """Return whether a process that belongs to no known run gets one of its own."""
    return _implicit


def no_implicit_runs() -> None:
    """Make no run of a process without one: what a person types in a shell is none."""
    global _implicit  # noqa: PLW0603  # one decision a process
    _implicit = False


def warn(message: str) -> None:
    """Say it once a process; never raises, whatever the warning filters are."""
    global _warned_in  # noqa: PLW0603  # one warning a process; a forked child is another
    if _warned_in == os.getpid():
        return
    _warned_in = os.getpid()
    try:
        warnings.warn(f"{message} Training is not affected.", LineageWarning, stacklevel=2)
    except Warning as raised:  # `-W error`
        print(f"dataver: {raised}", file=sys.stderr)  # noqa: T201  # the only place left to say it
