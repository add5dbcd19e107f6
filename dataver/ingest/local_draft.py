"""The local files of a draft: its state, its log of blocks and its lock; and its tree.

A change holds the lock (`_changing`), edits the tree, and commits: blocks first, then `draft.json`, each
synced before the next (invariants 4 and 6). A change that fails leaves both unchanged.
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path

from dataver.errors import Conflict
from dataver.formats.block import Encoded, Inner, Leaf
from dataver.formats.entry import Entry, external_id
from dataver.formats.external import ExternalPack
from dataver.ingest.block_log import BlockLog
from dataver.ingest.current_draft import drop_draft
from dataver.ingest.dedup_lookup import spooled
from dataver.ingest.draft_state import (
    DraftState,
    draft_folder,
    draft_lock,
    load_state,
    save_state,
)
from dataver.repository import RepositoryCore
from dataver.tree import Tree, edit

__all__ = ["LocalDraft"]

_KEPT = 32  # parsed blocks of the draft kept in memory


class LocalDraft:
    """A draft's data and how it is read and changed; base of `DraftCore`, which has the commands."""

    def __init__(self, repository: RepositoryCore, workspace: Path, state: DraftState) -> None:
        self._repository = repository
        self._state = state
        self.workspace = workspace
        self._folder = draft_folder(workspace, state.id)
        self._log = BlockLog(self._folder / "blocks")
        self._parsed: OrderedDict[bytes, Leaf | Inner] = OrderedDict()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.dataset!r}, id={self.id!r}, {self._state.status})"

    @property
    def id(self) -> str:
        """The draft's id, 12 hex characters."""
        return self._state.id

    @property
    def dataset(self) -> str:
        """The dataset this will be a version of."""
        return self._state.dataset

    @property
    def status_name(self) -> str:
        """`open`, `sealed` or `uploaded`."""
        return self._state.status

    @property
    def sealed(self) -> bool:
        """Whether it was finalized."""
        return self._state.status != "open"

    @property
    def parents(self) -> list[str]:
        """The versions it started from, as `dataset@label`."""
        return [f"{each['dataset']}@{each['label']}" for each in self._state.parents]

    @property
    def conflicts(self) -> list[str]:
        """Paths that its parents changed differently; the later parent's content was taken."""
        return list(self._state.conflicts)

    @property
    def created(self) -> datetime:
        """The time of creation."""
        return datetime.fromisoformat(self._state.created)

    @property
    def changed(self) -> bool:
        """Whether its content differs from the tree it started from."""
        return self._state.tree != self._state.base

    @property
    def tree(self) -> Tree:
        """The current tree."""
        return Tree(bytes.fromhex(self._state.tree), self._load)

    @property
    def spool(self) -> Path:
        """The folder of the draft's packs."""
        return self._folder / "packs"

    @property
    def external(self) -> Path:
        """The folder of the draft's external packs."""
        return self._folder / "externals"

    def local_packs(self) -> dict[bytes, Path]:
        """Return the local packs by id, including external packs."""
        packs = {bytes.fromhex(path.name): path for path in spooled(self.spool)}
        return packs | {external_id(bytes.fromhex(path.name)): path for path in spooled(self.external)}

    def external_pack(self, pack_id: bytes) -> ExternalPack:
        """Return an external pack, from the draft or the repository."""
        return self._repository.packs.externals.load(pack_id, self.external / pack_id[1:].hex())

    def block_object(self, digest: bytes) -> bytes:
        """Return the object of a block, from the draft or the repository."""
        return self._log.object(digest) if digest in self._log else self._repository.blocks.object(digest)

    def has_block(self, digest: bytes) -> bool:
        """Return whether the draft itself holds a block (else the repository does)."""
        return digest in self._log

    def load_block(self, digest: bytes) -> Leaf | Inner:
        """Return a block, from the draft or the repository."""
        return self._load(digest)

    # inside

    def _edit(self, changes: dict[str, Entry | None]) -> None:
        root = bytes.fromhex(self._state.tree)
        ordered = sorted(changes.items())
        new = edit(root, ordered, self._load, self._keep, self._is_published)
        self._state.tree = new.digest.hex()

    def _keep(self, block: Encoded) -> None:
        self._log.add(block)
        self._parsed.pop(block.digest, None)  # the layout may differ

    def _is_published(self, digest: bytes) -> bool:
        return digest not in self._log

    def _commit(self) -> None:
        self._log.commit()
        save_state(self._folder, self._state)

    def _load(self, digest: bytes) -> Leaf | Inner:
        if digest not in self._log:
            return self._repository.blocks.load(digest)
        block = self._parsed.get(digest)
        if block is None:
            block = self._parsed[digest] = self._log.load(digest, self._repository.blocks.object)
            while len(self._parsed) > _KEPT:
                self._parsed.popitem(last=False)
        else:
            self._parsed.move_to_end(digest)
        return block

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the draft's lock and reload its state; on failure restore the state in memory too."""
        with self._locked():
            self._state = load_state(self._folder)
            self._log = BlockLog(self._folder / "blocks")
            self._parsed.clear()
            if self._state.status != "open":
                raise Conflict(
                    f"draft {self.id} of {self.dataset} was finalized and cannot change.",
                    hint="upload it, or start the next version with `dataver create`",
                )
            try:
                yield
            except BaseException:
                self._state = load_state(self._folder)
                raise

    def _locked(self) -> AbstractContextManager[None]:
        return draft_lock(self._folder)

    def _drop(self) -> None:
        drop_draft(self.workspace, self.id)
