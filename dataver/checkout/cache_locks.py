"""Who works on a folder of the cache, and who uses it; on one machine, or on many that share it.

One idea: the system holds both, with `flock`, so they end with their process, however it ends; what stands in
the files is for people, and for file systems whose locks do not reach.

    lock    exclusive, while a folder is made, repaired or removed; the file says by whom
    lease   one file a process and folder, locked for as long as the process lives (its forked children
            included), from before it looks for the folder; a folder with a lease is not removed

A lease whose lock is free is stale if it was taken on this machine. Of another machine's nothing is known
where locks stay on their machine (some network mounts), so such a lease counts for `_ABROAD` more. Where
there are no locks at all, a file created exclusively stands for one: it is stale when its process is known to
be dead, or after `_ABANDONED`.
"""

from __future__ import annotations

import errno
import json
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Lease", "holder", "leases", "locked", "shown", "take_lease"]

_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
_ABROAD: Final = 7 * 86400.0  # seconds
_ABANDONED: Final = 86400.0  # seconds that a lock without `flock` counts: no fetch takes so long
_WAIT: Final = 0.1
_UNFINISHED: Final = ".new-"


class Lease:
    """This process's use of a folder, until `release` or its end."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self._process = os.getpid()

    def release(self) -> None:
        """End the use; in a forked child only its own part of it."""
        with suppress(OSError):
            if os.getpid() == self._process:
                self.path.unlink(missing_ok=True)
            os.close(self.descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock, waiting for whoever has it."""
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
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
    """Return who holds a lock, None where it is free; an empty answer where somebody unknown does."""
    for each in (path, path.with_name(f"{path.name}.held")):
        alive = _alive(each)
        if alive is not None:
            return alive
    return None


def take_lease(folder: Path, *, mode: int) -> Lease | None:
    """Note that this process uses what `folder` stands for; None where that cannot be noted.

    Args:
        folder: keeps the leases of one folder of the cache.
        mode: permissions of folders made for it.
    """
    import fcntl

    try:
        folder.parent.mkdir(mode=mode, exist_ok=True)
        folder.mkdir(mode=mode, exist_ok=True)
        name = f"{os.uname().nodename}-{os.getpid()}-{os.urandom(4).hex()}"
        unfinished = folder / f"{_UNFINISHED}{name}"
        about, path = _about_me(), folder / name
        lease = Lease(
            unfinished, os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        )
        try:
            with suppress(OSError):
                fcntl.flock(lease.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(lease.descriptor, about)
            unfinished.rename(path)  # nobody sees it before it is locked
            lease.path = path
        except BaseException:
            lease.release()
            raise
    except OSError:
        return None
    return lease


def leases(folder: Path) -> list[dict[str, Any]]:
    """Return who uses what `folder` stands for; leases of processes that ended are removed."""
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


def shown(who: dict[str, Any]) -> str:
    """Return who it is, for people."""
    if not who:
        return "somebody"
    return f"{who.get('user')}@{who.get('host')} (process {who.get('process')}, since {who.get('since')})"


def _alive(path: Path) -> dict[str, Any] | None:
    """Return what a lock or lease says of its holder, None where there is none any more."""
    import fcntl

    from dataver.repository.keeping.owner import is_gone, this_process

    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError:
        return {}  # somebody else's
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
            return None  # a lock that nobody holds
        ours = str(this_process()["machine"]).split(" ")[0]
        here = str(about.get("machine", "")).split(" ")[0] == ours  # one kernel, so its locks are true
        return None if here or age > _ABROAD else about
    finally:
        os.close(descriptor)


@contextmanager
def _created(path: Path) -> Iterator[None]:
    """Hold a lock by creating its file."""
    from dataver.repository.keeping.owner import is_gone

    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            break
        except FileExistsError:
            with suppress(OSError):
                about = _parse(path.read_bytes())
                if is_gone(about) or time.time() - path.stat().st_mtime > _ABANDONED:
                    aside = path.with_name(f"{path.name}-{os.urandom(4).hex()}")
                    path.rename(aside)  # of several who find it stale, one does this
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
    from dataver.repository.keeping.owner import this_process

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
