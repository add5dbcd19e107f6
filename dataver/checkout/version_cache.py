"""The machine's cache of whole version folders: one read-only folder for each tree (and selection) fetched.

    <root>/trees/<tree hex>[-<selection>]           the folder; it is complete if it is there
    <root>/trees/<name>.json                        what it is: tree, selection, files, bytes, when
    <root>/trees/<name>.stat                        its stat manifest (`dataver.checkout.stat_manifest`)
    <root>/trees/<name>.partial, .partial-<number>  being filled, or left by an interrupted fetch
    <root>/locks/<name>                             held while a folder is made, repaired or removed
    <root>/leases/<name>/…                          one for each process that uses the folder

The idea: the folder's rename is the last step, so whoever sees it may use it without a lock. The tree's
digest is in the name, so a folder never becomes another version.

Disposable (invariant 5); bounded (`dataver.checkout.cache_keeping`); private to the user, unless the root was
made beforehand for several, by its permissions: then folders in it get the same, and what others put there is
hashed before its first use.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from dataver.checkout.cache_locks import Lease
    from dataver.tree.shard import Shard

__all__ = ["CachedFolder", "VersionCache", "folder_name", "remove_folder"]

_PARTIAL = ".partial"
_PRIVATE = 0o700
_BELIEVED: set[str] = set()  # folders of other users that this process has hashed
_USED: dict[tuple[int, str], Lease | None] = {}  # by process: what it uses until it ends


class CachedFolder(NamedTuple):
    """A complete folder of the cache.

    Attributes:
        path: the folder.
        tree: digest of the tree.
        selection: the globs it was fetched with; empty for all of the version.
        ref: the name it was fetched by first; for people.
        files: files in it.
        size: bytes in them.
        problems: entries that were left out, with the reason.
        repository: where it came from; empty where that is not known.
        shard: the part of what the globs select that it holds; None for all of it.
    """

    path: Path
    tree: bytes
    selection: tuple[str, ...]
    ref: str
    files: int
    size: int
    problems: tuple[tuple[str, str], ...]
    repository: str = ""
    shard: Shard | None = None

    @property
    def about(self) -> Path:
        """The file that says what it is; it was last written or touched when the folder was last used."""
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def manifest(self) -> Path:
        """Its stat manifest."""
        return self.path.with_name(f"{self.path.name}.stat")


def folder_name(tree: bytes, selection: Sequence[str] = (), shard: Shard | None = None) -> str:
    """Return the name of the folder for a tree, for what some globs select of it, or for a shard of that."""
    if not selection and shard is None:
        return tree.hex()
    from hashlib import blake2b  # loads OpenSSL, 2 ms

    text = "\0".join(sorted(set(selection)))
    if shard is not None:
        text += f"\0\0{shard}"  # no glob is empty
    return f"{tree.hex()}-{blake2b(text.encode('utf-8', 'surrogateescape'), digest_size=8).hexdigest()}"


def remove_folder(path: Path) -> None:
    """Remove a folder with all in it, read-only folders included; nothing there is fine."""
    import shutil

    try:
        for _, _, _, fd in os.fwalk(path, follow_symlinks=False):
            os.fchmod(fd, stat.S_IMODE(os.fstat(fd).st_mode) | stat.S_IRWXU)
        shutil.rmtree(path)
    except FileNotFoundError:
        return


class VersionCache:
    """All cached version folders below one root.

    Attributes:
        root: the folder of the cache; made when first needed, for this user alone.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.trees = self.root / "trees"

    def lookup(
        self, tree: bytes, selection: Sequence[str] = (), shard: Shard | None = None
    ) -> CachedFolder | None:
        """Return the complete folder for a tree, or for a part of it; or None."""
        return self._read(folder_name(tree, selection, shard))

    def folders(self) -> list[CachedFolder]:
        """Return all complete folders by name."""
        if not self.trees.is_dir():
            return []
        names = sorted(path.stem for path in self.trees.glob("*.json"))
        return [found for name in names if (found := self._read(name)) is not None]

    def of_tree(self, tree: bytes) -> list[CachedFolder]:
        """Return the complete folders that hold a tree or parts of it, the whole one first."""
        found = [self._read(path.stem) for path in sorted(self.trees.glob(f"{tree.hex()}*.json"))]
        return [folder for folder in found if folder is not None]

    def size(self) -> int:
        """Return the bytes of files in all complete folders; what they share counts more than once."""
        return sum(folder.size for folder in self.folders())

    def lock(self, name: str) -> AbstractContextManager[None]:
        """Return the lock of a folder, to be held in a `with`; the system frees it when its holder dies."""
        from dataver.checkout.cache_locks import locked

        self._make(self.root / "locks")
        path = self.root / "locks" / name
        if self.mode != _PRIVATE and not path.exists():
            path.touch()
            path.chmod(0o666)  # whoever may use the cache may hold its locks
        return locked(path)

    def use(self, name: str) -> None:
        """Keep a folder from being removed while this process lives; before it is looked for."""
        held = (os.getpid(), str(self.trees / name))
        if held not in _USED:
            _USED[held] = self.lease(name)

    def done(self, name: str) -> None:
        """End this process's use of a folder; it may be removed then."""
        lease = _USED.pop((os.getpid(), str(self.trees / name)), None)
        if lease is not None:
            lease.release()

    def lease(self, name: str) -> Lease | None:
        """Keep a folder from being removed until the lease is released."""
        from dataver.checkout.cache_locks import take_lease

        self._make(self.root / "leases")
        return take_lease(self.root / "leases" / name, mode=self.mode)

    def touch(self, folder: CachedFolder) -> None:
        """Note that a folder was used just now."""
        with suppress(OSError):
            os.utime(folder.about)

    def make_room(self, size: int, keep: Collection[str] = ()) -> int:
        """Remove what was used longest ago until `size` more bytes fit; return the bytes that became free."""
        from dataver.checkout.cache_keeping import make_room

        return make_room(self, size, keep)

    def foreign(self, folder: CachedFolder) -> bool:
        """Tell whether another user made a folder, and this process has not hashed it yet."""
        if self.mode == _PRIVATE or str(folder.path) in _BELIEVED:
            return False
        return folder.path.stat().st_uid not in (os.getuid(), 0)

    def believe(self, folder: CachedFolder) -> None:
        """Note that this process has hashed a folder."""
        _BELIEVED.add(str(folder.path))

    @property
    def mode(self) -> int:
        """The permissions of folders in the cache: this user's alone, or what its root was made with."""
        try:
            found = stat.S_IMODE(self.root.stat().st_mode)
        except OSError:
            return _PRIVATE
        return found if found & 0o022 else _PRIVATE

    def begin(self, name: str) -> tuple[Path, list[Path]]:
        """Return the path for a folder to be filled, which is free, and what interrupted fetches left.

        The lock is to be held.
        """
        self._make(self.trees)
        return free_partial(self.trees / f"{name}{_PARTIAL}")

    def describe(self, folder: CachedFolder) -> None:
        """Write what a folder is; before the folder gets its name."""
        path = folder.about
        text = json.dumps(
            {
                "tree": folder.tree.hex(),
                "selection": folder.selection,
                "ref": folder.ref,
                "files": folder.files,
                "size": folder.size,
                "problems": folder.problems,
                "repository": folder.repository,
                **({} if folder.shard is None else {"shard": str(folder.shard)}),
            }
        )
        temporary = path.with_suffix(".json.new")
        temporary.write_text(text, "utf-8")
        temporary.replace(path)

    def _make(self, path: Path) -> None:
        if not path.is_dir():
            self.root.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            path.mkdir(mode=_PRIVATE, exist_ok=True)
            if self.mode != _PRIVATE:
                path.chmod(self.mode)

    def _read(self, name: str) -> CachedFolder | None:
        path = self.trees / name
        try:
            about = json.loads(path.with_name(f"{name}.json").read_bytes())
            found = CachedFolder(
                path,
                bytes.fromhex(about["tree"]),
                tuple(map(str, about["selection"])),
                str(about["ref"]),
                int(about["files"]),
                int(about["size"]),
                tuple((str(name), str(why)) for name, why in about["problems"]),
                str(about.get("repository", "")),
                _shard_of(about.get("shard")),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None  # the cache is a hint: what cannot be read is not there
        right = path.is_dir() and folder_name(found.tree, found.selection, found.shard) == name
        return found if right else None


def _shard_of(text: str | None) -> Shard | None:
    if text is None:
        return None
    from dataver.tree.shard import Shard

    return Shard.parse(text)


def free_partial(partial: Path) -> tuple[Path, list[Path]]:
    """Move an interrupted folder out of the way; return the free path, and all interrupted folders."""
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
    """Return a name as a glob that matches it alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
