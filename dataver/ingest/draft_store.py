"""The local files of a draft: its state, its log of blocks and its lock; and its tree.

A change holds the lock (`DraftStore.changing`), edits the tree, and commits: blocks first, then `draft.json`,
each synced before the next (invariants 4 and 6). A change that fails leaves both unchanged.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from dataver.errors import Conflict
from dataver.formats.block import Encoded, Inner, Leaf
from dataver.formats.entry import Entry, external_id
from dataver.formats.external import ExternalPack
from dataver.ingest.block_log import BlockLog
from dataver.ingest.current_draft import drop_draft
from dataver.ingest.dedup import spooled
from dataver.ingest.draft_state import (
    DraftState,
    draft_folder,
    draft_lock,
    load_state,
    save_state,
)
from dataver.lru import LRUCache
from dataver.repository import RepositoryCore
from dataver.tree import Tree, edit

__all__ = ["DraftStore"]

_KEPT = 32  # parsed blocks of the draft kept in memory


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
