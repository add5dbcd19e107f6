"""Import of git repositories with git-lfs: one version for each commit at which its files changed.

The idea: a file of git-lfs is a pointer in git, and an object named by its SHA-256. Objects are read from the
repository, else from the server of git-lfs, which gives their addresses, a hundred at a time.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from dataver.errors import InvalidInput
from dataver.formats.entry import Kind
from dataver.importers.git import DataVersion, changes, commits, cut_off, data_versions, source_version
from dataver.importers.git_lfs_objects import LfsObjects
from dataver.importers.git_program import GitProgram
from dataver.importers.names import dataset_name, tag_name
from dataver.importers.source import Checksum, SourceFile, SourceVersion

__all__ = ["GitLfsSource"]

_POINTER: Final = re.compile(
    rb"version https://(?:git-lfs|hawser)\.github\.com/spec/v1\n((?:ext-.+\n)*)"
    rb"oid sha256:([0-9a-f]{64})\nsize (\d{1,18})\n?"
)
_EXTENDED: Final = "an extension of git-lfs changed its bytes"
_MOST: Final = 1023  # bytes of a pointer


class GitLfsSource:
    """The versions of those files of a git repository that git-lfs keeps.

    Args:
        where: a folder in the repository, or its URL.
        refs: branches, tags or commits, that of the main line first; all branches and tags without any.
        path: only files at or below this path.
        name: of the dataset; by default that of the repository.

    Raises:
        InvalidInput: it is no git repository.
        StoreError: the repository cannot be read.
    """

    kind = "git-lfs"

    def __init__(
        self, where: str, *, refs: Iterable[str] = (), path: str = "", name: str | None = None
    ) -> None:
        self.problems: list[tuple[str, str]] = []
        self.stores: Mapping[str, Mapping[str, Any]] = {}
        self._git = GitProgram(where, largest="1k")
        self.location = self._git.location
        self._refs, self._path = list(refs), path.strip("/")
        self._name = dataset_name(name or self._git.name, "git-lfs")
        self._pointers: dict[str, tuple[str, int, bool]] = {}
        self._objects = LfsObjects(self._git)

    def versions(self) -> Iterator[SourceVersion]:
        """Yield the versions, every parent before its children.

        Raises:
            InvalidInput: git-lfs keeps nothing there.
            NotFound: there is no such ref.
            StoreError: the repository cannot be read.
        """
        history = commits(self._git, self._refs)
        self.problems += cut_off(self._git)
        changed = changes(self._git, history, [f":(literal){self._path}"] if self._path else [])
        oids = {blob.oid for files in changed.values() for blob in files.values() if blob}
        for oid, data in self._git.read(oids, _MOST):
            if match := _POINTER.fullmatch(data):
                self._pointers[oid] = (match[2].decode(), int(match[3]), bool(match[1]))
        if not self._pointers:
            raise InvalidInput(
                f"git-lfs keeps no files in {self.location}.", hint="`git lfs ls-files` lists them"
            )
        kept = {
            sha: {path: blob if blob and blob.oid in self._pointers else None for path, blob in files.items()}
            for sha, files in changed.items()
        }
        found = data_versions(self._git, history, kept, lambda _, files: frozenset(files.items()))
        tags = {tag: tag_name(tag) for version in found for tag in version.tags}
        for version in found:
            yield source_version(version, self._name, self._files, tags)

    def _files(self, version: DataVersion) -> Iterator[SourceFile]:
        for path, blob in version.files.items():
            sha256, size, extended = self._pointers[blob.oid]
            place = {"missing": _EXTENDED} if extended else self._objects.find(sha256, size)
            kind = Kind.EXECUTABLE if blob.executable else Kind.FILE
            yield SourceFile(path, sha256, size, kind, check=Checksum("sha256", sha256), **place)
