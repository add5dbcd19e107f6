"""A mounted version: threads that answer the kernel's requests.

The idea: each thread reads a request, answers it and reads the next; while all are busy one more is started,
so a slow request does not delay others. A program that is killed while it waits is answered at once, and the
late answer is discarded; one that gets another signal continues to wait, as for a disk, because few programs
expect interrupted file reads. The kernel reports a signal only once, so the waiting program is checked
repeatedly until the answer is ready.

Everything is read-only, and a version never changes: the kernel is told to believe names and attributes for a
year and to keep what it has read of a file for as long as it likes. Links are for the kernel to follow; one
that leaves the version leads nowhere (invariant 9).
"""

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from signal import SIGKILL
from threading import Lock, Thread
from time import monotonic, sleep
from typing import Final

from dataver import parallel
from dataver.errors import DataverError, NotFound, PathNotFound
from dataver.formats.entry import safe_link
from dataver.mounting.inode_table import Inode, Nodes, OpenFolder, inode, mode_of
from dataver.mounting.open_file import FarFile, LocalFile, PieceCount
from dataver.mounting.protocol import (
    FuseRequest,
    Opcode,
    attributes_answer,
    directory_entry,
    entry_answer,
    error_answer,
    header,
    init_answer,
    open_answer,
    parse_read,
    parse_request,
    statfs_answer,
    u64,
)
from dataver.reading import Files

__all__ = ["MountSession"]

_SLICE: Final = 0.5
"""Seconds of one wait: Ctrl-C just before a wait without an end would be seen only after it (CPython)."""

_BUFFER: Final = 64 * 1024  # of one request; the kernel wants room for 8 KiB at least
_ENDED: Final = (errno.ENODEV, errno.EBADF, errno.ECONNABORTED)
_NOTHING: Final = bytes(88)
_DOTS: Final = (b".", b"..")
_AGAIN: Final = 0.1  # seconds until a program that got a signal is looked at again
_PASSED_OVER: Final = (errno.EINTR, errno.EAGAIN, errno.ENOENT)  # ENOENT: the request was taken back

Answer = Sequence[bytes | memoryview]


class MountSession:
    """The answering of one mount, from `run` until it is unmounted.

    Args:
        files: the version.
        device: the descriptor of the device, which the session closes.
        report: receives each path that could not be read, and the error. The program itself only gets EIO.

    Attributes:
        too_old: whether the kernel turned out to be.
    """

    def __init__(self, files: Files, device: int, report: Callable[[str, Exception], None]) -> None:
        record = files.published.record
        self._files = files
        self.too_old = False
        self._device = device
        self._report = report
        self._totals = statfs_answer(record.files, record.size)
        self._nodes = Nodes(files, int(record.created.timestamp()))
        self._share = PieceCount()
        self._open: dict[int, FarFile | LocalFile] = {}
        self._folders: dict[int, OpenFolder] = {}
        self._handles = 0
        self._lock = Lock()
        self._waiting: dict[int, int] = {}  # requests under way, and whose they are
        self._threads: list[Thread] = []
        self._idle = 0
        self._answers: dict[int, Callable[[FuseRequest], Answer]] = {
            Opcode.INIT: self._init,
            Opcode.LOOKUP: self._lookup,
            Opcode.GETATTR: self._getattr,
            Opcode.READLINK: self._readlink,
            Opcode.OPEN: self._open_file,
            Opcode.READ: self._read,
            Opcode.RELEASE: self._release,
            Opcode.OPENDIR: self._open_folder,
            Opcode.READDIR: self._read_folder,
            Opcode.READDIRPLUS: self._read_folder,
            Opcode.RELEASEDIR: self._release_folder,
            Opcode.STATFS: self._statfs,
            Opcode.DESTROY: self._nothing,
        }

    def start(self) -> None:
        """Begin to answer."""
        with self._lock:
            self._grow()

    def join(self, seconds: float | None = None) -> bool:
        """Wait until it is unmounted and all files are closed; return False where time runs out."""
        until = None if seconds is None else monotonic() + seconds
        for thread in self._threads:  # grows meanwhile, and is walked to its end
            while thread.is_alive() and (left := _SLICE if until is None else until - monotonic()) > 0:
                thread.join(min(left, _SLICE))
        return not any(thread.is_alive() for thread in self._threads)

    def _grow(self) -> None:
        """Start one more thread; the lock is held."""
        thread = Thread(target=self._work, name=f"dataver-mount-{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        self._idle += 1
        thread.start()

    def _work(self) -> None:
        while True:
            try:
                data = os.read(self._device, _BUFFER)
            except OSError as error:
                if error.errno in _PASSED_OVER:
                    continue
                if error.errno in _ENDED:
                    return
                raise
            with self._lock:
                self._idle -= 1
                if not self._idle and len(self._threads) < parallel.MOUNTED:
                    self._grow()
            self._receive(parse_request(memoryview(data)))
            with self._lock:
                self._idle += 1

    def _receive(self, request: FuseRequest) -> None:
        if request.opcode in (Opcode.FORGET, Opcode.BATCH_FORGET):
            pass  # these have no answer, and nothing is kept for them
        elif request.opcode == Opcode.INTERRUPT:
            unique = u64(request.body)
            if is_dying(self._waiting.get(unique, 0)):
                self._send(unique, error_answer(unique, errno.EINTR))
            else:
                sleep(_AGAIN)
                self._answer_error(
                    request.unique, errno.EAGAIN
                )  # the kernel asks again, unless it has the answer
        elif (answer := self._answers.get(request.opcode)) is None:
            self._answer_error(request.unique, errno.ENOSYS)
        else:
            self._waiting[request.unique] = request.process
            try:
                parts = answer(request)
            except Exception as error:  # noqa: BLE001  # whatever it is: a request without an answer waits for ever
                self._send(request.unique, error_answer(request.unique, self._number_of(request, error)))
            else:
                self._send(request.unique, header(request.unique, sum(map(len, parts))), *parts)

    def _send(self, unique: int, *parts: bytes | memoryview) -> None:
        """Send an answer, unless there was one already."""
        if self._waiting.pop(unique, None) is None:
            return
        try:
            os.writev(self._device, parts)
        except OSError as error:
            if error.errno not in (*_PASSED_OVER, *_ENDED):  # else the requesting program has ended
                self._answer_error(unique, errno.EIO)

    def _answer_error(self, unique: int, number: int) -> None:
        """Answer with the number of an error, unless the request was already answered."""
        with suppress(OSError):
            os.write(self._device, error_answer(unique, number))

    def _number_of(self, request: FuseRequest, error: Exception) -> int:
        """Return the `errno` of an error, and report what a number cannot say."""
        if isinstance(error, PathNotFound):
            return errno.ENOENT
        if isinstance(error, OSError) and error.errno and not isinstance(error, DataverError):
            return error.errno
        try:
            path = self._nodes.get(request.node).info.path
        except LookupError:
            return errno.ESTALE
        except DataverError:
            path = self._files.ref
        self._report(path, error)
        return errno.ESTALE if isinstance(error, NotFound) else errno.EIO

    def _nothing(self, _: FuseRequest) -> Answer:
        return ()

    def _init(self, request: FuseRequest) -> Answer:
        answer = init_answer(request.body)
        if answer is None:
            self.too_old = True
            raise OSError(errno.EPROTO, "the kernel's FUSE is older than 7.31")
        return (answer,)

    def _lookup(self, request: FuseRequest) -> Answer:
        name = bytes(request.body[:-1])
        above = self._nodes.get(request.node).info.path
        try:
            node = self._nodes.find(f"{above}/{name.decode()}" if above else name.decode())
        except (UnicodeDecodeError, PathNotFound):
            return (entry_answer(0, _NOTHING),)
        return (entry_answer(node.number, self._nodes.encode(node.info)),)

    def _getattr(self, request: FuseRequest) -> Answer:
        return (attributes_answer(self._nodes.encode(self._nodes.get(request.node).info)),)

    def _readlink(self, request: FuseRequest) -> Answer:
        info = self._nodes.get(request.node).info
        if not safe_link(info.path, info.target):
            raise PermissionError(errno.EPERM, "the link leads out of the version")
        return (info.target.encode(),)

    def _open_file(self, request: FuseRequest) -> Answer:
        info = self._nodes.get(request.node).info
        descriptor = self._files.descriptor(info.path)
        opened = (
            FarFile(self._files, info.path, info.size, self._share)
            if descriptor is None
            else LocalFile(descriptor, info.size)
        )
        handle = self._handle()
        self._open[handle] = opened
        return (open_answer(handle),)

    def _read(self, request: FuseRequest) -> Answer:
        handle, offset, size = parse_read(request.body)
        return self._open[handle].read(offset, size)

    def _release(self, request: FuseRequest) -> Answer:
        self._open.pop(u64(request.body)).close()
        return ()

    def _open_folder(self, request: FuseRequest) -> Answer:
        handle = self._handle()
        self._folders[handle] = OpenFolder(self._nodes, self._nodes.get(request.node))
        return (open_answer(handle, folder=True),)

    def _read_folder(self, request: FuseRequest) -> Answer:
        """Return the lines of a folder from a position on, as many as fit, with attributes if asked for."""
        handle, position, room = parse_read(request.body)
        folder = self._folders[handle]
        plus = request.opcode == Opcode.READDIRPLUS
        lines: list[bytes] = []
        for number in count(position):
            name = _DOTS[number] if number < len(_DOTS) else None
            if name is None:
                folder.seek(number - len(_DOTS))
            node = self._nodes.get(request.node) if name else folder.peek()
            line = node and self._line(node, name, number + 1, plus=plus, room=room)
            if not line:
                break
            if name is None:
                folder.advance()
            lines.append(line)
            room -= len(line)
        return (b"".join(lines),)

    def _line(self, node: Inode, name: bytes | None, behind: int, *, plus: bool, room: int) -> bytes | None:
        path = node.info.path
        number = inode(path if name != b".." else path.rpartition("/")[0])
        line = directory_entry(number, behind, mode_of(node.info), name or path.rpartition("/")[2].encode())
        if len(line) + (128 if plus else 0) > room:
            return None
        if not plus:
            return line
        if name is not None:  # of these the kernel wants no node
            return entry_answer(0, _NOTHING) + line
        return entry_answer(node.number, self._nodes.encode(node.info)) + line

    def _release_folder(self, request: FuseRequest) -> Answer:
        del self._folders[u64(request.body)]
        return ()

    def _statfs(self, _: FuseRequest) -> Answer:
        return (self._totals,)

    def _handle(self) -> int:
        with self._lock:
            self._handles += 1
            return self._handles

    def close(self) -> None:
        """Close the device; the kernel ends what is left of the mount."""
        with suppress(OSError):
            os.close(self._device)


def is_dying(process: int) -> bool:
    """Return whether a process was killed and only waits for an answer to end; False if unknown."""
    try:
        text = Path(f"/proc/{process}/status").read_text("ascii", "replace")
    except OSError:
        return False
    waiting = [
        int(line.split()[1], 16) for line in text.splitlines() if line.startswith(("SigPnd", "ShdPnd"))
    ]
    return any(signals >> (SIGKILL - 1) & 1 for signals in waiting)
