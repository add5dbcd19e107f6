"""Sending of records to the repository: those of this process, and the files of dead processes.

A run is usually one event for each process. Sending is idempotent, so the outcome of an earlier attempt does
not matter; records that one process could not send are sent by another.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from dataver.errors import InvalidInput, StoreError
from dataver.lineage.attribution.state import STATE, alive
from dataver.lineage.record.journal import Journal
from dataver.lineage.record.queue_file import left_files, queue_folder
from dataver.lineage.record.run import event_of
from dataver.lineage.subset_summary import links_of
from dataver.machine.process_identity import boot_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dataver.formats.event import Event
    from dataver.lineage.record.queue_file import LeftFile
    from dataver.repository import RepositoryCore

# Imports in functions: needed once a repository was restored from a copy.

__all__ = ["send", "send_left", "send_waiting"]

_LINKS: Final = 1_000  # maximum in one event
_FILES: Final = 200  # left files sent together


def send(repo: RepositoryCore, events: Iterable[Event], attachments: Mapping[str, bytes]) -> None:
    """Write events and their attachments; attachments first, so that no event refers to a missing one.

    Raises:
        StoreError: the repository cannot be written, or was deleted or replaced.
    """
    waiting = list(events)
    if waiting:
        _same_repository(repo)
    for digest in sorted({digest for event in waiting for digest in event.attachments}):
        if attachments.get(digest):
            repo.events.attach(attachments[digest])
    for event in waiting:
        _put(repo, event)


def send_left(repo: RepositoryCore, go_on: Callable[[], bool] = lambda: True) -> int:
    """Send the files that dead processes of this machine left for a repository.

    Files of workers of one process are merged before sending. The file of a worker with a running parent is
    sent by the parent.

    Args:
        repo: the repository.
        go_on: called after each file; False stops adding files.

    Returns:
        Number of files sent.

    Raises:
        StoreError: the repository cannot be written; unsent files are kept.
    """
    taken: list[LeftFile] = []
    folder = queue_folder(repo.local_name)
    with ExitStack() as stack:
        for left in left_files(folder, _orphaned):
            taken.append(stack.enter_context(left))
            if len(taken) >= _FILES or not go_on():
                break
        whole = Journal()
        for left in taken:
            left.apply(whole)
        for log in whole.logs.values():
            whole.link(log, len(log.read), links_of(log, repo.tree(bytes.fromhex(log.link.tree))))
        send(repo, whole.unsent(bare=True), whole.attachments)
        for left in taken:
            left.done()
    return len(taken)


def send_waiting(repo: RepositoryCore) -> str | None:
    """Send the records of this process and of dead ones; return the error if some remain, else None."""
    if STATE.recorder is not None:
        STATE.recorder.flush(10.0)
    try:
        send_left(repo)
    except StoreError as error:
        return error.message
    return None


def _orphaned(head: dict[str, Any]) -> bool:
    """Return whether the file of a dead process has no running parent whose recorder absorbs it.

    The recorder knows how the run ended, which the file of a worker does not tell.
    """
    if head.get("parent") is None or head.get("boot") != boot_id():
        return True
    if head["parent"] == STATE.process:
        return STATE.recorder is None
    return not alive(int(head.get("pid", 0)), str(head.get("start", "")))


def _put(repo: RepositoryCore, event: Event) -> None:
    """Write one event with the current time, split if it is too large."""
    links = event.links
    middle = len(links) // 2
    try:
        if len(links) <= _LINKS:
            repo.events.put(event_of(event.run, links))
            return
    except InvalidInput:
        if len(links) < 2:
            raise
    for half in (links[:middle], links[middle:]):
        _put(repo, event._replace(links=half))


def _same_repository(repo: RepositoryCore) -> None:
    """Raise an error if the repository was deleted or replaced: a write would leave a stray object."""
    from dataver.errors import NotFound
    from dataver.repository.repository import read_config

    try:
        there = read_config(repo.store).id
    except NotFound:
        there = None
    if there != repo.id:
        raise StoreError(f"{repo.url} is {'another repository now' if there else 'gone'}.")
