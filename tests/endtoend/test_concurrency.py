"""Many processes publishing to one dataset at once: every version is there, none replaced another's work.

`DATAVER_PUBLISHES=full` lets eight processes publish 25 and 50 versions each in every place, not a few.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

import dataver
from dataver.formats.names import next_label
from dataver.repository.create_once import claimed
from dataver.repository.layout import claim_key
from dataver.storage import MemoryStore

from .conftest import Place

FULL = os.environ.get("DATAVER_PUBLISHES") == "full"
WRITERS = 8

_WRITER = """
import json, os, sys
import dataver
url, options, me, versions, root = json.loads(sys.argv[1])
os.environ["DATAVER_CACHE"] = f"{root}/cache-{me}"
source = f"{root}/source-{me}"
os.makedirs(source)
os.chdir(source)
repo = dataver.open(url, storage_options=options)
for number in range(versions):
    draft = repo.create("d", workspace=f"{root}/work-{me}")
    with open(f"{source}/file", "w") as file:
        file.write(f"writer {me} version {number}")
    draft.add(source)
    draft.finalize(f"{me}/{number}")
    print(json.dumps([me, number, draft.upload().version.label]), flush=True)
"""

_EDITOR = """
import json, os, sys
import dataver
url, options, me, versions, root = json.loads(sys.argv[1])
os.environ["DATAVER_CACHE"] = f"{root}/cache-{me}"
work, folder = f"{root}/work-{me}", f"{root}/folder-{me}"
os.makedirs(folder)
repo = dataver.open(url, storage_options=options)
for number in range(versions):
    if number % 2:
        draft = repo.create("d", parents=["d"], workspace=work)
        with draft.open(f"edited/{me}-{number}", "w") as file:
            file.write("edited")
        label = f"run-{me}-{number}" if number % 4 == 3 else None
        draft.finalize(label=label, bump="minor")
        version = draft.upload().version
    else:
        with open(f"{folder}/{number}", "w") as file:
            file.write("mirrored")
        version = repo.sync(folder, "d", dest=f"mirrors/{me}", workspace=work).version
    repo.tag(version.ref, "candidate", forward=True)
    print(json.dumps([me, number, version.label]), flush=True)
"""


def _publish(place, root, writers, versions, script=_WRITER):
    """Let processes publish at once; return `(writer, number, label)` of each version they believe in."""
    running = []
    for me in range(writers):
        what = json.dumps([place.url, place.options, me, versions, str(root)])
        running.append(
            subprocess.Popen(
                [sys.executable, "-X", "faulthandler", "-c", script, what],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
    said = []
    try:
        for process in running:
            out, errors = process.communicate(timeout=500)
            assert process.returncode == 0, errors.decode()[-3000:]
            said += [tuple(json.loads(line)) for line in out.splitlines()]
    except subprocess.TimeoutExpired:
        for process in running:
            process.send_signal(signal.SIGABRT)  # prints where its threads are
        stacks = [process.communicate()[1].decode()[-3000:] for process in running]
        pytest.fail("writers do not end:\n" + "\n".join(stacks))
    finally:
        for process in running:
            process.kill()
            process.communicate()
    return said


def _check(place, said, count):
    """Assert that exactly the labels a lonely writer would give are there, each with its writer's bytes."""
    repo = dataver.open(place.url, storage_options=place.options)
    expected = []
    while len(expected) < count:
        expected.append(next_label(expected, "patch"))
    assert Counter(label for _, _, label in said) == Counter(expected)
    versions = {version.label: version for version in repo.versions("d")}
    assert versions.keys() == set(expected)
    for me, number, label in said:
        assert versions[label].message == f"{me}/{number}"
        assert versions[label].read("file") == f"writer {me} version {number}".encode()
    for label in expected[:: 20 if place.options else 1]:
        assert repo.verify(versions[label].ref).findings == []
    assert not [info.key for info in repo._core.store.list("claims/")]


@pytest.mark.parametrize(
    "where",
    [
        "folder",
        *(pytest.param(name, marks=pytest.mark.servers) for name in ("moto", "ceph")),
    ],
)
@pytest.mark.slow
def test_eight_writers_lose_no_version(where, request, tmp_path):
    """Many versions by eight processes: no label is missing, none is given twice, all are readable."""
    place, versions = Place(str(tmp_path / "repository")), 25
    if where != "folder":
        server = request.getfixturevalue(f"{where}_server")
        place, versions = Place(server.url("concurrency/eight"), server), 25 if FULL else 6
    dataver.init(place.url, storage_options=place.options)
    said = _publish(place, tmp_path, WRITERS, versions)
    _check(place, said, WRITERS * versions)


@pytest.mark.servers
@pytest.mark.slow
def test_writers_take_turns_where_the_store_ignores_conditions(rclone_server, tmp_path):
    """`rclone serve s3` lets every racing create win; writers that claim a key first lose nothing even so."""
    place = Place(rclone_server.url("concurrency/turns"), rclone_server)
    repo = dataver.init(place.url, storage_options=place.options)
    assert repo._core.config.create_if_absent is False
    said = _publish(place, tmp_path, 4, 8)
    _check(place, said, 32)


def _edit(place, root, writers, versions):
    """Let processes mirror and edit one dataset at once; assert that the latest version has all of it."""
    repo = dataver.init(place.url, storage_options=place.options)
    (root / "first").mkdir()
    (root / "first" / "file").write_text("first")
    repo.sync(root / "first", "d", workspace=root)
    said = _publish(place, root, writers, versions, _EDITOR)
    repo = dataver.open(place.url, storage_options=place.options)
    there = {version.label: version for version in repo.versions("d")}
    assert len(there) == len(said) + 1 == writers * versions + 1
    assert there.keys() >= {label for _, _, label in said}
    expected = {"file"} | {
        f"edited/{me}-{number}" if number % 2 else f"mirrors/{me}/{number}" for me, number, _ in said
    }
    latest = repo.version("d")
    assert {entry.path for entry in latest.entries()} == expected
    assert repo.version("d@candidate").ref == latest.ref
    chain = [latest]
    while chain[-1].parents:
        (parent,) = chain[-1].parents
        chain.append(there[parent.label])
    assert len(chain) == len(there)
    assert repo.verify(latest.ref).ok
    assert not [info.key for info in repo._core.store.list("claims/")]


def test_no_update_is_lost_in_a_folder(tmp_path):
    """Mirrors and edits, labels given and automatic: one line of versions, whose last one has all."""
    _edit(Place(str(tmp_path / "repository")), tmp_path, 3, 4)


@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.parametrize("where", ["folder", "seaweedfs", "rclone"])
def test_no_update_of_eight_writers_is_lost(where, request, tmp_path):
    """As above, by eight processes; also where the store ignores conditions and writers claim the dataset."""
    place, versions = Place(str(tmp_path / "repository")), 50 if FULL else 12
    if where != "folder":
        server = request.getfixturevalue(f"{where}_server")
        few = 3 if where == "rclone" else 4  # claims take many requests
        place, versions = Place(server.url("concurrency/edits"), server), 50 if FULL else few
    _edit(place, tmp_path, WRITERS, versions)


def test_a_dead_writers_claim_is_passed_over(monkeypatch):
    """A claim that stays is waited for, and no longer than a writer could need it."""
    store = MemoryStore()
    store.put(claim_key("datasets/d/versions/1.0.0.json", "0" * 32), b"")
    moments = iter(range(0, 100_000, 7))
    clock = type("", (), {"monotonic": lambda: float(next(moments)), "sleep": lambda seconds: None})
    monkeypatch.setattr(sys.modules[claimed.__wrapped__.__module__], "time", clock)
    with claimed(store, "datasets/d/versions/1.0.0.json"):
        assert len(list(store.list("claims/"))) == 1
    assert next(moments) > 120
    assert not list(store.list("claims/"))  # the next writer does not wait for it again


class _SlowStore(MemoryStore):
    """A store far away."""

    def put(self, key, data, **options):
        time.sleep(0.01)
        return super().put(key, data, **options)

    def list(self, *args, **options):
        time.sleep(0.01)
        return super().list(*args, **options)

    def delete(self, key, *args, **options):
        time.sleep(0.01)
        return super().delete(key, *args, **options)


@pytest.mark.slow
def test_many_writers_at_a_slow_store_all_have_their_turn(monkeypatch):
    """A writer that waits has no claim: otherwise every listing contains one, and no writer continues."""
    module = sys.modules[claimed.__wrapped__.__module__]
    monkeypatch.setattr(module, "_PAUSE", 0.002)
    monkeypatch.setattr(module, "_TRIES", 200)
    store, turns = _SlowStore(), []

    def write(me):
        for _ in range(3):
            with claimed(store, "datasets/d/versions/1.0.0.json"):
                turns.append(me)
                time.sleep(0.02)

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))
    assert Counter(turns) == Counter(dict.fromkeys(range(WRITERS), 3))
    assert not list(store.list("claims/"))
