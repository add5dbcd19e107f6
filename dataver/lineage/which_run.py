"""Which run a note belongs to, and how children of this process learn of it.

In this order: the run that the caller names; the innermost `dataver.run(…)` around it; `DATAVER_RUN`; the run
of a tracker that is active in this thread; the run of the process that started this one; the task or job
around; and, where none of these is, a run of the process's own, which its children join.

    DATAVER_RUN=<key>                         set by a user, by `dataver run` and within `with dataver.run(…)`
    DATAVER_RUN_NAME, DATAVER_RUN_NOTES       set by `dataver run`: its name; a file to list repositories in
    DATAVER_PARENT_RUN=<key> <process> <pid> <surroundings>
                                              set by a process for its children when it notes something

`<surroundings>` is a hash of the tasks and jobs that the parent was in: a batch job that a process submits
inherits its environment, but is in another job, and so is no part of its run.
"""

from __future__ import annotations

import os
import re
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, NamedTuple

from dataver.errors import InvalidInput
from dataver.formats.event import check_run_key
from dataver.lineage.noting import PARENT, identity, where

if TYPE_CHECKING:
    from dataver.formats.event import Context

__all__ = [
    "CURRENT",
    "NAME",
    "NOTES",
    "PARENT",
    "RUN",
    "Parent",
    "announce",
    "fresh_key",
    "key_of",
    "named_by_environment",
    "parent",
    "tell_runner",
]

RUN: Final = "DATAVER_RUN"
NAME: Final = "DATAVER_RUN_NAME"
NOTES: Final = "DATAVER_RUN_NOTES"
CURRENT: ContextVar[str | None] = ContextVar("dataver_run", default=None)
"""The key of the innermost `dataver.run(…)` of this thread or task."""

_HEX: Final = re.compile(r"[0-9a-f]{32}")


def fresh_key() -> str:
    """Return the key of a new run."""
    return f"dataver:{os.urandom(16).hex()}"


def key_of(run: object) -> tuple[str, Context | None]:
    """Return the key of a run as callers name it: a key, 32 hex digits, a `Run`, a tracker's own object.

    Raises:
        InvalidInput: it is none of these.
    """
    if isinstance(run, str):
        return (f"dataver:{run}" if _HEX.fullmatch(run) else check_run_key(run)), None
    key = getattr(run, "key", None)
    if isinstance(key, str) and type(run).__module__.startswith("dataver."):
        return key, None
    from dataver.lineage.trackers.base import context_of

    context = context_of(run)
    if context is None:
        raise InvalidInput(
            f"a {type(run).__name__} is no run that dataver knows.",
            hint="give a key such as mlflow:4f1c…, a dataver.Run, or a tracker's run object",
        )
    return context.key, context


def named_by_environment() -> str | None:
    """Return the run that `DATAVER_RUN` names; what is no key is said once and passed over."""
    given = os.environ.get(RUN, "").strip()
    if not given:
        return None
    try:
        return key_of(given)[0]
    except InvalidInput as error:
        from dataver.lineage.settings import warn

        warn(f"{RUN} is passed over: {error.message}")
        return None


class Parent(NamedTuple):
    """What a process says to its children: its run, its id there, and its number on this machine."""

    key: str
    process: str
    pid: int


def parent() -> Parent | None:
    """Return what the process that started this one says, if both are in the same tasks and jobs."""
    key, _, rest = os.environ.get(PARENT, "").partition(" ")
    process, _, rest = rest.partition(" ")
    pid, _, around = rest.partition(" ")
    mine = pid == str(identity().pid) and process == identity().process
    if mine or not (_HEX.fullmatch(process) and pid.isdigit()) or around != where():
        return None
    try:
        return Parent(check_run_key(key), process, int(pid))
    except InvalidInput:
        return None


def announce(key: str, process: str) -> None:
    """Tell children that will be started which run this process works for."""
    os.environ[PARENT] = f"{key} {process} {os.getpid()} {where()}"


def tell_runner(repository_id: str, url: str) -> None:
    """Tell `dataver run`, if this is its command, which repositories notes go to."""
    path = os.environ.get(NOTES)
    if path:
        try:
            with open(path, "a", encoding="utf-8") as file:
                file.write(f"{repository_id} {url}\n")
        except OSError:
            pass  # the runner is gone
