"""Issue 6, item 8: files written straight into a draft; all or nothing, and only what is new is kept."""

import contextlib
import gc
import io
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dataver
from dataver.errors import AlreadyExists, Conflict, InvalidInput, PathNotFound, StoreError
from dataver.formats.entry import Kind
from dataver.storage import MemoryStore
from dataver.testing.faulty import Fault, FaultyStore
from properties import examples

from .conftest import repository

MB = 1 << 20
SPOOL = 16 * MB


@pytest.fixture
def repo(tmp_path):
    return dataver.init(tmp_path / "repository")


def packs(store):
    return {key for key in store.objects if key.startswith("packs/")}


def spooled(draft):
    return [path for path in draft._core.spool.iterdir() if len(path.name) == 64]


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


def child(repo, tmp_path, files, **how):
    """Return a draft of a published version with these files."""
    draft = repo.create("d", workspace=tmp_path)
    for path, data in files.items():
        with draft.open(path, "wb") as file:
            file.write(data)
    draft.finalize("parent")
    draft.upload()
    return repo.create("d", parents="d", workspace=tmp_path, **how)


def published(draft):
    """Publish a draft; return the contents of the version."""
    draft.finalize("x", allow_empty=True)
    version = draft.upload().version
    return {entry.path: version.read(entry.path) for entry in version.entries()}


def written(draft):
    """Return bytes of the packs that wait in a draft."""
    return sum(path.stat().st_size for path in spooled(draft))


def left(draft):
    """Return what writers left on the disk."""
    folder = draft._core.spool.parent / "writing"
    return list(folder.iterdir()) if folder.exists() else []


def sizes_below(folder):
    """Return bytes of the files in a folder that packs leave meanwhile."""
    total = 0
    for path in folder.glob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


SIZES = [0, 1, 4095, 128 * 1024 - 1, 128 * 1024, 128 * 1024 + 1, MB - 1, MB, MB + 1, 5 * MB + 3]


@pytest.mark.parametrize("stream", [False, True])
def test_any_size_comes_back_as_it_was_written(tmp_path, stream):
    """In pieces of any size; from the draft, and from the version; the digest is that of `add`."""
    repo = repository(MemoryStore())
    draft = repo.create("d", workspace=tmp_path, stream=stream, spool=SPOOL if stream else None)
    expected = {f"sizes/{size}": noise(size, size) for size in SIZES}
    for path, data in expected.items():
        with draft.open(path, "wb") as file:
            cut = random.Random(len(data))
            view = memoryview(data)
            while view:
                count = file.write(view[: cut.randint(1, 300_000)])
                view = view[count:]
            assert file.tell() == len(data)
    assert (spooled(draft) == []) is stream and left(draft) == []
    for path, data in expected.items():
        with draft.open(path) as file:
            assert file.read() == data
    (tmp_path / "src" / "sizes").mkdir(parents=True)
    for path, data in expected.items():
        (tmp_path / "src" / path).write_bytes(data)
    assert draft.add(tmp_path / "src").unchanged == len(expected)
    assert published(draft) == expected


def test_fifty_megabytes_in_bounded_memory(tmp_path, repo):
    """The stream is cut, compressed and packed as it comes."""
    draft = repo.create("d", workspace=tmp_path)
    block, before = noise(MB), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with draft.open("large.bin", "wb") as file:
        for number in range(200):
            file.write(block[number:] + block[:number])
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < 120_000
    entry = draft.tree.get("large.bin")
    assert entry.size == 200 * MB and entry.kind == Kind.FILE
    with draft.open("large.bin") as file:
        file.seek(137 * MB)
        assert file.read(100) == (block[137:] + block[:137])[:100]


def test_nothing_changes_until_close(tmp_path, repo):
    """Other commands see the draft as it was, and work beside it."""
    draft = child(repo, tmp_path, {"a": b"old"})
    (tmp_path / "b").write_bytes(b"b")
    with draft.open("a", "wb") as file:
        file.write(noise(3 * MB))
        draft.add(tmp_path / "b")
        assert draft.open("a").read() == b"old"
    assert published(draft) == {"a": noise(3 * MB), "b": b"b"}


def test_an_exception_leaves_the_file_as_it_was(tmp_path, repo):
    """Of streams, of files changed in place, and of text; nothing stays on the disk."""
    draft = child(repo, tmp_path, {"a": b"old", "b": noise(2 * MB)})
    before, blocks = draft.tree.digest, written(draft)

    def fail(path, mode, data):
        with draft.open(path, mode) as file:
            file.write(data)
            raise ZeroDivisionError

    for path, mode in (("a", "wb"), ("b", "ab"), ("b", "r+b"), ("c", "xb"), ("a", "w")):
        with pytest.raises(ZeroDivisionError):
            fail(path, mode, "text" * MB if mode == "w" else noise(3 * MB, 2))
    assert (draft.tree.digest, written(draft), left(draft)) == (before, blocks, [])


@pytest.mark.parametrize("mode", ["wb", "w", "w+b"])
def test_a_file_that_is_forgotten_was_never_written(tmp_path, repo, mode):
    """The interpreter says so, as of any file that was not closed."""
    draft = child(repo, tmp_path, {"a": b"old"})

    def forget():
        draft.open("a", mode).write("new" if mode == "w" else b"new")
        gc.collect()

    with pytest.warns(ResourceWarning, match="the draft is unchanged"):
        forget()
    assert published(draft) == {"a": b"old"} and left(draft) == []


def test_a_changed_file_moves_only_its_new_chunks(tmp_path):
    """Some bytes of 30 MB: a child without a copy of the dataset adds what differs, and reads one file."""
    store = FaultyStore(MemoryStore())
    repo = repository(store)
    data = bytearray(noise(30 * MB))
    draft = child(repo, tmp_path, {"changed": bytes(data), "other": noise(5 * MB, 2)})
    before = packs(store.inner)
    sizes = {key: len(store.inner.objects[key]) for key in before}
    data[20 * MB : 20 * MB + 5] = b"patch"
    with draft.open("changed", "r+b") as file:
        file.seek(20 * MB)
        file.write(b"patch")
        assert file.read(5) == bytes(data[20 * MB + 5 : 20 * MB + 10])
    added = written(draft)
    assert 0 < added < 100_000
    assert published(draft)["changed"] == data
    fresh = packs(store.inner) - before
    assert sum(len(store.inner.objects[key]) for key in fresh) == added
    assert {key: len(store.inner.objects[key]) for key in before} == sizes


def test_the_whole_file_written_anew_is_deduplicated(tmp_path, repo):
    """`wb` with nearly the same bytes, as a program does that rewrites its file."""
    data = noise(20 * MB)
    draft = child(repo, tmp_path, {"a": data})
    with draft.open("a", "wb") as file:
        file.write(data[: 9 * MB] + b"inserted" + data[9 * MB :])
    assert 0 < written(draft) < 100_000
    with draft.open("a", "wb") as file:
        file.write(data)
    assert draft.status().modified == []


def test_appending_keeps_what_is_there(tmp_path, repo):
    """A file of the parent, one of this draft, and one that is not there yet."""
    data = noise(10 * MB)
    draft = child(repo, tmp_path, {"log": data, "small": b"1\n"})
    for path in ("log", "small", "new"):
        for line in (b"two\n", b"three\n"):
            with draft.open(path, "ab") as file:
                file.write(line)
    assert written(draft) < 200_000
    assert published(draft) == {
        "log": data + b"two\nthree\n",
        "small": b"1\ntwo\nthree\n",
        "new": b"two\nthree\n",
    }


def test_a_file_that_was_only_looked_at_stays(tmp_path, repo):
    """`r+b` without a write changes nothing and reads nothing it was not asked for."""
    draft = child(repo, tmp_path, {"a": noise(2 * MB)})
    with draft.open("a", "r+b") as file:
        assert file.read(10) == noise(2 * MB)[:10]
    assert not draft.changed


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 70_000), st.binary(max_size=300)),
        st.tuples(st.just("read"), st.integers(0, 70_000), st.integers(0, 5_000)),
        st.tuples(st.just("truncate"), st.integers(0, 70_000), st.none()),
        st.tuples(st.just("end"), st.none(), st.binary(max_size=300)),
    ),
    max_size=12,
)


@pytest.mark.parametrize("mode", ["r+b", "w+b", "a+b"])
@given(steps=STEPS)
@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_writing_anywhere_is_as_in_a_file_of_the_disk(tmp_path, repo, mode, steps):
    """The oracle is the system's file in that mode: a buffer of Python forgets that `a` moves to the end."""
    base = noise(50_000)
    draft = repo.create("d", workspace=tmp_path)
    with draft.open("f", "wb") as file:
        file.write(base)
    (tmp_path / "f").write_bytes(base)
    with draft.open("f", mode) as ours, open(tmp_path / "f", mode, buffering=0) as theirs:
        for what, at, data in steps:
            for file in (ours, theirs):
                file.seek(0 if at is None else at, os.SEEK_END if at is None else os.SEEK_SET)
            if what == "read":
                assert ours.read(data) == theirs.read(data)
            elif what == "truncate":
                assert ours.truncate(at) == theirs.truncate(at)
            else:
                assert ours.write(data) == theirs.write(data)
            assert ours.tell() == theirs.tell()
        for file in (ours, theirs):
            file.seek(0)
        assert ours.read() == theirs.read()
    with draft.open("f") as ours:
        assert ours.read() == (tmp_path / "f").read_bytes()
    draft.discard()


def test_text(tmp_path, repo):
    """Lines, encodings and line ends as with the built-in `open`."""
    draft = repo.create("d", workspace=tmp_path)
    with draft.open("notes.txt", "w") as file:
        file.writelines(["über\n", "zwei\n"])
    with draft.open("notes.txt", "a", encoding="utf-8", newline="\r\n") as file:
        file.write("drei\n")
    with draft.open("notes.txt", "r", newline="") as file:
        assert file.readlines() == ["über\n", "zwei\n", "drei\r\n"]
    with draft.open("latin", "wt", encoding="latin-1", errors="replace") as file:
        file.write("ü…")
    assert published(draft) == {"notes.txt": "über\nzwei\ndrei\r\n".encode(), "latin": b"\xfc?"}


def test_programs_that_write_files_write_here(tmp_path, repo):
    """A zip archive as a stream and in place: what asks for `seek`, `tell` and `read` gets it."""
    draft = repo.create("d", workspace=tmp_path)
    with draft.open("stream.zip", "wb") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", b"1")
    with draft.open("place.zip", "w+b") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", b"1")
    with draft.open("place.zip", "r+b") as file, zipfile.ZipFile(file, "a") as archive:
        archive.writestr("b", b"2")
    with zipfile.ZipFile(draft.open("stream.zip")) as archive:
        assert archive.read("a") == b"1"
    with zipfile.ZipFile(draft.open("place.zip")) as archive:
        assert (archive.read("a"), archive.read("b")) == (b"1", b"2")
    gc.collect()


def test_many_writers_at_once(tmp_path, repo):
    """Each in a thread, some of the same path: all are in the draft, of one path the last that closed."""
    draft = repo.create("d", workspace=tmp_path)

    def write(number):
        with draft.open(f"f{number % 6}", "wb") as file:
            for _ in range(3):
                file.write(noise(MB, number % 6))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(12)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert published(draft) == {f"f{number}": noise(MB, number) * 3 for number in range(6)}
    assert left(draft) == []


def test_two_files_open_in_turn(tmp_path, repo):
    """What both hold in common is there whichever of them ends, and how."""
    draft = repo.create("d", workspace=tmp_path)
    data = noise(6 * MB)
    one, two, three = (draft.open(name, "wb") for name in ("one", "two", "three"))
    for start in range(0, len(data), 100_000):
        for file in (one, two, three):
            file.write(data[start : start + 100_000])
    one.close()
    two.discard()
    three.close()
    assert published(draft) == {"one": data, "three": data}


def test_somebody_else_changed_the_file_meanwhile(tmp_path, repo):
    """What follows from the old content would undo the other's change: it is refused."""
    draft = child(repo, tmp_path, {"a": b"old"})
    file = draft.open("a", "ab")
    with repo.draft(draft.id, workspace=tmp_path).open("a", "wb") as other:
        other.write(b"other")
    file.write(b"mine")
    with pytest.raises(Conflict, match="meanwhile"):
        file.close()
    assert draft.open("a").read() == b"other" and left(draft) == []
    gc.collect()


def test_a_draft_that_is_finalized_takes_nothing(tmp_path, repo):
    """Neither a new file nor one that is open already."""
    draft = child(repo, tmp_path, {"a": b"old"})
    file = draft.open("a", "wb")
    file.write(noise(2 * MB))
    draft.finalize("x", allow_empty=True)
    with pytest.raises(Conflict, match="finalized"):
        file.close()
    with pytest.raises(Conflict, match="finalized"):
        draft.open("a", "wb")
    assert left(draft) == []


@pytest.mark.parametrize(
    ("path", "mode", "error"),
    [
        ("none", "rb", PathNotFound),
        ("none", "r+b", PathNotFound),
        ("a/file", "xb", AlreadyExists),
        ("a", "wb", InvalidInput),
        ("a", "rb", PathNotFound),
        ("empty", "wb", InvalidInput),
        ("link", "rb", InvalidInput),
        ("link", "ab", InvalidInput),
        ("../out", "wb", InvalidInput),
        ("a\\b", "wb", InvalidInput),
        ("x", "rwb", InvalidInput),
        ("x", "", InvalidInput),
        ("x", "b", InvalidInput),
    ],
)
def test_what_cannot_be_opened(tmp_path, repo, path, mode, error):
    """Said before anything is written."""
    (tmp_path / "src" / "a").mkdir(parents=True)
    (tmp_path / "src" / "empty").mkdir()
    (tmp_path / "src" / "a" / "file").write_bytes(b"1")
    (tmp_path / "src" / "link").symlink_to("a/file")
    draft = repo.create("d", workspace=tmp_path)
    draft.add(tmp_path / "src")
    with pytest.raises(error):
        draft.open(path, mode)
    with pytest.raises(InvalidInput):
        draft.open("x", "wb", encoding="utf-8")
    assert left(draft) == []


def test_a_file_where_a_folder_is_needed(tmp_path, repo):
    """A file gives way to the folder that a deeper path needs, as in `add`; a link to what is written."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "link").symlink_to("a")
    draft = child(repo, tmp_path, {"a": b"1"})
    draft.add(tmp_path / "src")
    for path in ("a/b/c", "link"):
        with draft.open(path, "wb") as file:
            file.write(b"2")
    assert published(draft) == {"a/b/c": b"2", "link": b"2"}


def test_executable_files_stay_so(tmp_path, repo):
    """Unless told otherwise."""
    draft = child(repo, tmp_path, {"a": b"1"})
    for executable, data, kind in (
        (True, b"2", Kind.EXECUTABLE),
        (None, b"3", Kind.EXECUTABLE),
        (False, b"3", Kind.FILE),
    ):
        with draft.open("a", "wb", executable=executable) as file:
            file.write(data)
        assert draft.tree.get("a").kind == kind


def test_a_writer_that_is_killed_leaves_the_draft_usable(tmp_path, repo):
    """SIGKILL in the middle of 8 MB: the draft is as it was, and the next writer cleans up."""
    draft = child(repo, tmp_path, {"a": b"old"})
    code = f"""
import os, signal, dataver
draft = dataver.open({str(tmp_path / "repository")!r}).draft({draft.id!r}, workspace={str(tmp_path)!r})
file = draft.open("a", "wb")
for number in range(8):
    file.write(os.urandom(1 << 20))
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code])
    assert done.returncode == -signal.SIGKILL and len(left(draft)) == 1
    draft = repo.draft(draft.id, workspace=tmp_path)
    assert draft.open("a").read() == b"old"
    with draft.open("b", "wb") as file:
        file.write(noise(2 * MB))
        assert len(left(draft)) == 1  # its own
    assert published(draft) == {"a": b"old", "b": noise(2 * MB)}
    gc.collect()


def test_a_streaming_draft_keeps_no_copy(tmp_path):
    """Packs leave while the file is written, and its spool stays within its bound."""
    store = MemoryStore()
    repo = repository(store)
    draft = repo.create("d", workspace=tmp_path, stream=True, spool=SPOOL)
    with draft.open("large", "wb") as file:
        for number in range(40):
            file.write(noise(MB, number))
            assert sum(sizes_below(each / "packs") for each in left(draft)) <= SPOOL
        assert len(packs(store)) > 10
    assert spooled(draft) == [] and left(draft) == []
    with draft.open("large", "ab") as file:
        file.write(b"end")
    assert published(draft) == {"large": b"".join(noise(MB, number) for number in range(40)) + b"end"}


def test_a_store_that_fails_at_the_end_loses_nothing(tmp_path):
    """Of a draft that streams: the file is in the draft, what was not sent waits there, and that is said."""
    store = FaultyStore(MemoryStore())
    repo = repository(store)
    draft = repo.create("d", workspace=tmp_path, stream=True, spool=SPOOL)
    file = draft.open("a", "wb")
    file.write(noise(500_000))
    store.plan[len(store.writes) + 1] = Fault.REFUSED
    with pytest.raises(StoreError, match="is in draft"):
        file.close()
    assert len(spooled(draft)) == 1
    assert published(draft) == {"a": noise(500_000)}


def test_a_full_disk_changes_nothing(tmp_path, repo):
    """The limit on a file's size stands for it; later there is room again."""
    draft = child(repo, tmp_path, {"a": b"old"})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))

    def write(mode):
        with draft.open("a", mode) as file:
            file.write(noise(6 * MB))

    try:
        for mode in ("wb", "w+b"):
            with pytest.raises(StoreError):
                write(mode)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert left(draft) == [] and not draft.changed
    with draft.open("a", "wb") as file:
        file.write(b"new")
    assert published(draft) == {"a": b"new"}


def test_a_draft_file_is_a_buffered_reader(tmp_path, repo):
    """Seek, readinto, iterate: as the standard library's own."""
    draft = child(repo, tmp_path, {"a": b"one\ntwo\n" * 1000})
    with draft.open("a") as file:
        assert isinstance(file, io.BufferedReader)
        assert next(file) == b"one\n" and file.seek(-4, os.SEEK_END) == 7996 and file.read() == b"two\n"
        assert file.seek(10**9) == 10**9 and file.read(1) == b""
        buffer = bytearray(6)
        file.seek(4)
        assert file.readinto(buffer) == 6 and buffer == b"two\non"
