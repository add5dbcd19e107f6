"""From the queue to the repository.

Each run is one event a process in the usual case. Sending twice changes nothing, so nobody has to know if an
earlier attempt got through; what one process could not send, another will.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from dataver._about import __version__
from dataver.errors import InvalidInput, StoreError
from dataver.formats.event import Event, new_event_id
from dataver.lineage.journal import LeftJournals
from dataver.lineage.queue import left_files, queue_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dataver.lineage.journal import Share
    from dataver.lineage.saying import Said
    from dataver.repository import Repository

__all__ = ["send", "send_left", "send_waiting"]

_LINKS: Final = 1_000  # in one event
_FILES: Final = 200  # left files taken up at once


def send(repo: Repository, events: Iterable[Event], attachments: Mapping[str, bytes]) -> None:
    """Write events and what they speak of; attachments first, so that no event names what is not there.

    Raises:
        StoreError: the repository cannot be written, or is not the one it was.
    """
    waiting = list(events)
    if not waiting:
        return
    _same_repository(repo)
    for digest in sorted(attachments):
        if any(digest in _named(event) for event in waiting):
            repo.events.attach(attachments[digest])
    for event in waiting:
        _put(repo, event)


def send_left(repo: Repository, go_on: Callable[[], bool] = lambda: True) -> int:
    """Send what dead processes of this machine left for this repository.

    Args:
        repo: the repository.
        go_on: asked before each file.

    Returns:
        How many files were sent.

    Raises:
        StoreError: the repository cannot be written; the rest stays.
    """
    sent = 0
    for left in left_files(queue_folder(repo.id)):
        if sent >= _FILES or not go_on():
            break
        send(repo, left.events, left.attachments())
        if left.damaged:
            from dataver.lineage.settings import warn

            warn(f"{left.damaged} notes in {left.path} are damaged and were set aside.")
        left.done()
        sent += 1
    return sent + _send_left_reads(repo, go_on)


def send_waiting(repo: Repository) -> str | None:
    """Send what this process noted and what dead ones left; return why something stays, or None."""
    import sys

    recorder = sys.modules.get("dataver.lineage.recorder")
    if recorder is not None:
        recorder.flush(10.0)
    try:
        send_left(repo)
    except StoreError as error:
        return error.message
    return None


def _send_left_reads(repo: Repository, go_on: Callable[[], bool]) -> int:
    """Send what dead processes read and nobody said; what workers of living ones read, those say."""
    from dataver.lineage.noting import identity

    sent = 0
    with LeftJournals(queue_folder(repo.id), identity().process) as left:
        for event, read, shares, paths in left.together():
            if not go_on():
                break
            said = _say(repo, event, read, shares)
            links = [
                replace(event.links[0], subset=each.subset, files=each.files, size=each.size) for each in said
            ]
            listings = {each.subset.listed: each.listing for each in said if each.listing is not None}
            if links:
                attached = {name: raw for name, raw in listings.items() if name is not None}
                send(repo, [replace(event, links=tuple(links))], attached)
            left.done(paths)
            sent += 1
    return sent


def _say(repo: Repository, event: Event, read: Mapping[str, int], shares: set[Share]) -> list[Said]:
    """Put what was read in words; the record tells what all of the version is."""
    from dataver.errors import DataverError
    from dataver.lineage.saying import say

    link = event.links[0]
    try:
        tree = repo.tree(bytes.fromhex(link.tree))
        root = tree.summary()
        return say(read, read, (root.files, root.size), shares, tree)
    except DataverError:  # the version is gone: paths are known
        return say(read, read, (-1, -1), shares)


def _put(repo: Repository, event: Event) -> None:
    """Write one event under the time of writing, in parts where it is too large for one."""
    links = event.links
    if len(links) > _LINKS:
        for start in range(0, len(links), _LINKS):
            _put(repo, replace(event, links=links[start : start + _LINKS]))
        return
    fresh = replace(event, id=new_event_id(), written=datetime.now(UTC), tool=f"dataver {__version__}")
    try:
        repo.events.put(fresh)
    except InvalidInput:
        if len(links) < 2:
            raise
        for half in (links[: len(links) // 2], links[len(links) // 2 :]):
            _put(repo, replace(event, links=half))


def _named(event: Event) -> set[str]:
    """Return the attachments that an event speaks of."""
    facts = event.run.facts
    git = facts.get("git")
    named = {facts.get("packages"), git.get("diff") if isinstance(git, dict) else None}
    named |= {link.subset.listed for link in event.links}
    return {name for name in named if isinstance(name, str)}


def _same_repository(repo: Repository) -> None:
    """Refuse to write where the repository was deleted or replaced meanwhile: a stray object would stay."""
    from dataver.errors import NotFound
    from dataver.formats.config import parse_config
    from dataver.repository.layout import CONFIG

    try:
        there = parse_config(repo.store.get(CONFIG)).id
    except NotFound as error:
        raise StoreError(f"{repo.url} is gone.") from error
    if there != repo.id:
        raise StoreError(f"{repo.url} is another repository now.")
