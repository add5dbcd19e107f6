"""Where the machine keeps what must not be shared: SQLite files, and small objects that are believed as read.

One idea: the cache's root serves for these, too, unless it lies where SQLite is not safe (on a network file
system) or where others may write (a root made for several users). Then they lie in the user's usual cache,
or, where that is no better, in a folder of the user's own in `/var/tmp`. All can be had again (invariant 5).
"""

import contextlib
import os
import stat
from functools import cache
from pathlib import Path

from dataver.repository.places import cache_root, user_folder

__all__ = ["is_network", "is_shared", "private_cache_root"]

_NETWORK = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "davfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
    "panfs", "pvfs2", "smb3", "smbfs", "vboxsf", "virtiofs", "wekafs",
})  # fmt: skip
_LOCAL_FUSE = frozenset({"fuse.fuse-overlayfs", "fuse.mergerfs", "fuseblk"})
_ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


def private_cache_root() -> Path:
    """Return a folder on this machine that only this user writes; made where it is in `/var/tmp`."""
    root = cache_root()
    if not (is_shared(root) or is_network(root)):
        return root
    usual = user_folder("cache")
    if not (is_shared(usual) or is_network(usual)):
        return usual
    return _own_folder(Path("/var/tmp"))  # noqa: S108  # its owner and mode are looked at


def _own_folder(where: Path) -> Path:
    """Return a folder that nobody else could have put there for us to trust."""
    folder = where / f"dataver-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022:
        return folder
    from tempfile import mkdtemp

    return Path(mkdtemp(prefix="dataver-"))


def is_shared(root: Path) -> bool:
    """Tell whether others than its owner may write to a folder, or somebody else owns it."""
    try:
        status = root.stat()
    except OSError:
        return False
    return bool(status.st_mode & 0o022) or status.st_uid != os.getuid()


def is_network(path: Path) -> bool:
    """Tell whether a folder, which need not exist, lies on a file system of other machines."""
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
