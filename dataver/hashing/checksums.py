"""Checksums of other tools, over bytes given in order.

`md5-dos2unix` is that of DVC before its version 3: for a file that appears to be text, a line end of CR and
LF counts as LF alone (dvc-data, `hashfile/hash.py` and `istextfile.py`). `git-sha1` is that of a git blob,
whose header has the size.
"""

import hashlib
from collections.abc import Callable
from typing import NamedTuple, Protocol

import xxhash

__all__ = ["Checksum", "Hasher", "hasher"]

_TEXT = frozenset(b"\n\r\t\f\b") | frozenset(range(32, 127))
_LOOKED_AT = 512  # bytes at the start of a file by which DVC recognises text
_MOST_OTHERS = 0.3  # the share of other bytes in a text


class Checksum(NamedTuple):
    """A checksum that another tool keeps of a file.

    Attributes:
        algorithm: "md5", "md5-dos2unix", "sha256", "git-sha1" or "xxh128".
        value: lower-case hex.
    """

    algorithm: str
    value: str

    def difference(self, found: str) -> str | None:
        """Return the problem if the bytes have another checksum, as the end of a sentence."""
        if found == self.value:
            return None
        return f"its {self.algorithm} is {found}, and the source states {self.value}"


class Hasher(Protocol):
    """Receives the bytes of one file in order."""

    def update(self, data: bytes, /) -> object:
        """Take further bytes."""

    def hexdigest(self) -> str:
        """Return the checksum so far in lower-case hex."""
        ...


class _DosToUnix:
    """MD5 over text with Unix line ends.

    Blocks have any size, so the first bytes wait until they decide, and a CR at the end of a block waits.
    """

    def __init__(self) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._text: bool | None = None  # not decided
        self._waiting = b""

    def update(self, data: bytes, /) -> None:
        data = self._waiting + data
        if self._text is None and len(data) >= _LOOKED_AT:
            self._text = _is_text(data[:_LOOKED_AT])
        if self._text is None:
            self._waiting = data
            return
        self._waiting = b"\r" if self._text and data.endswith(b"\r") else b""
        self._md5.update(_unix(data.removesuffix(self._waiting)) if self._text else data)

    def hexdigest(self) -> str:
        md5, text = self._md5.copy(), self._text is None and _is_text(self._waiting)
        md5.update(_unix(self._waiting) if text else self._waiting)
        return md5.hexdigest()


def _unix(text: bytes) -> bytes:
    return text.replace(b"\r\n", b"\n")


def _is_text(start: bytes) -> bool:
    if b"\0" in start:
        return False
    return sum(byte not in _TEXT for byte in start) <= _MOST_OTHERS * len(start)


_HASHERS: dict[str, Callable[[int], Hasher]] = {
    "md5": lambda _: hashlib.md5(usedforsecurity=False),
    "md5-dos2unix": lambda _: _DosToUnix(),
    "sha256": lambda _: hashlib.sha256(),
    "git-sha1": lambda size: hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False),
    "xxh128": lambda _: xxhash.xxh3_128(),
}


def hasher(algorithm: str, size: int) -> Hasher:
    """Return a hasher of an algorithm, for a file of `size` bytes.

    Raises:
        KeyError: the algorithm is unknown.
    """
    return _HASHERS[algorithm](size)
