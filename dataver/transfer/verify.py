"""Verification of a target after a transfer: records, tree blocks and packs, without caches.

The idea: the trees of the versions are read from the target, and every pack in them is read whole and
compared with its id, so the versions are readable from the target alone. Read-only.
"""

from collections.abc import Sequence

from dataver import parallel
from dataver.errors import FormatTooNew, IntegrityError, NotFound
from dataver.formats.block import Inner
from dataver.formats.canonical_json import MAX_JSON
from dataver.progress import Progress
from dataver.repository.layout import record_key
from dataver.repository.marking import reach
from dataver.repository.records import Published
from dataver.repository.repository import RepositoryCore
from dataver.transfer.inventory import packs_there
from dataver.transfer.packs import read_pack

__all__ = ["check_moved"]


def check_moved(
    source: RepositoryCore, target: RepositoryCore, versions: Sequence[Published], progress: Progress
) -> tuple[int, list[tuple[str, str]]]:
    """Return the number of objects read from the target, and the findings.

    Args:
        source: the source of the versions.
        target: the repository to verify.
        versions: the versions expected in the target.
        progress: receives packs and their bytes.

    Raises:
        StoreError: a store cannot be reached.
    """
    findings: list[tuple[str, str]] = []
    for version in versions:
        key = record_key(version.record.dataset, version.record.label)
        try:
            same = target.store.get_bounded(key, MAX_JSON) == source.store.get_bounded(key, MAX_JSON)
        except NotFound as error:
            findings.append((version.ref, error.message))
        else:
            if not same:
                findings.append((version.ref, f"its record in {target.url} differs"))
    blocks, packs = _walk(target, {version.record.tree for version in versions}, findings)
    sizes = packs_there(target.store, packs)
    progress.start(len(packs), sum(sizes.values()))

    def check(pack: bytes) -> tuple[str, str] | None:
        try:
            progress.advance(1, len(read_pack(target.store, pack)))
        except (IntegrityError, FormatTooNew, NotFound) as error:
            return f"pack {pack.hex()}", f"in {target.url}: {error.message}"
        return None

    with parallel.pool(parallel.PACKS, "check") as pool:
        findings += [found for found in pool.map(check, sorted(packs)) if found is not None]
    return len(versions) + blocks + len(packs), findings


def _walk(
    target: RepositoryCore, roots: set[bytes], findings: list[tuple[str, str]]
) -> tuple[int, set[bytes]]:
    """Read the blocks below the roots; return their number and the packs in them."""

    def note(digest: bytes, error: IntegrityError | FormatTooNew) -> None:
        findings.append((f"tree block {digest.hex()}", f"in {target.url}: {error.message}"))

    packs: set[bytes] = set()
    count = -len(findings)
    for block in reach(target.store, roots, on_error=note):
        count += 1
        if not isinstance(block, Inner):
            packs |= block.packs()
    return count + len(findings), packs
