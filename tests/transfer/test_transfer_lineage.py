"""Lineage on its way: all of it, or that of the versions chosen; attachments before what speaks of them."""

from datetime import UTC, datetime

import pytest

from dataver.formats.event import Event, Link, RunFacts, Subset, new_event_id

MOMENT = datetime(2026, 11, 5, tzinfo=UTC)


def event(run, version=None, listed=None, diff=None):
    """Return an event of a run that read a version."""
    links = ()
    if version is not None:
        record = version.record
        links = (
            Link(
                role="input",
                dataset=record.dataset,
                label=record.label,
                record=version.record_id,
                tree=record.tree.hex(),
                time=MOMENT,
                how="fetch",
                subset=Subset(listed=listed),
            ),
        )
    facts = {"git": {"diff": diff}} if diff else {}
    run = RunFacts(key=f"dataver:{run * 32}", process="6" * 32, sequence=0, started=MOMENT, facts=facts)
    return Event(id=new_event_id(), written=MOMENT, tool="dataver 0.1", run=run, links=links)


@pytest.fixture
def spoken(filled):
    """Two runs: `a` read text and has a diff, `b` read vision/cats and a list of its files."""
    repository = filled.source.open()
    text, cats = (repository._core.records.get(name, "1.0.0") for name in ("text", "vision/cats"))
    diff, listed = repository._core.events.attach(b"diff"), repository._core.events.attach(b"a\nb\n")
    repository._core.events.put(event("a", text))
    repository._core.events.put_bundle([event("a", diff=diff), event("b", cats, listed=listed), event("b")])
    repository._core.events.put(event("c"))
    filled.diff, filled.listed = diff, listed
    return filled


def test_with_everything_every_object_is_copied_as_it_is(spoken):
    """Events, bundles and attachments, byte by byte; again, nothing is sent; without, none is."""
    assert spoken.source.open().push(spoken.target.open(), lineage=False).events == 0
    assert spoken.target.objects("lineage/") == {}
    report = spoken.source.open().push(spoken.target.open())
    assert (report.events, report.attachments) == (3, 2)
    assert spoken.target.objects("lineage/") == spoken.source.objects("lineage/")
    writes = spoken.target.store.writes
    assert max(writes.index(key) for key in writes if "attachments" in key) < min(
        writes.index(key) for key in writes if key.startswith("lineage/2")
    )
    assert spoken.source.open().push(spoken.target.open()).size == 0


def test_with_a_version_come_the_runs_that_touched_it(spoken):
    """All events of run `a`, its diff, and nothing of `b` or `c`; of the bundle its part; once."""
    report = spoken.source.open().push(spoken.target.open(), "text")
    assert (report.events, report.attachments) == (2, 2)
    target = spoken.target.open()
    events = [one for key in list(target._core.events.keys()) for one in target._core.events.get(key)]
    assert {one.run.key for one in events} == {f"dataver:{'a' * 32}"}
    assert len(events) == 2
    assert target._core.events.attachment(spoken.diff) == b"diff"
    again = spoken.source.open().push(spoken.target.open(), "text")
    assert (again.events, again.attachments, again.size) == (0, 0, 0)
    spoken.source.open().push(spoken.target.open())
    assert set(spoken.source.objects("lineage/")) <= set(spoken.target.objects("lineage/"))


def test_what_cannot_be_read_is_named_and_the_rest_arrives(spoken):
    """A damaged event, a damaged attachment: each by its key; versions do not wait for them."""
    keys = spoken.source.keys("lineage/")
    damaged = next(key for key in keys if key.endswith(".json"))
    attachment = next(key for key in keys if spoken.diff in key)
    for key in (damaged, attachment):
        spoken.source.inner.objects[key] = b"rot"
    report = spoken.source.open().push(spoken.target.open())
    assert {name for name, _ in report.problems} == {damaged, attachment}
    assert len(report.versions) == 4
    assert spoken.target.keys("lineage/") == [key for key in keys if key not in (damaged, attachment)]
