"""Locks and leases of cached folders, on one machine or on several that share the cache.

The idea: both are `flock` locks, which the kernel releases when their process ends. The contents of the files
are for display, and for file systems whose locks do not work between machines.

    lock    exclusive, while a folder is made, repaired or removed; the file identifies the holder
    lease   one name a process and folder, locked while the process lives (its forked children included),
            acquired before it looks up the folder; a folder with a lease is not removed. All leases of a
            process are hard links to one locked file, so that thousands need one descriptor

A lease whose lock is free is stale if it is from this machine. A lease of another machine is valid for
`_ABROAD` after its last use, since on some network mounts locks are local to a machine. Without any lock
support, a file created exclusively replaces the lock: it is stale if its process is known to have ended, or
after `_ABANDONED`.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from dataver.machine.process_identity import is_gone, this_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Lease", "acquire_lease", "describe_holder", "holder", "leases", "locked"]

_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
_ABROAD: Final = 7 * 86400.0  # seconds
_ABANDONED: Final = 86400.0  # seconds that a lock without `flock` is valid: longer than any fetch
_WAIT: Final = 0.1
_UNFINISHED: Final = ".new-"


class Lease:
    """This process's use of a folder, until `release` or the end of the process."""

    def __init__(self, path: Path, held: _Held) -> None:
        self.path = path
        self._held = held
        self._process = os.getpid()

    def release(self) -> None:
        """End the use; no effect in a forked child, whose parent may still use it."""
        if os.getpid() == self._process:
            with _turn():
                self._held.drop(self.path)


class _Held:
    """A locked file whose names are leases; closed when the last one is released."""

    def __init__(self, folder: Path, name: str) -> None:
        unfinished = folder / f"{_UNFINISHED}{name}"
        self.paths: set[Path] = set()
        self._descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with suppress(OSError):
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(self._descriptor, _about_me())
            unfinished.rename(folder / name)  # visible only once it is locked
        except BaseException:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            self.close()
            raise

    def link(self, path: Path) -> bool:
        """Add a name; return False if the file system does not allow another link."""
        try:
            os.link(next(iter(self.paths)), path, follow_symlinks=False)
            os.utime(self._descriptor)  # validity on other machines counts from here
        except (OSError, StopIteration, NotImplementedError):
            return False
        return True

    def drop(self, path: Path) -> None:
        """Remove a name."""
        with suppress(OSError):
            path.unlink(missing_ok=True)
        self.paths.discard(path)
        if not self.paths:
            self.close()

    def close(self) -> None:
        """Close the file, which releases the lock."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


_held: dict[
    tuple[int, Path], _Held
] = {}  # by process and lease folder: the file that the next lease links to
_turns: dict[int, threading.Lock] = {}


def _turn() -> threading.Lock:
    """Return this process's lock of its leases; one inherited from a parent may never be released."""
    return _turns.setdefault(os.getpid(), threading.Lock())


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock; wait until it is free."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            with _created(path.with_name(f"{path.name}.held")):
                yield
            return
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _about_me(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def holder(path: Path) -> dict[str, Any] | None:
    """Return the holder of a lock: None if it is free, empty if the holder is unknown."""
    for each in (path, path.with_name(f"{path.name}.held")):
        alive = _alive(each)
        if alive is not None:
            return alive
    return None


def acquire_lease(folder: Path) -> Lease | None:
    """Acquire a lease for this process; return None if no file can be written.

    Args:
        folder: the folder of the leases of one cached folder.
    """
    name = f"{os.uname().nodename}-{os.getpid()}-{os.urandom(4).hex()}"
    key, path = (os.getpid(), folder.parent), folder / name
    held: _Held | None = None
    with _turn():
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            held = _held.get(key)
            if held is None or not held.link(path):
                held = _held[key] = _Held(folder, name)
            held.paths.add(path)
            return Lease(path, held)
        except BaseException as error:  # an interrupt leaves no lease behind
            with suppress(OSError):
                path.unlink(missing_ok=True)
            if held is not None:
                held.drop(path)
            if isinstance(error, OSError):
                return None
            raise


def leases(folder: Path) -> list[dict[str, Any]]:
    """Return the holders of leases in a folder; remove the leases of processes that ended."""
    found = []
    try:
        paths = [path for path in folder.iterdir() if not path.name.startswith(_UNFINISHED)]
    except OSError:
        return []
    for path in paths:
        alive = _alive(path)
        if alive is not None:
            found.append(alive)
        else:
            with suppress(OSError):
                path.unlink()
    return found


def describe_holder(who: dict[str, Any]) -> str:
    """Return a holder as text for messages."""
    if not who:
        return "another process"
    return f"{who.get('user')}@{who.get('host')} (process {who.get('process')}, since {who.get('since')})"


def _alive(path: Path) -> dict[str, Any] | None:
    """Return the holder that a lock or lease names, None if it is stale or free."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError:
        return {}  # of another user
    try:
        about = _parse(os.pread(descriptor, 4096, 0))
        age = time.time() - os.fstat(descriptor).st_mtime
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return about
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            return None if is_gone(about) or age > _ABROAD else about
        if not about:
            return None  # a free lock
        ours = str(this_process()["machine"]).split(" ")[0]
        here = str(about.get("machine", "")).split(" ")[0] == ours  # same kernel, so its locks are reliable
        return None if here or age > _ABROAD else about
    finally:
        os.close(descriptor)


@contextmanager
def _created(path: Path) -> Iterator[None]:
    """Hold a lock by creating its file."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            break
        except FileExistsError:
            with suppress(OSError):
                about = _parse(path.read_bytes())
                if is_gone(about) or time.time() - path.stat().st_mtime > _ABANDONED:
                    aside = path.with_name(f"{path.name}-{os.urandom(4).hex()}")
                    path.rename(aside)  # if several find it stale, one rename succeeds
                    aside.unlink()
                    continue
            time.sleep(_WAIT)
    try:
        os.write(descriptor, _about_me())
        yield
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)


def _about_me() -> bytes:
    about = {
        "host": os.uname().nodename,
        "user": os.environ.get("USER") or os.environ.get("LOGNAME") or str(os.getuid()),
        "since": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        **this_process(),
    }
    return json.dumps(about).encode()


def _parse(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
