"""Versions as a file system for everything that reads through fsspec: `dataver://vision/cats@1.2.0/train/a.jpg`.

    pandas.read_parquet("dataver://weather/stations@1.2.0/2026.parquet")
    fsspec.filesystem("dataver", repo="s3://ml-data/repo").ls("vision/cats@production/train")

The idea: names are those of `dataver.reading.versions`, bytes come from `dataver.reading.files`; here both
only get the manners that fsspec expects. Read-only: whatever writes raises `OSError` with `EROFS`.

The repository is `repo`, else what `dataver.open()` opens; other storage options are handed to its store.
They may hold secrets: neither a pickled file system nor its JSON does. Who unpickles it in the same process
gets the same one; any other process uses its own environment, a profile or its configuration.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, Final, NoReturn
from zlib import crc32

from fsspec.spec import AbstractFileSystem

from dataver.reading.stream import FileReader, LocalReader
from dataver.reading.versions import Versions, split_path
from dataver.repository.configuration import configured_url
from dataver.storage.settings import without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from dataver._repository import Repository
    from dataver.reading.files import Files
    from dataver.reading.folders import Info

__all__ = ["DataverFile", "DataverFileSystem", "LocalDataverFile"]

_FSSPEC: Final = frozenset(
    {"asynchronous", "batch_size", "listings_expiry_time", "loop", "max_paths", "use_listings_cache"}
)
_given: dict[
    str, Mapping[str, Any]
] = {}  # what file systems of this process were made with, by a random word
_versions: dict[
    tuple[Any, ...], tuple[Versions, str]
] = {}  # what instances of all threads share, and the word


class DataverFileSystem(AbstractFileSystem):
    """Read-only access to all versions of a repository.

    Args:
        repo: the repository's URL or folder; None means what `dataver.open()` opens.
        run: the key of the run that what is read is linked to, such as `mlflow:4f1c…`; None means the
            current one.
        options: handed to the repository's store (`endpoint_url`, `profile`, `anon` …).
    """

    protocol = "dataver"
    root_marker = ""

    def __init__(
        self, repo: str | os.PathLike[str] | None = None, run: str | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        url = os.fspath(repo) if repo is not None else None
        own = {name: value for name, value in options.items() if name not in _FSSPEC}
        self._shared, self._word = _share(url, own, run)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self._word, self._plain(), self._shared.known)

    def to_dict(self, **_: Any) -> dict[str, Any]:
        """Return what `from_dict` and `from_json` make it from; never a secret."""
        kind = type(self)
        about = {"cls": f"{kind.__module__}:{kind.__name__}", "protocol": self.protocol, "args": ()}
        return about | self._plain()

    def _plain(self) -> dict[str, Any]:
        """Return what this file system was made with, without secrets; remember it with them."""
        given = dict(zip(("repo", "run"), self.storage_args, strict=False)) | dict(self.storage_options)
        _given[self._word] = given
        return without_secrets(given)

    @property
    def fsid(self) -> str:
        """`dataver-` and the repository's id."""
        return f"dataver-{self._shared.repository.id}"

    def files(self, path: str) -> tuple[Files, str]:
        """Return the files of the version that a path names, and the path in it.

        Raises:
            PathNotFound: it names none.
        """
        place = split_path(self._strip_protocol(path))
        if place.ref is None:
            self._shared.names(place.path)  # says what is missing
            raise IsADirectoryError(errno.EISDIR, "a folder of datasets", path)
        return self._shared.files(place.ref), place.path

    def invalidate_cache(self, path: str | None = None) -> None:
        """Look up again what tags and `latest` mean."""
        self._shared.forget()
        super().invalidate_cache(path)

    # names

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return what there is at a path: name, size, type, digest; a link is followed.

        Raises:
            PathNotFound: nothing, which is a FileNotFoundError.
        """
        name = self._strip_protocol(path)
        place = split_path(name)
        if place.ref is None:
            if place.path:
                self._shared.names(place.path)
            return {"name": name, "size": 0, "type": "directory"}
        files = self._shared.files(place.ref)
        if not place.path:
            return _about(name, files, None)
        found = files.info(place.path)
        return _about(name, files, found, _followed(files, found))

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """Return what stands in a folder, or the file itself; a link to a folder has the type "other"."""
        name = self._strip_protocol(path)
        place = split_path(name)
        above = f"{name}/" if name else ""
        if place.ref is None:
            names = self._shared.names(place.path)
            return [{"name": each, "size": 0, "type": "directory"} for each in names] if detail else names
        files = self._shared.files(place.ref)
        try:
            listed = files.list(place.path)
        except NotADirectoryError:
            return [self.info(name)] if detail else [name]
        if not detail:
            return [above + one.path.rpartition("/")[2] for one in listed]
        return [_listed(above + one.path.rpartition("/")[2], files, one) for one in listed]

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Return all files below a path, by name; with `withdirs` the folders, too."""
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        name = self._strip_protocol(path)
        place = split_path(name)
        if place.ref is None:
            return super().find(path, maxdepth=maxdepth, withdirs=withdirs, detail=detail, **kwargs)
        try:
            files = self._shared.files(place.ref)
            found = dict(_below(files, place.path, name, maxdepth, withdirs))
        except FileNotFoundError:
            found = {}
        except NotADirectoryError:
            found = {name: self.info(name)}
        names = sorted(found)
        return {each: found[each] for each in names} if detail else names

    def exists(self, path: str, **_: Any) -> bool:
        """Tell whether there is something; raises where the repository cannot be asked."""
        try:
            self.info(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def lexists(self, path: str, **_: Any) -> bool:
        """Tell whether there is something, be it a link that leads nowhere."""
        place = split_path(self._strip_protocol(path))
        if place.ref is None or not place.path:
            return self.exists(path)
        try:
            self._shared.files(place.ref).info(place.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def isdir(self, path: str) -> bool:
        """Tell whether there is a folder."""
        return self._is(path, "directory")

    def isfile(self, path: str) -> bool:
        """Tell whether there is a file."""
        return self._is(path, "file")

    def _is(self, path: str, kind: str) -> bool:
        try:
            return bool(self.info(path)["type"] == kind)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def ukey(self, path: str) -> str:
        """Return a word for the content of a file: its digest; of a folder, its version's and its name."""
        files, inner = self.files(path)
        return (files.info(inner, follow=True).digest if inner else None) or f"{files.digest}/{inner}"

    def checksum(self, path: str) -> int:
        """Return a number for the content of a file."""
        word = self.ukey(path)
        return int(word[:32], 16) if not word.startswith("dv1:") else crc32(word.encode())

    def created(self, path: str) -> datetime:
        """Return when the version was made (aware, UTC)."""
        return self.files(path)[0].published.record.created

    def modified(self, path: str) -> datetime:
        """Return when the version was made (aware, UTC): nothing in it changes afterwards."""
        return self.created(path)

    # bytes

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """Return the bytes of a file from `start` to before `end`; negative ones count from its end."""
        files, inner = self.files(path)
        return files.read(inner, *_clipped(files, inner, start, end))

    def cat_ranges(
        self,
        paths: Sequence[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,  # noqa: ARG002  # fsspec's; which gaps are read is ours to choose
        on_error: str = "return",
        **_: Any,
    ) -> list[Any]:
        """Return parts of files, fetched together."""
        if not isinstance(paths, list):
            raise TypeError("paths must be a list")
        begins = starts if isinstance(starts, list) else [starts] * len(paths)
        behinds = ends if isinstance(ends, list) else [ends] * len(paths)
        if len(begins) != len(paths) or len(behinds) != len(paths):
            raise ValueError("there must be as many starts and ends as paths")
        return self._together(list(zip(paths, begins, behinds, strict=True)), on_error)

    def cat(self, path: Any, recursive: bool = False, on_error: str = "raise", **kwargs: Any) -> Any:
        """Return the bytes of a file, or of several as a dictionary, fetched together."""
        paths = self.expand_path(path, recursive=recursive)
        if len(paths) == 1 and not isinstance(path, list) and paths[0] == self._strip_protocol(path):
            return self.cat_file(paths[0], **kwargs)
        start, end = kwargs.get("start"), kwargs.get("end")
        wanted = [(each, start, end) for each in paths if not (recursive and self.isdir(each))]
        found = self._together(wanted, "raise" if on_error == "raise" else "return")
        return {
            each: content
            for (each, _, _), content in zip(wanted, found, strict=True)
            if on_error == "return" or not isinstance(content, Exception)
        }

    def _together(self, wanted: Sequence[tuple[str, int | None, int | None]], on_error: str) -> list[Any]:
        """Read parts of files of one version or several; one that fails is read by itself, to say which."""
        groups: dict[Files, list[int]] = {}
        parts: list[tuple[str, int, int | None]] = []
        found: list[Any] = [None] * len(wanted)
        for number, (path, start, end) in enumerate(wanted):
            try:
                files, inner = self.files(path)
                parts.append((inner, *_clipped(files, inner, start, end)))
                groups.setdefault(files, []).append(number)
            except Exception as error:
                if on_error != "return":
                    raise
                parts.append(("", 0, 0))
                found[number] = error
        for files, numbers in groups.items():
            for number, content in zip(
                numbers, _each(files, [parts[n] for n in numbers], on_error), strict=True
            ):
                found[number] = content
        return found

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **_: Any) -> Any:
        if mode != "rb":
            _read_only((path,))
        files, inner = self.files(path)
        descriptor = files.descriptor(inner)
        file: DataverFile | LocalDataverFile = (
            DataverFile(files, inner) if descriptor is None else LocalDataverFile(descriptor, inner)
        )
        file.fs, file.path = self, path
        file.blocksize = block_size if isinstance(block_size, int) else self.blocksize
        return file

    # what a version never does

    def mkdir(self, *paths: Any, **_: Any) -> NoReturn:
        """Raise: versions never change."""
        _read_only(paths[:1])

    makedirs = rmdir = rm = rm_file = _rm = touch = pipe_file = mkdir

    def put(self, *paths: Any, **_: Any) -> NoReturn:
        """Raise: versions never change."""
        _read_only(paths[1:2])

    put_file = cp_file = mv = put


class _Manners:
    """What fsspec's files have besides those of `io`; `_open` sets the attributes."""

    fs: DataverFileSystem
    path: str
    blocksize: int

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (self.fs, self.path, self.blocksize, self.tell())  # type: ignore[attr-defined]

    @property
    def full_name(self) -> str:
        """The name with the protocol."""
        return str(self.fs.unstrip_protocol(self.path))

    @property
    def details(self) -> dict[str, Any]:
        """What `info` says of it."""
        return self.fs.info(self.path)

    def info(self) -> dict[str, Any]:
        """Return what the file system says of it."""
        return self.details


class DataverFile(_Manners, FileReader):
    """A file of a version, open for reading."""


class LocalDataverFile(_Manners, LocalReader):
    """A file of a version that this machine has fetched, open for reading."""


def _share(url: str | None, options: Mapping[str, Any], run: str | None) -> tuple[Versions, str]:
    """Return what all instances made alike share, as there is one in each thread, and a word for that."""
    where = url or configured_url()
    key = (where, run, repr(sorted(options.items())))
    found = _versions.get(key)
    if found is None:
        made = Versions(_opening(where, dict(options)), run), os.urandom(8).hex()
        found = _versions.setdefault(key, made)
    return found


def _opening(url: str | None, options: dict[str, Any]) -> Callable[[], Repository]:
    def opened() -> Repository:
        import dataver

        return dataver.open(url, storage_options=options or None)

    return opened


def _again(
    kind: type[DataverFileSystem], word: str, plain: dict[str, Any], known: dict[str, Files]
) -> DataverFileSystem:
    """Make a file system that was pickled: with the secrets it had, if it was made in this process."""
    made = kind(**_given.get(word, plain))
    made._shared.know(known)
    return made


def _opened(fs: DataverFileSystem, path: str, block_size: int, position: int) -> Any:
    file = fs._open(path, block_size=block_size)
    file.seek(position)
    return file


def _followed(files: Files, info: Info) -> Info | None:
    """Return what a link leads to; of anything else, itself.

    Raises:
        PathNotFound: it leads nowhere.
    """
    return files.info(info.path, follow=True) if info.type == "link" else info


def _listed(name: str, files: Files, info: Info) -> dict[str, Any]:
    """Return what `ls` says: of a link to a file what it leads to; one to a folder is not gone into."""
    if info.type != "link":
        return _about(name, files, info)
    try:
        end = _followed(files, info)
    except FileNotFoundError:
        end = None
    found = _about(name, files, info, end)
    if found["type"] != "file":
        found["type"] = "other"
    return found


def _about(name: str, files: Files, info: Info | None, end: Info | None = None) -> dict[str, Any]:
    """Return the dictionary for something; `end` is what is at the end of a link."""
    last = end or info
    created = files.published.record.created.timestamp()
    found: dict[str, Any] = {
        "name": name,
        "size": last.size if last else 0,
        "type": last.type if last else "directory",
        "created": created,
        "mtime": created,
        "islink": info is not None and info.type == "link",
    }
    if last is not None and last.digest is not None:
        found["digest"] = last.digest
    if info is not None and info.type == "link":
        found["destination"] = info.target
    return found


def _below(
    files: Files, inner: str, name: str, maxdepth: int | None, withdirs: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and dictionary of everything below a folder, down to a depth."""
    cut = len(inner) + 1 if inner else 0
    folders: set[str] = set()
    if withdirs:
        yield name, _about(name, files, None)
    for info in files.walk(inner, empty=withdirs):
        relative = info.path[cut:]
        parts = relative.split("/")
        if withdirs:
            for depth in range(1, len(parts)):
                if maxdepth is not None and depth > maxdepth:
                    break
                folder = "/".join(parts[:depth])
                if folder not in folders:
                    folders.add(folder)
                    yield f"{name}/{folder}", _about(f"{name}/{folder}", files, None)
        if maxdepth is None or len(parts) <= maxdepth:
            yield f"{name}/{relative}", _listed(f"{name}/{relative}", files, info)


def _clipped(files: Files, path: str, start: int | None, end: int | None) -> tuple[int, int | None]:
    """Return a part's positions counted from the beginning."""
    if (start or 0) >= 0 and (end is None or end >= 0):
        return start or 0, end
    size = files.info(path, follow=True).size
    first, behind, _ = slice(start, end).indices(size)
    return first, max(first, behind)


def _each(files: Files, parts: Sequence[tuple[str, int, int | None]], on_error: str) -> Iterable[Any]:
    """Return the contents of parts, or why they cannot be read."""
    try:
        return files.read_many(parts)
    except Exception:
        if on_error != "return":
            raise
    found: list[Any] = []
    for path, start, stop in parts:
        try:
            found.append(files.read(path, start, stop))
        except Exception as error:  # noqa: BLE001  # the caller asked for errors as values
            found.append(error)
    return found


def _read_only(paths: Sequence[Any]) -> NoReturn:
    why = "versions never change: add files to a draft and publish the next version"
    raise OSError(errno.EROFS, why, *map(str, paths))
