"""Settings of lineage, and its warning.

    DATAVER_LINEAGE=off        nothing is recorded
    DATAVER_LINEAGE_DIFF=off   the uncommitted diff is not recorded; `stat`: only names and counts of lines
    DATAVER_RUN=<system:id>    the run of this process and its children

Invariant 8: failures in lineage cause one `LineageWarning` per process, and training continues.
"""

from __future__ import annotations

import os
import sys
import warnings

from dataver.lineage.attribution.state import STATE

__all__ = ["LineageWarning", "enabled", "implicit_runs", "no_implicit_runs", "setting", "warn"]

_OFF = ("off", "0", "no", "false")
_ON = ("", "on", "1", "yes", "true")


class LineageWarning(UserWarning):
    """A failure of lineage; data is not affected."""


def enabled() -> bool:
    """Return whether lineage is recorded."""
    return setting("DATAVER_LINEAGE", unknown="on") != "off"


def setting(variable: str, *others: str, unknown: str) -> str:
    """Return `on`, `off` or one of the other values of a variable; warn about an unknown one."""
    said = os.environ.get(variable, "").lower()
    if said in _ON or said in _OFF:
        return "on" if said in _ON else "off"
    if said in others:
        return said
    warn(f"unknown value '{said}' of {variable}, which counts as {unknown}.")
    return unknown


def implicit_runs() -> bool:
    """Return whether a process without a known run gets one of its own."""
    return STATE.implicit


def no_implicit_runs() -> None:
    """Disable implicit runs, for commands typed in a shell."""
    STATE.implicit = False


def warn(message: str) -> None:
    """Issue a `LineageWarning`, once per process; never raises, with any warning filters."""
    if STATE.warned:
        return
    STATE.warned = True
    try:
        warnings.warn(f"{message} Training is not affected.", LineageWarning, stacklevel=2)
    except Warning as raised:  # `-W error`
        print(f"dataver: {raised}", file=sys.stderr)  # noqa: T201  # the warning was turned into an error
