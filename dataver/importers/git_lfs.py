"""Import of git repositories with git-lfs: one version for each commit at which its files changed.

The idea: a file of git-lfs is a pointer in git, and an object named by its SHA-256. Objects are read from the
repository, else from the server of git-lfs, which gives their addresses, a hundred at a time.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from dataver.errors import InvalidInput
from dataver.formats.entry import Kind
from dataver.importers.git import Changed, Commit, Files, GitSource, changes
from dataver.importers.git_lfs_objects import LfsObjects
from dataver.importers.source import Checksum, SourceFile

__all__ = ["GitLfsSource"]

_POINTER: Final = re.compile(
    rb"\s*version (?:https://(?:git-lfs|hawser)\.github\.com/spec/v1|http://git-media\.io/v/2)[\r\n]+"
    rb"((?:ext-.+[\r\n]+)*)oid sha256:([0-9a-f]{64})[\r\n]+size (\d{1,18})\s*"
)  # as git-lfs reads them: also with line ends of Windows
_EXTENDED: Final = "an extension of git-lfs changed its bytes"
_MOST: Final = 1023  # bytes of a pointer


class GitLfsSource(GitSource):
    """The versions of those files of a git repository that git-lfs keeps; arguments as for `GitSource`."""

    kind = "git-lfs"
    largest = "1k"

    def _changes(self, history: Sequence[Commit]) -> Changed:
        self._objects = LfsObjects(self._git)
        changed = changes(self._git, history, [f":(literal){self._path}"] if self._path else [])
        oids = {blob.oid for files in changed.values() for blob in files.values() if blob}
        self._pointers: dict[str, tuple[str, int, bool]] = {}
        for oid, data in self._git.read(oids, _MOST):
            if match := _POINTER.fullmatch(data):
                self._pointers[oid] = (match[2].decode(), int(match[3]), bool(match[1]))
        if not self._pointers:
            raise InvalidInput(
                f"git-lfs keeps no files in {self.location}.", hint="`git lfs ls-files` lists them"
            )
        return {
            sha: {path: blob if blob and blob.oid in self._pointers else None for path, blob in files.items()}
            for sha, files in changed.items()
        }

    def _files(self, files: Files) -> Iterator[SourceFile]:
        for path, blob in files.items():
            sha256, size, extended = self._pointers[blob.oid]
            place = {"missing": _EXTENDED} if extended else self._objects.find(sha256, size)
            kind = Kind.EXECUTABLE if blob.executable else Kind.FILE
            yield SourceFile(path, sha256, size, kind, check=Checksum("sha256", sha256), **place)
