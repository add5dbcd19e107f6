"""Import of DVC repositories: one version for each commit at which the data changed.

The idea: commits name data by `.dvc` files and `dvc.lock`. The set of their outputs and checksums is what a
commit has of data; files that git keeps are not data.
"""

import re
from collections import ChainMap
from collections.abc import Hashable, Iterable, Iterator, Sequence
from functools import cached_property
from posixpath import basename, dirname, join
from typing import Any, Final

import platformdirs

from dataver.errors import DataverError, IntegrityError, InvalidInput, NotFound, StoreError
from dataver.extras import require_extra
from dataver.formats.entry import Kind
from dataver.importers.dvc_files import FOLDER, Listed, Output, artifacts, locked, outputs
from dataver.importers.dvc_objects import DvcObjects
from dataver.importers.git import Blob, Changed, Commit, Files, GitSource, changes
from dataver.importers.source import Checksum, SourceFile

__all__ = ["DvcSource"]

_PATTERNS: Final = ("*.dvc", "*dvc.lock", "*dvc.yaml", "*Dvcfile")
_LOCK, _STAGES = "dvc.lock", "dvc.yaml"
_MOST: Final = 64 << 20  # bytes of one of these files
_GTO: Final = re.compile(r"([^@#]+)[@#]([^@#!]+)(!?)(?:#(\d+))?")
_NO_FOLDER: Final = "the `wdir` of its stage is a template, whose value is unknown"
_UNKNOWN: Final = "its commit has neither a checksum nor a version of it, so that its bytes are unknown"
_NO_STATES: Final = {"created", "deprecated"}


class DvcSource(GitSource):
    """The versions of the data in a git repository with DVC; arguments as for `GitSource`.

    Raises:
        InvalidInput: it is no git repository, or a package is not installed.
        StoreError: the repository cannot be read.
    """

    kind = "dvc"

    def __init__(
        self, where: str, *, refs: Iterable[str] = (), path: str = "", name: str | None = None
    ) -> None:
        require_extra("yaml", "the import from DVC")
        super().__init__(where, refs=refs, path=path, name=name)
        self._blobs: dict[str, bytes] = {}
        self._reported: set[tuple[str, str]] = set()
        self._parsed: dict[tuple[str, str, str], list[Output]] = {}

    def _changes(self, history: Sequence[Commit]) -> Changed:
        changed = {
            sha: {path.removeprefix(self._root): blob for path, blob in files.items() if self._is_dvc(path)}
            for sha, files in changes(self._git, history, _PATTERNS).items()
        }
        oids = {blob.oid for files in changed.values() for blob in files.values() if blob}
        if not oids:
            raise InvalidInput(
                f"DVC tracks nothing in {self.location}.", hint="name a folder with .dvc files"
            )
        self._blobs = dict(self._git.read(oids, _MOST))
        self._objects = DvcObjects(self._configurations())
        self.stores = self._objects.options()
        return changed

    @cached_property
    def _root(self) -> str:
        """The folder of the DVC repository in that of git: "", or a path that ends in "/"."""
        root = self._git.prefix
        while root and self._git.home and not (self._git.home / root / ".dvc").is_dir():
            root = dirname(root.rstrip("/"))
            root = root and root + "/"
        return root

    def _default_name(self) -> str:
        return basename(self._root.rstrip("/")) or self._git.name

    def _is_dvc(self, path: str) -> bool:
        name = basename(path)
        return path.startswith(self._root) and (name.endswith(".dvc") or f"*{name}" in _PATTERNS)

    def _configurations(self) -> Iterator[tuple[str, str]]:
        """Yield the files of configuration, of this machine first, each with its folder."""
        for folder in (platformdirs.site_config_path("dvc"), platformdirs.user_config_path("dvc")):
            if (path := folder / "config").is_file():
                yield path.read_text("utf-8", "replace"), str(folder)
        if self._git.home is not None:
            folder = self._git.home / self._root / ".dvc"
            yield "[cache]\ndir = cache", str(folder)
            for name in ("config", "config.local"):
                if (path := folder / name).is_file():
                    yield path.read_text("utf-8", "replace"), str(folder)
            return
        for _, data in self._git.read(["HEAD:.dvc/config"], _MOST):
            yield data.decode("utf-8", "replace"), str(self._git.common)

    # what commits name

    def _data(self, commit: Commit, files: Files) -> frozenset[Any]:
        return frozenset(filter(None, (self._identity(each) for each in self._outputs(files, commit))))

    def _identity(self, output: Output) -> Hashable:
        """Return what is equal for equal data, None if the chosen path has none of the output."""
        members: Iterable[Listed] = output.files
        if self._path.startswith(f"{output.path}/"):
            try:
                members = self._members(output)
            except DataverError as error:  # all changes of the folder count
                if isinstance(error, StoreError) and error.transient:
                    raise
            else:
                output = output._replace(md5="")
                if not members:
                    return None
        files = tuple((each.path, each.md5 or each.version) for each in members)
        return (output.path, output.algorithm, output.md5 or output.version, output.executable, files)

    def _outputs(self, files: Files, commit: Commit | None = None) -> Iterator[Output]:
        """Yield the outputs at, below or around the chosen path; with a commit, damage becomes a problem."""
        for path, blob in files.items():
            if basename(path) == _STAGES:
                continue
            try:
                found = self._parse(path, blob.oid, files.get(join(dirname(path), _STAGES)))
            except IntegrityError as error:
                self._report(commit, path, error.message)
                continue
            for output in found:
                if "://" in output.path or output.path.startswith(("/", "../")):
                    self._report(commit, output.path, "it is outside of the repository")
                elif basename(path) == _LOCK and "${" in output.path:  # paths in it have no templates
                    self._report(commit, output.path, _NO_FOLDER)
                elif self._is_chosen(output.path):
                    yield output

    def _parse(self, path: str, oid: str, definitions: Blob | None) -> list[Output]:
        is_lock = basename(path) == _LOCK
        key = (path, oid, definitions.oid if definitions and is_lock else "")
        if key not in self._parsed:
            data, beside = self._bytes(path, oid), self._bytes(_STAGES, key[2]) if key[2] else b""
            self._parsed[key] = locked(path, data, beside) if is_lock else outputs(path, data)
        return self._parsed[key]

    def _bytes(self, path: str, oid: str) -> bytes:
        if oid not in self._blobs:
            raise IntegrityError(f"{path} is missing from git, or has more than {_MOST} bytes.")
        return self._blobs[oid]

    def _report(self, commit: Commit | None, path: str, reason: str) -> None:
        if commit is not None and (path, reason) not in self._reported:
            self._reported.add((path, reason))
            self.problems.append((f"{path} at commit {commit.sha[:10]}", reason))

    def _is_chosen(self, path: str) -> bool:
        here, wanted = f"{path}/", f"{self._path}/"
        return not self._path or here.startswith(wanted) or wanted.startswith(here)

    def _metadata(self, files: Files) -> dict[str, Any]:
        """Return the artifacts that `dvc.yaml` describes, as metadata."""
        definitions = (blob.oid for path, blob in files.items() if basename(path) == _STAGES)
        found = [artifacts(self._blobs.get(oid, b"")) for oid in definitions]
        return {"artifacts": dict(ChainMap(*found))} if any(found) else {}

    def _tag_names(self, tags: Sequence[str]) -> dict[str, str]:
        """Return the names for tags of git; those without a name are left out.

        Of GTO's tags, `cats@v1.2.0` is a version and `cats#prod#3` the third change of a stage. The last
        change of each counts, and "!" undoes it.
        """
        found: dict[str, str] = {}
        last: dict[tuple[str, str], tuple[int, str, bool]] = {}
        for name in tags:
            if match := _GTO.fullmatch(name):
                artifact, state, undone, number = match.groups()
                key, change = (artifact, state), (int(number or 0), name, bool(undone))
                last[key] = max(change, last.get(key, change))
            else:
                found[name] = name
        for (artifact, state), (_, name, undone) in last.items():
            if not undone and state not in _NO_STATES:
                found[name] = f"{artifact}-{state}"
        return found

    # the files of outputs

    def _files(self, files: Files) -> Iterator[SourceFile]:
        for output in self._outputs(files):
            yield from self._output_files(output)

    def _output_files(self, output: Output) -> Iterator[SourceFile]:
        if not output.files and not output.md5.endswith(FOLDER):
            alone = Listed("", output.md5, output.size, output.executable, output.version)
            yield self._file(output, alone, "")
            return
        try:
            members = self._members(output)
        except DataverError as error:
            if isinstance(error, StoreError) and error.transient:
                raise
            yield SourceFile(output.path, output.md5, missing=error.message)
            return
        if not members:
            yield SourceFile(output.path, "", kind=Kind.DIRECTORY)
        for each in members:
            yield self._file(output, each, f"/{each.path}")

    def _members(self, output: Output) -> list[Listed]:
        """Return the files of a folder at or below the chosen path."""
        found = self._objects.files(output)
        return [each for each in found if self._is_chosen(f"{output.path}/{each.path}")]

    def _file(self, output: Output, listed: Listed, below: str) -> SourceFile:
        """Return a file; `below` is "/" and its path in the output, "" for one that is the output."""
        md5, version = listed.md5, listed.version
        file = SourceFile(
            output.path + below,
            f"{output.algorithm}:{md5}" if md5 else f"version:{version} {output.source}{below}",
            listed.size,
            Kind.EXECUTABLE if listed.executable else Kind.FILE,
            check=Checksum(output.algorithm, md5) if md5 else None,
            external=not md5,
        )
        if not (md5 or version):
            return file._replace(missing=_UNKNOWN)
        try:
            url, size = self._objects.place(output, md5, below)
        except NotFound as error:
            return file._replace(missing=error.message)
        pinned = version if "://" in url else None
        return file._replace(url=url, size=size if file.size is None else file.size, object_version=pinned)
