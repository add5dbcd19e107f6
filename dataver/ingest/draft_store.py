"""The local files of a draft: its state, its log of blocks and its lock; and its tree.

A change holds the lock (`DraftStore.changing`), edits the tree, and commits: blocks first, then `draft.json`,
each synced before the next (invariants 4 and 6). A change that fails leaves both unchanged.

The log is one append-only file of records: digest (32) · length u32 · block object. A torn record at its end,
left by a crash, is truncated by the next writer. A block is parsed against its digest when it is loaded
(invariant 1).
"""

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from pathlib import Path

from dataver.errors import Conflict
from dataver.formats.block import Encoded, Inner, Leaf, parse_block
from dataver.formats.entry import Entry, external_id
from dataver.formats.external import ExternalPack
from dataver.ingest.current_draft import drop_draft
from dataver.ingest.dedup import spooled
from dataver.ingest.draft_state import DraftState, draft_folder, draft_lock, load_state, save_state
from dataver.lru import LRUCache
from dataver.repository import RepositoryCore
from dataver.storage.durable import flush_file, replace_file_from
from dataver.tree import Tree, edit

__all__ = ["BlockLog", "DraftStore"]

_KEPT = 32  # parsed blocks of the draft kept in memory
_FRESH = 16 << 20  # bytes of new blocks in memory
_HEAD = struct.Struct("<32sI")


class DraftStore:
    """A draft's data and how it is read and changed; base of `DraftCore`, which has the commands.

    Attributes:
        repository: the repository for which the draft was made.
        state: the content of `draft.json`.
        workspace: the folder above `.dataver/`.
        folder: the draft's own folder.
        log: its blocks.
        hint: a tree with earlier content of the paths that are added, for known chunks; None: its own tree.
    """

    hint: Tree | None = None

    def __init__(self, repository: RepositoryCore, workspace: Path, state: DraftState) -> None:
        self.repository = repository
        self.state = state
        self.workspace = workspace
        self.folder = draft_folder(workspace, state.id)
        self.log = BlockLog(self.folder / "blocks")
        self._parsed: LRUCache[bytes, Leaf | Inner] = LRUCache(_KEPT)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.dataset!r}, id={self.id!r}, {self.state.status})"

    @property
    def id(self) -> str:
        """The draft's id, 12 hex characters."""
        return self.state.id

    @property
    def dataset(self) -> str:
        """The dataset this will be a version of."""
        return self.state.dataset

    @property
    def parents(self) -> list[str]:
        """The versions it started from, as `dataset@label`."""
        return [f"{each['dataset']}@{each['label']}" for each in self.state.parents]

    @property
    def changed(self) -> bool:
        """Whether its content differs from the tree it started from."""
        return self.state.tree != self.state.base

    @property
    def tree(self) -> Tree:
        """The current tree."""
        return Tree(bytes.fromhex(self.state.tree), self.load_block)

    @property
    def base_tree(self) -> Tree:
        """The tree it started from."""
        return Tree(bytes.fromhex(self.state.base), self.load_block)

    def earlier(self, path: str) -> Entry | None:
        """Return the entry of a path in the draft, else in the hint."""
        found = self.tree.get(path)
        return found if found is not None or self.hint is None else self.hint.get(path)

    @property
    def spool(self) -> Path:
        """The folder of the draft's packs."""
        return self.folder / "packs"

    @property
    def profiles(self) -> Path:
        """The file with profiles of the sealed draft, to be stored with the version."""
        return self.folder / "profiles.json"

    @property
    def external(self) -> Path:
        """The folder of the draft's external packs."""
        return self.folder / "externals"

    def local_packs(self) -> dict[bytes, Path]:
        """Return the local packs by id, including external packs."""
        packs = {bytes.fromhex(path.name): path for path in spooled(self.spool)}
        return packs | {external_id(bytes.fromhex(path.name)): path for path in spooled(self.external)}

    def external_pack(self, pack_id: bytes) -> ExternalPack:
        """Return an external pack, from the draft or the repository."""
        return self.repository.packs.externals.load(pack_id, self.external / pack_id[1:].hex())

    def block_object(self, digest: bytes) -> bytes:
        """Return the object of a block, from the draft or the repository."""
        return self.log.object(digest) if digest in self.log else self.repository.blocks.object(digest)

    def has_block(self, digest: bytes) -> bool:
        """Return whether the draft itself holds a block (else the repository does)."""
        return digest in self.log

    def edit_tree(self, changes: dict[str, Entry | None]) -> None:
        """Change entries of the tree, by path; None removes one."""
        root = bytes.fromhex(self.state.tree)
        ordered = sorted(changes.items())
        new = edit(root, ordered, self.load_block, self.keep_block, self.is_published)
        self.state.tree = new.digest.hex()

    def keep_block(self, block: Encoded) -> None:
        """Add a block to the log."""
        self.log.add(block)
        self._parsed.drop(block.digest)  # the layout may differ

    def is_published(self, digest: bytes) -> bool:
        """Return whether the repository holds a block (else the draft does)."""
        return digest not in self.log

    def commit(self) -> None:
        """Make the changes durable: first the blocks, then the state."""
        self.log.commit()
        save_state(self.folder, self.state)

    def load_block(self, digest: bytes) -> Leaf | Inner:
        """Return a block, from the draft or the repository."""
        if digest not in self.log:
            return self.repository.blocks.load(digest)
        block = self._parsed.get(digest)
        if block is None:
            block = self.log.load(digest, self.repository.blocks.object)
            self._parsed.put(digest, block)
        return block

    def forget_blocks(self) -> None:
        """Forget the parsed blocks: a repack may have replaced their layouts."""
        self._parsed.clear()

    def reload(self) -> None:
        """Read the draft's files again: another process may have changed them."""
        self.state = load_state(self.folder)
        self.log = BlockLog(self.folder / "blocks")
        self.forget_blocks()

    def refresh(self) -> None:
        """Read the draft again, when no thread or process is changing it.

        Raises:
            NotFound: it was dropped.
        """
        load_state(self.folder)  # locking would create the folder of a dropped draft
        with self.locked():
            self.reload()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the draft's lock and reload its state; on failure restore the state in memory too."""
        with self.locked():
            self.reload()
            if self.state.status != "open":
                raise Conflict(
                    f"draft {self.id} of {self.dataset} was finalized and cannot change.",
                    hint="upload it, or start the next version with `dataver create`",
                )
            try:
                yield
            except BaseException:
                self.state = load_state(self.folder)
                raise

    def locked(self) -> AbstractContextManager[None]:
        """Hold the draft's lock; other commands wait."""
        return draft_lock(self.folder)

    def drop(self) -> None:
        """Delete the local files."""
        drop_draft(self.workspace, self.id)


class BlockLog:
    """The blocks of a draft that its repository may not have yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[bytes, tuple[int, int]] = {}
        self._end = 0
        self._fresh: dict[bytes, Encoded] = {}
        self._fresh_size = 0
        self._flushed = True
        self._scan()

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._fresh or digest in self._places

    def add(self, block: Encoded) -> None:
        """Record a block; it is durable after `commit`.

        Of two blocks that differ only in layout the later is kept: the earlier may depend on external files
        or on damaged packs.
        """
        if block.digest not in self or self.object(block.digest) != block.data:
            self._fresh[block.digest] = block
            self._fresh_size += len(block.data)
            if self._fresh_size > _FRESH:
                self._append()

    def object(self, digest: bytes) -> bytes:
        """Return the object of a block that is in the log."""
        if digest in self._fresh:
            return self._fresh[digest].data
        start, length = self._places[digest]
        with self._path.open("rb") as file:
            file.seek(start)
            return file.read(length)

    def length(self, digest: bytes) -> int:
        """Return the length of the object of a block that is in the log."""
        return len(self._fresh[digest].data) if digest in self._fresh else self._places[digest][1]

    def load(self, digest: bytes, base: Callable[[bytes], bytes]) -> Leaf | Inner:
        """Return a parsed block of the log; `base` finds the objects of other blocks."""
        return parse_block(self.object(digest), digest, base)

    def commit(self) -> None:
        """Append new blocks and sync the file."""
        if self._fresh:
            self._append()
        if not self._flushed:
            flush_file(self._path)
            self._flushed = True

    def _append(self) -> None:
        with self._path.open("ab") as file:
            file.truncate(self._end)
            file.seek(self._end)
            self._flushed = False
            for digest, block in self._fresh.items():
                file.write(_HEAD.pack(digest, len(block.data)))
                file.write(block.data)
                self._places[digest] = (self._end + _HEAD.size, len(block.data))
                self._end += _HEAD.size + len(block.data)
        self._fresh.clear()
        self._fresh_size = 0

    def keep_only(self, digests: Iterable[bytes]) -> None:
        """Drop all blocks except these; without any, remove the file."""
        blocks = ((digest, self.object(digest)) for digest in digests)
        parts = (part for digest, data in blocks for part in (_HEAD.pack(digest, len(data)), data))
        first = next(parts, None)
        if first is None:
            self._path.unlink(missing_ok=True)
        else:
            replace_file_from(self._path, chain((first,), parts))
        self._fresh.clear()
        self._fresh_size = 0
        self._places.clear()
        self._end = 0
        self._scan()

    def _scan(self) -> None:
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            size = os.fstat(file.fileno()).st_size
            while len(head := file.read(_HEAD.size)) == _HEAD.size:
                digest, length = _HEAD.unpack(head)
                start = file.tell()
                if start + length > size:
                    return
                self._places[digest] = (start, length)
                self._end = file.seek(length, os.SEEK_CUR)
