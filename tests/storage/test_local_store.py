"""What a folder promises beyond the contract: hard links, races, failing disks (invariants 2 and 4)."""

import errno
import multiprocessing
import os
import pickle
from pathlib import Path

import pytest

from dataver.errors import AlreadyExists, InvalidInput, NotFound, StoreError
from dataver.repository.create_once import probe_exclusive_create
from dataver.storage import LocalStore
from dataver.storage.durable import temporary_file


def _files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def _race(root: Path, me: int, keys: int, won: "multiprocessing.SimpleQueue[str]") -> None:
    store = LocalStore(root)
    for number in range(keys):
        try:
            store.create(f"refs/{number}", b"%d" % me)
        except AlreadyExists:
            continue
        won.put(f"{number} {me}")


def test_of_racing_processes_one_wins_each_key(tmp_path: Path) -> None:
    """Four processes create the same 40 keys; each key has one winner, whose bytes are there."""
    context = multiprocessing.get_context("fork")
    won = context.SimpleQueue()
    workers = [context.Process(target=_race, args=(tmp_path, me, 40, won)) for me in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    winners = dict(won.get().split() for _ in range(40))
    assert won.empty()
    store = LocalStore(tmp_path)
    assert {number: store.get(f"refs/{number}").decode() for number in winners} == winners
    assert len(winners) == 40


def test_a_file_becomes_an_object_without_a_copy(tmp_path: Path) -> None:
    """On one file system the object is a hard link to the caller's file."""
    path = tmp_path / "pack"
    path.write_bytes(b"content")
    store = LocalStore(tmp_path / "repository")
    store.put_file_new("packs/1", path)
    assert (store.root / "packs/1").samefile(path)


def test_a_file_on_another_file_system_is_copied(tmp_path: Path) -> None:
    """Where a hard link is impossible the bytes are copied, and no unfinished file stays."""
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("this machine has no second file system to write to")
    path = other / f"dataver-test-{os.getpid()}"
    try:
        path.write_bytes(b"content")
        store = LocalStore(tmp_path)
        store.put_file_new("packs/1", path)
    finally:
        path.unlink()
    assert store.get("packs/1") == b"content"
    assert _files(tmp_path) == ["packs/1"]


def test_a_missing_source_file_is_named(tmp_path: Path) -> None:
    """A source that is not there is told by its own name, not the key's."""
    with pytest.raises(NotFound, match="nowhere"):
        LocalStore(tmp_path).put_file_new("packs/1", tmp_path / "nowhere")


def test_without_hard_links_create_looks_first_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system without hard links everything works, and the weaker promise is admitted."""

    def refuse(*_args: object, **_options: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    store = LocalStore(tmp_path)
    assert probe_exclusive_create(store) is False
    store.create("refs/1", b"first")
    with pytest.raises(AlreadyExists):
        store.create("refs/1", b"second")
    store.put_new("x/1", b"1")
    store.put_many_new([("x/1", b"other"), ("x/2", b"2")])
    (tmp_path / "source").write_bytes(b"3")
    store.put_file_new("x/3", tmp_path / "source")
    assert [store.get(f"x/{number}") for number in (1, 2, 3)] == [b"1", b"2", b"3"]


def test_unfinished_files_are_left_out_and_unreachable(tmp_path: Path) -> None:
    """What a crash leaves behind is no object: not listed, not readable, not in the way."""
    store = LocalStore(tmp_path)
    store.put("dir/key", b"x")
    (tmp_path / "dir/.tmp-0123").write_bytes(b"half an obj")
    assert [info.key for info in store.list()] == ["dir/key"]
    with pytest.raises(InvalidInput):
        store.get("dir/.tmp-0123")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("step", ["write", "fsync"])
def test_a_failing_disk_leaves_the_store_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    """Whichever write or flush fails, in whichever way of putting: a sentence, the old bytes, no rubbish."""
    store = LocalStore(tmp_path / "repository")
    store.put("dir/old", b"old")
    source = tmp_path / "source"
    source.write_bytes(b"new")

    def fail(*_args: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as disk:
        disk.setattr(os, step, fail)
        for put in (
            lambda: store.put("dir/old", b"new"),
            lambda: store.create("dir/new", b"new"),
            lambda: store.put_new("dir/new", b"new"),
            lambda: store.put_many_new([("dir/new", b"new"), ("dir/new2", b"new")]),
        ):
            with pytest.raises(StoreError) as caught:
                put()
            assert not caught.value.transient
            assert caught.value.hint
            assert "\n" not in caught.value.message
    assert store.get("dir/old") == b"old"
    assert _files(store.root) == ["dir/old"]
    store.create("dir/new", b"new")


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system call that writes only a part is called again for the rest."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data[:7])))
    store = LocalStore(tmp_path)
    store.put("key", b"0123456789" * 10)
    assert store.get("key") == b"0123456789" * 10


def test_a_folder_deleted_meanwhile_is_made_again(tmp_path: Path) -> None:
    """A folder that the store has seen and somebody removed is made anew."""
    store = LocalStore(tmp_path)
    store.put("dir/sub/1", b"x")
    (tmp_path / "dir/sub/1").unlink()
    (tmp_path / "dir/sub").rmdir()
    store.put("dir/sub/2", b"y")
    assert [info.key for info in store.list()] == ["dir/sub/2"]


def _write_as_nobody(root: Path, said: "multiprocessing.SimpleQueue[str]") -> None:
    if os.getuid() == 0:
        os.setuid(65534)  # root ignores modes
    try:
        LocalStore(root).put("dir/key", b"x")
    except StoreError as error:
        said.put(f"{error} {error.hint}")
    except BaseException as error:  # noqa: BLE001 - carried to the parent
        said.put(repr(error))
    else:
        said.put("written")


def test_no_permission_is_a_sentence(tmp_path: Path) -> None:
    """A folder that may not be written says so, with its name."""
    folder = tmp_path / "repository"
    folder.mkdir(mode=0o555)
    context = multiprocessing.get_context("fork")
    said = context.SimpleQueue()
    child = context.Process(target=_write_as_nobody, args=(folder, said))
    child.start()
    child.join()
    told = said.get()
    assert "permission is denied" in told
    assert str(folder) in told
    assert "owner and mode" in told


def test_a_temporary_file_is_gone_after_an_error(tmp_path: Path) -> None:
    """What interrupts a write, Ctrl-C included, takes the unfinished file along."""
    with pytest.raises(KeyboardInterrupt), temporary_file(tmp_path, [b"x"]):
        raise KeyboardInterrupt
    assert _files(tmp_path) == []


def test_it_can_be_pickled(tmp_path: Path) -> None:
    """A copy made by pickling reads the same folder."""
    store = LocalStore(tmp_path)
    store.put("key", b"x")
    assert pickle.loads(pickle.dumps(store)).get("key") == b"x"


def test_a_named_pipe_is_no_object(tmp_path: Path) -> None:
    """A reader says so instead of waiting for a writer that never comes."""
    (tmp_path / "packs").mkdir()
    os.mkfifo(tmp_path / "packs" / "pipe")
    store = LocalStore(tmp_path)
    for read in (
        store.get,
        lambda key: store.get(key, 0, 10),
        lambda key: store.get_tail(key, 4),
        store.stat,
    ):
        with pytest.raises(NotFound):
            read("packs/pipe")
