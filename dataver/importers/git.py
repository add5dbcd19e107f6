"""The history of a git repository, for tools that keep pointers to data there.

The idea: a version of the data is a commit at which the data changed, or at which lines with different data
were merged. Any other commit stands for the version before it: its tags and its children belong to that one.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from posixpath import normpath
from typing import Any, Final, NamedTuple

from dataver.errors import InvalidInput, NotFound, StoreError
from dataver.importers.git_program import GitProgram
from dataver.importers.names import dataset_name
from dataver.importers.source import Source, SourceFile, SourceVersion
from dataver.importers.unchanged import join_unchanged

__all__ = ["Blob", "Changed", "Commit", "Files", "GitSource", "changes", "commits"]

_FIELDS: Final = "%H%x00%P%x00%an%x00%ae%x00%at%x00%B%x00"
_NUMBER: Final = _FIELDS.count("%x00")
_REF: Final = "--format=%(objecttype) %(objectname) %(*objecttype) %(*objectname) %(refname)"


class Blob(NamedTuple):
    """A file in a commit: the name of its bytes, and whether it is executable."""

    oid: str
    executable: bool


Files = Mapping[str, Blob]
Changed = Mapping[str, Mapping[str, Blob | None]]


class Commit(NamedTuple):
    """A commit; `created` is None for a time out of range."""

    sha: str
    parents: tuple[str, ...]
    author: str
    created: datetime | None
    message: str


class GitSource(Source):
    """A git repository whose commits name data; a tool says what they name.

    Args:
        where: a folder in the repository, or its URL.
        refs: branches, tags or commits, that of the main line first; all branches and tags without any.
        path: only data at or below this path.
        name: of the dataset; by default that of the repository.

    Raises:
        InvalidInput: it is no git repository.
        StoreError: the repository cannot be read.
    """

    largest: str | None = None  # size of files that are left out of a clone; see `GitProgram`

    def __init__(
        self, where: str, *, refs: Iterable[str] = (), path: str = "", name: str | None = None
    ) -> None:
        self._git = GitProgram(where, self.largest)
        super().__init__(self._git.location)
        self._refs, self._path = list(refs), normpath(f"/{path}").strip("/")
        self._name = dataset_name(name or self._default_name(), self.kind)
        self._files_of: dict[str, Files] = {}  # by commit: the files that name data

    def versions(self) -> Iterator[SourceVersion]:
        """Yield the versions, every parent before its children.

        Raises:
            InvalidInput: the tool keeps nothing there.
            NotFound: there is no such ref.
            StoreError: the repository cannot be read.
        """
        history = commits(self._git, self._refs)
        if self._git.lines("rev-parse", "--is-shallow-repository") == ["true"]:
            reason = "the clone is shallow and lacks older commits; `git fetch --unshallow` gets them"
            self.problems.append(("history", reason))
        states = self._states(history, self._changes(history))
        found = list(join_unchanged(states, frozenset()))
        if self._path and not found and not self.problems:
            raise InvalidInput(
                f"{self.location} has no data of {self.kind} at or below {self._path}.",
                hint="--path is relative to the top of the repository",
            )
        names = self._tag_names([tag for version in found for tag in version.tags])
        for version in found:
            yield replace(
                version,
                tags=tuple(filter(None, map(names.get, version.tags))),
                metadata={"git_commit": version.key, **self._metadata(self._files_of[version.key])},
            )

    def _states(self, history: Iterable[Commit], changed: Changed) -> Iterator[SourceVersion]:
        """Yield all commits, with the data that they name."""
        tags, data = _tags(self._git), dict[str, frozenset[Any]]()
        for commit in history:
            first = next((sha for sha in commit.parents if sha in data), "")
            files, named = self._files_of.get(first, {}), data.get(first, frozenset())
            if changed[commit.sha]:
                merged = {**files, **changed[commit.sha]}
                files = {path: blob for path, blob in merged.items() if blob is not None}
                named = self._data(commit, files)
            self._files_of[commit.sha], data[commit.sha] = files, named
            yield SourceVersion(
                key=commit.sha,
                dataset=self._name,
                files=partial(self._files, files),
                parents=commit.parents,
                message=commit.message,
                author=commit.author,
                created=commit.created,
                tags=tuple(tags.get(commit.sha, ())),
                data=named,
            )

    def _default_name(self) -> str:
        return self._git.name

    @abstractmethod
    def _changes(self, history: Sequence[Commit]) -> Changed:
        """Return, by commit, the files that name data and differ from those of its first parent.

        Raises:
            InvalidInput: there are none.
        """

    @abstractmethod
    def _files(self, files: Files) -> Iterator[SourceFile]:
        """Yield the data that files name."""

    def _data(self, _: Commit, files: Files) -> frozenset[Any]:
        """Return the data that the files of a commit name, comparable."""
        return frozenset(files.items())

    def _tag_names(self, tags: Sequence[str]) -> Mapping[str, str]:
        """Return the names for tags of git; those without a name are left out."""
        return {tag: tag for tag in tags}

    def _metadata(self, _: Files) -> Mapping[str, Any]:
        """Return further facts of a version with these files."""
        return {}


def commits(git: GitProgram, refs: Iterable[str] = ()) -> list[Commit]:
    """Return the commits that refs reach, parents first.

    Args:
        git: the repository.
        refs: branches, tags or commits, that of the main line first. Without any: the default branch of
            `origin`, HEAD, then all branches and tags.

    Raises:
        NotFound: there is no such ref.
    """
    tips = []
    for ref in refs:
        if (tip := _commit_of(git, ref)) is None:
            raise NotFound(
                f"{git.location} has no branch, tag or commit {ref}.", hint="`git branch -a` lists branches"
            )
        tips.append(tip)
    if not (tips := tips or _all_tips(git)):
        return []
    printed = git.run("rev-list", "--encoding=UTF-8", f"--format={_FIELDS}", "--stdin", lines=tips)
    fields = printed.decode("utf-8", "replace").split("\0")
    rows = (fields[at : at + _NUMBER] for at in range(0, len(fields) - _NUMBER, _NUMBER))
    return list(_parents_first({commit.sha: commit for commit in map(_commit, rows)}, tips))


def changes(git: GitProgram, history: Sequence[Commit], patterns: Iterable[str] = ()) -> Changed:
    """Return, by commit, the regular files that differ from the first parent's; None for a removed one.

    Args:
        git: the repository.
        history: commits, parents first.
        patterns: git's patterns of paths; without any, all files.
    """
    command = ("diff-tree", "--stdin", "-r", "-z", "--root", "--diff-merges=first-parent", "--no-renames")
    printed = git.run(*command, "--", *patterns, lines=(commit.sha for commit in history))
    found: dict[str, dict[str, Blob | None]] = {commit.sha: {} for commit in history}
    sha, parts = "", iter(printed.decode("utf-8", "surrogateescape").split("\0"))
    for part in parts:
        if not part.startswith(":"):
            sha = part
            continue
        _, mode, _, oid, _ = part.split(" ")
        found[sha][next(parts)] = Blob(oid, mode == "100755") if mode.startswith("100") else None
    return found


def _all_tips(git: GitProgram) -> list[str]:
    first = [_commit_of(git, ref) for ref in ("refs/remotes/origin/HEAD", "HEAD")]
    refs = _refs(git, "refs/heads", "refs/remotes", "refs/tags")
    return [*filter(None, first), *(commit for commit, _ in refs)]


def _commit_of(git: GitProgram, ref: str) -> str | None:
    try:
        return git.lines("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")[0]
    except StoreError:  # there is no such ref
        return None


def _tags(git: GitProgram) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for commit, ref in _refs(git, "refs/tags"):
        found.setdefault(commit, []).append(ref.removeprefix("refs/tags/"))
    return found


def _refs(git: GitProgram, *which: str) -> list[tuple[str, str]]:
    """Return the commits and names of refs; refs of other objects are left out."""
    found = []
    for line in git.lines("for-each-ref", _REF, *which):
        kind, oid, kind_inside, inside, ref = line.split(" ", 4)
        if "commit" in (kind, kind_inside):
            found.append((inside or oid, ref))
    return found


def _commit(row: list[str]) -> Commit:
    sha, parents, name, address, seconds, message = row
    try:
        created = datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        created = None
    author = f"{name} <{address}>" if address else name
    return Commit(sha.rpartition("\n")[2], tuple(parents.split()), author, created, message.strip())


def _parents_first(found: Mapping[str, Commit], tips: Iterable[str]) -> Iterator[Commit]:
    """Yield commits, of each its first parent and all before that first."""
    done: set[str] = set()
    for tip in tips:
        stack = [tip]
        while stack:
            commit = found[stack[-1]]
            waiting = [sha for sha in reversed(commit.parents) if sha in found and sha not in done]
            if waiting and commit.sha not in done:
                stack += waiting
                continue
            stack.pop()
            if commit.sha not in done:
                done.add(commit.sha)
                yield commit
