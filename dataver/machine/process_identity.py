"""Identity of the process that wrote a hold or a sweep, to detect on the same machine that it has ended.

The idea: a process is identified by the boot id of its kernel, its namespace of process ids, its id and its
start time. If all are known and no such process runs, it has ended. In all other cases (another machine or
container, no `/proc`) its state is unknown, and the caller has to wait
(`docs/decisions/0010-freeing-beside-uploads.md`).
"""

import os
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["boot_id", "is_gone", "started", "this_process"]

_STARTED = 19  # index of the start time among the fields after the name in /proc/<id>/stat


def this_process() -> dict[str, Any]:
    """Return the identity of this process, as JSON values."""
    return {"machine": _machine(), "process": os.getpid(), "started": started(os.getpid())}


def is_gone(owner: dict[str, Any]) -> bool:
    """Return whether a process is known to have ended; False if its state is unknown."""
    machine, process, start = owner.get("machine"), owner.get("process"), owner.get("started")
    if not machine or machine != _machine() or type(process) is not int or not start:
        return False
    return started(process) != str(start)


@cache
def boot_id() -> str:
    """Return the id of this start of the machine; empty if the system does not provide one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def started(process: int) -> str:
    """Return the start time of a process in clock ticks; empty if there is no such process."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[_STARTED]


@cache
def _machine() -> str:
    try:
        return f"{boot_id()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""
