"""Scanning source files and folders: items found, their paths in a version, and items refused.

Files, symbolic links and empty folders are found, in path order within each folder. Sockets, devices,
unreadable folders, names that are not UTF-8 or not valid in a version, and links that lead out of the source
are each refused by name and do not stop the scan (invariant 10). `.dataverignore` files hold gitignore
patterns for their folder and below (`dataver.ingest.ignore_rules`); an invalid one refuses its folder, so
that no file it should hide is added. Repositories and dataver's own folders are never found, clutter not by
default (`dataver.ingest.scan`).

Reads directories and link targets only, never file content.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypedDict

from dataver.errors import DataverError, FormatTooNew, InvalidInput, PathNotFound
from dataver.formats.config import parse_config
from dataver.formats.entry import Kind, check_path, check_paths, safe_link
from dataver.ingest.ignore_rules import IgnoreRules, parse_ignore_file, parse_patterns
from dataver.ingest.stat_cache import FileStat
from dataver.machine.paths import FOLDER, cache_root
from dataver.tree import path_of

__all__ = [
    "CONFIG",
    "DEFAULT_IGNORE",
    "FOLDER",
    "IGNORE_FILE",
    "OwnFolders",
    "Scan",
    "ScanOptions",
    "ScannedItem",
    "SourceScan",
    "is_repository",
    "require_folder",
    "require_included",
    "require_sources",
    "scan",
    "selection_of",
]

IGNORE_FILE = ".dataverignore"
_SHORT = 900  # characters of a folder's path that leave room for any name within the limit of 4,096 bytes
DEFAULT_IGNORE = frozenset({".dvc", "__pycache__", ".ipynb_checkpoints", ".DS_Store"})
CONFIG = "dataver.json"
_MOST = 1 << 16  # bytes of a repository's configuration
_TOGETHER = 8192  # items of a folder that are in memory


class ScannedItem(NamedTuple):
    """One item to add.

    Attributes:
        path: its path in the version.
        source: its path on the disk.
        kind: its kind.
        stat: the values that detect a change of a file.
        target: the target of a symbolic link.
        verified: whether the bytes at these values were verified, so that later ones are refused.
    """

    path: str
    source: str
    kind: Kind
    stat: FileStat
    target: str = ""
    verified: bool = False


@dataclass
class Scan:
    """Options of a scan, and its findings.

    Attributes:
        dest: folder inside the version, "" for its root.
        exclude: gitignore patterns to leave out; they override ignore files.
        include: gitignore patterns; when given, files that git would not ignore by them are left out.
        follow_links: store the target of a symbolic link instead of the link.
        checksum: read every file, also those that appear unchanged.
        default_ignore: leave out the names in `DEFAULT_IGNORE`, unless a pattern re-includes them.
        problems: `(name, reason)` of every refused item.
        ignored: the number of files and folders that patterns excluded.
        left_out: names excluded by default, or as a repository or a cache.
        unseen: paths in the version that problems hid; entries there or below must not be treated as
            deleted.
    """

    dest: str = ""
    exclude: Sequence[str] = ()
    include: Sequence[str] = ()
    follow_links: bool = False
    checksum: bool = False
    default_ignore: bool = True
    problems: list[tuple[str, str]] = field(default_factory=list)
    ignored: int = 0
    left_out: set[str] = field(default_factory=set)
    unseen: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dest = path_of(self.dest)

    def refuse(self, source: str, reason: str, path: str) -> None:
        """Record a refused item and the path it would have had."""
        self.problems.append((source.encode("utf-8", "backslashreplace").decode(), reason))
        self.unseen.append(path)


class ScanOptions(TypedDict, total=False):
    """Options of `Draft.add` and `Draft.sync` that choose what is scanned, and how; each has a default.

    Attributes:
        dest: folder inside the version.
        exclude: gitignore patterns to leave out.
        include: gitignore patterns; when given, only matching files.
        follow_links: the targets of symbolic links instead of the links.
        checksum: every file, also those with unchanged size and times.
        default_ignore: leave out clutter.
    """

    dest: str
    exclude: Sequence[str]
    include: Sequence[str]
    follow_links: bool
    checksum: bool
    default_ignore: bool


class _Rule(NamedTuple):
    """Patterns that apply from one folder downwards; `start` is the length of its path and a slash."""

    start: int
    patterns: IgnoreRules


def scan(source: str | Path, how: Scan) -> Iterator[list[ScannedItem]]:
    """Yield everything in `source`, each folder in one or more lists; its contents go below `how.dest`.

    Raises:
        PathNotFound: the source does not exist.
        InvalidInput: the destination is not a valid path in a version.
    """
    root = os.fspath(source)
    dest = how.dest
    if dest:
        check_path(dest)
    try:
        status = os.stat(root)  # noqa: PTH116  # what the user names is followed, link or not
    except FileNotFoundError as error:
        raise PathNotFound(
            f"there is no file or folder {root}.", hint="check the path; quote patterns for --exclude"
        ) from error
    except OSError as error:
        raise InvalidInput(f"{root} cannot be read: {error.strerror}.") from error
    if stat.S_ISDIR(status.st_mode):
        yield from _SourceWalk(how, root, dest).walk(root, dest)
        return
    name = Path(root).name
    path = f"{dest}/{name}" if dest else name
    if not stat.S_ISREG(status.st_mode):
        how.refuse(root, _what(status.st_mode), path)
    elif _good_name(path, root, how):
        yield [ScannedItem(path, root, _file_kind(status), _file_stat(status))]


class SourceScan:
    """The scan of one source, whose beginning can be looked at before it is used.

    Attributes:
        source: the file or folder.
    """

    def __init__(self, source: str | Path, how: Scan) -> None:
        self.source = source
        self._seen: list[list[ScannedItem]] = []
        self._rest = scan(source, how)

    def ahead(self) -> Iterator[list[ScannedItem]]:
        """Yield what will be found; an iteration yields the same again, and the rest."""
        for folder in self._rest:
            self._seen.append(folder)
            yield folder

    def __iter__(self) -> Iterator[list[ScannedItem]]:
        seen, self._seen = self._seen[::-1], []
        while seen:
            yield seen.pop()
        yield from self._rest


def selection_of(how: Scan) -> Callable[[str], bool]:
    """Return a function that returns whether the patterns select a file, by its path in the source."""
    out = parse_patterns(how.exclude)
    wanted = parse_patterns(how.include) if how.include else None
    return lambda path: not out.covers(path) and (wanted is None or wanted.covers(path))


def require_included(how: Scan, paths: Iterable[str]) -> None:
    """Check that each pattern of `include` matches some of the paths, which are relative to their source.

    Patterns that begin with `!` only exclude and are not checked.

    Raises:
        PathNotFound: some match nothing; the message names them.
    """
    waiting = {each: parse_patterns([each]) for each in how.include if not each.startswith("!")}
    found = iter(paths)
    while waiting and (path := next(found, None)) is not None:
        for pattern in [each for each, rules in waiting.items() if rules.covers(path)]:
            del waiting[pattern]
    if waiting:
        names = ", ".join(map(repr, waiting))
        raise PathNotFound(
            f"no file to add matches {names}; nothing was added.",
            hint="patterns are written as in .gitignore; what ignore files and --exclude hide does not count",
        )


def require_folder(folder: str | Path) -> None:
    """Check that a mirror's source is a folder.

    Raises:
        InvalidInput: it is not.
    """
    if not Path(folder).is_dir():
        raise InvalidInput(f"{folder} is not a folder, and only a folder can be mirrored.", hint="use add")


def require_sources(how: Scan, sources: Iterable[str | Path]) -> None:
    """Check that each pattern of `include` matches something in the sources; reads directories only.

    Raises:
        PathNotFound: some match nothing, or a source does not exist.
    """
    if how.include:
        trial = replace(how, problems=[], left_out=set(), unseen=[])
        skip = len(how.dest) + 1 if how.dest else 0
        found = (each.path[skip:] for source in sources for some in scan(source, trial) for each in some)
        require_included(how, chain(found, (path[skip:] for path in trial.unseen)))


_Step: TypeAlias = "list[ScannedItem] | Iterator[_Step]"


class _SourceWalk:
    def __init__(self, how: Scan, root: str, dest: str) -> None:
        self._how = how
        self._source = root
        self._root = os.path.realpath(root)
        self._skip = len(dest) + 1 if dest else 0
        self._exclude = [_Rule(0, parse_patterns(how.exclude))] if how.exclude else []
        self._wanted = parse_patterns(how.include) if how.include else None
        self._own = OwnFolders()
        self._open: list[tuple[int, int]] = []  # folders on the path: followed links must not form cycles

    def walk(self, source: str, path: str) -> Iterator[list[ScannedItem]]:
        """Yield the contents of a folder, then of the folders below it, at any depth."""
        under_way = [
            self._folder(source, path, [])
        ]  # an explicit stack: Python's is limited to a thousand calls
        while under_way:
            step = next(under_way[-1], None)
            if step is None:
                under_way.pop()
            elif isinstance(step, list):
                yield step
            else:
                under_way.append(step)

    def _folder(self, source: str, path: str, rules: list[_Rule]) -> "Iterator[_Step]":
        """Yield the contents of one folder, then an iterator for each folder below it."""
        try:
            with os.scandir(source) as listing:
                entries = sorted(listing, key=attrgetter("name"))
        except OSError as error:
            self._how.refuse(source, f"the folder cannot be read: {error.strerror}", path)
            return
        if any(entry.name == CONFIG for entry in entries) and is_repository(source):
            if source == self._source:
                self._how.refuse(source, "it is a repository, and those are not added", path)
            else:
                self._how.left_out.add(os.path.basename(source))  # noqa: PTH119  # a text, not a Path
            return
        if any(entry.name == IGNORE_FILE for entry in entries):
            rule = self._rule(source, path)
            if rule is None:
                return
            rules = [rule, *rules]
        if not entries and path:
            yield [ScannedItem(path, source, Kind.DIRECTORY, FileStat(0, 0, 0, 0))]
        prefix = f"{path}/" if path else ""
        good = len(path) < _SHORT and _all_good([entry.name for entry in entries])
        here: list[ScannedItem] = []
        below: list[os.DirEntry[str]] = []
        for entry in entries:
            if self._own.holds(entry):
                if entry.name != FOLDER:
                    self._how.left_out.add(entry.name)
                continue
            try:
                self._entry(entry, prefix + entry.name, rules, good, here, below)
            except OSError as error:
                self._how.refuse(entry.path, f"it cannot be read: {error.strerror}", prefix + entry.name)
            if len(here) == _TOGETHER:
                yield here
                here = []
        if here:
            yield here
        for entry in below:
            yield self._subfolder(entry, prefix + entry.name, rules)

    def _entry(
        self,
        entry: os.DirEntry[str],
        path: str,
        rules: list[_Rule],
        good: bool,
        here: list[ScannedItem],
        below: list[os.DirEntry[str]],
    ) -> None:
        """Classify an entry: found here, a folder below, excluded, or refused."""
        how = self._how
        follow = how.follow_links
        is_folder = entry.is_dir(follow_symlinks=follow)
        clutter = how.default_ignore and entry.name in DEFAULT_IGNORE
        if clutter or rules or self._exclude or self._wanted:
            inside = path[self._skip :]
            verdict = self._verdict(inside, is_folder, rules)
            if clutter and verdict is None:
                how.left_out.add(entry.name)
                return
            chosen = is_folder or self._wanted is None or self._wanted.covers(inside)
            if verdict or not chosen:
                how.ignored += 1
                return
        if not good and not _good_name(path, entry.path, how):
            return
        if is_folder:
            below.append(entry)
        elif entry.is_file(follow_symlinks=follow):
            status = entry.stat(follow_symlinks=follow)
            here.append(ScannedItem(path, entry.path, _file_kind(status), _file_stat(status)))
        elif entry.is_symlink() and not follow:
            self._link(entry, path, here)
        else:
            how.refuse(entry.path, _what(entry.stat(follow_symlinks=follow).st_mode), path)

    def _subfolder(self, entry: os.DirEntry[str], path: str, rules: list[_Rule]) -> "Iterator[_Step]":
        if not self._how.follow_links:
            yield self._folder(entry.path, path, rules)
            return
        status = entry.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in self._open:
            self._how.refuse(entry.path, "the link leads back into a folder that contains it", path)
            return
        self._open.append(identity)
        yield self._folder(entry.path, path, rules)
        self._open.pop()

    def _link(self, entry: os.DirEntry[str], path: str, here: list[ScannedItem]) -> None:
        target = os.readlink(entry.path)  # noqa: PTH115  # a Path would normalise the target
        try:
            target.encode()
        except UnicodeEncodeError:
            self._how.refuse(entry.path, "the link's target is not UTF-8", path)
            return
        portable = target
        if not safe_link(path[self._skip :], target):
            portable = self._inside(entry.path, target)
        if not portable:
            reason = (
                f"the link leads out of the added folder ({target}); --follow-links stores what it points to"
            )
            self._how.refuse(entry.path, reason, path)
            return
        here.append(ScannedItem(path, entry.path, Kind.SYMLINK, FileStat(0, 0, 0, 0), portable))

    def _inside(self, source: str, target: str) -> str:
        """Return a link's target as `safe_link` defines it; "" if it leads out or through a missing path.

        The text may contain the root's own name, which a fetched folder does not have, or `..` after a name,
        which on another disk may be a link to elsewhere.
        """
        folder = os.path.realpath(os.path.dirname(source))  # noqa: PTH120  # texts: a Path would normalise
        head, _, tail = target.rstrip("/").rpartition("/")
        if os.path.isabs(target) or tail in ("", ".", ".."):  # noqa: PTH117
            head, tail = target, ""
        try:
            landing = os.path.realpath(os.path.join(folder, head), strict=True)  # noqa: PTH118
        except OSError:
            return ""
        landing = os.path.join(landing, tail).rstrip("/")  # noqa: PTH118
        if os.path.isabs(target) or not f"{landing}/".startswith(f"{self._root}/"):  # noqa: PTH117
            return ""
        return os.path.relpath(landing, folder)

    def _rule(self, source: str, path: str) -> _Rule | None:
        """Read a folder's ignore file; refuse the folder if the file is invalid."""
        name = Path(source, IGNORE_FILE)
        reason: str | None = "it is not a file"  # opening a named pipe would block until a writer opens it
        try:
            if name.is_file():
                rules = parse_ignore_file(name.read_bytes())
                return _Rule(len(path) + 1 - self._skip if path else 0, rules)
        except InvalidInput as error:
            reason = error.message
        except OSError as error:
            reason = error.strerror
        self._how.refuse(str(name), f"nothing in its folder is added: {reason}", path)
        return None

    def _verdict(self, inside: str, is_folder: bool, rules: list[_Rule]) -> bool | None:
        """Return whether the patterns exclude a path; None if none matches it."""
        for rule in (*self._exclude, *rules):  # inner files first: the last pattern that matches decides
            excluded = rule.patterns.verdict(inside[rule.start :], is_folder=is_folder)
            if excluded is not None:
                return excluded
        return None


def _all_good(names: list[str]) -> bool:
    """Return whether all names of a folder are valid in paths: usually one check for all of them."""
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
        stat.S_IFLNK: "a broken link",
    }
    return (
        f"it is {kinds.get(stat.S_IFMT(mode), 'neither file, folder nor link')} and has no content to store"
    )


class OwnFolders:
    """The folders that dataver itself uses on this machine: workspaces by name, the cache by identity."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}  # device by inode
        root = cache_root()
        own = root / f"dataver-{os.getuid()}"  # if others may write to the root
        for folder in (own if own.is_dir() else root,):
            try:
                status = folder.stat()
            except OSError:
                continue
            self._known[status.st_ino] = status.st_dev

    def holds(self, entry: os.DirEntry[str]) -> bool:
        """Return whether a folder's entry is one of them."""
        if entry.name in (FOLDER, ".git"):
            return True
        device = self._known.get(entry.inode())
        return device is not None and entry.stat(follow_symlinks=False).st_dev == device


def is_repository(folder: str) -> bool:
    """Return whether a folder is a dataver repository of any format."""
    try:
        with Path(folder, CONFIG).open("rb") as file:
            parse_config(file.read(_MOST))
    except FormatTooNew:
        return True
    except (OSError, DataverError):
        return False
    return True
