"""The cache folder, which belongs to this user alone.

Cached data is used without verifying it again, and files in it are opened by predictable names. Both are safe
only if no other user can write there:

1. A folder that dataver creates has the mode 0700.
2. A folder is used directly if this user or root owns it and no other user has write permission.
3. In a folder that others can write to, such as a scratch disk or a volume, each user gets a folder
   `dataver-<uid>`. It must be owned by this user, not a link, and closed to others. Files beside it are never
   opened. Root does not use folders of other users, who could move root's folder away.

SQLite files must not be on a network file system, and small objects are cached even where no version fits.
The fallbacks for both are the user's default cache and then `/var/tmp`.
"""

import os
import stat
from functools import cache
from pathlib import Path

from dataver.errors import StoreError
from dataver.machine.paths import cache_root, make_private, user_folder

__all__ = ["CacheUnusable", "is_network", "open_cache_root", "private_cache_root"]

_NETWORK = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "davfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
    "panfs", "pvfs2", "smb3", "smbfs", "vboxsf", "virtiofs", "wekafs",
})  # fmt: skip
_LOCAL_FUSE = frozenset({"fuse.fuse-overlayfs", "fuse.mergerfs", "fuseblk"})
_PRIVATE = 0o700
_OTHERS_WRITE = 0o022
_HINT = "set DATAVER_CACHE to a folder of your own, or fetch an own copy with `--dest`"
_ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


class CacheUnusable(StoreError):
    """No cache folder exists that only this user can write to."""


def open_cache_root() -> Path:
    """Return the cache folder; create it if missing.

    Raises:
        CacheUnusable: it cannot be created, or other users can write to it.
    """
    return _own_folder(cache_root())


def private_cache_root() -> Path:
    """Return a folder on a disk of this machine for SQLite files and small objects.

    If there is none, return a path at which no file can be created: the cache is only a hint (invariant 5).
    """
    return _private_root(cache_root(), user_folder("cache"))


@cache
def _private_root(*choices: Path) -> Path:
    for choice in choices:
        try:
            folder = _own_folder(choice)
        except CacheUnusable:
            continue
        if os.access(folder, os.W_OK) and not is_network(folder):
            return folder
    try:
        return _own_folder(Path("/var/tmp"))  # noqa: S108  # a private folder below it is used
    except CacheUnusable:
        return Path(os.devnull, "dataver")


def _own_folder(path: Path) -> Path:
    try:
        make_private(path)
        status = path.stat()
        if not status.st_mode & _OTHERS_WRITE and status.st_uid in (os.geteuid(), 0):
            return path
        if status.st_uid not in (os.geteuid(), 0) and (
            os.geteuid() == 0
            or not status.st_mode & _OTHERS_WRITE  # another user could move root's folder away
        ):
            raise CacheUnusable(
                f"the cache {path} belongs to another user (uid {status.st_uid}), who could change it.",
                hint=_HINT,
            )
        inner = path / f"dataver-{os.geteuid()}"
        inner.mkdir(mode=_PRIVATE, exist_ok=True)
        status = inner.lstat()
    except OSError as error:
        raise CacheUnusable(f"the cache {path} cannot be used: {error.strerror}.", hint=_HINT) from error
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & _OTHERS_WRITE:
        return inner
    raise CacheUnusable(f"the cache {inner} can be changed by other users.", hint=_HINT)


def is_network(path: Path) -> bool:
    """Return whether a folder, which need not exist, is on a network file system."""
    kind = _kind(os.path.realpath(path), _mounts())
    return kind in _NETWORK or (kind.startswith("fuse") and kind not in _LOCAL_FUSE)


def _kind(path: str, mounts: tuple[tuple[str, str], ...]) -> str:
    """Return the type of the file system with the longest mount point above a path."""
    best = ("", "")
    for where, kind in mounts:
        if (path == where or path.startswith(where.rstrip("/") + "/")) and len(where) >= len(best[0]):
            best = (where, kind)
    return best[1]


@cache
def _mounts() -> tuple[tuple[str, str], ...]:
    try:
        lines = Path("/proc/self/mounts").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ()
    found = []
    for line in lines:
        fields = line.split(" ")
        where = fields[1]
        for escape, character in _ESCAPES.items():
            where = where.replace(escape, character)
        found.append((where, fields[2]))
    return tuple(found)
