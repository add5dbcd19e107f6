"""Transfer of packs and blocks: read whole, verified against their names, written if absent.

A pack is verified, from its id to every chunk's digest, before it is written (invariant 1), so damage is not
copied. A damaged pack is read again, then reported. At most `parallel.PACKS` packs are in memory, each of
at most 100 MB. External packs are copied unchanged, without the files that they describe.

A block may be stored as a delta to a base, which must exist and not be a delta itself. Bases are checked in
the target after the blocks without a base have been written; if the base is missing or a delta, the block is
written in full. So no block lacks its base, and no base is copied that no version needs.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import islice

from dataver import parallel
from dataver.errors import FormatTooNew, IntegrityError, NotFound, StoreError
from dataver.formats.block_object import MAX_BLOCK, pack_block, unpack_block
from dataver.formats.entry import is_external
from dataver.formats.external import parse_external
from dataver.formats.pack import MAX_PACK_SIZE, check_pack
from dataver.progress import Progress
from dataver.repository.layout import block_key, pack_key
from dataver.repository.read_again import reread
from dataver.repository.repository import RepositoryCore
from dataver.storage import Store

__all__ = ["BlockSender", "read_pack", "send_packs"]

_WINDOW = 256  # blocks read together


def send_packs(
    source: RepositoryCore,
    target: RepositoryCore,
    packs: Iterable[bytes],
    progress: Progress,
    beat: Callable[[], None] = lambda: None,
) -> tuple[dict[bytes, int], dict[bytes, str]]:
    """Copy packs; return the bytes of the copied ones, and the reasons why others are unreadable.

    `beat` is called between packs.

    Raises:
        StoreError: the target failed, or the source cannot be reached.
    """
    sent: dict[bytes, int] = {}
    bad: dict[bytes, str] = {}

    def send(pack: bytes) -> None:
        try:
            data = read_pack(source.store, pack)
        except (IntegrityError, FormatTooNew, NotFound) as error:
            bad[pack] = error.message
            return
        except StoreError as error:
            if error.transient:
                raise
            bad[pack] = error.message
            return
        target.soundness.put(pack, data)
        sent[pack] = len(data)
        progress.advance(1, len(data), new=len(data))

    _in_parallel(send, packs, beat)
    return sent, bad


def read_pack(store: Store, pack: bytes) -> bytes:
    """Return a pack's bytes, all of them verified.

    Raises:
        IntegrityError: they do not match the pack's id.
        NotFound: no such pack.
    """

    def attempt(_again: bool) -> bytes:
        data = store.get_bounded(pack_key(pack), MAX_PACK_SIZE)
        if is_external(pack):
            parse_external(data, pack)
        else:
            check_pack(data, pack)
        return data

    return reread(attempt)


class BlockSender:
    """Copies blocks, and stores them in full if their base cannot be used in the target."""

    def __init__(self, source: RepositoryCore, target: RepositoryCore) -> None:
        self._source, self._target = source, target
        self._plain: dict[bytes, bool] = {}

    def send(self, blocks: Iterable[bytes], replaced: set[bytes]) -> tuple[int, int, dict[bytes, str]]:
        """Copy blocks in this order, those with a base last; return their number, bytes, and failures.

        Args:
            blocks: digests, children before parents.
            replaced: blocks that exist in the target but are unreadable; they are overwritten by ones with
                the same digest (the exception of invariant 2).

        Raises:
            StoreError: a store failed.
        """
        bad: dict[bytes, str] = {}
        deltas: list[bytes] = []
        source = iter(blocks)
        count = size = 0
        while window := list(islice(source, _WINDOW)):
            found = self._read(window, bad)
            deltas += [digest for digest, (_, _, base) in found.items() if base is not None]
            ready = {digest: data for digest, (data, _, base) in found.items() if base is None}
            size += self._write(ready, replaced)
            count += len(ready)
        rest = iter(deltas)
        while window := list(islice(rest, _WINDOW)):
            found = self._read(window, bad)
            ready = {}
            for digest, (data, parts, base) in found.items():
                serves = base is None or self._serves(base)
                ready[digest] = data if serves else pack_block(*parts, None, None).data
            size += self._write(ready, replaced)
            count += len(ready)
        return count, size, bad

    def _read(
        self, window: list[bytes], bad: dict[bytes, str]
    ) -> dict[bytes, tuple[bytes, tuple[bytes, bytes], bytes | None]]:
        """Return each block's object, its two parts, and its base."""
        blocks, found = self._source.blocks, {}
        for digest in window:
            try:
                blocks.load(digest)  # reads it again if the cached copy is damaged
                data = blocks.object(digest)
                logical, layout, base = unpack_block(data, digest, blocks.object)
                found[digest] = (data, (logical, layout), base)
            except (IntegrityError, FormatTooNew) as error:
                bad[digest] = error.message
        return found

    def _write(self, ready: dict[bytes, bytes], replaced: set[bytes]) -> int:
        store = self._target.store
        for digest in ready.keys() & replaced:
            store.put(block_key(digest), ready[digest])
        keys = {block_key(digest): digest for digest in ready if digest not in replaced}
        for key in store.put_many_new((key, ready[digest]) for key, digest in keys.items()):
            if not self._readable(keys[key]):
                store.replace(key, ready[keys[key]])
        return sum(map(len, ready.values()))

    def _readable(self, digest: bytes) -> bool:
        """Return whether a block that another writer stored meanwhile is readable in the target."""

        def load(name: bytes) -> bytes:
            return self._target.store.get_bounded(block_key(name), MAX_BLOCK)

        try:
            unpack_block(load(digest), digest, load)
        except (NotFound, IntegrityError):
            return False
        return True

    def _serves(self, base: bytes) -> bool:
        """Return whether a block exists in the target without a base of its own."""
        if base not in self._plain:
            try:
                unpack_block(self._target.store.get_bounded(block_key(base), MAX_BLOCK), base, None)
                self._plain[base] = True
            except (NotFound, IntegrityError, FormatTooNew):
                self._plain[base] = False
        return self._plain[base]


def _in_parallel(do: Callable[[bytes], None], items: Iterable[bytes], beat: Callable[[], None]) -> None:
    """Call a function for all items, a few concurrently; the first error ends it."""
    source: Iterator[bytes] = iter(items)
    pool = parallel.pool(parallel.PACKS, "move")
    flying: set[Future[None]] = set()
    try:
        for item in source:
            beat()
            flying.add(pool.submit(do, item))
            if len(flying) >= parallel.PACKS:
                done, flying = wait(flying, return_when=FIRST_COMPLETED)
                for each in done:
                    each.result()
        for each in flying:
            each.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
