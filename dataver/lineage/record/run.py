"""Runs as a process reports them, and the events and links that they consist of."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dataver._about import __version__
from dataver.formats.event import MAX_CONTEXTS, Event, Link, RunFacts, new_event_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dataver.formats.context import Context
    from dataver.formats.record import Record

__all__ = ["Run", "event_of", "link_of", "now"]


def now() -> datetime:
    """Return the current time, aware UTC."""
    return datetime.now(UTC)


def event_of(run: RunFacts, links: Iterable[Link] = ()) -> Event:
    """Return an event of a run with the current time."""
    event_id = new_event_id(noise=os.urandom(10))
    return Event(id=event_id, written=now(), tool=f"dataver {__version__}", run=run, links=tuple(links))


def link_of(role: str, record: Record, record_id: str | None, how: str, **values: Any) -> Link:
    """Return a link to a version with the current time; `values` are further fields."""
    label = record.label if record_id else None
    tree = record.tree.hex()
    return Link(role, record.dataset, tree, now(), how, label=label, record=record_id, **values)


class Run:
    """One run as reported by one process.

    Attributes:
        facts: its facts for events; the sequence grows with each change. It stays 0 in a worker, which adds
            links to a run that another process reports.
        how: as in `attribution.owner.Owner`.
        met: whether this process itself was in it, not only its workers.
        trackers: the trackers' runs that receive its uses, by the `context` of links.
        untold: links since the last use for trackers; true for one without files, of which a first was read.
        links: all links, by identity.
        unsent: those of them to send.
        written: sequence of the facts in the file; None if the file does not contain the run.
        sent: sequence of the facts that were sent; None if nothing of the run was sent.
    """

    __slots__ = ("facts", "how", "links", "met", "sent", "trackers", "unsent", "untold", "written")

    def __init__(self, facts: RunFacts, how: str = "") -> None:
        self.facts, self.how, self.met = facts, how, False
        self.trackers: dict[str | None, tuple[Context, ...]] = {}
        self.untold: list[tuple[Link, bool]] = []
        self.links: dict[tuple[object, ...], Link] = {}
        self.unsent: dict[tuple[object, ...], Link] = {}
        self.written: int | None = None
        self.sent: int | None = None

    @property
    def key(self) -> str:
        """The key of the run."""
        return self.facts.key

    @property
    def part(self) -> bool:
        """Whether this process is a worker of the one that reports the run."""
        return self.facts.sequence == 0

    @property
    def named(self) -> bool:
        """Whether the user or a tracker named it, as opposed to the process's own run."""
        return self.how in ("explicit", "tracker")

    @property
    def bare(self) -> RunFacts:
        """The facts for an event that only adds links."""
        return RunFacts(self.key, self.facts.process, 0, self.facts.started, self.facts.name)

    def change(self, **values: Any) -> None:
        """Update facts."""
        changed = self.facts._replace(**values)
        if changed != self.facts:
            self.facts = changed._replace(sequence=0 if self.part else self.facts.sequence + 1)

    def know(self, contexts: Iterable[Context], name: str | None = None) -> None:
        """Add contexts, and the name if it has none."""
        known = {each.key: each for each in (*self.facts.contexts, *contexts)}
        ordered = sorted(known.values(), key=lambda context: context.key != self.key)
        self.change(contexts=tuple(ordered[:MAX_CONTEXTS]), name=self.facts.name or name)

    def end(self, outcome: str | None, ended: datetime | None = None) -> None:
        """Record the end; only the first call has an effect."""
        if self.facts.ended is None:
            self.change(ended=ended or now(), outcome=outcome)

    def add(self, link: Link) -> bool:
        """Add a link; return whether it is new. A read or fetch replaces `available`."""
        key = _identity(link)
        held = self.links.get(key)
        if held is not None and (held.how != "available" or link.how == "available"):
            return False
        self.links[key] = self.unsent[key] = link
        self.untold.append((link, False))
        return True

    def mark_sent(self, event: Event) -> None:
        """Record that an event was sent."""
        self.sent = max(self.sent or 0, event.run.sequence)
        for link in event.links:
            if self.unsent.get(_identity(link)) == link:  # else what was available was read meanwhile
                del self.unsent[_identity(link)]

    def mark_unsent(self, event: Event) -> None:
        """Record that an event is to be sent, again if it was before."""
        self.unsent.update((_identity(link), link) for link in event.links)
        if self.sent is not None and event.run.facts:
            self.sent = min(self.sent, event.run.sequence - 1)


def _identity(link: Link) -> tuple[object, ...]:
    """Return a key that is equal for equal links of one run (`formats.event.link_id`)."""
    made = link.write_id if link.role == "output" else None
    return (link.role, link.dataset, link.tree, made or link.record, link.subset, link.context)
