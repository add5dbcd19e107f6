"""The index follows from the set of what was said; damage, locks and full disks lose nothing and say so."""

import contextlib
import multiprocessing
import random
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlite_utils import Database, Migrations

from dataver.errors import FormatTooNew, IntegrityError, StoreError
from dataver.formats.event import Context
from dataver.lineage.index import event_rows
from dataver.lineage.index.event_rows import run_number, version_number
from dataver.lineage.index.index import SCHEMA, LineageIndex, default_path, migrate, publish_index
from dataver.lineage.index.schema import MIGRATIONS
from properties import examples

from .index_models import (
    EVENTS,
    FIRST,
    OTHER,
    PUBLISHED,
    REPOSITORY,
    SECOND,
    dump,
    event_of,
    hexed,
    link_of,
    memory_index,
    moment,
    new_index,
)


def rows(index, question, *values):
    return index.db.execute(question, values).fetchall()


@settings(max_examples=examples(200))
@given(EVENTS, st.randoms(use_true_random=False))
def test_any_order_doubling_and_batching_gives_the_same_rows(events, chance):
    """Events and records in every order, twice, in pieces, mixed: always the rows of all at once."""
    steps = [("version", each) for each in PUBLISHED + chance.sample(PUBLISHED, 2)]
    steps += [("event", each) for each in events + chance.sample(events, len(events) // 2)]
    chance.shuffle(steps)
    with memory_index() as reference, memory_index() as other:
        reference.apply_versions(PUBLISHED)
        reference.apply_events(events)
        while steps:
            count = chance.randint(1, 6)
            some, steps = steps[:count], steps[count:]
            other.apply_events(each for kind, each in some if kind == "event")
            other.apply_versions(each for kind, each in some if kind == "version")
        assert dump(other) == dump(reference)
        assert other.check() == []


@settings(max_examples=examples(100))
@given(EVENTS, st.randoms(use_true_random=False))
def test_records_that_go_leave_the_rows_of_those_that_stay(events, chance):
    """Forgetting a record is as if it had never been seen."""
    stay = chance.sample(PUBLISHED, chance.randint(0, 3))
    gone = [version_number(each.record_id) for each in PUBLISHED if each not in stay]
    with memory_index() as reference, memory_index() as other:
        reference.apply_versions(stay)
        reference.apply_events(events)
        other.apply_versions(PUBLISHED)
        other.apply_events(events)
        with other.writing() as db:
            event_rows.drop_versions(db, gone)
        assert dump(other) == dump(reference)
        assert other.check() == []


def test_a_record_that_no_row_names_any_more_has_no_row():
    """Two events name one output differently: the lesser name holds, in any order, and the other is gone."""
    one, two = (event_of(number, 0, 0, 0, 0, [link]) for number, link in ((0, 0), (1, 120)))
    names = [link.record for event in (one, two) for link in event.links]
    assert names[0] != names[1]
    kept = min(names, key=version_number)
    for batches in ([[one], [two]], [[two], [one]], [[one, two]], [[two, one]]):
        with memory_index() as index:
            for batch in batches:
                index.apply_events(batch)
            assert rows(index, "SELECT record FROM versions") == [(kept,)]


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "other"},
        {"started": moment(9)},
        {"ended": moment(9)},
        {"outcome": "killed"},
        {"part_of": "mlflow:9"},
        {"facts": {"user": "somebody else"}},
        {"sequence": 9},
    ],
)
def test_two_events_of_one_id_hold_whichever_comes_first(change):
    """A writer that says different things under one id gets the same row everywhere, for every thing said."""
    one = event_of(1, 1, 1, 1, 0, [])
    two = one._replace(run=one.run._replace(**change))
    with memory_index() as index, memory_index() as other:
        for event in (one, two):
            index.apply_events([event])
        for event in (two, one):
            other.apply_events([event])
        assert dump(index) == dump(other)


def test_a_run_is_what_its_processes_say_together(tmp_path):
    """Started with the first, ended with the last and not before, failed if any failed."""
    mine, other = (event_of(number, 0, number, 1, 0, []) for number in (1, 2))
    first = mine._replace(run=mine.run._replace(started=moment(3), name=None, facts={"host": "gpu1"}))
    second = other._replace(
        run=other.run._replace(started=moment(1), name="train", facts={"git": {"commit": "c0ffee"}}),
    )

    def ended(event, hour, outcome):
        run = event.run._replace(sequence=event.run.sequence + 1, ended=moment(hour), outcome=outcome)
        return event._replace(id=event.id[:12] + "f" * 20, run=run)

    question = "SELECT started, ended, outcome, name, host, commit_id FROM runs"
    with new_index(tmp_path) as index:
        index.apply_events([first, second])
        start = "2026-11-01T01:00:00.000000Z"
        assert rows(index, question) == [(start, None, None, "train", "gpu1", "c0ffee")]
        index.apply_events([ended(second, 5, "finished")])
        assert rows(index, question) == [(start, None, None, "train", "gpu1", "c0ffee")]
        index.apply_events([ended(first, 9, "finished"), second, first])
        assert rows(index, question)[0][1:3] == ("2026-11-01T09:00:00.000000Z", "finished")
        later = ended(ended(second, 6, "killed"), 6, "killed")
        index.apply_events([later])
        assert rows(index, question)[0][2] == "killed"
        index.apply_events(
            [first._replace(id="f" * 32, run=first.run._replace(process="e" * 32, outcome="failed"))]
        )
        assert rows(index, question)[0][1:3] == (None, "failed")


def test_links_of_a_launch_are_those_of_the_one_run_in_it(tmp_path):
    """Rank 1 reads in the launch, rank 0 in a run of its own; with a second such run nothing tells which."""
    link = link_of(1)._replace(record=FIRST.record_id)

    def said(key, number, links=()):
        event = event_of(number, 2, number, 1, 0, [])
        launch = Context(system="torchrun", id="2", kind="launcher")
        return event._replace(run=event.run._replace(key=key, contexts=(launch,)), links=links)

    rank = said("torchrun:2", 1, (link,))
    first, second = said("mlflow:a", 2), said("mlflow:b", 3)
    question = (
        "SELECT r.key, l.part_of FROM links JOIN runs r ON r.id = run, runs l WHERE l.key = 'torchrun:2'"
    )
    with new_index(tmp_path) as index:
        index.apply_events([rank])
        assert rows(index, question) == [("torchrun:2", None)]
        index.apply_events([first])
        assert rows(index, question) == [("mlflow:a", "mlflow:a")]
        index.apply_events([second])
        assert rows(index, question) == [("torchrun:2", None)]


def test_an_output_finds_its_version_once_it_is_published(tmp_path):
    """By the write id, whichever of event and record comes first; deleted, it is unknown again."""
    link = link_of(0)._replace(record=None, write_id=SECOND.record.write_id)
    event = event_of(1, 1, 1, 1, 1, [])._replace(links=(link,))
    question = "SELECT version FROM links"
    with new_index(tmp_path) as index:
        index.apply_events([event])
        assert rows(index, question) == [(None,)]
        index.apply_versions([SECOND])
        assert rows(index, question) == [(version_number(SECOND.record_id),)]
        with index.writing() as db:
            event_rows.drop_versions(db, [version_number(SECOND.record_id)])
        assert rows(index, question) == [(None,)]
        index.apply_versions([FIRST, SECOND, OTHER])
        assert rows(index, question) == [(version_number(SECOND.record_id),)]


def test_a_version_that_only_a_link_names_is_its_record_id(tmp_path):
    """A deleted version, or one of another repository, keeps its runs; once it is known it has a name."""
    event = event_of(1, 1, 1, 1, 1, [])._replace(links=(link_of(1)._replace(record=FIRST.record_id),))
    with new_index(tmp_path) as index:
        index.apply_events([event])
        assert rows(index, "SELECT record, dataset, tree FROM versions") == [(FIRST.record_id, None, None)]
        index.apply_versions([FIRST])
        assert rows(index, "SELECT record, dataset, label FROM versions") == [
            (FIRST.record_id, "cats", "1.0.1")
        ]
        assert rows(
            index, "SELECT count(*) FROM links WHERE version = ?", version_number(FIRST.record_id)
        ) == [(1,)]


def test_records_and_keys_that_share_a_number_do_not_depend_on_order(tmp_path):
    """A forged record id with the first 63 bits of a real one never takes its place."""
    forged = FIRST.record_id[:16] + "0" * 48
    event = event_of(1, 1, 1, 1, 1, [])._replace(links=(link_of(1)._replace(record=forged),))
    dumps = []
    for name in ("one", "two"):
        with new_index(tmp_path, name) as index:
            steps = [lambda to=index: to.apply_versions([FIRST]), lambda to=index: to.apply_events([event])]
            for step in steps if name == "one" else steps[::-1]:
                step()
            assert rows(index, "SELECT record FROM versions") == [(FIRST.record_id,)]
            dumps.append(dump(index))
    assert dumps[0] == dumps[1]


def test_text_of_events_is_only_ever_text(tmp_path):
    """SQL, control characters and NUL in names, facts and paths end up in their columns."""
    nasty = "'; DROP TABLE runs; --\x00\x1b[31m\u202e"
    event = event_of(1, 1, 1, 1, 1, [1])
    run = event.run._replace(name=nasty, facts={"user": nasty, nasty: [nasty]}, key="x:';DROP-TABLE-links;--")
    with new_index(tmp_path) as index:
        index.apply_events([event._replace(run=run)])
        assert rows(index, "SELECT key, name, user FROM runs") == [(run.key, nasty, nasty)]
        assert index.check() == []


def worker(path, seed, events):
    """Apply all events in an order of its own, a few at a time; runs in a process of its own."""
    random.Random(seed).shuffle(events)
    with LineageIndex.open(REPOSITORY, path) as index:
        for start in range(0, len(events), 7):
            index.apply_events(events[start : start + 7])
        index.apply_versions(PUBLISHED)


@pytest.mark.parametrize("count", [2, pytest.param(6, marks=pytest.mark.slow)])
def test_processes_that_write_at_once_lose_no_row(tmp_path, count):
    """Processes that apply overlapping halves of 400 events to one new index make that of one process."""
    events = [event_of(n, n % 40, n % 9, n % 4, n, [n, n + 1, 3 * n]) for n in range(400)]
    context = multiprocessing.get_context("spawn")
    path = tmp_path / "shared" / "index.sqlite"
    workers = [
        context.Process(target=worker, args=(path, seed, events[seed % 3 * 100 :][: 200 + seed * 20]))
        for seed in range(count)
    ]
    for each in workers:
        each.start()
    for each in workers:
        each.join(120)
    assert [each.exitcode for each in workers] == [0] * count
    applied = [event for seed in range(count) for event in events[seed % 3 * 100 :][: 200 + seed * 20]]
    with LineageIndex.open(REPOSITORY, path) as index, new_index(tmp_path) as alone:
        alone.apply_versions(PUBLISHED)
        alone.apply_events(applied)
        assert dump(index) == dump(alone)
        assert index.check() == []
    assert len(list(path.parent.glob("index-*.sqlite"))) == 1


def test_an_index_is_settled_as_it_should_be(tmp_path, monkeypatch):
    """Write-ahead log, foreign keys, a wait for others, for its owner's eyes only; in the state folder."""
    monkeypatch.setenv("DATAVER_STATE", str(tmp_path / "state"))
    with LineageIndex.open(REPOSITORY) as index:
        assert (
            index.path == default_path(REPOSITORY) == tmp_path / "state/lineage" / REPOSITORY / "index.sqlite"
        )
        for pragma, value in (
            ("journal_mode", "wal"),
            ("foreign_keys", 1),
            ("synchronous", 1),
            ("busy_timeout", 30_000),
        ):
            assert rows(index, f"PRAGMA {pragma}") == [(value,)]
        assert index.file.stat().st_mode & 0o077 == 0
        with pytest.raises(sqlite3.IntegrityError):
            index.db.execute("INSERT INTO parents VALUES (1, 0, 2)")


def test_waiting_events_are_laid_over_and_leave_no_trace(tmp_path):
    """Inside, the rows are those of all events; outside and afterwards, as before, even after an error."""
    with new_index(tmp_path) as index, new_index(tmp_path, "both") as both:
        index.apply_events([event_of(1, 1, 1, 1, 1, [1, 5])])
        before = dump(index)
        both.apply_events([event_of(1, 1, 1, 1, 1, [1, 5]), event_of(2, 2, 1, 1, 2, [5, 6])])
        with index.overlay([event_of(2, 2, 1, 1, 2, [5, 6])]):
            assert dump(index) == dump(both)
            with new_index(tmp_path) as reader:
                assert dump(reader) == before
        assert dump(index) == before
        with pytest.raises(ZeroDivisionError), index.overlay([event_of(3, 3, 1, 1, 2, [5])]):
            raise ZeroDivisionError
        assert dump(index) == before


def test_a_newer_schema_is_left_alone(tmp_path):
    """Both numbers are named and the file is not touched."""
    with new_index(tmp_path) as index:
        index.db.execute("PRAGMA user_version = 99")
        file = index.file
    content = file.read_bytes()
    with pytest.raises(FormatTooNew, match=rf"schema 99.*supports {SCHEMA}") as caught:
        new_index(tmp_path)
    assert "newer dataver" in caught.value.hint
    assert file.read_bytes() == content


def later_migrations():
    """Return the migrations of a newer dataver: one more than ours."""
    newer = Migrations(MIGRATIONS.name)
    for each in MIGRATIONS.pending(Database(memory=True)):
        newer(name=each.name)(each.fn)
    newer(name="later")(lambda db: db.table("later").insert_all(db.table("runs").rows))
    return newer


def test_an_older_index_is_migrated_or_left_as_it_was(tmp_path):
    """A migration sees the rows of the index; one that fails undoes those before it."""
    with new_index(tmp_path) as index:
        assert rows(index, "PRAGMA user_version") == [(SCHEMA,)]
        index.apply_events([event_of(1, 1, 1, 1, 1, [1])])
        broken = later_migrations()
        broken(name="broken")(lambda db: db.execute("INSERT INTO nowhere VALUES (1)"))
        with pytest.raises(sqlite3.OperationalError, match="nowhere"):
            migrate(index.db, broken, index.file)
        assert rows(index, "PRAGMA user_version") == [(SCHEMA,)]
        assert rows(index, "SELECT 1 FROM sqlite_master WHERE name = 'later'") == []
        migrate(index.db, later_migrations(), index.file)
        assert rows(index, "PRAGMA user_version") == [(SCHEMA + 1,)]
        assert rows(index, "SELECT key FROM later") == [("dataver:1",)]


def test_an_index_that_several_open_at_once_is_migrated_once(tmp_path):
    """All of them succeed, whichever is first."""
    new_index(tmp_path).close()
    ready = threading.Barrier(4)

    def open_and_migrate(_):
        with new_index(tmp_path) as index:
            ready.wait(60)
            migrate(index.db, later_migrations(), index.file)
            return rows(index, "SELECT count(*) FROM _sqlite_migrations")

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(open_and_migrate, range(4))) == [[(SCHEMA + 1,)]] * 4


def test_a_file_of_another_program_is_not_changed(tmp_path):
    """Its tables are left alone, and the error says what to do."""
    with new_index(tmp_path) as index:
        file = index.file
    file.unlink()
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute("CREATE TABLE recipes (name)")
    with pytest.raises(IntegrityError, match="is not a lineage index") as caught:
        new_index(tmp_path)
    assert "dataver lineage rebuild" in caught.value.hint
    with contextlib.closing(sqlite3.connect(file)) as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]


def damages():
    def flip(data):
        page = bytearray(data)
        for place in range(4096, len(page), 4096):
            page[place : place + 64] = b"\xff" * 64
        return bytes(page)

    return {
        "it is text": lambda data: b"hello, I am no database" * 200,
        "its head is gone": lambda data: bytes(100) + data[100:],
        "its pages are garbage": flip,
        "its end is missing": lambda data: data[: 2 * 4096],
        "it is another program's": None,
    }


@pytest.mark.parametrize("damage", damages())
def test_a_damaged_index_says_so_and_how_to_mend_it(tmp_path, damage):
    """Opened or asked, a damaged file is an IntegrityError that names it and `rebuild`; it stays."""
    with new_index(tmp_path) as index:
        index.apply_events(event_of(n, n, 1, 1, n, [n, n + 1]) for n in range(300))
        index.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        file = index.file
    change = damages()[damage]
    if change is None:
        file.unlink()
        with sqlite3.connect(file) as db:
            db.execute("CREATE TABLE mine (x)")
        db.close()
    else:
        file.write_bytes(change(file.read_bytes()))

    def use():
        with new_index(tmp_path) as index:
            with index.asking() as db:
                db.execute("SELECT * FROM links, runs").fetchall()
            index.apply_events([event_of(1, 1, 1, 1, 1, [1])])

    with pytest.raises(IntegrityError, match="index") as caught:
        use()
    assert "dataver lineage rebuild" in caught.value.hint
    assert file.exists()


def test_a_locked_index_is_an_error_that_passes(tmp_path):
    """After the wait it is said who is in the way; nothing is half written; then it works."""
    with new_index(tmp_path) as holder, new_index(tmp_path, timeout=0.05) as other:
        before = dump(other)
        with holder.writing():
            with pytest.raises(StoreError, match="another process") as caught:
                other.apply_events([event_of(1, 1, 1, 1, 1, [1])])
            assert caught.value.transient
        assert dump(other) == before
        other.apply_events([event_of(1, 1, 1, 1, 1, [1])])
        assert rows(holder, "SELECT count(*) FROM runs") == [(1,)]


def test_a_full_disk_loses_nothing(tmp_path):
    """SQLite is out of pages: an error that says so, the rows of before, and room makes it work."""
    with new_index(tmp_path) as index:
        index.apply_events([event_of(1, 1, 1, 1, 1, [1])])
        before = dump(index)
        pages = rows(index, "PRAGMA page_count")[0][0]
        index.db.execute(f"PRAGMA max_page_count = {pages + 3}")
        with pytest.raises(StoreError, match="disk is full"):
            index.apply_events(event_of(n, n, n, 1, n, [n, n + 1]) for n in range(900))
        assert dump(index) == before
        assert index.check() == []
        index.db.execute("PRAGMA max_page_count = 1000000")
        assert index.apply_events(event_of(n, n, n, 1, n, [n, n + 1]) for n in range(900)) == 900


def test_a_folder_that_cannot_be_used_is_named(tmp_path):
    """A file where the folder should be is an error with a way out."""
    (tmp_path / "state").write_text("x")
    with pytest.raises(StoreError, match="state") as caught:
        LineageIndex.open(REPOSITORY, tmp_path / "state" / "index.sqlite")
    assert "DATAVER_STATE" in caught.value.hint


@pytest.mark.parametrize("lost", ["the link", "the file", "everything"])
def test_a_deleted_index_is_begun_anew(tmp_path, lost):
    """Invariant 5: whatever of it is deleted, the next open makes an empty one."""
    with new_index(tmp_path) as index:
        index.apply_events([event_of(1, 1, 1, 1, 1, [1])])
    if lost != "the file":
        index.path.unlink()
    if lost != "the link":
        index.file.unlink()
    with new_index(tmp_path) as index:
        assert rows(index, "SELECT count(*) FROM runs") == [(0,)]
    with new_index(tmp_path) as again:
        assert again.file == index.file


def test_an_index_is_replaced_under_its_readers(tmp_path):
    """Whoever has the old one open reads on; who opens next has the new one; the old file is gone."""
    with new_index(tmp_path) as old:
        old.apply_events([event_of(1, 1, 1, 1, 1, [1])])
        fresh = LineageIndex.create(tmp_path / "index.sqlite")
        fresh.apply_events([event_of(2, 2, 1, 1, 2, []), event_of(3, 3, 1, 1, 2, [])])
        assert publish_index(fresh, replace=True)
        fresh.close()
        assert rows(old, "SELECT count(*) FROM runs") == [(1,)]
        old.apply_events([event_of(4, 4, 1, 1, 1, [1])])
        with new_index(tmp_path) as index:
            assert rows(index, "SELECT count(*) FROM runs") == [(2,)]
    assert [path.name for path in tmp_path.glob("index-*")] == [fresh.file.name]


def test_looking_for_an_index_imports_no_sqlite(tmp_path):
    """A fetch must not wait for SQLite, nor a query of an existing index for sqlite-utils."""
    new_index(tmp_path).close()
    code = (
        "import sys, dataver, dataver.lineage, dataver.formats.event, dataver.repository.events\n"
        "bad = {'sqlite3', 'sqlite_utils', 'pluggy'} & set(sys.modules)\n"
        "assert not bad, bad\n"
        "import pathlib, dataver.lineage.index.pull\n"
        "from dataver.lineage.index.index import LineageIndex\n"
        "LineageIndex.open('x', pathlib.Path(sys.argv[1])).close()\n"
        "assert 'sqlite_utils' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "index.sqlite"], check=True, timeout=60)


def test_runs_have_numbers_of_their_own():
    """Keys that differ have numbers that differ, and they fit SQLite's integers."""
    numbers = {run_number(f"mlflow:{n}") for n in range(1000)} | {
        version_number(hexed(n, 64)) for n in range(1000)
    }
    assert len(numbers) == 2000
    assert all(0 <= number < 1 << 63 for number in numbers)
