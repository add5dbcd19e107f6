"""Cache of version folders: one read-only folder for each tree (and selection) fetched.

    <root>/trees/<tree hex>[-<selection>]           the folder; complete if it exists
    <root>/trees/<name>.json                        its description: tree, selection, files, bytes
    <root>/trees/<name>.stat                        its manifest (`dataver.cache.stat_manifest`)
    <root>/trees/<name>.partial, .partial-<number>  being filled, or left by an interrupted fetch
    <root>/locks/<name>                             locked while the folder is made, repaired or removed
    <root>/leases/<name>/…                          one for each process that uses the folder

The idea: renaming the folder is the last step, so a folder that exists can be used without a lock. Its name
contains the tree's digest, so a folder never changes to another version.

Disposable (invariant 5); bounded (`dataver.cache.eviction`); written by one user only
(`dataver.machine.cache_root`).
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from dataver.cache.leases import acquire_lease, locked
from dataver.machine.paths import make_private
from dataver.storage.durable import replace_file
from dataver.tree.selection import WHOLE, Selection
from dataver.tree.shard import Shard

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from dataver.cache.leases import Lease

__all__ = ["CachedFolder", "VersionCache", "folder_name", "manifest_of"]

_PARTIAL = ".partial"
_ABOUT = ".json"
_PRIVATE = 0o700
_USED: dict[tuple[int, str], Lease | None] = {}  # by process and folder: leases held until the process ends


class CachedFolder(NamedTuple):
    """A complete folder of the cache.

    Attributes:
        path: the folder.
        tree: digest of the tree.
        selection: the part of the version that it contains.
        ref: the name by which it was first fetched, for display.
        files: files in it.
        size: bytes in them.
        problems: entries that were left out, with the reason.
        repository: the source repository; empty if unknown.
    """

    path: Path
    tree: bytes
    selection: Selection
    ref: str
    files: int
    size: int
    problems: tuple[tuple[str, str], ...]
    repository: str = ""

    @property
    def about(self) -> Path:
        """Its description; the modification time is the time of the folder's last use."""
        return self.path.with_name(f"{self.path.name}{_ABOUT}")

    @property
    def manifest(self) -> Path:
        """Its manifest."""
        return manifest_of(self.path)


def folder_name(tree: bytes, selection: Selection = WHOLE) -> str:
    """Return the name of the folder for a selection of a tree."""
    if selection.whole:
        return tree.hex()
    from hashlib import blake2b  # loads OpenSSL, 2 ms

    text = "\0".join(selection.include)
    if selection.exclude or selection.shard is not None:
        text += "\0\0" + ("" if selection.shard is None else str(selection.shard))  # no pattern is empty
    if selection.exclude:
        text += "\0\0" + "\0".join(selection.exclude)
    return f"{tree.hex()}-{blake2b(text.encode('utf-8', 'surrogateescape'), digest_size=8).hexdigest()}"


def manifest_of(folder: Path) -> Path:
    """Return the path of a folder's manifest (`dataver.cache.stat_manifest`)."""
    return folder.with_name(f"{folder.name}.stat")


class VersionCache:
    """All cached version folders below one root.

    Attributes:
        root: the cache folder; created with mode 0700 when needed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.trees = self.root / "trees"

    def lookup(self, tree: bytes, selection: Selection = WHOLE) -> CachedFolder | None:
        """Return the complete folder for a selection of a tree, or None."""
        return self.read(folder_name(tree, selection))

    def folders(self) -> list[CachedFolder]:
        """Return all complete folders by name."""
        if not self.trees.is_dir():
            return []
        names = sorted(path.stem for path in self.trees.glob("*.json"))
        return [found for name in names if (found := self.read(name)) is not None]

    def recent(self, first: Sequence[bytes] = ()) -> list[str]:
        """Return the names of the complete folders: those of these trees first, then by time of last use."""
        trees = {tree.hex(): number for number, tree in enumerate(first)}
        found = []
        with suppress(OSError), os.scandir(self.trees) as listing:
            for each in listing:
                name, ending, rest = each.name.partition(_ABOUT)
                if ending and not rest and name[:1] != ".":
                    with suppress(OSError):
                        rank = trees.get(name.partition("-")[0], len(trees))
                        found.append((rank, -each.stat().st_mtime_ns, name))
        return [name for _, _, name in sorted(found)]

    def size(self) -> int:
        """Return the bytes of files in all complete folders; shared files count more than once."""
        return sum(folder.size for folder in self.folders())

    def lock(self, name: str) -> AbstractContextManager[None]:
        """Return the lock of a folder, for a `with`; the kernel releases it if the holder ends."""
        make_private(self.root / "locks")
        return locked(self.root / "locks" / name)

    def use(self, name: str) -> None:
        """Prevent removal of a folder while this process lives; call before looking it up."""
        held = (os.getpid(), str(self.trees / name))
        if held not in _USED:
            _USED[held] = self.lease(name)

    def done(self, name: str) -> None:
        """End this process's use of a folder, which can then be removed."""
        lease = _USED.pop((os.getpid(), str(self.trees / name)), None)
        if lease is not None:
            lease.release()

    def lease(self, name: str) -> Lease | None:
        """Prevent removal of a folder until the lease is released."""
        with suppress(OSError):
            make_private(self.root / "leases")
        return acquire_lease(self.root / "leases" / name)

    def touch(self, folder: CachedFolder) -> None:
        """Record the use of a folder now."""
        with suppress(OSError):
            os.utime(folder.about)

    def begin(self, name: str) -> tuple[Path, list[Path]]:
        """Return a free path for a new folder, and the folders left by interrupted fetches.

        The caller holds the lock.
        """
        make_private(self.trees)
        return free_partial(self.trees / f"{name}{_PARTIAL}")

    def describe(self, folder: CachedFolder) -> None:
        """Write the description of a folder; before the folder is renamed."""
        path = folder.about
        text = json.dumps(
            {
                "tree": folder.tree.hex(),
                "selection": folder.selection.include,
                "ref": folder.ref,
                "files": folder.files,
                "size": folder.size,
                "problems": folder.problems,
                "repository": folder.repository,
                **({"exclude": folder.selection.exclude} if folder.selection.exclude else {}),
                **({"shard": str(folder.selection.shard)} if folder.selection.shard else {}),
            }
        )
        replace_file(path, text)

    def read(self, name: str) -> CachedFolder | None:
        """Return the complete folder of a name, or None."""
        path = self.trees / name
        try:
            about = json.loads(path.with_name(f"{name}.json").read_bytes())
            found = CachedFolder(
                path,
                bytes.fromhex(about["tree"]),
                Selection(
                    tuple(map(str, about["selection"])),
                    tuple(map(str, about.get("exclude", ()))),
                    Shard.parse(about["shard"]) if "shard" in about else None,
                ),
                str(about["ref"]),
                int(about["files"]),
                int(about["size"]),
                tuple((str(name), str(why)) for name, why in about["problems"]),
                str(about.get("repository", "")),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None  # the cache is a hint: unreadable counts as missing
        right = path.is_dir() and folder_name(found.tree, found.selection) == name
        return found if right else None


def free_partial(partial: Path) -> tuple[Path, list[Path]]:
    """Move a leftover folder aside; return the free path, and all leftover folders."""
    left = sorted(partial.parent.glob(f"{_escaped(partial.name)}-*"))
    if os.path.lexists(partial):
        numbers = [
            int(path.name.rpartition("-")[2]) for path in left if path.name.rpartition("-")[2].isdigit()
        ]
        moved = partial.with_name(f"{partial.name}-{max(numbers, default=0) + 1}")
        partial.rename(moved)
        left.append(moved)
    return partial, left


def _escaped(name: str) -> str:
    """Return a glob that matches only this name."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
