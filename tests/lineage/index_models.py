"""Events, records and indexes for the tests of the index: made of small numbers, so that they meet."""

import hashlib
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import strategies as st

from dataver.formats.event import Context, Event, Link, RunFacts, Subset
from dataver.formats.record import ParentRef, Record, record_id
from dataver.lineage.index.index import LineageIndex, migrate
from dataver.lineage.index.schema import MIGRATIONS
from dataver.repository.records import Published

START = datetime(2026, 11, 1, tzinfo=UTC)
SYSTEMS = ("dataver", "dataver", "torchrun", "torchrun")
REPOSITORY = "ab" * 16
TABLES = ("datasets", "versions", "parents", "tags", "runs", "processes", "contexts", "links", "changes")


def moment(number):
    """Return a time, hours from the start."""
    return START + timedelta(hours=number)


def hexed(text, digits):
    """Return hexadecimal digits that follow from a text."""
    return hashlib.blake2b(str(text).encode(), digest_size=digits // 2).hexdigest()


def event_id(when, number):
    """Return an id with the time of `when` and otherwise from a number."""
    return f"{int(when.timestamp() * 1000):012x}{hexed(number, 20)}"


def version_of(number, parents=(), dataset="cats", label=None):
    """Return a published version that follows from a number."""
    record = Record(
        dataset=dataset,
        label=label or f"1.0.{number}",
        tree=bytes.fromhex(hexed(f"tree {number}", 64)),
        parents=tuple(
            ParentRef(each.record.dataset, each.record.label, each.record_id, each.record.tree.hex())
            for each in parents
        ),
        created=moment(number),
        author="Zoë",
        message=f"number {number}",
        files=number,
        size=number * 10,
        entries=number,
        tool="dataver 0.1",
        write_id=hexed(f"write {number}", 32),
    )
    return Published(record, record_id(record.encode()).hex())


FIRST = version_of(1)
SECOND = version_of(2, [FIRST])
OTHER = version_of(3, [SECOND, FIRST], dataset="dogs")
TWIN = Published(SECOND.record, hexed("another record of the same write id", 64))
PUBLISHED = [FIRST, SECOND, OTHER, TWIN]


def link_of(number):
    """Return a link that follows from a number; many differ in what is no part of their identity only."""
    output = number % 5 == 0
    published = PUBLISHED[number % 4]
    write_id = [hexed(f"write {2 + number % 3}", 32), hexed("never published", 32)][number % 2]
    return Link(
        role="output" if output else "input",
        dataset=["cats", "dogs"][number // 4 % 2],
        label=[None, "1.0.1", "1.0.2"][number // 3 % 3],
        record=None
        if output and number % 3
        else [published.record_id, hexed("unknown", 64)][number // 7 % 2],
        write_id=write_id if output or number % 11 == 0 else None,
        tree=hexed("tree 2", 64),
        subset=[Subset(), Subset(patterns=("a/**",)), Subset(shard=(0, 2))][number // 5 % 3],
        files=number % 6,
        size=number % 4,
        time=moment(number % 9),
        how=["fetch", "read", "declared"][number % 3],
        context=[None, "mlflow:1"][number // 2 % 2],
    )


def event_of(identity, run, process, sequence, said, links):
    """Return an event from numbers; the same identity may be used for different events."""
    facts = {"user": ["ann", "bo", 5][said % 3], "git": [{"commit": f"c{said}"}, None, {}][said // 2 % 3]}
    return Event(
        id=event_id(moment(identity), identity),
        written=moment(identity),
        tool="dataver 0.1",
        run=RunFacts(
            key=f"{SYSTEMS[run % 4]}:{run}",
            process=hexed(process, 32),
            sequence=sequence,
            started=moment(said % 7),
            name=[None, "", "train", "'; DROP TABLE runs; --"][said % 4],
            contexts=tuple(
                Context(
                    system="mlflow", id=str(number), kind=["tracker", "ci"][said % 2], facts={"n": str(said)}
                )
                for number in range(said % 3)
            )
            + tuple(
                Context(system="torchrun", id=str(number), kind="launcher")
                for number in range(2, 2 + said % 3)
            ),
            ended=[None, moment(20 + said % 5)][said % 2],
            outcome=[None, "finished", "failed", "killed"][said // 2 % 4],
            part_of=[None, "mlflow:1", "mlflow:2"][said % 3],
            facts=facts,
        ),
        links=tuple(link_of(number) for number in links),
    )


EVENTS = st.lists(
    st.builds(
        event_of,
        st.integers(0, 2),
        st.integers(0, 3),
        st.integers(0, 1),
        st.integers(0, 1),
        st.integers(0, 40),
        st.lists(st.integers(0, 200), max_size=4),
    ),
    max_size=12,
)


def memory_index():
    """Return an index that is nowhere on the disk."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute("PRAGMA foreign_keys = ON")
    migrate(db, MIGRATIONS, Path("memory"))
    return LineageIndex(Path("memory"), Path("memory"), db)


def new_index(folder, name="index.sqlite", **options):
    """Open an index in a folder."""
    return LineageIndex.open(REPOSITORY, folder / name, **options)


def dump(index):
    """Return every row of every table that a rebuilt index must have as well."""
    found = {}
    for table in TABLES:
        found[table] = sorted(map(repr, index.db.execute(f"SELECT * FROM {table}").fetchall()))
    return found
