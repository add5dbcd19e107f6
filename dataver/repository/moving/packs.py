"""Packs and blocks on their way: read whole, checked against their names, written if absent.

A pack is compared with its id from the footer down to every chunk's digest before it is written anywhere
(invariant 1), so a move spreads no damage. What arrives wrong is read once more; what stays wrong is named.
At most `PARALLEL` packs are in memory, each of at most 100 MB. External packs move as they are: what they
describe stays where it is.

A block may be stored as a delta against another block, which must be there and be no delta itself. That is
looked up in the target after the blocks without a base have been written; where it does not hold, the block
is written plainly. So no block ever comes without its base, and no base comes along that nothing else needs,
with a layout that leads nowhere.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice

from dataver.errors import FormatTooNew, IntegrityError, NotFound, StoreError
from dataver.formats.block_object import pack_block, unpack_block
from dataver.formats.entry import is_external
from dataver.formats.external import parse_external
from dataver.formats.pack import check_pack
from dataver.progress import Progress
from dataver.repository.layout import block_key, pack_key
from dataver.repository.repository import Repository
from dataver.storage import Store

__all__ = ["PARALLEL", "BlockSender", "read_pack", "send_packs"]

PARALLEL = 4
_READS = 2
_WINDOW = 256  # blocks looked at together


def send_packs(
    source: Repository,
    target: Repository,
    packs: Iterable[bytes],
    progress: Progress,
    beat: Callable[[], None] = lambda: None,
) -> tuple[dict[bytes, int], dict[bytes, str]]:
    """Copy packs; return the bytes of those that arrived, and why others could not be read.

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
        target.store.put_new(pack_key(pack), data)
        sent[pack] = len(data)
        progress.advance(1, len(data), new=len(data))

    _in_parallel(send, packs, beat)
    return sent, bad


def read_pack(store: Store, pack: bytes) -> bytes:
    """Return a pack's bytes, every one of them checked.

    Raises:
        IntegrityError: they are not what the pack's name says, twice.
        NotFound: there is no such pack.
    """
    for last in range(1, _READS + 1):
        data = store.get(pack_key(pack))
        try:
            if is_external(pack):
                parse_external(data, pack)
            else:
                check_pack(data, pack)
            break
        except IntegrityError:
            if last == _READS:
                raise
    return data


class BlockSender:
    """Copies blocks, and stores them plainly where their base cannot serve in the target."""

    def __init__(self, source: Repository, target: Repository) -> None:
        self._source, self._target = source, target
        self._plain: dict[bytes, bool] = {}

    def send(self, blocks: Iterable[bytes], replaced: set[bytes]) -> tuple[int, int, dict[bytes, str]]:
        """Copy blocks in this order, those with a base last; return their number, bytes, and what failed.

        Args:
            blocks: digests, children before parents.
            replaced: blocks that lie in the target and cannot be read there; they are overwritten, by what
                has the same digest (the exception of invariant 2).

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
        """Return each block's object, its two parts, and the base it is stored against."""
        blocks, found = self._source.blocks, {}
        for digest in window:
            try:
                blocks.load(digest)  # which reads it anew where the copy in the machine's cache is damaged
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
        store.put_many_new(
            (block_key(digest), data) for digest, data in ready.items() if digest not in replaced
        )
        return sum(map(len, ready.values()))

    def _serves(self, base: bytes) -> bool:
        """Tell whether the target holds a block and stores it without a base of its own."""
        if base not in self._plain:
            try:
                unpack_block(self._target.store.get(block_key(base)), base, None)
                self._plain[base] = True
            except (NotFound, IntegrityError, FormatTooNew):
                self._plain[base] = False
        return self._plain[base]


def _in_parallel(do: Callable[[bytes], None], items: Iterable[bytes], beat: Callable[[], None]) -> None:
    """Do something for all items, a few at a time; the first error ends it."""
    source: Iterator[bytes] = iter(items)
    pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="dataver-move")
    flying: set[Future[None]] = set()
    try:
        for item in source:
            beat()
            flying.add(pool.submit(do, item))
            if len(flying) >= PARALLEL:
                done, flying = wait(flying, return_when=FIRST_COMPLETED)
                for each in done:
                    each.result()
        for each in flying:
            each.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
