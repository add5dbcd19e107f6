"""Folders such as `data_2026-01-03/` or `v1/`, `v2/`: one version a folder.

The order is that of the names, with numbers by value. A file that is a hard link to one of the folder before,
as backups by `rsync --link-dest` have it, is not read again.
"""

import glob
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from dataver.errors import InvalidInput, PathNotFound
from dataver.formats.entry import Kind
from dataver.formats.names import parse_semver
from dataver.importers.names import as_unicode, dataset_name
from dataver.importers.source import Source, SourceFile, SourceVersion
from dataver.importers.unchanged import in_line
from dataver.ingest.scan import Scan, ScannedItem, scan

__all__ = ["FoldersSource"]

_DATE = re.compile(
    r"(?<!\d)(\d{4})[-_.]?(\d\d)[-_.]?(\d\d)(?:[-_.T ]?(\d\d)[-_.:]?(\d\d)(?:[-_.:]?(\d\d))?)?(?!\d)"
)


class FoldersSource(Source):
    """Folders as the versions of a dataset; a version's key and tag are the name of its folder.

    Args:
        folders: folders, and glob patterns of folders.
        name: the dataset; None names it after what the folders' names have in common.
        follow_links: store the targets of symbolic links, such as those to a file of another folder.

    Raises:
        PathNotFound: a pattern matches no folder.
        InvalidInput: two folders have the same name.
    """

    kind = "folders"

    def __init__(
        self, folders: Sequence[str | Path], name: str | None = None, *, follow_links: bool = False
    ) -> None:
        self._follow_links = follow_links
        found = {Path(os.path.realpath(path)) for given in folders for path in _matching(given)}
        self._folders = sorted(found, key=lambda path: _by_value(path.name))
        for one, other in zip(self._folders, self._folders[1:], strict=False):
            if one.name == other.name:
                raise InvalidInput(
                    f"{one} and {other} have the same name, by which an import recognises them.",
                    hint="import them as two datasets, each with --name",
                )
        common = os.path.commonprefix([path.name for path in self._folders])  # noqa: RUF071  # of characters
        self._name = name or dataset_name(common.rstrip("0123456789-_. "))
        super().__init__(os.path.commonpath([path.parent for path in self._folders]))

    def versions(self) -> Iterator[SourceVersion]:
        """Yield a version for each folder."""
        return in_line(map(self._version, self._folders))

    def _version(self, folder: Path) -> SourceVersion:
        number, key = folder.name.removeprefix("v"), as_unicode(folder.name)
        return SourceVersion(
            key=key,
            dataset=self._name,
            files=partial(_files, folder, self._follow_links),
            message=key,
            created=_time(folder),
            label=number if parse_semver(number) else None,
            tags=(key,),
            lasting=False,  # a file may change where it is
        )


def _matching(given: str | Path) -> list[str]:
    if Path(given).is_dir():
        return [os.fspath(given)]
    found = [path for path in glob.glob(os.fspath(given)) if Path(path).is_dir()]  # noqa: PTH207  # any root
    if not found:
        raise PathNotFound(f"there is no folder {given}.", hint="check the path; quote a pattern: 'data_*/'")
    return found


def _by_value(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts names by text and by the values of the numbers in them."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _time(folder: Path) -> datetime:
    """Return the time in a folder's name, else the time of its last change."""
    if match := _DATE.search(folder.name):
        with suppress(ValueError):
            return datetime(*(int(part) for part in match.groups("0")), tzinfo=UTC)  # type: ignore[arg-type, misc]
    return datetime.fromtimestamp(folder.stat().st_mtime, UTC)


def _files(folder: Path, follow_links: bool) -> Iterator[SourceFile]:
    how = Scan(follow_links=follow_links)
    for items in scan(folder, how):
        yield from map(_file, items)
    for (source, reason), path in zip(how.problems, how.unseen, strict=True):
        yield SourceFile(path or Path(source).name, "", missing=reason)


def _file(item: ScannedItem) -> SourceFile:
    if item.kind in (Kind.SYMLINK, Kind.DIRECTORY):
        return SourceFile(item.path, "", kind=item.kind, target=item.target)
    now = item.stat
    content = f"{Path(item.source).stat().st_dev}:{now.inode}:{now.size}:{now.mtime_ns}:{now.ctime_ns}"
    return SourceFile(item.path, content, size=now.size, kind=item.kind, url=item.source)
