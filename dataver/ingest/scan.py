"""Walking source files and folders: what is there, under which path it goes into a version, what is refused.

Files, symlinks and empty folders are found, in path order within each folder. Sockets, devices, unreadable
folders, names that are not UTF-8 or cannot be paths of a version, and links that lead out of the source are
each refused by name and do not stop the rest (invariant 10). `.dataverignore` files hold gitignore patterns
for their folder and below; `.git` and `.dataver` are always left out.

Reads directories and link targets only, never a file's content.
"""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dataver.errors import InvalidInput, PathNotFound
from dataver.formats.entry import Kind, check_path, check_paths
from dataver.ingest.stat_cache import FileStat

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

__all__ = ["IGNORE_FILE", "Found", "Scan", "scan", "selection_of"]

IGNORE_FILE = ".dataverignore"
_ALWAYS_OUT = frozenset({".git", ".dataver"})
_SHORT = 900  # characters of a folder's path that leave room for any name within the limit of 4,096 bytes


class Found(NamedTuple):
    """One thing to add.

    Attributes:
        path: where it goes in the version.
        source: where it is on the disk.
        kind: what it is.
        stat: what tells whether a file changed.
        target: where a symlink points.
    """

    path: str
    source: str
    kind: Kind
    stat: FileStat
    target: str = ""


@dataclass
class Scan:
    """What to walk and how, and what was met on the way.

    Attributes:
        dest: folder inside the version, "" for its root.
        exclude: gitignore patterns to leave out.
        include: gitignore patterns; when given, other files are left out.
        follow_links: store what a symlink points to instead of the link.
        problems: `(name, reason)` of everything refused.
        ignored: how many files and folders patterns left out.
        unseen: paths in the version that problems hid; what stands there or below must not be taken for
            deleted.
    """

    dest: str = ""
    exclude: Sequence[str] = ()
    include: Sequence[str] = ()
    follow_links: bool = False
    problems: list[tuple[str, str]] = field(default_factory=list)
    ignored: int = 0
    unseen: list[str] = field(default_factory=list)

    def refuse(self, source: str, reason: str, path: str) -> None:
        """Note something that cannot be added, and the path it would have had."""
        self.problems.append((source.encode("utf-8", "backslashreplace").decode(), reason))
        self.unseen.append(path)


class _Rule(NamedTuple):
    """The patterns that apply from one folder downwards; `base` is that folder's path in the source."""

    base: str
    spec: "GitIgnoreSpec"


def scan(source: str | Path, how: Scan) -> Iterator[list[Found]]:
    """Yield everything in `source`, a folder at a time; a folder's contents go below `how.dest`.

    Raises:
        PathNotFound: the source does not exist.
        InvalidInput: the destination cannot be a path in a version.
    """
    root = os.fspath(source)
    dest = how.dest.strip("/")
    if dest:
        check_path(dest)
    try:
        status = os.stat(root)  # noqa: PTH116  # what the user names is followed, link or not
    except FileNotFoundError as error:
        raise PathNotFound(
            f"there is no {root}.", hint="check the path; quote patterns for --exclude"
        ) from error
    except OSError as error:
        raise InvalidInput(f"{root} cannot be read: {error.strerror}.") from error
    if stat.S_ISDIR(status.st_mode):
        rules = [_Rule("", _compile(how.exclude))] if how.exclude else []
        wanted = _compile(how.include) if how.include else None
        yield from _Walk(how, root, dest, wanted).folder(root, dest, rules)
        return
    name = Path(root).name
    path = f"{dest}/{name}" if dest else name
    if not stat.S_ISREG(status.st_mode):
        how.refuse(root, _what(status.st_mode), path)
    elif _good_name(path, root, how):
        yield [Found(path, root, _file_kind(status), _file_stat(status))]


def selection_of(how: Scan) -> Callable[[str], bool]:
    """Return what the patterns alone say of a file, by its path in the source."""
    out = _compile(how.exclude) if how.exclude else None
    wanted = _compile(how.include) if how.include else None
    return lambda path: not (out and out.match_file(path)) and (wanted is None or wanted.match_file(path))


class _Walk:
    def __init__(self, how: Scan, root: str, dest: str, wanted: "GitIgnoreSpec | None") -> None:
        self._how = how
        self._root = os.path.realpath(root)
        self._skip = len(dest) + 1 if dest else 0
        self._wanted = wanted
        self._open: list[tuple[int, int]] = []  # folders on the way: followed links must not run in circles

    def folder(self, source: str, path: str, rules: list[_Rule]) -> Iterator[list[Found]]:
        """Yield what is in one folder, then what is in the folders below it."""
        try:
            with os.scandir(source) as listing:
                entries = sorted(listing, key=attrgetter("name"))
        except OSError as error:
            self._how.refuse(source, f"the folder cannot be read: {error.strerror}", path)
            return
        if any(entry.name == IGNORE_FILE for entry in entries):
            rules = [*rules, *self._rule(source, path[self._skip :])]
        if not entries and path:
            yield [Found(path, source, Kind.DIRECTORY, FileStat(0, 0, 0, 0))]
        prefix = f"{path}/" if path else ""
        good = len(path) < _SHORT and _all_good([entry.name for entry in entries])
        here: list[Found] = []
        below: list[os.DirEntry[str]] = []
        for entry in entries:
            if entry.name in _ALWAYS_OUT:
                self._how.ignored += 1
                continue
            try:
                self._entry(entry, prefix + entry.name, rules, good, here, below)
            except OSError as error:
                self._how.refuse(entry.path, f"it cannot be read: {error.strerror}", prefix + entry.name)
        if here:
            yield here
        for entry in below:
            yield from self._subfolder(entry, prefix + entry.name, rules)

    def _entry(
        self,
        entry: os.DirEntry[str],
        path: str,
        rules: list[_Rule],
        good: bool,
        here: list[Found],
        below: list[os.DirEntry[str]],
    ) -> None:
        """Put an entry where it belongs: found here, a folder below, left out, or refused."""
        how = self._how
        follow = how.follow_links
        is_folder = entry.is_dir(follow_symlinks=follow)
        if (rules or self._wanted) and self._left_out(path[self._skip :], is_folder, rules):
            how.ignored += 1
            return
        if not good and not _good_name(path, entry.path, how):
            return
        if is_folder:
            below.append(entry)
        elif entry.is_file(follow_symlinks=follow):
            status = entry.stat(follow_symlinks=follow)
            here.append(Found(path, entry.path, _file_kind(status), _file_stat(status)))
        elif entry.is_symlink() and not follow:
            self._link(entry, path, here)
        else:
            how.refuse(entry.path, _what(entry.stat(follow_symlinks=follow).st_mode), path)

    def _subfolder(self, entry: os.DirEntry[str], path: str, rules: list[_Rule]) -> Iterator[list[Found]]:
        if not self._how.follow_links:
            yield from self.folder(entry.path, path, rules)
            return
        status = entry.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in self._open:
            self._how.refuse(entry.path, "the link leads back into a folder that contains it", path)
            return
        self._open.append(identity)
        yield from self.folder(entry.path, path, rules)
        self._open.pop()

    def _link(self, entry: os.DirEntry[str], path: str, here: list[Found]) -> None:
        target = os.readlink(entry.path)  # noqa: PTH115  # a Path would normalise the target
        try:
            target.encode()
        except UnicodeEncodeError:
            self._how.refuse(entry.path, "the link's target is not UTF-8", path)
            return
        folder = os.path.realpath(os.path.dirname(entry.path))  # noqa: PTH120
        landing = os.path.normpath(os.path.join(folder, target))  # noqa: PTH118
        if os.path.isabs(target) or not (landing + "/").startswith(self._root + "/"):  # noqa: PTH117
            reason = (
                f"the link leads out of the added folder ({target}); --follow-links stores what it points to"
            )
            self._how.refuse(entry.path, reason, path)
            return
        here.append(Found(path, entry.path, Kind.SYMLINK, FileStat(0, 0, 0, 0), target))

    def _rule(self, source: str, inside: str) -> list[_Rule]:
        try:
            lines = Path(source, IGNORE_FILE).read_text("utf-8").splitlines()
            return [_Rule(f"{inside}/" if inside else "", _compile(lines))]
        except (OSError, ValueError) as error:
            self._how.refuse(f"{source}/{IGNORE_FILE}", f"it cannot be used: {error}", inside)
            return []

    def _left_out(self, inside: str, is_folder: bool, rules: list[_Rule]) -> bool:
        verdict = False
        for rule in rules:  # outer files first; the innermost pattern that matches decides, as in git
            name = inside[len(rule.base) :] + ("/" if is_folder else "")
            result = rule.spec.check_file(name)
            if result.include is not None:
                verdict = result.include
        return verdict or (self._wanted is not None and not is_folder and not self._wanted.match_file(inside))


def _compile(lines: Sequence[str]) -> "GitIgnoreSpec":
    from pathspec import GitIgnoreSpec

    try:
        return GitIgnoreSpec.from_lines(lines)
    except ValueError as error:
        raise InvalidInput(f"not a gitignore pattern: {error}.") from error


def _all_good(names: list[str]) -> bool:
    """Tell whether all names of a folder can be parts of a path: one check for them all in the usual case."""
    try:
        check_paths(names)
    except InvalidInput:
        return False
    return True


def _good_name(path: str, source: str, how: Scan) -> bool:
    try:
        check_path(path)
    except InvalidInput as error:
        how.refuse(source, error.message, path)
        return False
    return True


def _file_kind(status: os.stat_result) -> Kind:
    return Kind.EXECUTABLE if status.st_mode & 0o100 else Kind.FILE


def _file_stat(status: os.stat_result) -> FileStat:
    return FileStat(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _what(mode: int) -> str:
    kinds = {
        stat.S_IFSOCK: "a socket",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFLNK: "a link to nothing",
    }
    return (
        f"it is {kinds.get(stat.S_IFMT(mode), 'neither file, folder nor link')} and has no content to store"
    )
