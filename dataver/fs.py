"""File system of versions for fsspec: `dataver://vision/cats@1.2.0/train/a.jpg`.

    pandas.read_parquet("dataver://weather/stations@1.2.0/2026.parquet")
    fsspec.filesystem("dataver", repo="s3://ml-data/repo").ls("vision/cats@production/train")

The idea: names are resolved by `dataver.reading.versions`, bytes are read by `dataver.reading.files`; this
module adapts both to fsspec. Read-only: methods that write raise `OSError` with `EROFS`.

The repository is `repo`, else the one that `dataver.open()` opens; other storage options are passed to its
store. They may contain secrets, which are not part of a pickled file system or its JSON. Unpickling in the
same process restores them; another process uses its own environment, a profile or its configuration.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, NoReturn
from zlib import crc32

from fsspec.spec import AbstractFileSystem

from dataver.machine.configuration import configured_url
from dataver.reading.stream import FarReader, FileReader
from dataver.reading.versions import Versions, split_path
from dataver.storage.settings import store_options, without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from dataver.reading.directory_view import Info
    from dataver.reading.files import Files
    from dataver.reading.stream import Reader
    from dataver.repository import RepositoryCore

# Imports in functions: fsspec imports this module for a URL, and not all URLs open a repository.

__all__ = ["DataverFile", "DataverFileSystem"]

_given: dict[str, Mapping[str, Any]] = {}  # arguments of this process's file systems, by a random token
_versions: dict[
    tuple[Any, ...], tuple[Versions, str]
] = {}  # state shared by the instances of all threads, and its token


class DataverFileSystem(AbstractFileSystem):
    """Read-only access to all versions of a repository.

    Args:
        repo: the repository's URL or folder; None means the one that `dataver.open()` opens.
        run: the key of the run to link the reads to, such as `mlflow:4f1c…`; None means the current one.
        options: passed to the repository's store (`endpoint_url`, `profile`, `anon` …).
    """

    protocol = "dataver"
    root_marker = ""

    def __init__(
        self, repo: str | os.PathLike[str] | None = None, run: str | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        url = os.fspath(repo) if repo is not None else configured_url()
        self._shared, self._word = _share(url, store_options(url, options), run)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self._word, self._plain(), self._shared.known)

    def to_dict(self, **_: Any) -> dict[str, Any]:
        """Return the values for `from_dict` and `from_json`, without secrets."""
        kind = type(self)
        about = {"cls": f"{kind.__module__}:{kind.__name__}", "protocol": self.protocol, "args": ()}
        return about | self._plain()

    def _plain(self) -> dict[str, Any]:
        """Return the arguments without secrets, and keep them with secrets in this process."""
        given = dict(zip(("repo", "run"), self.storage_args, strict=False)) | dict(self.storage_options)
        _given[self._word] = given
        return without_secrets(given)

    @property
    def fsid(self) -> str:
        """`dataver-` followed by the repository's id and location."""
        return f"dataver-{self._shared.repository.local_name}"

    def files(self, path: str) -> tuple[Files, str]:
        """Return the files of the version in a path, and the path in that version.

        Raises:
            PathNotFound: no such version.
        """
        place = split_path(self._strip_protocol(path))
        if place.ref is None:
            self._shared.names(place.path)  # raises an error if it does not exist
            raise IsADirectoryError(errno.EISDIR, "a folder of datasets", path)
        return self._shared.files(place.ref), place.path

    def invalidate_cache(self, path: str | None = None) -> None:
        """Resolve tags and `latest` again."""
        self._shared.forget()
        super().invalidate_cache(path)

    # names

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return name, size, type and digest of a path; a link is followed.

        Raises:
            PathNotFound: no such path; a FileNotFoundError.
        """
        name = self._strip_protocol(path)
        place = split_path(name)
        if place.ref is None:
            self._shared.open()
            if place.path:
                self._shared.names(place.path)
            return {"name": name, "size": 0, "type": "directory"}
        files = self._shared.files(place.ref)
        found = files.info(place.path) if place.path else None
        end = _followed(files, found) if found is not None else None
        if end is not None and end.type == "file":
            files.note_listed(end.path, end.size)  # a caching reader may not read it again
        else:
            files.note_listed()
        return _about(name, files, found, end)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """Return the entries of a folder, or the file itself; a link to a folder has the type "other"."""
        name = self._strip_protocol(path)
        place = split_path(name)
        above = f"{name}/" if name else ""
        if place.ref is None:
            names = self._shared.names(place.path)
            return [{"name": each, "size": 0, "type": "directory"} for each in names] if detail else names
        files = self._listing(place.ref)
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
        """Return all files below a path, by name; with `withdirs` also the folders."""
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        name = self._strip_protocol(path)
        place = split_path(name)
        if place.ref is None:
            return super().find(path, maxdepth=maxdepth, withdirs=withdirs, detail=detail, **kwargs)
        try:
            files = self._listing(place.ref)
            found = dict(_below(files, place.path, name, maxdepth, withdirs))
        except FileNotFoundError:
            found = {}
        except NotADirectoryError:
            found = {name: self.info(name)}
        names = sorted(found)
        return {each: found[each] for each in names} if detail else names

    def _listing(self, ref: str) -> Files:
        """Return the files of a version, and record it as listed: a caching reader may not read it again."""
        files = self._shared.files(ref)
        files.note_listed()
        return files

    def exists(self, path: str, **_: Any) -> bool:
        """Return whether a path exists; raise an error if the repository cannot be reached."""
        try:
            self.info(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def lexists(self, path: str, **_: Any) -> bool:
        """Return whether a path exists, broken links included."""
        place = split_path(self._strip_protocol(path))
        if place.ref is None or not place.path:
            return self.exists(path)
        try:
            self._shared.files(place.ref).info(place.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def isdir(self, path: str) -> bool:
        """Return whether a path is a folder."""
        return self._is(path, "directory")

    def isfile(self, path: str) -> bool:
        """Return whether a path is a file."""
        return self._is(path, "file")

    def _is(self, path: str, kind: str) -> bool:
        try:
            return bool(self.info(path)["type"] == kind)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def ukey(self, path: str) -> str:
        """Return an identifier of the content: a file's digest, or a folder's version digest and path."""
        files, inner = self.files(path)
        return (files.info(inner, follow=True).digest if inner else None) or f"{files.digest}/{inner}"

    def checksum(self, path: str) -> int:
        """Return an integer that identifies the content of a file."""
        word = self.ukey(path)
        return int(word[:32], 16) if not word.startswith("dv1:") else crc32(word.encode())

    def created(self, path: str) -> datetime:
        """Return the creation time of the version (aware, UTC)."""
        return self.files(path)[0].published.record.created

    def modified(self, path: str) -> datetime:
        """Return the creation time of the version (aware, UTC), since versions are immutable."""
        return self.created(path)

    # bytes

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """Return the bytes of a file from `start` to before `end`; negative offsets count from its end."""
        files, inner = self.files(path)
        return files.read(inner, *_clipped(files, inner, start, end))

    def cat_ranges(
        self,
        paths: Sequence[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,  # noqa: ARG002  # of fsspec; gaps are determined by the reader
        on_error: str = "return",
        **_: Any,
    ) -> list[Any]:
        """Return ranges of files, read together."""
        if not isinstance(paths, list):
            raise TypeError("paths must be a list")
        begins = starts if isinstance(starts, list) else [starts] * len(paths)
        behinds = ends if isinstance(ends, list) else [ends] * len(paths)
        if len(begins) != len(paths) or len(behinds) != len(paths):
            raise ValueError("there must be as many starts and ends as paths")
        return self._together(list(zip(paths, begins, behinds, strict=True)), on_error)

    def cat(self, path: Any, recursive: bool = False, on_error: str = "raise", **kwargs: Any) -> Any:
        """Return the bytes of a file, or of several as a dictionary, read together."""
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
        """Read ranges of files of one or several versions; after an error, read them one by one."""
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
        return DataverFile(self, path, block_size or self.blocksize, files, inner)

    # methods that write

    def mkdir(self, *paths: Any, **_: Any) -> NoReturn:
        """Raise an error: versions are immutable."""
        _read_only(paths[:1])

    makedirs = rmdir = rm = rm_file = _rm = touch = pipe_file = mkdir

    def put(self, *paths: Any, **_: Any) -> NoReturn:
        """Raise an error: versions are immutable."""
        _read_only(paths[1:2])

    put_file = cp_file = mv = put


class DataverFile(FileReader):
    """A file of a version, open for reading.

    Attributes:
        fs: the file system that opened it.
        path: its path there.
        blocksize: request size of fsspec's caches.
    """

    def __init__(self, fs: DataverFileSystem, path: str, blocksize: int, files: Files, inner: str) -> None:
        self.fs, self.path, self.blocksize = fs, path, blocksize
        self._cache: Any = None
        super().__init__(files, inner)

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (self.fs, self.path, self.blocksize, self.tell())

    @property
    def full_name(self) -> str:
        """The name with the protocol."""
        return str(self.fs.unstrip_protocol(self.path))

    @property
    def details(self) -> dict[str, Any]:
        """The result of `info`."""
        return self.fs.info(self.path)

    def info(self) -> dict[str, Any]:
        """Return the file system's `info` of it."""
        return self.details

    # for `blockcache::`, which sets `cache`, which calls `_fetch_range`, and sets `closed` after closing

    @property
    def cache(self) -> Any:
        """The cache to read through; None until it is set."""
        return self._cache

    @cache.setter
    def cache(self, cache: Any) -> None:
        self._cache = cache
        self._restart()

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return super().closed

    @closed.setter
    def closed(self, closed: bool) -> None:
        pass

    def _fetch_range(self, start: int, end: int) -> bytes:
        return self._files.read(self.name, start, end)

    def _make_reader(self) -> Reader:
        return super()._make_reader() if self._cache is None else FarReader(self.size, self._cache._fetch)


def _share(url: str | None, options: Mapping[str, Any], run: str | None) -> tuple[Versions, str]:
    """Return the state shared by instances with equal arguments, one for each thread, and its token."""
    key = (url, run, repr(sorted(options.items())))
    found = _versions.get(key)
    if found is None:
        made = Versions(_opening(url, dict(options)), run), os.urandom(8).hex()
        found = _versions.setdefault(key, made)
    return found


def _opening(url: str | None, options: dict[str, Any]) -> Callable[[], RepositoryCore]:
    def opened() -> RepositoryCore:
        import dataver

        return dataver.open(url, storage_options=options or None)._core

    return opened


def _again(
    kind: type[DataverFileSystem], word: str, plain: dict[str, Any], known: dict[str, Files]
) -> DataverFileSystem:
    """Unpickle a file system: with its secrets, if it was made in this process."""
    made = kind(**_given.get(word, plain))
    made._shared.know(known)
    return made


def _opened(fs: DataverFileSystem, path: str, block_size: int, position: int) -> Any:
    file = fs._open(path, block_size=block_size)
    file.seek(position)
    return file


def _followed(files: Files, info: Info) -> Info | None:
    """Return the target of a link, and any other entry unchanged.

    Raises:
        PathNotFound: the link is broken.
    """
    return files.info(info.path, follow=True) if info.type == "link" else info


def _listed(name: str, files: Files, info: Info) -> dict[str, Any]:
    """Return the dictionary of `ls`: a link to a file is followed, one to a folder is not."""
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
    """Return the dictionary of an entry; `end` is the target of a link."""
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
    """Yield name and dictionary of all entries below a folder, down to a depth."""
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
    """Return the offsets of a range, counted from the beginning."""
    if (start or 0) >= 0 and (end is None or end >= 0):
        return start or 0, end
    size = files.info(path, follow=True).size
    first, behind, _ = slice(start, end).indices(size)
    return first, max(first, behind)


def _each(files: Files, parts: Sequence[tuple[str, int, int | None]], on_error: str) -> Iterable[Any]:
    """Return the contents of ranges, or the errors."""
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
    why = "versions are immutable: add files to a draft and publish the next version"
    raise OSError(errno.EROFS, why, *map(str, paths))
