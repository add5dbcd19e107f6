"""Many processes publishing to one dataset at once: every version is there, none replaced another's."""

import json
import subprocess
import sys
from collections import Counter

import pytest

import dataver
from dataver.formats.names import next_label
from dataver.repository.claims import claimed
from dataver.repository.layout import claim_key
from dataver.storage import MemoryStore

from .conftest import Place

WRITERS, VERSIONS = 8, 25

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


def _publish(place, root, writers, versions):
    """Let processes publish at once; return `(writer, number, label)` of each version they believe in."""
    running = []
    for me in range(writers):
        what = json.dumps([place.url, place.options, me, versions, str(root)])
        running.append(
            subprocess.Popen(
                [sys.executable, "-c", _WRITER, what], stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        )
    said = []
    for process in running:
        out, errors = process.communicate(timeout=500)
        assert process.returncode == 0, errors.decode()[-3000:]
        said += [tuple(json.loads(line)) for line in out.splitlines()]
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
    assert not [info.key for info in repo.store.list("claims/")]


@pytest.mark.parametrize(
    "where",
    [
        "folder",
        *(pytest.param(name, marks=[pytest.mark.servers, pytest.mark.slow]) for name in ("moto", "ceph")),
    ],
)
def test_eight_writers_lose_no_version(where, request, tmp_path):
    """Two hundred versions by eight processes: no label is missing, none is given twice, all are readable."""
    place = Place(str(tmp_path / "repository"))
    if where != "folder":
        server = request.getfixturevalue(f"{where}_server")
        place = Place(server.url("concurrency/eight"), server)
    dataver.init(place.url, storage_options=place.options)
    said = _publish(place, tmp_path, WRITERS, VERSIONS)
    _check(place, said, WRITERS * VERSIONS)


@pytest.mark.servers
def test_writers_take_turns_where_the_store_ignores_conditions(rclone_server, tmp_path):
    """`rclone serve s3` lets every racing create win; writers that claim a key first lose nothing even so."""
    place = Place(rclone_server.url("concurrency/turns"), rclone_server)
    repo = dataver.init(place.url, storage_options=place.options)
    assert repo.config.create_if_absent is False
    said = _publish(place, tmp_path, 4, 8)
    _check(place, said, 32)


def test_a_dead_writers_claim_is_passed_over(monkeypatch):
    """A claim that stays is waited for, and no longer than a writer could need it."""
    store = MemoryStore()
    store.put(claim_key("datasets/d/versions/1.0.0.json", "0" * 32), b"")
    moments = iter(range(0, 100_000, 7))
    clock = type("", (), {"monotonic": lambda: float(next(moments)), "sleep": lambda seconds: None})
    monkeypatch.setattr(sys.modules[claimed.__wrapped__.__module__], "time", clock)
    with claimed(store, "datasets/d/versions/1.0.0.json"):
        assert len(list(store.list("claims/"))) == 2
    assert [info.key[-32:] for info in store.list("claims/")] == ["0" * 32]
    assert next(moments) > 120
