"""An entry: a path in a version with its metadata; and the rules for paths.

The idea: an entry has an *identity* (path, kind, size, digest, link target), which the digest of the tree
covers, and *extents*, which locate its bytes and may change without changing any digest.

Keeps its share of invariant 9: a path that could lead outside its folder, or that means different things on
different systems, is rejected with a sentence of its own, both when it is written and when it is read.
Sorting paths as `str` sorts them by their UTF-8 bytes, because surrogates are rejected.

It does not reject names that only some systems cannot store (`CON`, names that differ only in case):
`portability_problems` lists them, and the caller warns or rejects.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from dataver.errors import InvalidInput

__all__ = [
    "Entry",
    "Extent",
    "Kind",
    "check_path",
    "check_paths",
    "check_target",
    "external_id",
    "is_external",
    "portability_problems",
    "safe_link",
    "same_content",
]

MAX_PATH_BYTES: Final = 4096
MAX_PART_BYTES: Final = 255
MAX_TARGET_BYTES: Final = 4096

_EXTERNAL: Final = b"\x01"
_EXTERNAL_SIZE: Final = 33

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_RESERVED: Final = frozenset({".dataver", ".git"})
_WINDOWS_NAMES: Final = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$"}
    | {f"{stem}{digit}" for stem in ("com", "lpt") for digit in "123456789¹²³"}
)
_WINDOWS_CHARACTERS: Final = re.compile(r'[<>:"|?*]')


class Kind(IntEnum):
    """Kind of an entry.

    Attributes:
        FILE: a file.
        EXECUTABLE: a file with the executable bit.
        SYMLINK: a symbolic link.
        DIRECTORY: an *empty* folder; other folders follow from the paths below them.
    """

    FILE = 0
    EXECUTABLE = 1
    SYMLINK = 2
    DIRECTORY = 3


class Extent(NamedTuple):
    """The location of a range of a file's bytes.

    `[offset, offset + stored)` of the pack's object is a range of whole adjacent frames with their headers.
    Their decoded bytes, without the first `skip`, begin with the `length` bytes of this extent. The pack may
    be an external one (`is_external`).
    """

    pack: bytes
    offset: int
    stored: int
    skip: int
    length: int


class Entry(NamedTuple):
    """A path in a version; all fields but `extents` are its identity.

    Attributes:
        path: the path, `/`-separated.
        kind: the kind.
        size: bytes of a file; 0 for other kinds.
        digest: BLAKE3 of a file's content, 32 bytes; empty for other kinds.
        target: the target of a symbolic link; empty for other kinds.
        extents: where the bytes are; their lengths add up to `size`.
    """

    path: str
    kind: Kind
    size: int = 0
    digest: bytes = b""
    target: str = ""
    extents: tuple[Extent, ...] = ()

    def __repr__(self) -> str:
        content = {
            Kind.DIRECTORY: "",
            Kind.SYMLINK: f", target={self.target!r}",
        }.get(self.kind, f", size={self.size}, digest={self.digest.hex()[:16]}…")
        return f"Entry({self.path!r}, {self.kind.name}{content})"


def external_id(name: bytes) -> bytes:
    """Return the id of the external pack with this 32-byte name: 33 bytes, so never a pack's id."""
    return _EXTERNAL + name


def is_external(pack_id: bytes) -> bool:
    """Return whether an id is an external pack's (`dataver.formats.external`)."""
    return len(pack_id) == _EXTERNAL_SIZE


def same_content(one: Entry | None, other: Entry | None) -> bool:
    """Return whether two entries have the same identity, regardless of their extents."""
    if one is None or other is None:
        return one is other
    return one[:5] == other[:5]


def check_path(path: str) -> None:
    """Check that `path` is allowed in a version.

    Raises:
        InvalidInput: it is not allowed; the message states the reason.
    """
    reason = _path_problem(path)
    if reason is not None:
        raise InvalidInput(f"path {_shown(path)} {reason}.", hint="rename it, or leave it out")


def check_paths(paths: Sequence[str]) -> None:
    """Check many paths: the same as `check_path` on each, some twenty times faster if all are valid."""
    if paths and _suspicious(paths):
        for path in paths:
            check_path(path)


def check_target(path: str, target: str) -> None:
    """Check that file systems can store the target of the symlink `path`.

    A target that leaves the dataset is kept: only creating it is dangerous, and `checkout` refuses it.

    Raises:
        InvalidInput: the target is empty, too long, contains NUL or is not Unicode.
    """
    reason = None
    if not target:
        reason = "is empty"
    elif "\0" in target:
        reason = "contains a NUL character"
    elif _SURROGATE.search(target):
        reason = "is not valid Unicode"
    elif len(target) > MAX_TARGET_BYTES // 4 and len(target.encode()) > MAX_TARGET_BYTES:
        reason = f"is longer than {MAX_TARGET_BYTES} bytes"
    if reason is not None:
        raise InvalidInput(f"the target of the symlink {_shown(path)} {reason}.")


def safe_link(path: str, target: str) -> bool:
    """Return whether a link at `path` stays inside the version.

    `..` is accepted only at the start: after a name, it would be relative to the target of that name, which
    may itself be a link.
    """
    parts = [part for part in target.split("/") if part not in ("", ".")]
    up = 0
    while up < len(parts) and parts[up] == "..":
        up += 1
    absolute = target.startswith(("/", "\\")) or not target or "\x00" in target
    return not absolute and ".." not in parts[up:] and up <= path.count("/")


def portability_problems(paths: Iterable[str]) -> list[tuple[str, str]]:
    """Return `(path, reason)` for names that some systems cannot store: reserved or equal when folded.

    Folders are checked once each, under their own path. `paths` must be sorted. Memory: ~70 bytes a path.
    """
    problems: list[tuple[str, str]] = []
    seen: set[int] = set()
    unusual: dict[int, str] = {}  # original spellings that differ from their folded form; all others equal it
    folders: list[str] = []
    for path in paths:
        for name in _with_new_folders(path, folders):
            reason = _windows_problem(name.rpartition("/")[2])
            if reason is not None:
                problems.append((name, reason))
            folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
            key = hash(folded)
            if key in seen:
                other = _shown(unusual.get(key, folded))
                problems.append((name, f"differs from {other} only in case or Unicode form"))
                continue
            seen.add(key)
            if folded != name:
                unusual[key] = name
    return problems


def _with_new_folders(path: str, folders: list[str]) -> Iterator[str]:
    """Yield the folders above `path` that are not in `folders`, the folders of the last path; then `path`."""
    while folders and not path.startswith(folders[-1] + "/"):
        folders.pop()
    start = len(folders[-1]) + 1 if folders else 0
    while (slash := path.find("/", start)) >= 0:
        folders.append(path[:slash])
        yield path[:slash]
        start = slash + 1
    yield path


def _windows_problem(name: str) -> str | None:
    if name.partition(".")[0].rstrip(" ").casefold() in _WINDOWS_NAMES:
        return "is a reserved name on Windows"
    if name[-1:] in {".", " "}:
        return "ends in a dot or a space, which Windows drops"
    found = _WINDOWS_CHARACTERS.search(name)
    return None if found is None else f"contains {found[0]!r}, which Windows does not allow"


def _suspicious(paths: Sequence[str]) -> bool:
    """Return whether any path may be invalid: cheap tests of all paths at once, with false positives only."""
    joined = "/" + "/".join(paths) + "/"
    longest = max(map(len, paths))
    return (
        "//" in joined
        or "/./" in joined
        or "/../" in joined
        or "\\" in joined
        or (not joined.isprintable())
        or longest > MAX_PATH_BYTES // 4
        or (longest > MAX_PART_BYTES // 4 and max(map(len, joined.split("/"))) > MAX_PART_BYTES // 4)
        or ("/." in joined and any(f"/{name}/" in joined.casefold() for name in _RESERVED))
    )


def _path_problem(path: str) -> str | None:
    if not path:
        return "is empty"
    if _SURROGATE.search(path):
        return "is not valid Unicode"
    if _CONTROL.search(path):
        return "contains a control character"
    if "\\" in path:
        return "contains a backslash, which is a separator on Windows"
    if path.startswith("/"):
        return "is absolute"
    if len(path.encode()) > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES} bytes"
    for part in path.split("/"):
        reason = _part_problem(part)
        if reason is not None:
            return reason
    return None


def _part_problem(part: str) -> str | None:
    if not part:
        return "has an empty part (two slashes, or one at the end)"
    if part in {".", ".."}:
        return f"has the part '{part}'"
    if part.casefold() in _RESERVED:
        return f"has the part '{part}', a name that is reserved"
    if len(part.encode()) > MAX_PART_BYTES:
        return f"has a part longer than {MAX_PART_BYTES} bytes"
    return None


def _shown(path: str) -> str:
    """Return a path for a message: escaped if it is not printable, shortened if it is long."""
    text = path if len(path) <= 200 else path[:200] + "…"
    return repr(text)
