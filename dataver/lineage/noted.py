"""What this process has noted: its runs, their links, and which of them each repository lacks.

Values and no effects: `recorder` decides what is noted and when it is sent. A `NotedRun` is one run as this
process sees it. A link is held once, by its identity; `unsent` tells what an event has still to say.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dataver._about import __version__
from dataver.formats.event import Context, Event, Link, RunFacts, link_id, new_event_id

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["NotedRun", "now"]


def now() -> datetime:
    """Return the time, aware UTC."""
    return datetime.now(UTC)


@dataclass(slots=True)
class NotedRun:
    """One run, as this process sees it.

    Attributes:
        key: the run.
        process: this process's id.
        how: `explicit` (the user named it), `tracker` (a tracker's run), `joined` (that of the process that
            started this one), `found` (a task or job around it) or `implicit` (nobody's: the process's own).
        part: this process is a worker of the one named in `process`, which reports for both.
        name: what the user calls it.
        started: when this process first knew of it.
        ended: when it ended.
        outcome: how, one of `dataver.formats.event.OUTCOMES`.
        part_of: the run that took over what was sent already.
        contexts: what it belongs to, by key.
        links: by repository and identity.
        unsent: identities of links that the repository lacks, by repository.
        revision: grows when the facts change.
        queued: the revision that each repository's queue has.
        sent: the revision that each repository has.
    """

    key: str
    process: str
    how: str
    part: bool = False
    name: str | None = None
    started: datetime = field(default_factory=now)
    ended: datetime | None = None
    outcome: str | None = None
    part_of: str | None = None
    contexts: dict[str, Context] = field(default_factory=dict)
    links: dict[str, dict[bytes, Link]] = field(default_factory=dict)
    unsent: dict[str, set[bytes]] = field(default_factory=dict)
    revision: int = 1
    queued: dict[str, int] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)

    @property
    def stays(self) -> bool:
        """Whether its links are its own for good: a tracker's run that begins later does not take them."""
        return self.how in ("explicit", "tracker")

    def know(self, contexts: Iterable[Context]) -> None:
        """Take in what it belongs to."""
        for context in contexts:
            if self.contexts.get(context.key) != context:
                self.contexts[context.key] = context
                self.revision += 1

    def add(self, repository: str, link: Link) -> bool:
        """Take in a link; return whether it is new."""
        links = self.links.setdefault(repository, {})
        identity = link_id(self.key, link)
        if identity in links:
            return False
        links[identity] = link
        self.unsent.setdefault(repository, set()).add(identity)
        return True

    def drop(self, repository: str, link: Link) -> bool:
        """Take out a link; return whether the repository did not have it yet."""
        identity = link_id(self.key, link)
        self.links.get(repository, {}).pop(identity, None)
        unsent = self.unsent.get(repository, set())
        if identity in unsent:
            unsent.discard(identity)
            return True
        return False

    def end(self, outcome: str | None) -> None:
        """Say that it ended; the first word holds."""
        if self.ended is None:
            self.ended, self.outcome = now(), outcome
            self.revision += 1

    def goes_on(self) -> None:
        """Take back that it ended: something more was noted of it."""
        if self.ended is not None:
            self.ended = self.outcome = None
            self.revision += 1

    def lacks(self, repository: str) -> bool:
        """Return whether the repository lacks something of it; a run without links says nothing."""
        if repository not in self.links or not (self.links[repository] or repository in self.sent):
            return False
        changed = not self.part and self.sent.get(repository, 0) < self.revision
        return changed or bool(self.unsent.get(repository))

    def event(self, repository: str, facts: dict[str, Any], links: Iterable[Link] | None = None) -> Event:
        """Return an event that says `links`, or all those that the repository lacks.

        A worker adds links to what its parent says, and says nothing itself: its sequence is 0.
        """
        if self.part:
            facts = {}
        if links is None:
            held = self.links.get(repository, {})
            unsent = self.unsent.get(repository, ())
            links = [link for identity, link in held.items() if identity in unsent]
        run = RunFacts(
            key=self.key,
            process=self.process,
            sequence=0 if self.part else self.revision,
            started=self.started,
            name=self.name,
            contexts=self._ordered() if facts else (),
            ended=self.ended,
            outcome=self.outcome,
            part_of=self.part_of,
            facts=facts,
        )
        return Event(
            id=new_event_id(), written=now(), tool=f"dataver {__version__}", run=run, links=tuple(links)
        )

    def _ordered(self) -> tuple[Context, ...]:
        """Return the contexts, the run's own first."""
        return tuple(sorted(self.contexts.values(), key=lambda context: context.key != self.key))[:64]
