"""Versions by path: `vision/cats@1.2.0/train/a.jpg` is a file of a version, `vision` a folder of datasets.

    ""                              the folder of all datasets
    vision                          a folder of names: its versions are vision/cats@1.0.0, vision/cats@1.1.0 …
    vision/cats@1.2.0               a version; so are @production (a tag) and @latest
    dv1:4f1c…, vision/cats@dv1:…    a version by its content

The idea: the first part of a path that has an `@`, or a `dv1:` in front, ends the version's name. A name
without either names no version: which one would change from day to day, unseen. What a tag or `latest` means
is looked up once and stays, so that all that one program reads is of one version; `forget` ends that.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from dataver.errors import InvalidInput, NotFound, PathNotFound
from dataver.reading.files import Files

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataver.repository import Published, RepositoryCore

__all__ = ["VersionPath", "Versions", "split_path"]

_DIGEST = "dv1:"


class VersionPath(NamedTuple):
    """A version's name, or None where a path names none, and the path inside it or of the names."""

    ref: str | None
    path: str


def split_path(path: str) -> VersionPath:
    """Return the version that a path names, and the rest of the path."""
    parts = [part for part in path.split("/") if part]
    for number, part in enumerate(parts):
        if "@" in part or (not number and part.startswith(_DIGEST)):
            return VersionPath("/".join(parts[: number + 1]), "/".join(parts[number + 1 :]))
    return VersionPath(None, "/".join(parts))


class Versions:
    """The versions of a repository by path; for many threads and forked children.

    Args:
        opening: opens the repository; called once a process, when it is first needed.
        run: the key of the run that what is read is linked to; None means the current one.
    """

    def __init__(self, opening: Callable[[], RepositoryCore], run: str | None = None) -> None:
        self._opening = opening
        self._run = run
        self._opened: dict[int, RepositoryCore] = {}
        self._found: dict[str, Files] = {}

    @property
    def repository(self) -> RepositoryCore:
        """The repository, opened by this process."""
        return self.open()

    def open(self) -> RepositoryCore:
        """Return the repository, opened by this process.

        Raises:
            NotFound, InvalidInput: it cannot be opened.
        """
        found = self._opened.get(os.getpid())
        if found is None:  # two threads may both come here: one repository too many does no harm
            self._opened = {os.getpid(): (found := self._opening())}
        return found

    @property
    def known(self) -> dict[str, Files]:
        """The versions that were looked up, by the name they were looked up by."""
        return dict(self._found)

    def know(self, versions: dict[str, Files]) -> None:
        """Adopt the versions that names meant in another process, unless they were looked up here."""
        self._found = versions | self._found

    def forget(self) -> None:
        """Resolve every name again."""
        self._found = {}

    def files(self, ref: str) -> Files:
        """Return the files of a version.

        Raises:
            PathNotFound: there is no such version, or it cannot be one's name.
            NotFound, InvalidInput: the repository cannot be opened.
        """
        found = self._found.get(ref)
        if found is None:
            repository = self.open()  # outside: without a repository, no answer about a path is right
            try:
                found = Files(repository, self._resolve(ref), run=self._run)
            except PathNotFound:
                raise
            except (NotFound, InvalidInput) as error:
                said = f"{error.message} {error.hint}" if error.hint else error.message
                said += "" if said.endswith((".", "?")) else "."
                raise PathNotFound(said, hint=error.hint) from error
            found = self._found.setdefault(ref, found)
        return found

    def names(self, folder: str) -> list[str]:
        """Return the folders of names and the versions directly in a folder of names, in full, by name.

        Raises:
            PathNotFound: no dataset's name begins so.
        """
        above = f"{folder}/" if folder else ""
        found = set()
        for name, labels in self.repository.records.datasets(above).items():
            first, slash, _ = name[len(above) :].partition("/")
            found.update([above + first] if slash else [f"{name}@{label}" for label in labels])
        if folder and not found:
            raise self._unnamed(folder)
        return sorted(found)

    def _unnamed(self, path: str) -> PathNotFound:
        """Return the error for a path without a version, with an example of one."""
        parts = path.split("/")
        datasets = self.repository.records.datasets(parts[0])
        for number in range(len(parts), 0, -1):
            name, rest = "/".join(parts[:number]), "/".join(parts[number:])
            if name in datasets:
                example = f"{name}@{list(datasets[name])[-1]}" + (f"/{rest}" if rest else "")
                return PathNotFound(
                    f"'{path}' does not say which version of {name}: write {example}, or {name}@latest.",
                    hint=f"`dataver list {name}` lists the versions",
                )
        return PathNotFound(
            f"there is no dataset '{path}' in {self.repository.url}.",
            hint="`dataver list` lists the datasets",
        )

    def _resolve(self, ref: str) -> Published:
        name, _, selector = ref.partition("@")
        if not selector.startswith(_DIGEST):
            return self.repository.resolve(ref)
        found = self.repository.resolve(selector)
        if found.record.dataset == name:
            return found
        records = self.repository.records
        same = [each for each in records.versions(name) if each.record.tree == found.record.tree]
        if not same:
            raise NotFound(
                f"{name} has no version with the digest {selector} in {self.repository.url}.",
                hint=f"{found.ref} has it",
            )
        return max(same, key=lambda each: each.record.created)
