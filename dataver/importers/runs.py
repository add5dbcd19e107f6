"""Runs that a source names, recorded in the lineage of the repository.

The idea: another tool ran them, so nothing of this process belongs to them. Each is one event that has ended
with an unknown outcome, and that names the version that the run made or read. Links have an identity, so an
event that is written twice adds nothing.
"""

from collections.abc import Iterable, Iterator

from dataver.api.repository import Repository
from dataver.api.version import Version
from dataver.errors import NotFound
from dataver.formats.event import Event, RunFacts
from dataver.hashing.digest import digest
from dataver.importers.source import SourceRun
from dataver.lineage.capture.detection import found
from dataver.lineage.record.run import event_of, link_of

__all__ = ["record_runs"]

_BATCH = 1_000


def record_runs(
    repo: Repository, version: Version, produced_by: Iterable[SourceRun], used_by: Iterable[SourceRun]
) -> int:
    """Record the runs that made and read a published version; return how many links are new.

    Raises:
        StoreError: the store failed; the same call can be repeated.
    """
    known = set(_known(repo, version.ref))
    wanted = {("output", run.key): run for run in produced_by} | {("input", run.key): run for run in used_by}
    events = [_event(version, role, run) for (role, _), run in wanted.items()]
    fresh = [each for each in events if (each.links[0].role, each.run.key) not in known]
    for start in range(0, len(fresh), _BATCH):
        repo._core.events.put_bundle(fresh[start : start + _BATCH])
    return len(fresh)


def _known(repo: Repository, ref: str) -> Iterator[tuple[str, str]]:
    try:
        answer = repo.lineage.version(ref)
    except NotFound:
        return  # published after the last look at the repository
    for run, link in (*answer.produced, *answer.consumed):
        yield link.role, run.key


def _event(version: Version, role: str, run: SourceRun) -> Event:
    system, _, name = run.key.partition(":")
    context = found(system, "tracker", *filter(None, name.split("/")), name=run.name, url=run.url).context
    # the same for every import, so one row in the index
    process = digest(f"imported {context.key}".encode())[:16].hex()
    facts = RunFacts(
        context.key, process, 1, version.created, run.name or None, (context,), ended=version.created
    )
    record = version._record
    link = link_of(role, record, version.record_id, "imported", files=record.files, size=record.size)
    made_by = record.write_id if role == "output" else None
    return event_of(facts, [link._replace(time=version.created, write_id=made_by)])
