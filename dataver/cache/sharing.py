"""Shared cache: one user fills it and others read it in place.

The owner shares it with `dataver cache share`, which makes only the versions readable. Another user sets
`DATAVER_SHARED_CACHE`, and trusts the owner, who can change the contents. A cache that users other than the
owner can change is rejected, and each version is hashed before a user's first use of it
(`dataver.checkout.cached_check`).

A process that reads the cache holds a lock on one file until it ends; meanwhile no version is removed.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dataver.machine.cache_root import CacheUnusable
from dataver.user import expand_user

__all__ = ["is_owned", "read_shared", "share", "unread", "unshare"]

_READERS = "readers"
_TREES = "trees"
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_held: dict[tuple[int, Path], int] = {}  # by process and cache: the descriptor with the reader's lock


def share(root: Path) -> None:
    """Let other users read the versions in this user's cache."""
    (root / _TREES).mkdir(mode=0o700, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(root / _READERS, _OPEN | os.O_CREAT | os.O_EXCL, 0o600))
    (root / _READERS).chmod(0o644)
    for folder in (root / _TREES, root):
        folder.chmod(0o755)


def unshare(root: Path) -> None:
    """Close this user's cache to others; files that are already open stay readable."""
    for folder in (root, root / _TREES):
        folder.chmod(0o700)


def read_shared() -> Path | None:
    """Return the shared cache that this user reads, or None if none is set.

    It is not cleaned while this process lives.

    Raises:
        CacheUnusable: it cannot be read, is not shared, or can be changed by users other than its owner.
    """
    chosen = os.environ.get("DATAVER_SHARED_CACHE")
    if not chosen:
        return None
    root = expand_user(chosen).absolute()
    hint = "its owner shares it with `dataver cache share`; unset DATAVER_SHARED_CACHE to read none"
    try:
        owner = root.stat().st_uid
        if not (is_owned(root, owner, link=True) and is_owned(root / _TREES, owner)):
            raise CacheUnusable(
                f"the shared cache {root} can be changed by users other than its owner.", hint=hint
            )
        if (os.getpid(), root) not in _held:
            descriptor = os.open(root / _READERS, _OPEN)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            _held[os.getpid(), root] = descriptor
    except OSError as error:
        raise CacheUnusable(
            f"the shared cache {root} cannot be read: {error.strerror}.", hint=hint
        ) from error
    return root


def is_owned(folder: Path, owner: int, *, link: bool = False) -> bool:
    """Return whether a folder belongs to a user and no other can write to it; `link` allows a link to it."""
    status = folder.stat() if link else folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == owner and not status.st_mode & 0o022


@contextmanager
def unread(root: Path) -> Iterator[bool]:
    """Lock out readers and yield whether there are none; True for a cache that is not shared."""
    try:
        descriptor = os.open(root / _READERS, _OPEN)
    except OSError:
        yield True
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)
