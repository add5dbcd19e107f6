"""Encoding and parsing of the FUSE protocol's requests and answers.

The idea: dataver uses `/dev/fuse` directly. A read-only file system needs sixteen of the requests, so
there is no library in between, an answer is one system call, and files keep their numbers instead of being
looked up by path each time. Layouts and numbers are those of protocol 7.31, which Linux has since 5.4
(`include/uapi/linux/fuse.h`); newer kernels speak it too, older ones are refused. Numbers are in the
machine's own byte order.

Values and bytes only: nothing here reads or writes.
"""

import stat
import struct
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

__all__ = [
    "FOREVER",
    "Attributes",
    "FuseRequest",
    "Opcode",
    "attributes_answer",
    "directory_entry",
    "entry_answer",
    "error_answer",
    "header",
    "init_answer",
    "open_answer",
    "parse_read",
    "parse_request",
    "statfs_answer",
    "u64",
]

MAJOR: Final = 7
MINOR: Final = 31
FOREVER: Final = 365 * 86_400  # seconds that the kernel may believe an answer: a version never changes
MAX_REQUEST: Final = 1 << 20  # bytes that one read may ask for
_PAGE: Final = 4096
_MAX_BACKGROUND: Final = 32  # reads ahead that the kernel may have under way

_IN: Final = struct.Struct("=IIQQIIIHH")
_OUT: Final = struct.Struct("=IiQ")
_ATTR: Final = struct.Struct("=QQQQQQIIIIIIIIII")
_ENTRY: Final = struct.Struct("=QQQQII")
_ATTR_OUT: Final = struct.Struct("=QII")
_INIT_IN: Final = struct.Struct("=IIII")
_INIT_OUT: Final = struct.Struct("=IIIIHHIIHHI28x")
_OPEN_OUT: Final = struct.Struct("=QII")
_READ_IN: Final = struct.Struct("=QQI")
_DIRENT: Final = struct.Struct("=QQII")
_STATFS: Final = struct.Struct("=QQQQQIII4x24x")
_U64: Final = struct.Struct("=Q")


class Opcode(IntEnum):
    """The requests that are answered; all others are answered with "no such function"."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    READLINK = 5
    OPEN = 14
    READ = 15
    STATFS = 17
    RELEASE = 18
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    READDIRPLUS = 44


class _Init(IntFlag):
    """What is agreed upon at the start."""

    ASYNC_READ = 1 << 0
    DO_READDIRPLUS = 1 << 13
    READDIRPLUS_AUTO = 1 << 14
    PARALLEL_DIROPS = 1 << 18
    MAX_PAGES = 1 << 22
    CACHE_SYMLINKS = 1 << 23


class _Opened(IntFlag):
    KEEP_CACHE = 1 << 1
    CACHE_DIR = 1 << 3


class FuseRequest(NamedTuple):
    """One request: `body` is what follows the header, `node` the file or folder it is about."""

    opcode: int
    unique: int
    node: int
    process: int
    body: memoryview


class Attributes(NamedTuple):
    """What the kernel wants to know of a file; `seconds` since 1970 stands for all its times."""

    number: int
    size: int
    mode: int
    links: int
    uid: int
    gid: int
    seconds: int

    def encode(self) -> bytes:
        """Return them as the kernel's `fuse_attr`."""
        blocks, when = -(-self.size // 512), self.seconds
        return _ATTR.pack(
            *(self.number, self.size, blocks, when, when, when, 0, 0, 0),
            *(self.mode, self.links, self.uid, self.gid, 0, MAX_REQUEST, 0),
        )


def parse_request(data: memoryview) -> FuseRequest:
    """Return the request in the bytes of one read from the device."""
    length, opcode, unique, node, _, _, process, _, _ = _IN.unpack_from(data)
    return FuseRequest(opcode, unique, node, process, data[_IN.size : length])


def parse_read(body: memoryview) -> tuple[int, int, int]:
    """Return the handle, the offset and the size that a read (of a file or a folder) asks for."""
    handle, offset, size = _READ_IN.unpack_from(body)
    return handle, offset, size


def u64(body: memoryview) -> int:
    """Return the number that a body begins with: a handle, or a request's number."""
    number: int = _U64.unpack_from(body)[0]
    return number


def header(unique: int, length: int) -> bytes:
    """Return the header of an answer with `length` bytes behind it."""
    return _OUT.pack(_OUT.size + length, 0, unique)


def error_answer(unique: int, number: int) -> bytes:
    """Return a whole answer that says what went wrong, by its `errno`."""
    return _OUT.pack(_OUT.size, -number, unique)


def init_answer(body: memoryview) -> bytes | None:
    """Negotiate the protocol with the kernel; None if the kernel is too old."""
    major, minor, ahead, offered = _INIT_IN.unpack_from(body)
    if (major, minor) < (MAJOR, MINOR):
        return None
    wanted = (
        _Init.ASYNC_READ
        | _Init.DO_READDIRPLUS
        | _Init.READDIRPLUS_AUTO
        | _Init.PARALLEL_DIROPS
        | _Init.MAX_PAGES
        | _Init.CACHE_SYMLINKS
    )
    background = _MAX_BACKGROUND
    return _INIT_OUT.pack(
        *(MAJOR, MINOR, max(ahead, MAX_REQUEST), wanted & offered),
        *(background, background * 3 // 4, _PAGE, 1, MAX_REQUEST // _PAGE, 0, 0),
    )


def entry_answer(node: int, attributes: bytes) -> bytes:
    """Return the answer to a lookup; node 0 means that the name will never exist."""
    return _ENTRY.pack(node, 0, FOREVER, FOREVER, 0, 0) + attributes


def attributes_answer(attributes: bytes) -> bytes:
    """Return what is known of a node."""
    return _ATTR_OUT.pack(FOREVER, 0, 0) + attributes


def open_answer(handle: int, *, folder: bool = False) -> bytes:
    """Return the handle of an opened file or folder, whose content the kernel may keep."""
    return _OPEN_OUT.pack(handle, _Opened.KEEP_CACHE | (_Opened.CACHE_DIR if folder else 0), 0)


def directory_entry(number: int, position: int, mode: int, name: bytes) -> bytes:
    """Return a folder's line: the file's number, where the listing goes on behind it, its kind and name."""
    line = _DIRENT.pack(number, position, len(name), stat.S_IFMT(mode) >> 12) + name
    return line + bytes(-len(line) % 8)


def statfs_answer(files: int, size: int) -> bytes:
    """Return how much the file system holds; nothing is free."""
    return _STATFS.pack(-(-size // _PAGE), 0, 0, files, 0, _PAGE, 255, _PAGE)
