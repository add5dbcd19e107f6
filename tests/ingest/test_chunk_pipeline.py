"""Adding with a thread of its own that cuts: what fails there is said here, and nothing stays behind."""

import os
import random
import threading

import pytest

from dataver.errors import StoreError
from dataver.hashing import digest
from dataver.ingest.dedup import KnownChunks
from dataver.storage import MemoryStore
from dataver.testing.faulty import FaultyStore
from waiting import until

from .conftest import repository

PACK = 32 << 20  # as `init` has it


class Forgetful(FaultyStore):
    """Cannot tell, while `broken`, whether a pack is there."""

    broken = False

    def stat(self, key):
        self._fail(key)
        return super().stat(key)

    def get_tail(self, key, length):
        self._fail(key)
        return super().get_tail(key, length)

    def _fail(self, key):
        if self.broken and key.startswith("packs/"):
            raise StoreError("the network is down.")


@pytest.fixture
def new_threads():
    """Return the threads that began since; those of pools that earlier tests left live on."""
    before = set(threading.enumerate())
    return lambda: [thread for thread in threading.enumerate() if thread not in before]


def entries(draft):
    return {entry.path: (entry.size, entry.digest) for entry in draft.tree.iterate()}


def facts(folder):
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_size, digest(path.read_bytes()))
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def source(tmp_path):
    """Files below, at and above the size of a window, photos and tiny ones in between."""
    folder = tmp_path / "src"
    (folder / "sub").mkdir(parents=True)
    for number, size in enumerate([0, 1, 4096, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20, 5_000_001]):
        (folder / f"size{number}").write_bytes(os.urandom(size))
    for number in range(1_200):
        (folder / "sub" / f"tiny{number:04d}").write_bytes(b"%d" % number * (number % 97))
    for number in range(40):
        (folder / f"photo{number:02d}").write_bytes(os.urandom(20_000 + 2_000 * number))
    return folder


def test_files_of_all_sizes_keep_their_bytes(source, tmp_path, new_threads):
    """Every size and digest is the file's own, whichever thread hashed it, and the threads are gone."""
    draft = repository(MemoryStore(), pack_size=PACK).create("d", workspace=tmp_path)
    report = draft.add(source)
    assert entries(draft) == facts(source)
    assert (report.files, report.problems) == (len(facts(source)), [])
    assert new_threads() == []


def test_a_failure_in_the_cutting_thread_is_the_callers(source, tmp_path, new_threads):
    """A store that breaks while known packs are asked for ends `add`, does not hang it, and a retry works."""
    store = Forgetful(MemoryStore())
    repo = repository(store, pack_size=PACK)
    repo.sync(source, "d", workspace=tmp_path)
    with (source / "size7").open("r+b") as file:
        file.write(b"changed")
    draft = repo.create("d", parents="d", workspace=tmp_path)
    before = entries(draft)
    store.broken = True
    with pytest.raises(StoreError, match="network is down"):
        draft.add(source)
    assert new_threads() == []
    assert entries(draft) == before
    store.broken = False
    assert draft.add(source).new_size < 200_000
    assert entries(draft) == facts(source)


def test_an_interrupt_ends_the_threads_and_leaves_the_draft_as_it_was(source, tmp_path, new_threads):
    """Ctrl-C while windows are on their way."""

    class Impatient:
        told = 0

        def start(self, files, size):
            pass

        def advance(self, files, size, new=0):
            self.told += 1
            if self.told == 4:
                raise KeyboardInterrupt

    draft = repository(MemoryStore(), pack_size=PACK).create("d", workspace=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        draft.add(source, progress=Impatient())
    assert new_threads() == []
    assert entries(draft) == {}
    draft.add(source)
    assert entries(draft) == facts(source)


@pytest.mark.parametrize("name", ["photo05", "size6"])
def test_a_file_that_changes_once_while_it_is_read_is_read_again(source, tmp_path, monkeypatch, name):
    """What is stored is what it was in the end, and its neighbours in the window are not disturbed."""
    target, real, left = source / name, os.fstat, [1]
    inode = target.stat().st_ino

    def restless(fd):
        if real(fd).st_ino == inode and left:
            left.pop()
            with target.open("ab") as file:
                file.write(b"more" * 400_000)
        return real(fd)

    monkeypatch.setattr(os, "fstat", restless)
    draft = repository(MemoryStore(), pack_size=PACK).create("d", workspace=tmp_path)
    assert draft.add(source).problems == []
    assert entries(draft) == facts(source)


def test_an_error_in_the_middle_of_a_large_file_costs_that_file_only(source, tmp_path, monkeypatch):
    """A bad sector is a problem by name; as often as it happens, windows do not run out."""
    real = os.readv
    bad = {(source / f"size{number}").stat().st_ino for number in (5, 6, 7)} | {
        (source / "photo03").stat().st_ino
    }

    def reading(fd, buffers):
        if os.fstat(fd).st_ino in bad and os.lseek(fd, 0, os.SEEK_CUR) >= (1 << 20) * (
            len(buffers[0]) > 1 << 19
        ):
            raise OSError(5, "Input/output error")
        return real(fd, buffers)

    monkeypatch.setattr(os, "readv", reading)
    draft = repository(MemoryStore(), pack_size=PACK).create("d", workspace=tmp_path)
    report = draft.add(source)
    assert {name.rpartition("/")[2] for name, _ in report.problems} == {"size5", "size6", "size7", "photo03"}
    expected = facts(source)
    for name, _ in report.problems:
        del expected[name.rpartition("/")[2]]
    assert entries(draft) == expected


@pytest.mark.parametrize("generation", [100, 1_000])
def test_memory_of_own_chunks_is_bounded_and_nothing_is_stored_twice(tmp_path, monkeypatch, generation):
    """In one file, too: what was appended long ago is in the index, and what lies in an open pack is kept."""
    monkeypatch.setattr("dataver.ingest.dedup._OWN_LIMIT", generation)
    most = last = 0

    class Watched(KnownChunks):
        def find(self, digests):
            until(lambda: last - self._finished <= 2 << 20)  # a slow disk keeps more packs open
            return super().find(digests)

        def remember(self, digest, position):
            nonlocal most, last
            super().remember(digest, position)
            last = position
            most = max(most, len(self._own) + len(self._before))

    monkeypatch.setattr("dataver.ingest.draft_session.KnownChunks", Watched)
    noise = random.Random(8).randbytes(12 << 20)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "large").write_bytes(noise + noise[: 6 << 20] + noise)
    draft = repository(MemoryStore()).create("d", workspace=tmp_path)
    report = draft.add(tmp_path / "src")
    assert len(noise) <= report.new_size < len(noise) + 3 * 256 * 1024  # a chunk at each seam
    assert most <= 2 * generation + 400  # of the chunks of packs that are not closed yet
    assert entries(draft) == facts(tmp_path / "src")


def test_own_chunks_are_not_forgotten_between_looking_them_up_and_placing_them(tmp_path, monkeypatch):
    """A pack that is finished just then makes room for others, but not in the middle of a window."""
    monkeypatch.setattr("dataver.ingest.dedup._OWN_LIMIT", 100)
    windows, gate = 0, threading.Event()

    class Watched(KnownChunks):
        def find(self, digests):
            nonlocal windows
            found = super().find(digests)
            windows += 1
            if windows == 7:  # the first of the repetition; no pack was finished before
                gate.set()
                until(lambda: self._finished > self._turned)
            return found

        def finished(self, footer):
            assert gate.wait(120)
            super().finished(footer)

    monkeypatch.setattr("dataver.ingest.draft_session.KnownChunks", Watched)
    noise = random.Random(9).randbytes(6 << 20)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "large").write_bytes(noise + noise)
    draft = repository(MemoryStore()).create("d", workspace=tmp_path)
    report = draft.add(tmp_path / "src")
    assert len(noise) <= report.new_size < len(noise) + 256 * 1024  # a chunk at the seam
    assert entries(draft) == facts(tmp_path / "src")
