"""Keep the cache of versions within its limit: measure it, choose folders to remove, remove them safely.

The idea: folders share files by hard links, so removing a folder frees only the bytes of files that no other
folder has. A walk finds them; it runs only if the sizes recorded beside the folders say that the limit may be
exceeded. The least recently used folder is removed first. A folder stays if a live process uses it (it has a
lease, `dataver.cache.leases`), if its lock is held, or if it was used in the last `REST` seconds: a command
that printed a folder's path has ended when the next command begins to read it.

A folder is removed under its lock: the file that marks it complete first; then its leases are checked again.
A lease acquired before that keeps the folder; a later process does not find the folder and waits for the
lock. A crash in between leaves a folder that is verified again (invariant 4).

Frames that were read without a fetch (`dataver.cache.frame_cache`) count towards the same limit, one file a
pack. Such a file can be removed at any time: open files stay readable, and later reads fetch it again.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dataver.cache.leases import holder, leases
from dataver.cache.limit import Limit, cache_limit, disk_free, disk_size
from dataver.cache.sharing import unread
from dataver.machine.deep_folders import open_folder, remove_folder, walk_folders
from dataver.storage.durable import replace_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from dataver.cache.version_cache import CachedFolder, VersionCache

__all__ = [
    "FRAMES",
    "REST",
    "CacheUse",
    "CleanPlan",
    "FolderUse",
    "cache_use",
    "clean",
    "make_room",
    "plan_clean",
]

REST: Final = 600.0
FRAMES: Final = "frames"
"""The folder of frames that were read without a fetch: `<repository id>/<pack id>` in it."""

_KEEP: Final = 0.9  # of the limit, after an eviction
_SPARE: Final = 0.02  # of the disk, always left free
_LEFT: Final = 86400.0  # seconds after which an interrupted fetch is considered abandoned
_BLOCK: Final = 4096  # allocation unit of most file systems
_NEW: Final = 8  # folders added to the estimate, after which it is written
_MEASURED: Final = ".measured"


@dataclass
class FolderUse:
    """Use of a cached folder.

    Attributes:
        folder: the folder.
        own: bytes on disk of files that no other folder of the cache links.
        used: time of the last use, in seconds since 1970.
        users: the processes that read, fill or repair it now.
    """

    folder: CachedFolder
    own: int
    used: float
    users: list[dict[str, Any]]


class _FrameFile(NamedTuple):
    """A file of cached frames: path, bytes on disk, time of the last use."""

    path: Path
    size: int
    used: float


@dataclass
class CacheUse:
    """Contents of a cache.

    Attributes:
        folders: the folders of versions, least recently used first.
        size: bytes on disk of all of them.
        left: folders of interrupted fetches and their bytes; the next fetch of the version reuses them.
        limit: the limit of the cache.
    """

    folders: list[FolderUse]
    size: int
    left: dict[Path, int]
    limit: Limit


@dataclass
class CleanPlan:
    """The folders that a cleaning removes.

    Attributes:
        folders: folders of versions.
        left: folders of interrupted fetches.
        size: bytes that are freed.
        kept: folders that are in use and kept.
    """

    folders: list[FolderUse] = field(default_factory=list)
    left: list[Path] = field(default_factory=list)
    size: int = 0
    kept: list[FolderUse] = field(default_factory=list)


def cache_use(cache: VersionCache) -> CacheUse:
    """Return the contents of a cache; walks all folders."""
    folders = cache.folders()
    walked = _Walked(folders)
    used = {folder.path: _last_use(folder) for folder in folders}
    found = [
        FolderUse(folder, walked.own[folder.path], used[folder.path], _users(cache, folder.path.name))
        for folder in sorted(folders, key=lambda folder: used[folder.path])
    ]
    left = {
        path: sum(size for _, size, _ in _files(path))
        for path in _left(cache, {each.path for each in folders})
    }
    return CacheUse(found, walked.total, left, cache_limit(cache.root))


def make_room(cache: VersionCache, size: int, keep: Collection[str] = ()) -> int:
    """Remove least recently used entries until `size` more bytes fit into the limit and on the disk.

    Args:
        cache: the cache.
        size: bytes to be added.
        keep: names of folders that are never removed.

    Returns:
        Bytes freed. May be too few, since entries in use are kept.

    Raises:
        InvalidInput: the limit that the user set is not a size.
    """
    limit = cache_limit(cache.root).size
    frames = _frame_files(cache)
    of_frames = sum(each.size for each in frames)
    spare = int(_SPARE * disk_size(cache.root)) if size else 0
    fits = disk_free(cache.root) - size >= spare
    if fits and (limit is None or _estimate(cache) + of_frames + size <= limit):
        return 0
    folders = cache.folders()
    walked = _Walked(folders)
    total = walked.total + of_frames
    _note(cache, [folder.path.name for folder in folders], walked.total)
    goal = None if limit is None or total + size <= limit else max(0, int(_KEEP * limit) - size)
    freed = 0
    for path in _old_leftovers(cache, folders):
        freed += sum(size for _, size, _ in _files(path))
        remove_folder(path)
    now = time.time()
    for used, each in sorted(
        [(_last_use(folder), folder) for folder in folders] + [(one.used, one) for one in frames],
        key=lambda pair: pair[0],
    ):
        if (goal is None or total <= goal) and disk_free(cache.root) - size >= spare:
            break
        gone = 0
        if isinstance(each, _FrameFile):
            with suppress(OSError):
                each.path.unlink()
                gone = each.size
        elif each.path.name not in keep and now - used >= REST and remove(cache, each):
            gone = walked.forget(each.path)
        freed += gone
        total -= gone
    if freed:
        _note(cache, cache.recent(), walked.total)
    return freed


def remove(cache: VersionCache, folder: CachedFolder) -> bool:
    """Remove a folder unless it is in use; return whether it was removed."""
    name = folder.path.name
    if _users(cache, name):
        return False
    with cache.lock(name), unread(cache.root) as free:
        if not free:
            return False
        aside = folder.about.with_name(f".{name}.going")
        try:
            folder.about.rename(aside)
            if leases(cache.root / "leases" / name):  # acquired just before the rename
                aside.rename(folder.about)
                return False
            folder.manifest.unlink(missing_ok=True)
            remove_folder(folder.path)
            aside.unlink()
        except FileNotFoundError:
            return False  # another process removed it meanwhile
    with suppress(OSError):
        (cache.root / "leases" / name).rmdir()
    return True


def plan_clean(cache: VersionCache, *, older: float = 0.0) -> CleanPlan:
    """Return the plan that removes all folders not in use and not used for `older` seconds."""
    use = cache_use(cache)
    plan = CleanPlan()
    now = time.time()
    gone: set[Path] = set()
    for each in use.folders:
        if each.users:
            plan.kept.append(each)
        elif now - each.used >= older:
            plan.folders.append(each)
            gone.add(each.folder.path)
    walked = _Walked([each.folder for each in use.folders])
    plan.size = sum(walked.forget(path) for path in gone)
    for path, size in use.left.items():
        if now - path.lstat().st_mtime >= older and holder(_lock_of(cache, path)) is None:
            plan.left.append(path)
            plan.size += size
    return plan


def clean(cache: VersionCache, plan: CleanPlan) -> tuple[int, list[tuple[str, str]]]:
    """Execute a plan; return the number of removed folders, and the others as `(name, reason)`."""
    gone = 0
    problems = []
    for each in plan.folders:
        if remove(cache, each.folder):
            gone += 1
        else:
            problems.append((each.folder.ref or each.folder.path.name, "is in use by now"))
    for path in plan.left:
        if holder(_lock_of(cache, path)) is None:
            remove_folder(path)
            gone += 1
    return gone, problems


class _Walked:
    """Bytes on disk, each file counted once even if several folders link it.

    Attributes:
        total: bytes of all folders.
        own: by folder, bytes of the files that no other folder links.
    """

    def __init__(self, folders: Iterable[CachedFolder]) -> None:
        self.total = 0
        self.own: dict[Path, int] = {}
        self._shared: dict[tuple[int, int], tuple[int, int]] = {}  # file -> size, folders that have it
        self._linked: dict[Path, set[tuple[int, int]]] = {}
        for folder in folders:
            own = 0
            linked: set[tuple[int, int]] = set()
            for name, size, links in _files(folder.path):
                if links == 1:
                    own += size
                elif name not in linked:
                    linked.add(name)
                    self._shared[name] = (size, self._shared.get(name, (0, 0))[1] + 1)
            self.own[folder.path], self._linked[folder.path] = own, linked
        self.total = sum(self.own.values()) + sum(size for size, _ in self._shared.values())
        for path, linked in self._linked.items():
            self.own[path] += sum(self._shared[name][0] for name in linked if self._shared[name][1] == 1)

    def forget(self, path: Path) -> int:
        """Subtract a folder; return the bytes that no folder has any more."""
        freed = self.own[path]
        for name in self._linked[path]:
            size, folders = self._shared[name]
            self._shared[name] = (size, folders - 1)
            if folders == 2:
                heir = next(each for each, linked in self._linked.items() if each != path and name in linked)
                self.own[heir] += size
        self._linked[path] = set()
        self.own[path] = 0
        self.total -= freed
        return freed


def _files(path: Path) -> Iterator[tuple[tuple[int, int], int, int]]:
    """Yield `(device, inode)`, bytes on disk and number of links of all files below a folder."""
    top = open_folder(path)
    try:
        for visit in walk_folders(top, failed=lambda *_: None):
            for name in visit.others:
                with suppress(OSError):
                    status = os.stat(name, dir_fd=visit.fd, follow_symlinks=False)
                    yield (status.st_dev, status.st_ino), status.st_blocks * 512, status.st_nlink
    finally:
        os.close(top)


def _frame_files(cache: VersionCache) -> list[_FrameFile]:
    found = []
    for path in (cache.root / FRAMES).glob("*/*"):
        with suppress(OSError):
            status = path.stat()
            found.append(_FrameFile(path, status.st_blocks * 512, status.st_mtime))
    return found


def _last_use(folder: CachedFolder) -> float:
    try:
        return folder.about.stat().st_mtime
    except OSError:
        return 0.0


def _users(cache: VersionCache, name: str) -> list[dict[str, Any]]:
    found = leases(cache.root / "leases" / name)
    working = holder(cache.root / "locks" / name)
    return found if working is None else [*found, working]


def _left(cache: VersionCache, complete: set[Path]) -> list[Path]:
    """Return the folders that are not complete."""
    if not cache.trees.is_dir():
        return []
    return sorted(
        path
        for path in cache.trees.iterdir()
        if path not in complete and path.is_dir() and path.name[:1] != "."
    )


def _old_leftovers(cache: VersionCache, folders: list[CachedFolder]) -> list[Path]:
    now = time.time()
    return [
        path
        for path in _left(cache, {folder.path for folder in folders})
        if now - path.lstat().st_mtime > _LEFT and holder(_lock_of(cache, path)) is None
    ]


def _lock_of(cache: VersionCache, path: Path) -> Path:
    return cache.root / "locks" / path.name.partition(".partial")[0]


def _estimate(cache: VersionCache) -> int:
    """Return an upper bound of the folders' size: the last estimate, and all folders added since.

    So each description is read a few times and not at every fetch.
    """
    try:
        noted = json.loads((cache.trees / _MEASURED).read_bytes())
        names, total = set(noted["names"]), int(noted["total"])
    except (OSError, ValueError, KeyError, TypeError):
        names, total = set(), 0
    new = [found for name in cache.recent() if name not in names and (found := cache.read(name)) is not None]
    total += sum(folder.size + _BLOCK * folder.files for folder in new)
    if len(new) >= _NEW:
        _note(cache, [*names, *(folder.path.name for folder in new)], total)
    return total


def _note(cache: VersionCache, names: list[str], total: int) -> None:
    text = json.dumps({"names": names, "total": total})
    with suppress(OSError):
        replace_file(cache.trees / _MEASURED, text)
