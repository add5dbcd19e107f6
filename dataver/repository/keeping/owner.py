"""Who wrote a hold or a sweep: enough to know, on the same machine, that this process is no more.

The idea: a process is named by the boot of its kernel, its namespace of process ids, its id and its start.
Where all of that is known and no such process runs, it is dead for certain; in every other case (another
machine, another container, no `/proc`) nothing is known, and whoever asks has to wait (`docs/decisions/0010-
freeing-beside-uploads.md`).
"""

import os
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["is_gone", "this_process"]

_STARTED = 19  # number of the start time among the fields behind the name in /proc/<id>/stat


def this_process() -> dict[str, Any]:
    """Return what identifies this process, as JSON values."""
    return {"machine": _machine(), "process": os.getpid(), "started": _started(os.getpid())}


def is_gone(owner: dict[str, Any]) -> bool:
    """Tell whether a process is known to have ended; False where nothing is known."""
    machine, process, started = owner.get("machine"), owner.get("process"), owner.get("started")
    if not machine or machine != _machine() or type(process) is not int or not started:
        return False
    return _started(process) != str(started)


@cache
def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(process: int) -> str:
    """Return when a process started, by the kernel's count; empty where there is no such process."""
    try:
        told = Path(f"/proc/{process}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if told[:1] == ["Z"] else told[_STARTED]
