"""The queue's file of one process: what others may take of it, and when."""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dataver.formats.event import Link, RunFacts, Subset
from dataver.lineage.attribution.state import STATE
from dataver.lineage.record import queue_file
from dataver.lineage.record.journal import Journal, ReadLog
from dataver.lineage.record.queue_file import QueueFile, absorb_left
from dataver.lineage.record.run import now

PROCESS = "a" * 32


READ = Link(
    role="input", dataset="cats", label="1.0.0", record="b" * 64, tree="c" * 64, time=now(), how="read"
)


def facts(key: str = "t:1") -> RunFacts:
    """Return the facts of a run."""
    return RunFacts(key, PROCESS, 1, now(), facts={"host": "a"})


def journal_of(queue: QueueFile) -> Journal:
    """Return what another process makes of a file."""
    journal = Journal()
    assert journal.apply(queue.path.read_bytes()) == 0
    return journal


def test_a_scan_at_any_moment_takes_nothing_of_a_living_process(tmp_path: Path) -> None:
    """Neither its lock nor its file, while the file is made and the first lines are written."""
    queue, other = QueueFile(tmp_path, PROCESS, {"parent": None}), QueueFile(tmp_path / "other", PROCESS, {})

    def scan(frame: Any, event: str, _argument: object) -> None:
        if event.startswith("c_") and frame.f_globals is vars(queue_file):
            sys.setprofile(None)
            absorb_left(tmp_path, lambda _: other)  # which deletes or renames what it can lock
            sys.setprofile(scan)

    sys.setprofile(scan)
    try:
        assert queue.append(b"+0 1 a")
    finally:
        sys.setprofile(None)
    assert queue.path.read_bytes() == b'#{"parent":null}\n+0 1 a\n'
    queue.close()
    absorb_left(tmp_path, lambda _: other)
    assert not queue.path.exists()


@pytest.mark.parametrize("written", [b"", b'#{"parent":null}\n'])
def test_a_file_whose_making_was_interrupted_is_used(tmp_path: Path, written: bytes) -> None:
    """Ctrl-C may come before the descriptor is known; the first line is written once."""
    (tmp_path / f"{PROCESS}.json").write_bytes(written)
    queue = QueueFile(tmp_path, PROCESS, {"parent": None})
    assert queue.append(b"+0 1 a")
    assert queue.path.read_bytes() == b'#{"parent":null}\n+0 1 a\n'
    queue.close()


def test_a_log_that_begins_twice_keeps_its_files(tmp_path: Path) -> None:
    """Ctrl-C may come after its first lines, before the log knows that they are written."""
    queue = QueueFile(tmp_path, PROCESS, {"parent": None})
    log = queue.log(queue.run(facts()), READ)
    log.add([("a.jpg", 1)])
    log._begun = False
    log.add([("b.jpg", 2)])
    (found,) = journal_of(queue).logs.values()
    assert found.read == {"a.jpg": 1, "b.jpg": 2}
    queue.close()


def test_a_log_whose_beginning_was_refused_begins_with_the_next_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the folder could not be made at first: no line is without the one that it refers to."""
    monkeypatch.setattr(STATE, "warned", True)
    folder = tmp_path / "queue"
    folder.write_text("in the way")
    queue = QueueFile(folder, PROCESS, {})
    log = queue.log(queue.run(facts()), READ)
    log.add([("a.jpg", 1)])
    folder.unlink()
    log.add([("b.jpg", 2)])
    assert [each.read for each in journal_of(queue).logs.values()] == [{"b.jpg": 2}]
    queue.close()


def test_a_line_that_a_full_disk_cut_off_is_no_fact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its beginning would be another path; the lines around it hold."""
    monkeypatch.setattr(STATE, "warned", True)
    queue = QueueFile(tmp_path, PROCESS, {})
    log, write = queue.log(queue.run(facts()), READ), os.write
    log.add([("a.jpg", 1)])
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:-3]))
    log.add([("train-10.jpg", 2)])
    monkeypatch.undo()
    log.add([("c.jpg", 3)])
    queue.close()
    journal = Journal()
    assert journal.apply(queue.path.read_bytes()) == 1
    assert [each.read for each in journal.logs.values()] == [{"a.jpg": 1, "c.jpg": 3}]


def test_threads_that_append_at_once_damage_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As passes over several versions do, each of which has its own log."""
    queue, write = QueueFile(tmp_path, PROCESS, {}), os.write
    run = queue.run(facts())
    logs = [queue.log(run, READ._replace(record=f"{number:064}")) for number in range(4)]
    monkeypatch.setattr(os, "write", lambda fd, data: (write(fd, data), time.sleep(0))[0])  # others' turn

    def read(log: ReadLog) -> None:
        for number in range(100):
            log.add([(f"{number}.jpg", 1)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, logs))
    assert [len(each.read) for each in journal_of(queue).logs.values()] == [100] * 4
    queue.close()


def test_a_line_may_be_appended_while_the_same_thread_appends_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal's handler, or what is finalized in the meantime, waits for nothing and damages nothing."""
    queue, write, waits = QueueFile(tmp_path, PROCESS, {}), os.write, [b"+0 2 b"]
    queue.append(b"+0 1 a")

    def interrupted(fd: int, data: bytes) -> int:
        if waits:
            assert queue.append(waits.pop())
        return write(fd, data)

    monkeypatch.setattr(os, "write", interrupted)
    assert queue.append(b"+0 3 c")
    assert queue.path.read_bytes() == b"#{}\n+0 1 a\n+0 2 b\n+0 3 c\n"
    queue.close()


def test_what_was_not_sent_is_left_where_something_else_was_sent(tmp_path: Path) -> None:
    """The run that ended is sent alone; the link of the other one waits in the file of the dead process."""
    queue = QueueFile(tmp_path, PROCESS, {"parent": None})
    ended = queue.run(facts("t:2"))
    ended.end("finished")
    queue.add(queue.run(facts()), READ)
    queue.add(ended, READ)
    queue.sent(queue.unsent(ended_only=True))
    queue.close()
    other = QueueFile(tmp_path / "other", PROCESS, {})
    absorb_left(tmp_path, lambda _: other)
    assert [(event.run.key, len(event.links)) for event in other.unsent()] == [("t:1", 1)]
    other.close()


def test_applying_a_file_twice_or_in_parts_changes_nothing(tmp_path: Path) -> None:
    """The owner's memory, its file, and what another process makes of a file that it read before, agree."""
    queue = QueueFile(tmp_path, PROCESS, {})
    run, whole = queue.run(facts()), Journal()
    log = queue.log(run, READ)
    queue.add(run, READ)
    for path in ("b.jpg", "a.jpg"):
        log.add([(path, 1)])
        for _ in range(2):
            whole.absorb(journal_of(queue))
    queue.add(run, log.link._replace(how="fetch"))
    log.settle(1)
    whole.absorb(journal_of(queue))
    for journal in (journal_of(queue), whole):
        (mine,), (theirs,) = queue.runs.values(), journal.runs.values()
        assert (theirs.facts, theirs.links) == (mine.facts, mine.links)
        (read,) = journal.logs.values()
        assert list(read.read.items()) == [("b.jpg", 1), ("a.jpg", 1)]
    (event,) = queue.unsent(bare=True)
    queue.sent([event])
    assert queue.unsent() == journal_of(queue).unsent(bare=True) == []
    queue.close()


def test_a_pass_leaves_what_it_read_and_what_it_may_have_read(tmp_path: Path) -> None:
    """At any moment: files that it has not recorded as read are available; none is missing or both."""
    queue = QueueFile(tmp_path, PROCESS, {})
    log, whole = queue.log(queue.run(facts()), READ), Journal()
    files = [(f"{number}.jpg", number) for number in range(5)]
    batch = log.batch(files)
    log.add(files[4:])
    for done, recorded in ((1, 1), (2, 1), (4, 4)):
        batch.done = done
        if recorded == done:
            log.progress(batch)
        for _ in range(2):
            whole.absorb(journal_of(queue))
        read, available = dict([files[4], *files[:recorded]]), dict(files[recorded:4])
        assert parts(journal_of(queue)) == ((read, available) if available else (read,))
        assert parts(whole)[0] == read
    batch.end()
    assert log.read == dict(files) and not log.batches
    assert parts(journal_of(queue)) == (dict(files),)
    again = log.batch(files)
    again.done = 5
    log.progress(again)
    assert (
        b">0 0 0 0.jpg\t1 1.jpg\t" in queue.path.read_bytes() and queue.path.read_bytes().count(b"\n>") == 1
    )
    queue.close()


def test_a_pass_goes_on_behind_files_that_the_disk_did_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it reads of the next ones is not taken for others."""
    monkeypatch.setattr(STATE, "warned", True)
    folder = tmp_path / "queue"
    folder.write_text("in the way")
    queue = QueueFile(folder, PROCESS, {})
    log = queue.log(queue.run(facts()), READ)
    for names in ("abc", "def", "ghi"):
        batch = log.batch([(name, 1) for name in names])
        batch.done = 2
        log.progress(batch)
        folder.unlink(missing_ok=True) if folder.is_file() else None
    assert parts(journal_of(queue)) == ({"d": 1, "e": 1, "g": 1, "h": 1}, {"f": 1, "i": 1})
    assert list(log.read) == list("abdegh")
    queue.close()


def parts(journal: Journal) -> tuple[dict[str, int], ...]:
    """Return the files in a journal that were read, and those that were available only."""
    (run,) = journal.runs.values()
    found = [log.fresh() for log in sorted(journal.logs.values(), key=lambda log: log.link.how, reverse=True)]
    assert {log.run for log in journal.logs.values()} == {run}
    return tuple(found)


def test_a_share_comes_back_from_the_file(tmp_path: Path) -> None:
    """With its globs, its exclusions and its place among others."""
    queue = QueueFile(tmp_path, PROCESS, {})
    part = Subset(("train/**",), shard=(0, 2)), Subset(shard=(1, 2), exclude=("*.tmp", "bad/**"))
    shares = tuple((each, 5, 9) for each in part)
    log = queue.log(queue.run(facts()), READ)
    for share in shares:
        log.share(*share)
    (back,) = journal_of(queue).logs.values()
    assert back.shares == shares
    queue.close()


def test_facts_that_changed_while_earlier_ones_were_sent_still_wait(tmp_path: Path) -> None:
    """The end of a run that was recorded meanwhile is sent by another process, if this one is killed."""
    queue = QueueFile(tmp_path, PROCESS, {})
    run = queue.run(facts())
    queue.add(run, READ)
    sent = queue.unsent()
    run.end("finished")
    queue.add(run)
    queue.sent(sent)
    (waits,) = journal_of(queue).unsent()
    assert (waits.run.sequence, waits.run.outcome, waits.links) == (2, "finished", ())
    queue.close()


def test_what_was_read_while_it_was_sent_as_available_still_waits(tmp_path: Path) -> None:
    """Both links have one identity; the read replaces what was available."""
    queue = QueueFile(tmp_path, PROCESS, {})
    run = queue.run(facts())
    queue.add(run, READ._replace(how="available"))
    sent = queue.unsent()
    queue.add(run, READ)
    queue.sent(sent)
    for journal in (queue, journal_of(queue)):
        assert [link.how for event in journal.unsent() for link in event.links] == ["read"]
    queue.close()
