"""The queue's file of one process: what others may take of it, and when."""

import fcntl
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from dataver.formats.event import Event, Link
from dataver.lineage.attribution.state import STATE
from dataver.lineage.record import queue_file
from dataver.lineage.record.journal import Journal, event_of, now
from dataver.lineage.record.notes import RunRecord
from dataver.lineage.record.queue_file import LeftFile, QueueFile, left_files, remove_unlocked
from dataver.lineage.record.read_log import Share

PROCESS = "a" * 32


def reads() -> Event:
    """Return an event that names a run and a version."""
    link = Link(
        role="input", dataset="cats", label="1.0.0", record="b" * 64, tree="c" * 64, time=now(), how="read"
    )
    return event_of(RunRecord("t:1", PROCESS, "explicit").facts, [link])


def test_a_scan_at_any_moment_takes_nothing_of_a_living_process(tmp_path: Path) -> None:
    """Neither its lock nor its file, while the file is made and the first lines are written."""
    queue, taken = QueueFile(tmp_path, PROCESS, {"parent": None}), []

    def scan(frame: Any, event: str, _argument: object) -> None:
        if event.startswith("c_") and frame.f_globals is vars(queue_file):
            sys.setprofile(None)
            taken.extend(left_files(tmp_path, lambda _: True))  # which keeps what it can lock
            sys.setprofile(scan)

    sys.setprofile(scan)
    try:
        assert queue.append(b"+0 1 a")
    finally:
        sys.setprofile(None)
    assert taken == []
    assert (tmp_path / f"{PROCESS}.json").read_bytes() == b'#{"parent":null}\n+0 1 a\n'
    queue.close()
    (left,) = left_files(tmp_path, lambda _: True)
    assert isinstance(left, LeftFile)


def test_a_log_whose_beginning_was_refused_begins_with_the_next_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the folder could not be made at first: no line is without the one that it refers to."""
    monkeypatch.setattr(STATE, "warned", True)
    folder = tmp_path / "queue"
    folder.write_text("in the way")
    queue = QueueFile(folder, PROCESS, {})
    log = queue.log(reads())
    log.add("a.jpg", 1)
    folder.unlink()
    log.add("b.jpg", 2)
    journal = Journal(queue.path.read_bytes())
    assert journal.damaged == 0
    assert [each.read for each in journal.logs.values()] == [{"b.jpg": 2}]
    queue.close()


def test_what_was_not_sent_is_left_where_something_else_was_sent(tmp_path: Path) -> None:
    """The run that ended is sent alone; the link of the other one waits in the file of the dead process."""
    queue, ended = QueueFile(tmp_path, PROCESS, {"parent": None}), RunRecord("t:2", PROCESS, "explicit")
    ended.end("finished")
    queue.add(reads())
    queue.add(event_of(ended.facts, reads().links))
    queue.sent(queue.unsent(ended_only=True))
    queue.close()
    (left,) = left_files(tmp_path, lambda _: True)
    assert [(event.run.key, len(event.links)) for event in left.unsent()] == [("t:1", 1)]


def test_a_file_that_was_never_locked_is_removed_after_an_hour(tmp_path: Path) -> None:
    """Its process was killed while it made the file; a new one, and one that is locked, are left alone."""
    names = ("old", "new", "locked")
    for name in names:
        (tmp_path / f"{name}.new").touch()
    for name in ("old", "locked"):
        os.utime(tmp_path / f"{name}.new", (1e9, 1e9))
    with open(tmp_path / "locked.new", "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        remove_unlocked(tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == {"new", "locked"}


def test_absorbing_a_journal_twice_or_in_parts_changes_nothing(tmp_path: Path) -> None:
    """The owner's memory, its file, and what another process makes of a file that it read before, agree."""
    queue = QueueFile(tmp_path, PROCESS, {})
    log, whole, event = queue.log(reads()), Journal(), reads()
    queue.add(event._replace(run=event.run._replace(facts={"host": "a"})))
    for path in ("b.jpg", "a.jpg"):
        log.add(path, 1)
        for _ in range(2):
            whole.absorb(Journal(queue.path.read_bytes()))
    queue.link(log, 1, [(log.link._replace(how="fetch"), None)])
    whole.absorb(Journal(queue.path.read_bytes()))
    for journal in (Journal(queue.path.read_bytes()), whole):
        (mine,), (theirs,) = queue.entries.values(), journal.entries.values()
        assert (theirs.run, theirs.links) == (mine.run, mine.links)
        (read,) = journal.logs.values()
        assert list(read.read.items()) == [("b.jpg", 1), ("a.jpg", 1)]
    (event,) = queue.unsent(bare=True)
    queue.sent([event])
    assert queue.unsent() == Journal(queue.path.read_bytes()).unsent(bare=True) == []
    queue.close()


def test_a_share_comes_back_from_the_file(tmp_path: Path) -> None:
    """With its exclusions; without any, its line is that of the releases before there were exclusions."""
    queue = QueueFile(tmp_path, PROCESS, {})
    shares = {Share(("train/**",), 0, 2, 5, 9), Share((), 1, 2, 5, 9, ("*.tmp", "bad/**"))}
    log = queue.log(reads())
    for share in shares:
        log.share(share)
    written = (tmp_path / f"{PROCESS}.json").read_bytes()
    assert b'*0 [["train/**"],0,2,5,9]\n' in written
    (back,) = Journal(written).logs.values()
    assert back.shares == shares
    queue.close()


def test_facts_that_changed_while_earlier_ones_were_sent_still_wait(tmp_path: Path) -> None:
    """The end of a run that was recorded meanwhile is sent by another process, if this one is killed."""
    queue, event = QueueFile(tmp_path, PROCESS, {}), reads()
    first = event.run._replace(facts={"host": "a"})
    queue.add(event._replace(run=first))
    sent = queue.unsent(bare=True)
    queue.add(event._replace(run=first._replace(sequence=2, ended=now(), outcome="finished"), links=()))
    queue.sent(sent)
    (waits,) = Journal(queue.path.read_bytes()).unsent(bare=True)
    assert (waits.run.sequence, waits.run.outcome, waits.links) == (2, "finished", ())
    queue.close()
