"""The history of a git repository, for tools that keep pointers to data there.

The idea: a version of the data is a commit at which the data changed, or at which lines with different data
were merged. Any other commit stands for the version before it: its tags and its children belong to that one.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial, reduce
from operator import or_
from typing import Any, Final, NamedTuple

from dataver.errors import NotFound, StoreError
from dataver.importers.git_program import GitProgram
from dataver.importers.source import SourceFile, SourceVersion

__all__ = ["Blob", "Commit", "DataVersion", "Files", "changes", "commits", "data_versions"]
__all__ += ["cut_off", "source_version"]

_FIELDS: Final = "%H%x00%P%x00%T%x00%an%x00%ae%x00%at%x00%B%x00"
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
    tree: str
    author: str
    created: datetime | None
    message: str


class DataVersion(NamedTuple):
    """A commit that is a version of the data.

    Attributes:
        commit: the commit.
        parents: the commits of the parents' versions, the nearest first.
        files: the files of the commit that name data, by path.
        tags: git tags on it, and on commits that stand for it.
    """

    commit: Commit
    parents: tuple[str, ...]
    files: Files
    tags: list[str]


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


def changes(git: GitProgram, history: Iterable[Commit], patterns: Iterable[str] = ()) -> Changed:
    """Return, by commit, the regular files that differ from the first parent's; None for a removed one.

    Args:
        git: the repository.
        history: commits, parents first.
        patterns: git's patterns of paths; without any, all files.
    """
    nothing = git.lines("hash-object", "-t", "tree", "--stdin")[0]
    trees: dict[str, str] = {}
    pairs: dict[str, str] = {}
    for commit in history:
        trees[commit.sha] = commit.tree
        before = trees.get(commit.parents[0], nothing) if commit.parents else nothing
        pairs[commit.sha] = f"{before} {commit.tree}"
    command = ("diff-tree", "--stdin", "-r", "-z", "--no-renames", "--", *patterns)
    printed = git.run(*command, lines=dict.fromkeys(pairs.values())).decode("utf-8", "replace")
    found: dict[str, dict[str, Blob | None]] = {}
    current: dict[str, Blob | None] = {}
    parts = iter(printed.split("\0"))
    for part in parts:
        *heads, last = part.split("\n")
        for head in heads:
            current = found.setdefault(head, {})
        if last:
            _, mode, _, oid, _ = last.split(" ")
            current[next(parts)] = Blob(oid, mode == "100755") if mode.startswith("100") else None
    return {sha: found.get(pair, {}) for sha, pair in pairs.items()}


def data_versions(
    git: GitProgram, history: Iterable[Commit], changed: Changed, content: Callable[[Commit, Files], Hashable]
) -> list[DataVersion]:
    """Return the versions of the data, parents first.

    Args:
        git: the repository.
        history: commits, parents first.
        changed: of each commit, the files that name data and differ from its first parent's.
        content: returns the data that the files of a commit name, comparable; a false value without data.
    """
    states: dict[str, tuple[Files, Hashable, int | None]] = {"": ({}, None, None)}
    found, contents, lines, tags = list[DataVersion](), list[Hashable](), list[int](), _tags(git)
    for commit in history:
        above = [states[sha] for sha in commit.parents if sha in states] or [states[""]]
        files, data, _ = above[0]
        if changed[commit.sha]:
            merged = {**files, **changed[commit.sha]}
            files = {path: blob for path, blob in merged.items() if blob is not None}
            data = content(commit, files) or None
        parents = _heads([number for *_, number in above if number is not None], lines)
        version = parents[0] if parents else None
        if len(parents) > 1 or data != (None if version is None else contents[version]):
            version = len(found)
            found.append(DataVersion(commit, tuple(found[each].commit.sha for each in parents), files, []))
            contents.append(data)
            lines.append(reduce(or_, (lines[each] for each in parents), 1 << version))
        if version is not None:
            found[version].tags.extend(tags.get(commit.sha, ()))
        states[commit.sha] = (files, data, version)
    return found


def cut_off(git: GitProgram) -> list[tuple[str, str]]:
    """Return what a shallow clone lacks, as problems of a source."""
    if git.lines("rev-parse", "--is-shallow-repository") != ["true"]:
        return []
    return [("history", "the clone is shallow and lacks older commits; `git fetch --unshallow` gets them")]


def source_version(
    version: DataVersion,
    dataset: str,
    files: Callable[[DataVersion], Iterable[SourceFile]],
    tags: Mapping[str, str | None],
    **metadata: Any,
) -> SourceVersion:
    """Return a version for the engine, with the facts of its commit.

    Args:
        version: the version.
        dataset: its dataset.
        files: returns its files.
        tags: tags of dataver by tags of git.
        metadata: further facts.
    """
    commit = version.commit
    return SourceVersion(
        key=commit.sha,
        dataset=dataset,
        files=partial(files, version),
        parents=version.parents,
        message=commit.message,
        author=commit.author,
        created=commit.created,
        tags=tuple(filter(None, map(tags.get, version.tags))),
        metadata={"git_commit": commit.sha, **metadata},
    )


def _heads(numbers: Iterable[int], lines: Sequence[int]) -> list[int]:
    """Return those versions that no other one contains; `lines` has a bit for each version on a line."""
    numbers = list(dict.fromkeys(numbers))
    return [one for one in numbers if not any(lines[each] >> one & 1 for each in numbers if each != one)]


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
    sha, parents, tree, name, address, seconds, message = row
    try:
        created = datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        created = None
    author = f"{name} <{address}>" if address else name
    return Commit(sha[-len(tree) :], tuple(parents.split()), tree, author, created, message.strip())


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
