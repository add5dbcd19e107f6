"""Drafts that send while they take: a bounded spool, nothing sent twice, nothing lost, nothing visible."""

import itertools
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

import dataver
from dataver.errors import DataverError, InvalidInput, StoreError
from dataver.ingest.pack_uploader import sent_before
from dataver.repository import RepositoryCore as Core
from dataver.storage import MemoryStore
from dataver.testing.faulty import Crash, Fault, FaultyStore
from waiting import until

from .conftest import repository

SPOOL = 16 << 20


def fill(folder, files=6, size=700_000, seed=1):
    """Write files of noise; return their contents by name."""
    noise = random.Random(seed)
    folder.mkdir(exist_ok=True)
    found = {f"f{number}": noise.randbytes(size) for number in range(files)}
    for name, data in found.items():
        (folder / name).write_bytes(data)
    return found


def packs(store):
    return {key for key in store.objects if key.startswith("packs/")}


def spooled(draft):
    return [path for path in draft._core.spool.iterdir() if len(path.name) == 64]


def content(version):
    return {entry.path: version.read(entry.path) for entry in version.entries()}


def test_what_add_returned_from_is_in_the_store_and_not_on_this_disk(tmp_path):
    """Invariant 6 without a copy here; nobody sees anything before `upload` (invariant 3)."""
    store = FaultyStore(MemoryStore())
    repo = repository(store)
    files = fill(tmp_path / "src")
    draft = repo.create("d", workspace=tmp_path, stream=True, spool=SPOOL)
    report = draft.add(tmp_path / "src")
    for path in (tmp_path / "src").iterdir():
        path.write_bytes(b"later")
    assert spooled(draft) == []
    assert report.sent_packs == len(packs(store.inner)) >= 4
    assert report.sent_size == sum(len(store.inner.objects[key]) for key in packs(store.inner))
    assert repo.datasets() == []
    draft.finalize("x")
    sent = draft.upload()
    assert (sent.packs, sent.blocks) == (0, 1)
    assert content(sent.version) == files
    assert Counter(key for key in store.writes if key.startswith("packs/")).most_common(1)[0][1] == 1
    assert repo.verify("d").ok


def test_packs_are_sent_while_files_are_still_read(tmp_path):
    """By the time the last file is read, the store has packs."""
    store = MemoryStore()
    repo = repository(store)
    fill(tmp_path / "src", files=12)
    seen = []

    class Watch:
        def start(self, files, size, /):
            pass

        def advance(self, files, size, /, new=0):
            time.sleep(0.05)
            seen.append(len(packs(store)))

    draft = repo.create("d", workspace=tmp_path, stream=True)
    draft.add(tmp_path / "src", progress=Watch())
    assert 0 < seen[-1] < len(packs(store))


class Gated(MemoryStore):
    """Takes no pack before the gate is open."""

    def __init__(self):
        super().__init__()
        self.gate = threading.Event()

    def put_file_new(self, key, path):
        self.gate.wait(120)
        return super().put_file_new(key, path)


def test_the_reader_waits_for_the_network(tmp_path):
    """While nothing is sent, no more is read than the spool and the frames in flight hold."""
    store = Gated()
    repo = repository(store)
    files = fill(tmp_path / "src", files=60)
    draft = repo.create("d", workspace=tmp_path, stream=True, spool=SPOOL)
    counters = dataver.progress.Counters()
    adding = threading.Thread(target=draft.add, args=[tmp_path / "src"], kwargs={"progress": counters})
    adding.start()
    try:
        until(lambda: counters.size > 8 << 20)
        size = -1
        while counters.size != size:  # no event says that nothing more is read
            size = counters.size
            time.sleep(0.4)
        assert 8 << 20 < size < 36 << 20 < 60 * 700_000
        assert sum(path.stat().st_size for path in draft._core.spool.iterdir()) <= SPOOL
    finally:
        store.gate.set()
        adding.join()
    draft.finalize()
    assert content(draft.upload().version) == files


_CHILD = """
import sys, time
import dataver
from dataver.repository import RepositoryCore as Core
from dataver.storage.local import LocalStore

class Far(LocalStore):
    local_root = None
    def put_file_new(self, key, path):
        time.sleep(path.stat().st_size / 60e6)
        return self.put_new(key, path.read_bytes())

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

repo = dataver.open(sys.argv[1])
far = Far(repo._core.store.local_root)
far.local_root = None
repo = dataver.Repository(Core(far, repo._core.config), sys.argv[1])
draft = repo.create("d", stream=True, spool=32 << 20)
print(draft._core.spool, flush=True)
start = peak()
report = draft.add(sys.argv[2])
draft.finalize()
draft.upload()
print(report.sent_packs, peak() - start)
"""


@pytest.mark.slow
def test_300_mb_go_through_a_spool_of_32(tmp_path):
    """The spool is never larger than its bound, looked at from outside; memory grows by half the data."""
    source = tmp_path / "src"
    source.mkdir()
    noise, piece = random.Random(3), 10_000_000
    for number in range(29):
        (source / f"{number:02d}").write_bytes(noise.randbytes(piece))
    with (source / "tiny").open("wb") as file:  # and what compresses well, in its own way
        file.write(b"0123456789" * (piece // 10))
    dataver.init(tmp_path / "repo")
    command = [sys.executable, "-c", _CHILD, str(tmp_path / "repo"), str(source)]
    most = looks = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        spool = Path(process.stdout.readline().strip())
        while process.poll() is None:
            most, looks = max(most, _size(spool)), looks + 1
            time.sleep(0.002)
        count, grown = map(int, process.stdout.read().split())
    assert process.returncode == 0
    print(f"spool {most}, memory {grown} KiB, packs {count}, looks {looks}")
    assert looks > 100
    assert 16 << 20 < most <= 32 << 20
    assert count > 30
    assert grown * 1024 < 160_000_000
    assert dataver.open(tmp_path / "repo").verify("d").ok


def _size(folder):
    total = 0
    try:
        for each in os.scandir(folder):
            try:
                total += each.stat().st_size
            except FileNotFoundError:
                continue  # sent just now
    except FileNotFoundError:
        pass
    return total


@pytest.mark.slow
def test_tiny_files_fit_the_spool_too(tmp_path):
    """Footers of packs of tiny chunks are as large as their frames, and count."""
    store = Gated()
    repo = repository(store)
    folder = tmp_path / "src"
    folder.mkdir()
    noise = random.Random(4)
    for number in range(20_000):
        (folder / f"{number}").write_bytes(noise.randbytes(12))
    draft = repo.create("d", workspace=tmp_path, stream=True, spool=SPOOL)
    store.gate.set()
    draft.add(folder)
    assert all(len(store.objects[key]) <= SPOOL // 4 for key in packs(store))
    draft.finalize()
    draft.upload()
    assert repo.verify("d").ok


@pytest.mark.slow
@pytest.mark.parametrize("fault", list(Fault), ids=lambda fault: fault.name.lower())
def test_a_fault_at_any_write_costs_only_what_was_in_flight(tmp_path, fault):
    """Invariant 4 for every write of add and upload: all or nothing is visible, a repeat sends the rest."""
    for number in itertools.count(1):
        home = tmp_path / str(number)
        home.mkdir()
        inner = MemoryStore()
        store = FaultyStore(inner, {number: fault})
        repo = repository(store)
        files = fill(home / "src", seed=number)
        draft = repo.create("d", workspace=home, stream=True, spool=SPOOL)
        try:
            draft.add(home / "src")
            draft.finalize("x")
            draft.upload()
        except (DataverError, Crash):
            pass
        before = packs(inner)
        again = FaultyStore(inner)
        healthy = dataver.Repository(Core(again, repo._core.config), "memory://test")
        draft = healthy.draft(draft.id, workspace=home)
        if not draft.sealed:
            draft.add(home / "src")
            draft.finalize("x")
        version = draft.upload().version
        assert healthy._core.records.labels("d") == ["1.0.0"]
        assert content(version) == files
        put = [key for key in again.writes if key.startswith("packs/") and key in before]
        assert len(put) <= 4  # of those in flight the store is asked, and it has them
        if len(store.writes) < number:
            assert number > 6
            return


def test_a_failure_ends_the_add_when_room_is_needed_and_a_repeat_reads_no_chunk_twice(tmp_path):
    """A store that refuses everything: the add stops early, and goes on when it is repeated."""
    inner = MemoryStore()
    store = FaultyStore(inner, dict.fromkeys(range(6, 1000), Fault.REFUSED))
    repo = repository(store)
    files = fill(tmp_path / "src", files=60)
    draft = repo.create("d", workspace=tmp_path, stream=True, spool=SPOOL)
    with pytest.raises(StoreError):
        draft.add(tmp_path / "src")
    assert len(packs(inner)) == 5
    assert len(store.writes) <= 10
    left = {path.name for path in spooled(draft)}
    assert left
    healthy = dataver.Repository(Core(inner, repo._core.config), "memory://test")
    draft = healthy.draft(draft.id, workspace=tmp_path)
    first = packs(inner)
    report = draft.add(tmp_path / "src")
    assert report.new_size < 60 * 700_000 - 5 * 900_000
    assert report.sent_packs < len(packs(inner))
    assert {key[-64:] for key in packs(inner)} >= left
    draft.finalize()
    version = draft.upload().version
    assert content(version) == files
    assert {pack for leaf in _leaves(healthy, version) for pack in leaf} >= {
        bytes.fromhex(key[-64:]) for key in first
    }


def _leaves(repo, version):
    for block in [repo._core.blocks.load(version.tree.digest)]:
        yield block.packs()


def test_a_lost_index_is_rebuilt_from_the_note_of_what_was_sent(tmp_path):
    """Invariant 5: the index may go; the packs that were sent are still found, and not sent again."""
    inner = MemoryStore()
    repo = repository(inner)
    fill(tmp_path / "src")
    draft = repo.create("d", workspace=tmp_path, stream=True, spool=SPOOL)

    class Stop:
        def start(self, files, size, /):
            pass

        def advance(self, files, size, /, new=0):
            if packs(inner):
                raise RuntimeError("stop")
            time.sleep(0.1)

    with pytest.raises(RuntimeError):
        draft.add(tmp_path / "src", progress=Stop())
    sent = {bytes.fromhex(key[-64:]) for key in packs(inner)}
    assert sent <= sent_before(draft._core.spool.parent)
    for path in (tmp_path / "cache" / "index").iterdir():
        path.unlink()
    report = draft.add(tmp_path / "src")
    assert report.new_size <= 6 * 700_000 - len(sent) * 900_000
    draft.finalize()
    draft.upload()
    assert repo.verify("d").ok


def test_a_discarded_draft_leaves_unreferenced_packs_that_gc_frees(tmp_path):
    """Nothing else of it is in the store; a new draft made before the sweep finds its chunks there."""
    inner = MemoryStore()
    repo = repository(inner)
    fill(tmp_path / "src")
    draft = repo.create("d", workspace=tmp_path, stream=True, spool=SPOOL)
    draft.add(tmp_path / "src")
    draft.discard()
    assert {key.split("/")[0] for key in inner.objects} == {"packs"}
    other = repo.create("d", workspace=tmp_path, stream=True, spool=SPOOL)
    assert other.add(tmp_path / "src").sent_packs == 0
    other.discard()
    repo.gc(grace=timedelta(0), delete_most=True)
    assert packs(inner) == set()


def test_gc_here_spares_what_a_draft_relies_on(tmp_path, monkeypatch):
    """A draft of this workspace keeps its packs in the store, however old."""
    monkeypatch.chdir(tmp_path)
    repo = repository(MemoryStore())
    files = fill(tmp_path / "src")
    draft = repo.create("d", stream=True, spool=SPOOL)
    draft.add(tmp_path / "src")
    repo.gc(grace=timedelta(0), delete_most=True)
    draft.finalize()
    assert content(draft.upload().version) == files


def test_a_draft_may_begin_to_stream_when_it_has_packs(tmp_path):
    """What lay in the spool goes too, also where it is more than the bound."""
    repo = repository(MemoryStore())
    fill(tmp_path / "a", files=30, seed=5)
    fill(tmp_path / "b", seed=6)
    draft = repo.create("d", workspace=tmp_path)
    draft.add(tmp_path / "a", dest="a")
    assert sum(path.stat().st_size for path in spooled(draft)) > SPOOL
    draft.stream(SPOOL)
    report = draft.add(tmp_path / "b", dest="b")
    assert report.sent_size > 36 * 700_000
    assert spooled(draft) == []
    draft.finalize()
    assert draft.upload().packs == 0
    assert repo.verify("d").ok


def test_a_folder_repository_takes_streams_as_well(tmp_path):
    """The spool's files become the repository's, without a copy in between."""
    repo = dataver.init(tmp_path / "repo")
    files = fill(tmp_path / "src")
    draft = repo.create("d", workspace=tmp_path, stream=True)
    assert draft.add(tmp_path / "src").sent_packs == 1
    draft.finalize()
    assert content(draft.upload().version) == files


def test_a_spool_too_small_for_a_few_packs_is_refused(tmp_path):
    """And the message says what is enough."""
    repo = repository(MemoryStore())
    with pytest.raises(InvalidInput) as caught:
        repo.create("d", workspace=tmp_path, stream=True, spool=1 << 20)
    assert "16 MB" in caught.value.hint
    with pytest.raises(InvalidInput):
        repo.create("d", workspace=tmp_path).stream(1)


def test_chunks_larger_than_a_share_of_the_spool_pass(tmp_path):
    """A repository of huge chunks gets a spool that holds a few of them."""
    from dataver.hashing import ChunkingParameters

    repo = repository(MemoryStore(), chunking=ChunkingParameters.for_average(1 << 20))
    files = fill(tmp_path / "src", files=4, size=9_000_000)
    draft = repo.create("d", workspace=tmp_path, stream=True, spool=SPOOL)
    draft.add(tmp_path / "src")
    draft.finalize()
    assert content(draft.upload().version) == files


def test_drafts_that_an_older_dataver_began_are_gone_on_with(tmp_path):
    """Their state says nothing of spools."""
    repo = repository(MemoryStore())
    fill(tmp_path / "src", files=1)
    draft = repo.create("d", workspace=tmp_path)
    path = draft._core.spool.parent / "draft.json"
    state = json.loads(path.read_bytes())
    del state["spool"], state["mirrors"]
    path.write_text(json.dumps(state))
    again = repo.draft(draft.id, workspace=tmp_path)
    again.add(tmp_path / "src")
    assert len(spooled(again)) == 1
