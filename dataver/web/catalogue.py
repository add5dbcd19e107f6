"""Addresses of datasets, their versions, folders and files.

    /                                every dataset
    /vision/                         the datasets whose name begins with vision/
    /vision/cats/                    the versions of vision/cats, and its tags
    /vision/cats@1.2.0/              the files of a version, by label, tag or `latest`
    /vision/cats@1.2.0/train/a.jpg   a file
    /dv1:4f1c…/                      a version by its content

The content of a label never changes. A tag or `latest`, and whether the version still exists, is resolved
again after some seconds, by one of the requests; while the repository cannot be reached, the last result
holds.
"""

import time
from collections.abc import Iterator
from threading import Lock
from typing import Any, Final, NamedTuple

from dataver import Repository
from dataver.errors import NotFound, StoreError
from dataver.reading import Files, Info
from dataver.reading.versions import Versions, split_path
from dataver.repository.records import Labels
from dataver.ui import page_url
from dataver.web.pages import Line

__all__ = ["Address", "Catalogue", "FolderListing"]

_FRESH: Final = 5.0  # seconds
_KEPT: Final = 16  # versions that are kept open, each with its caches


class Address(NamedTuple):
    """Resolved address.

    Attributes:
        info: the file or folder, after following links; None outside of a version.
        files: the version, or None.
        name: the name of the version or of the requested datasets.
        path: the path in the version.
        fixed: whether the content at this address never changes in this repository.
    """

    info: Info | None
    files: Files | None
    name: str
    path: str
    fixed: bool


class FolderListing(NamedTuple):
    """Contents of a folder, a dataset or the whole repository.

    Attributes:
        about: a sentence for people.
        head: the same for programs.
        columns: of the table.
        lines: its lines.
        page: the address of the page that shows more of it.
    """

    about: str
    head: dict[str, Any]
    columns: tuple[str, ...]
    lines: Iterator[Line]
    page: str


class Catalogue:
    """The addresses of one repository; for many threads."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._found: dict[str, tuple[Files, float]] = {}
        self._lock = Lock()

    def place(self, path: str) -> Address:
        """Return what a path names.

        Raises:
            NotFound: nothing.
            StoreError: the repository cannot be reached.
        """
        ref, inside = split_path(path)
        if ref is None:
            return Address(None, None, path, "", fixed=False)
        files = self._files(ref)
        fixed = ref.startswith("dv1:") or ref == files.ref
        return Address(files.info(inside, follow=True), files, ref, inside, fixed)

    def listing(self, place: Address) -> FolderListing:
        """Return what a place holds that is no file.

        Raises:
            NotFound: there is no such dataset.
        """
        if place.files is None:
            return self._datasets(place.name)
        record, files = place.files.published.record, place.files
        made = f"{record.created:%Y-%m-%d %H:%M} UTC by {record.author}"
        said = f": {record.message}" if record.message else ""
        head = {"ref": files.ref, "digest": files.digest, "path": place.path}
        about = f"{files.ref} · {files.digest} · {_count(record.files, 'file')} · {made}{said}"
        page = page_url("version", ref=files.ref, path=place.path)
        columns = ("name", "bytes", "digest (BLAKE3)")
        return FolderListing(about, head, columns, map(_entry, files.contents(place.path)), page)

    def check(self, place: Address) -> None:
        """Check that a place that is no version is the name of a dataset, or the beginning of some.

        Raises:
            NotFound: it is neither.
        """
        if place.files is None:
            self._named(place.name)

    def _named(self, name: str) -> tuple[dict[str, Labels], bool]:
        """Return the datasets below a name with their labels, and whether the name is a dataset's itself."""
        above = f"{name}/" if name else ""
        every = self._repository._core.records.datasets(name)
        found = {each: labels for each, labels in every.items() if each.startswith(above)}
        if name and not found and name not in every:
            Versions(lambda: self._repository._core).names(name)  # raises NotFound with similar names
        return found, name in every

    def _datasets(self, name: str) -> FolderListing:
        found, own = self._named(name)
        above = f"{name}/" if name else ""
        lines = [
            Line(
                f"{each}/",
                f"{each[len(above) :]}/",
                (str(len(labels)),),
                {"name": each, "type": "dataset", "versions": len(labels)},
            )
            for each, labels in found.items()
        ]
        if own:
            return self._versions(name, lines)
        about = f"{self._repository.url} · {_count(len(found), 'dataset')}"
        head = {"repository": self._repository.url}
        page = page_url("datasets", q=above)
        return FolderListing(about, head, ("dataset", "versions"), iter(lines), page)

    def _versions(self, name: str, below: list[Line]) -> FolderListing:
        last = name.rpartition("/")[2]
        tagged: dict[str, list[str]] = {}
        for tag, label in self._repository.tagged(name).items():
            tagged.setdefault(label, []).append(tag)
        lines = [
            Line(
                f"{name}@{version.label}/",
                f"../{last}@{version.label}/",
                (
                    f"{version.file_count:,}",
                    f"{version.size:,}",
                    f"{version.created:%Y-%m-%d %H:%M}",
                    ", ".join(tagged.get(version.label or "", [])),
                    version.message,
                ),
                {
                    "name": version.ref,
                    "type": "version",
                    "label": version.label,
                    "digest": version.digest,
                    "files": version.file_count,
                    "size": version.size,
                    "created": version.created.isoformat(),
                    "tags": tagged.get(version.label or "", []),
                    "message": version.message,
                },
            )
            for version in reversed(self._repository.versions(name))
        ]
        columns = ("version", "files", "bytes", "made (UTC)", "tags", "message")
        about, page = _count(len(lines), "version"), page_url("dataset", name=name)
        return FolderListing(about, {"dataset": name}, columns, iter([*lines, *below]), page)

    def _files(self, ref: str) -> Files:
        with self._lock:
            known = self._found.get(ref)
            if known is not None:
                if known[1] > time.monotonic():
                    return known[0]
                self._found[ref] = (known[0], time.monotonic() + _FRESH)  # for others, until this is done
        try:
            files = Versions(lambda: self._repository._core).files(ref)
        except StoreError:
            if known is None:
                raise
            return known[0]
        except NotFound:
            with self._lock:
                self._found.pop(ref, None)
            raise
        with self._lock:
            held = self._found.pop(ref, known)
            if held is not None and held[0].published.record_id == files.published.record_id:
                files = held[0]  # it has at hand what was read
            while len(self._found) >= _KEPT:
                del self._found[next(iter(self._found))]
            self._found[ref] = (files, time.monotonic() + _FRESH)
        return files


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _entry(info: Info) -> Line:
    name = info.path.rpartition("/")[2]
    value: dict[str, Any] = {"name": name, "type": info.type}
    if info.type == "directory":
        return Line(f"{name}/", f"{name}/", ("", ""), value)
    if info.type == "link":
        return Line(f"{name} → {info.target}", name, ("", ""), value | {"target": info.target})
    value |= {"size": info.size, "digest": info.digest, "executable": info.executable}
    return Line(name, name, (f"{info.size:,}", (info.digest or "")[:16]), value)
