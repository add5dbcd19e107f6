"""The FUSE device: open it, mount it on a folder, unmount it.

Root mounts by the system call; other users by `fusermount3`, the set-uid program of libfuse that passes the
opened device through a socket (`_FUSE_COMMFD`). Mounts are read-only, without devices and set-uid programs.
"""

import ctypes
import errno
import os
import shutil
import socket
import stat
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

from dataver.errors import Conflict, DataverError, InvalidInput, PathNotFound

__all__ = ["INSTEAD", "attach", "check_folder", "detach", "read_ahead"]

_DEVICE: Final = Path("/dev/fuse")
_HELPERS: Final = ("fusermount3", "fusermount")
_READ_ONLY: Final = 1 | 2 | 4  # MS_RDONLY, MS_NOSUID, MS_NODEV
_LAZY: Final = 2  # MNT_DETACH
INSTEAD: Final = "`dataver fetch` and `dataver serve` need no FUSE"
"""Hint if mounting is impossible."""

_AHEAD: Final = 1024  # KiB that the kernel reads ahead, if we may set it; its default is 128


def check_folder(folder: Path) -> None:
    """Check that a version may be mounted on a folder.

    Raises:
        PathNotFound: there is none.
        Conflict: it is a mount already, or holds something, which the mount would hide.
    """
    try:
        mode = folder.stat().st_mode
    except FileNotFoundError:
        raise PathNotFound(f"there is no folder {folder} to mount on.", hint=f"mkdir {folder}") from None
    except OSError as error:
        raise Conflict(
            f"{folder} cannot be used: {error.strerror}.",
            hint=f"if an ended program left a mount there: `fusermount3 -u {folder}`",
        ) from error
    if not stat.S_ISDIR(mode):
        raise Conflict(f"{folder} is a file, not a folder.")
    if folder.is_mount():
        raise Conflict(
            f"something is mounted on {folder} already.", hint=f"`fusermount3 -u {folder}` ends it"
        )
    with os.scandir(folder) as found:
        if next(found, None) is not None:
            raise Conflict(f"{folder} is not empty, and a mount would hide what it holds.")


def attach(folder: Path, name: str, *, others: bool = False, helper: bool | None = None) -> int:
    """Mount on a folder and return the device's descriptor.

    Args:
        folder: an empty folder (`check_folder`).
        name: what `mount` and `df` show as the source.
        others: whether other users may look into it.
        helper: whether `fusermount3` mounts it; None: where this process may not do it itself.

    Raises:
        InvalidInput: this machine has no FUSE, or does not let this user mount.
    """
    if not _DEVICE.exists():
        raise InvalidInput("this machine has no FUSE: /dev/fuse is not there.", hint=INSTEAD)
    if helper is None:
        helper = os.geteuid() != 0
    return _by_helper(folder, name, others) if helper else _by_system(folder, name, others)


def read_ahead(folder: Path) -> None:
    """Raise the kernel's read-ahead, if this process may do so (usually root)."""
    with suppress(OSError):
        number = folder.stat().st_dev  # answered by the session, which has to be running
        told = Path(f"/sys/class/bdi/{os.major(number)}:{os.minor(number)}/read_ahead_kb")
        told.write_text(str(_AHEAD), "ascii")


def detach(folder: Path, *, lazy: bool = False) -> bool:
    """Unmount a folder; return False if programs still use it and `lazy` is off.

    A lazy unmount hides the mount at once and ends it when the last file is closed.
    """
    if os.geteuid() == 0:
        number = _system("umount2", os.fsencode(folder), _LAZY if lazy else 0)
        if number != errno.EPERM or shutil.which(_HELPERS[0]) is None:
            return number == 0
    words = [_helper(), "-u", *(["-z"] if lazy else []), "--", str(folder)]
    # a group of its own: a second Ctrl-C is not for it
    done = subprocess.run(words, check=False, capture_output=True, process_group=0)  # noqa: S603  # no shell
    return done.returncode == 0


def _by_system(folder: Path, name: str, others: bool) -> int:
    try:
        device = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise _refused(os.strerror(error.errno or 0)) from error
    options = f"fd={device},rootmode=40000,user_id={os.geteuid()},group_id={os.getegid()},default_permissions"
    if others:
        options += ",allow_other"
    words = (name.encode(), os.fsencode(folder), b"fuse.dataver", _READ_ONLY, options.encode())
    number = _system("mount", *words)
    if number == 0:
        return device
    os.close(device)
    if shutil.which(_HELPERS[0]):  # containers may forbid the call and still have the helper
        return _by_helper(folder, name, others)
    raise _refused(os.strerror(number))


def _by_helper(folder: Path, name: str, others: bool) -> int:
    options = f"ro,nosuid,nodev,default_permissions,subtype=dataver,fsname={name}"
    words = [_helper(), "-o", f"{options},allow_other" if others else options, "--", str(folder)]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        environment = {**os.environ, "_FUSE_COMMFD": str(theirs.fileno())}
        done = subprocess.run(  # noqa: S603  # no shell
            words,
            check=False,
            capture_output=True,
            text=True,
            env=environment,
            pass_fds=[theirs.fileno()],
            process_group=0,
        )
        theirs.close()
        if done.returncode != 0:
            raise _refused(done.stderr.strip().partition(": ")[2] or f"{words[0]} failed")
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
    if not descriptors:
        raise _refused(f"{words[0]} handed nothing over")
    os.set_inheritable(descriptors[0], False)
    return descriptors[0]


def _helper() -> str:
    found = next(filter(None, map(shutil.which, _HELPERS)), None)
    if found is None:
        raise InvalidInput(
            "mounting needs the program fusermount3, which is not there.",
            hint=f"install the package fuse3; {INSTEAD}",
        )
    return found


def _refused(why: str) -> DataverError:
    return InvalidInput(f"the system refused the mount: {why}.", hint=INSTEAD)


def _system(name: str, *values: bytes | int) -> int:
    """Call a function of the C library; return 0, or the `errno` it failed with."""
    library = ctypes.CDLL(None, use_errno=True)
    number = ctypes.c_int if name == "umount2" else ctypes.c_ulong  # what their flags are
    given = [number(value) if isinstance(value, int) else value for value in values]
    done: int = getattr(library, name)(*given)
    return ctypes.get_errno() if done else 0
