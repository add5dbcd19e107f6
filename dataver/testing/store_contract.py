"""The store contract as tests, for stores of dataver and of others.

The idea: real stores and test doubles pass the same suite. Each clause takes an empty store and asserts one
sentence of `dataver.storage.Store`:

    @pytest.mark.parametrize("clause", CONTRACT, ids=lambda clause: clause.__name__)
    def test_contract(store, clause):
        clause(store)
"""

import contextlib
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from dataver.errors import AlreadyExists, DataverError, IntegrityError, InvalidInput, NotFound, StoreError
from dataver.storage import Store

__all__ = ["CONTRACT"]

Clause = Callable[[Store], None]

CONTRACT: list[Clause] = []
"""Every clause, in the order of the contract's text."""

_KEYS = (
    "a",
    "dir/sub/name.json",
    "packs/ab/" + "ab" * 32,
    "space and + % # ? &=;",
    "größe/日本語",
    "dots/..a./.b",
)


def _clause(function: Clause) -> Clause:
    CONTRACT.append(function)
    return function


@_clause
def what_is_put_is_got(store: Store) -> None:
    """Bytes are returned unchanged, for every key and any number of parts."""
    for key in _KEYS:
        store.put(key, key.encode())
        assert store.get(key) == key.encode()
    store.put("parts", [b"one", bytearray(b""), memoryview(b"two")])
    assert store.get("parts") == b"onetwo"
    every = bytes(range(256)) * 5000
    store.put("bytes", every)
    assert store.get("bytes") == every


@_clause
def an_empty_object_is_an_object(store: Store) -> None:
    """An empty object is stored, listed and read like any other."""
    store.put("empty", b"")
    assert store.get("empty") == b""
    assert store.get("empty", 0, 0) == b""
    assert store.get_tail("empty", 10) == (b"", 0)
    assert [(info.key, info.size) for info in store.list()] == [("empty", 0)]


@_clause
def put_replaces(store: Store) -> None:
    """A second put of a key replaces the bytes and the size."""
    store.put("key", b"a long first value")
    store.put("key", b"second")
    assert store.get("key") == b"second"
    assert store.stat("key").size == 6


@_clause
def a_range_is_exact(store: Store) -> None:
    """A range read returns exactly its bytes."""
    data = bytes(range(200))
    store.put("key", data)
    assert store.get("key", 0, 1) == data[:1]
    assert store.get("key", 17, 40) == data[17:57]
    assert store.get("key", 199, 1) == data[199:]
    assert store.get("key", 150) == data[150:]
    assert store.get("key", 0) == data
    assert store.get("key", 200) == b""
    assert store.get("key", 5, 0) == b""
    assert store.get("key", None, 7) == data[:7]


@_clause
def a_range_past_the_end_is_an_error(store: Store) -> None:
    """A read never returns fewer bytes than requested."""
    store.put("key", b"12345")
    for start, length in ((0, 6), (3, 3), (5, 1), (99, 1), (99, None), (99, 0)):
        _raises(IntegrityError, partial(store.get, "key", start, length))
    _raises(InvalidInput, lambda: store.get("key", -1, 1))
    _raises(InvalidInput, lambda: store.get("key", 0, -1))


@_clause
def a_tail_comes_with_the_size(store: Store) -> None:
    """A tail read needs no size and returns it."""
    store.put("key", b"0123456789")
    assert store.get_tail("key", 3) == (b"789", 10)
    assert store.get_tail("key", 10) == (b"0123456789", 10)
    assert store.get_tail("key", 1000) == (b"0123456789", 10)
    assert store.get_tail("key", 0) == (b"", 10)


@_clause
def a_bounded_read_refuses_what_is_longer(store: Store) -> None:
    """An object within the bound is read whole, one that exceeds it by a byte is an error."""
    store.put("key", b"0123456789")
    store.put("empty", b"")
    assert store.get_bounded("key", 10) == store.get_bounded("key", 1 << 30) == b"0123456789"
    assert store.get_bounded("empty", 1) == b""
    _raises(IntegrityError, lambda: store.get_bounded("key", 9))


@_clause
def what_is_missing_is_not_found(store: Store) -> None:
    """Every read of a missing key raises NotFound, also below or above an object."""
    store.put("there/object", b"x")
    for key in ("missing", "there", "there/object2", "there/object/below"):
        _raises(NotFound, partial(store.get, key))
        _raises(NotFound, partial(store.get, key, 0, 1))
        _raises(NotFound, partial(store.get_tail, key, 1))
        _raises(NotFound, partial(store.get_bounded, key, 1))
        _raises(NotFound, partial(store.stat, key))
        assert not store.exists(key)
    assert store.exists("there/object")


@_clause
def create_refuses_a_taken_key(store: Store) -> None:
    """The second create fails without effect; after a delete the key is free again."""
    store.create("refs/1", b"first")
    _raises(AlreadyExists, lambda: store.create("refs/1", b"second"))
    assert store.get("refs/1") == b"first"
    store.put("put", b"first")
    _raises(AlreadyExists, lambda: store.create("put", b"second"))
    store.delete("refs/1")
    store.create("refs/1", b"third")
    assert store.get("refs/1") == b"third"


@_clause
def one_of_many_creators_wins(store: Store) -> None:
    """If four threads create one key, exactly one succeeds, and its bytes are stored."""
    if not store.exclusive_create:
        return  # declared as unsupported, which the tests of the probe check
    for number in range(2):
        winners: list[bytes] = []
        barrier = threading.Barrier(4)

        def race(me: bytes, key: str, start: threading.Barrier, won: list[bytes]) -> None:
            start.wait()
            with contextlib.suppress(AlreadyExists):
                store.create(key, me)
                won.append(me)

        key = f"race/{number}"
        threads = [threading.Thread(target=race, args=(b"%d" % me, key, barrier, winners)) for me in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(winners) == 1, f"{len(winners)} writers won {key}"
        assert store.get(key) == winners[0]


@_clause
def put_new_keeps_what_is_there(store: Store) -> None:
    """Content-addressed objects are written once."""
    assert store.put_new("x/1", b"first")
    assert not store.put_new("x/1", b"other")
    assert store.get("x/1") == b"first"


@_clause
def put_file_new_stores_the_file(store: Store) -> None:
    """A file's bytes are stored, and remain if the file is deleted."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "pack")
        path.write_bytes(b"content" * 1000)
        assert store.put_file_new("packs/1", path)
        path.unlink()
        assert store.get("packs/1") == b"content" * 1000
        path.write_bytes(b"other")
        assert not store.put_file_new("packs/1", path)
        _raises(NotFound, partial(store.put_file_new, "packs/2", Path(folder, "nowhere")))
    assert store.get("packs/1") == b"content" * 1000


@_clause
def put_many_new_stores_all(store: Store) -> None:
    """Many small objects are stored; those that exist are skipped."""
    store.put("many/07", b"there")
    items = [(f"many/{number:02}", b"%d" % number) for number in range(70)]
    assert store.put_many_new(iter(items)) == ["many/07"]
    assert store.put_many_new([]) == []
    assert store.get("many/07") == b"there"
    assert [info.key for info in store.list("many/")] == [f"many/{number:02}" for number in range(70)]
    assert store.get("many/69") == b"69"


@_clause
def delete_is_final_and_repeatable(store: Store) -> None:
    """A deleted key is missing, and deleting it again is not an error."""
    store.put("d/key", b"x")
    store.delete("d/key")
    assert not store.exists("d/key")
    assert list(store.list()) == []
    store.delete("d/key")
    store.delete("never/there")


@_clause
def many_deletions_are_the_same(store: Store) -> None:
    """Deleting many keys deletes each, and a missing one is not an error."""
    keys = [f"d/{number}" for number in range(5)]
    for key in keys:
        store.put(key, b"x")
    assert store.delete_many([*keys[1:], "never/there"]) == {}
    assert [info.key for info in store.list()] == keys[:1]
    assert store.delete_many([]) == {}

    def refuse() -> None:
        raise StoreError("too late")

    store.put("d/5", b"x")
    assert store.delete_many(["d/0", "d/5"], check=refuse).keys() == {"d/0", "d/5"}
    assert [info.key for info in store.list()] == ["d/0", "d/5"]


@_clause
def a_listing_is_sorted_and_complete(store: Store) -> None:
    """A listing contains the keys with the prefix, sorted by code points, with their sizes."""
    keys = ["a-b", "a/b-c", "a/b/c", "a0", "ab/1", "b/é", "b/z"]
    for key in reversed(keys):
        store.put(key, key.encode())
    assert [info.key for info in store.list()] == sorted(keys)
    assert [info.key for info in store.list("a")] == ["a-b", "a/b-c", "a/b/c", "a0", "ab/1"]
    assert [info.key for info in store.list("a/")] == ["a/b-c", "a/b/c"]
    assert [info.key for info in store.list("a/b/")] == ["a/b/c"]
    assert list(store.list("nothing/here")) == []
    assert all(info.size == len(info.key.encode()) for info in store.list())


@_clause
def a_listing_begins_behind_any_text(store: Store) -> None:
    """With `after`, a listing contains the keys that sort after any text, a key or not."""
    keys = ["a/b/c", "a/b/d", "a/c", "a0", "ab/1", "b/1-0/06", "b/1-1/05", "b/1-1/07", "b/1-2/04", "b/é"]
    for key in keys:
        store.put(key, b"x")
    texts = ("", "0", "a/", "a/b/", "a/b/c", "a/b/cc", "a/c", "a/z", "a0", "b/1-1/06", "b/1-1/9", "b/é", "c")
    for prefix in ("", "a", "a/", "a/b/", "b/", "b/1"):
        for after in texts:
            expected = sorted(key for key in keys if key.startswith(prefix) and key > after)
            assert [info.key for info in store.list(prefix, after=after)] == expected, (prefix, after)
    assert [info.key for info in store.list(after=None)] == sorted(keys)


@_clause
def times_are_the_stores_and_aware(store: Store) -> None:
    """Modification times, if any, are aware, in UTC and about now."""
    store.put("key", b"12345")
    told = [store.stat("key"), *store.list()]
    assert [(info.key, info.size) for info in told] == [("key", 5)] * 2
    for info in told:
        if info.modified is not None:
            assert info.modified.utcoffset() == timedelta(0)
            assert abs(info.modified - datetime.now(UTC)) < timedelta(hours=1)


@_clause
def bad_keys_are_refused(store: Store) -> None:
    """Invalid keys are rejected, so no object outside the store is accessible."""
    for key in (
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "../a",
        "a/../b",
        "a/./b",
        "a\\b",
        "a\nb",
        "a\x00",
        "k" * 1025,
    ):
        for use in (store.get, store.stat, store.delete, store.exists):
            _raises(InvalidInput, partial(use, key))
        _raises(InvalidInput, partial(store.put, key, b""))
        _raises(InvalidInput, partial(store.create, key, b""))
        _raises(InvalidInput, partial(store.put_new, key, b""))


@_clause
def many_threads_may_use_it(store: Store) -> None:
    """Eight threads write and read concurrently, each its own bytes."""
    failures: list[BaseException] = []

    def work(me: int) -> None:
        try:
            for number in range(5):
                data = bytes([me, number]) * 3000
                store.put(f"threads/{me}/{number}", data)
                assert store.get(f"threads/{me}/{number}", 1000, 2000) == data[1000:3000]
        except BaseException as error:  # noqa: BLE001 - carried to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(me,)) for me in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(list(store.list("threads/"))) == 40


@_clause
def a_reader_sees_all_or_nothing(store: Store) -> None:
    """While an object is replaced repeatedly, a reader always gets a whole one."""
    first, second = b"a" * 200_000, b"b" * 200_000
    store.put("whole", first)
    done = threading.Event()

    def write() -> None:
        for _ in range(10):
            store.put("whole", second)
            store.put("whole", first)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(store.get("whole"))
    writer.join()
    assert seen <= {first, second}


def _raises(kind: type[DataverError], call: Callable[[], object]) -> None:
    try:
        call()
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was not raised")
