"""Which tree blocks some versions need that the target does not have in a published version already.

The idea: what hangs below a version that is published in the target is there (invariant 3), so the walk stops
at blocks of such versions. To know these, only their inner blocks are read: those name their leaves. A block
that merely lies in the target proves nothing: it may be what an interrupted move left.

Every block is compared with its digest when it is read (invariant 1). What cannot be read is noted, and the
walk goes on.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

from dataver.errors import FormatTooNew, IntegrityError
from dataver.formats.block import Inner
from dataver.repository.moving.holding import ASKING
from dataver.repository.repository import Repository

__all__ = ["Needed", "below", "find_needed", "touches"]


@dataclass
class Needed:
    """Blocks that versions need, children after their parents.

    Attributes:
        inner: inner blocks and their children.
        leaves: leaves and the packs that hold their files' bytes in the source.
        unreadable: blocks that the source cannot give, and why.
    """

    inner: dict[bytes, tuple[bytes, ...]] = field(default_factory=dict)
    leaves: dict[bytes, frozenset[bytes]] = field(default_factory=dict)
    unreadable: dict[bytes, str] = field(default_factory=dict)


class _Seen(NamedTuple):
    digest: bytes
    children: tuple[bytes, ...] | None
    packs: frozenset[bytes]
    problem: str | None


def find_needed(source: Repository, roots: Iterable[bytes], settled: set[bytes]) -> Needed:
    """Walk trees of the source; blocks in `settled` and all below them are passed over.

    Raises:
        StoreError: the source cannot be reached.
    """
    needed = Needed()
    ahead = [root for root in dict.fromkeys(roots) if root not in settled]
    known = set(ahead)
    with ThreadPoolExecutor(ASKING, thread_name_prefix="dataver-walk") as pool:
        while ahead:
            below: list[bytes] = []
            for seen in pool.map(lambda digest: _look(source, digest), ahead):
                if seen.problem is not None:
                    needed.unreadable[seen.digest] = seen.problem
                elif seen.children is None:
                    needed.leaves[seen.digest] = seen.packs
                else:
                    needed.inner[seen.digest] = seen.children
                    below += seen.children
            ahead = [digest for digest in dict.fromkeys(below) if digest not in settled | known]
            known.update(ahead)
    return needed


def below(source: Repository, root: bytes) -> set[bytes]:
    """Return the digests of all blocks of a tree; reads its inner blocks only.

    Raises:
        IntegrityError: one of them cannot be read.
    """
    found = {root}
    ahead = [root]
    while ahead:
        block = source.blocks.load(ahead.pop())
        if not isinstance(block, Inner):
            continue
        digests = [child.digest for child in block.children]
        if block.level > 1:
            ahead += [digest for digest in digests if digest not in found]
        found.update(digests)
    return found


def touches(source: Repository, root: bytes, bad: Iterable[bytes]) -> bytes | None:
    """Return one of the `bad` blocks that a tree holds, or None."""
    wanted = set(bad)
    if root in wanted:
        return root
    ahead, known = [root], {root}
    while ahead:
        block = source.blocks.load(ahead.pop())
        if not isinstance(block, Inner):
            continue
        for child in block.children:
            if child.digest in wanted:
                return child.digest
        if block.level > 1:
            ahead += [child.digest for child in block.children if child.digest not in known]
            known.update(ahead)
    return None


def _look(source: Repository, digest: bytes) -> _Seen:
    try:
        block = source.blocks.load(digest)
        if isinstance(block, Inner):
            return _Seen(digest, tuple(child.digest for child in block.children), frozenset(), None)
        return _Seen(digest, None, frozenset(block.packs()), None)
    except (IntegrityError, FormatTooNew) as error:
        return _Seen(digest, None, frozenset(), error.message)
