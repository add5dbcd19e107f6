"""What a tracker is told of a version it was told of before: never less, whichever thread comes first."""

import json

TOLD = """
import dataver, hal, hal_dataver, json, threading
from dataver.lineage.record.recorder import flush
from dataver.lineage.attribution.state import STATE

told, first, go_on = [], threading.Event(), threading.Event()

def note(context, use):
    told.append([use.how, use.files, *use.subset.patterns, *use.subset.paths])
    first.set()
    assert go_on.wait(120)

hal_dataver.TRACKER.updates, hal_dataver.TRACKER.note = True, note
read = dataver.open().files("cats@1.0.0").read
"""


def test_a_read_that_is_linked_before_the_thread_tells_of_it_takes_nothing_back(hal) -> None:
    """The thread is busy with the fetch while the end of the run makes a link of what was read."""
    said = hal.run(f"""{TOLD}
hal.start("1")
dataver.fetch("cats@1.0.0", include="labels.csv")
assert first.wait(120)
read("train/a.jpg")
STATE.recorder.notes.gather()
go_on.set()
flush()
print(json.dumps(told))
""")
    assert json.loads(said) == [["fetch", 1, "labels.csv"], ["read", 2, "labels.csv", "train/a.jpg"]]


def test_a_fetch_after_a_read_takes_nothing_back(hal) -> None:
    """What was read is in no link yet when the tracker is told of the fetch."""
    said = hal.run(f"""{TOLD}
go_on.set()
hal.start("1")
read("train/a.jpg")
assert first.wait(120)
dataver.fetch("cats@1.0.0", include="labels.csv")
flush()
print(json.dumps(told))
""")
    told = json.loads(said)
    assert told[0] == ["read", 1, "train/a.jpg"]
    assert {tuple(each[1:]) for each in told[1:]} == {(2, "labels.csv", "train/a.jpg")}


def test_what_was_available_takes_back_nothing_that_was_read(hal) -> None:
    """Another file was read before the run began, which is told when links are made of it."""
    said = hal.run(f"""{TOLD}
go_on.set()
read("labels.csv")
hal.start("1")
read("train/a.jpg")
assert first.wait(120)
flush()
print(json.dumps(told))
""")
    assert json.loads(said)[-1] == ["read", 1, "train/a.jpg"]


def test_a_run_that_is_about_to_close_is_told_what_workers_read(hal) -> None:
    """Workers that go on, as those of a data loader do: the run takes nothing any more once it ended."""
    said = hal.run(f"""{TOLD}
import os, signal
from dataver.lineage.record.recorder import tracker_begins, tracker_ends

go_on.set()
hal.start("1")
tracker_begins(hal_dataver.TRACKER.current())
read("labels.csv")
there, ready = os.pipe()
worker = os.fork()
if worker == 0:
    read("train/a.jpg")
    os.write(ready, b"1")
    signal.pause()
os.read(there, 1)
tracker_ends(hal_dataver.TRACKER.current(), "finished", before=True)
print(json.dumps(told))
os.kill(worker, signal.SIGKILL)
os.waitpid(worker, 0)
""")
    assert json.loads(said)[-1] == ["read", 2]
