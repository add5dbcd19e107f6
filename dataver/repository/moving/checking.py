"""Reading a target after a move: records, tree blocks and packs, past every cache.

The idea: the trees of the versions are walked in the target itself, and every pack they name is read whole
and compared with its name; so what is said to be there can be read from there alone. Changes nothing.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from dataver.errors import FormatTooNew, IntegrityError, NotFound
from dataver.formats.block import Inner, parse_block
from dataver.progress import Progress
from dataver.repository.layout import block_key, record_key
from dataver.repository.moving.holding import ASKING, packs_there
from dataver.repository.moving.packs import PARALLEL, read_pack
from dataver.repository.records import Published
from dataver.repository.repository import Repository

__all__ = ["check_moved"]


def check_moved(
    source: Repository, target: Repository, versions: Sequence[Published], progress: Progress
) -> tuple[int, list[tuple[str, str]]]:
    """Return how many objects of the target were read, and what is wrong with them.

    Args:
        source: where the versions came from.
        target: what is read.
        versions: what it should hold.
        progress: told of packs and their bytes.

    Raises:
        StoreError: a store cannot be reached.
    """
    findings: list[tuple[str, str]] = []
    for version in versions:
        key = record_key(version.record.dataset, version.record.label)
        try:
            same = target.store.get(key) == source.store.get(key)
        except NotFound as error:
            findings.append((version.ref, error.message))
        else:
            if not same:
                findings.append((version.ref, f"its record in {target.url} is another one"))
    blocks, packs = _walk(target, {version.record.tree for version in versions}, findings)
    sizes = packs_there(target.store, packs)
    progress.start(len(packs), sum(sizes.values()))

    def check(pack: bytes) -> tuple[str, str] | None:
        try:
            progress.advance(1, len(read_pack(target.store, pack)))
        except (IntegrityError, FormatTooNew, NotFound) as error:
            return f"pack {pack.hex()}", f"in {target.url}: {error.message}"
        return None

    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="dataver-check") as pool:
        findings += [found for found in pool.map(check, sorted(packs)) if found is not None]
    return len(versions) + blocks + len(packs), findings


def _walk(target: Repository, roots: set[bytes], findings: list[tuple[str, str]]) -> tuple[int, set[bytes]]:
    """Read the blocks below some roots; return their number and the packs they name."""

    def load(digest: bytes) -> bytes:
        return target.store.get(block_key(digest))

    def look(digest: bytes) -> tuple[list[bytes], set[bytes], tuple[str, str] | None]:
        try:
            block = parse_block(load(digest), digest, load)
            if isinstance(block, Inner):
                return [child.digest for child in block.children], set(), None
            return [], block.packs(), None
        except (IntegrityError, FormatTooNew, NotFound) as error:
            return [], set(), (f"tree block {digest.hex()}", f"in {target.url}: {error.message}")

    packs: set[bytes] = set()
    known, ahead = set(roots), sorted(roots)
    with ThreadPoolExecutor(ASKING, thread_name_prefix="dataver-check") as pool:
        while ahead:
            below: dict[bytes, None] = {}
            for children, named, problem in pool.map(look, ahead):
                below.update(dict.fromkeys(children))
                packs |= named
                findings += [problem] if problem else []
            ahead = [digest for digest in below if digest not in known]
            known.update(ahead)
    return len(known), packs
