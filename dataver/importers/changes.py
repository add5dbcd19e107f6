"""Files of a version in the source, and their differences from those of its parents.

The idea: the source names the bytes of each file, so contents are compared by name and nothing is read. A
file whose content a parent has, at any path, takes the parent's entry.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from dataver.errors import InvalidInput
from dataver.formats.entry import Entry, Kind, check_path, safe_link
from dataver.importers.source import Problems, SourceFile
from dataver.repository import Published
from dataver.tree import Tree

__all__ = ["Changes", "Parent", "changes_since", "checked_files", "copies", "name_of", "names_of"]


class Parent(NamedTuple):
    """An imported parent, its tree, and the names of the contents that the tree has, by path."""

    published: Published
    tree: Tree
    names: Mapping[str, str]


@dataclass
class Changes:
    """Changes that lead from a draft's tree to the version of the source.

    Attributes:
        entries: entries that a parent has, links and empty folders; None removes a path.
        new: files to read, by the name of their content; each list has the files with the same bytes.
    """

    entries: dict[str, Entry | None] = field(default_factory=dict)
    new: dict[str, list[SourceFile]] = field(default_factory=dict)


def checked_files(files: Iterable[SourceFile], problems: Problems) -> dict[str, SourceFile]:
    """Return files by path; those that a version cannot have become problems."""
    found: dict[str, SourceFile] = {}
    problems += [
        (each.path, "its source has several files at this path, and only one is brought")
        for each in files
        if name_of(found.setdefault(each.path, each)) != name_of(each)
    ]
    for path, file in list(found.items()):
        reason = file.missing or _invalid(file) or _inside_file(path, found)
        if reason is not None:
            problems.append((path, reason))
            del found[path]
    return found


def _invalid(file: SourceFile) -> str | None:
    try:
        check_path(file.path)
    except InvalidInput as error:
        return error.message
    if file.kind == Kind.SYMLINK and not safe_link(file.path, file.target):
        return f"it is a link to {file.target}, outside of the version"
    return None


def _inside_file(path: str, found: Mapping[str, SourceFile]) -> str | None:
    """Return the problem if a folder of the path is a file."""
    while path := path.rpartition("/")[0]:
        if path in found and found[path].kind != Kind.DIRECTORY:
            return f"'{path}' is a file, so it cannot contain others"
    return None


def name_of(file: SourceFile) -> str:
    """Return the name of a file's kind and content: one digit, then the content or the target."""
    return f"{int(file.kind)}{file.target if file.kind == Kind.SYMLINK else file.content}"


def names_of(files: Mapping[str, SourceFile], tree: Tree) -> dict[str, str]:
    """Return the names of the contents of those files that a tree has, by path."""
    names = {path: name_of(file) for path, file in files.items()}
    if tree.summary().entries != len(names):
        there = set(tree.paths())
        names = {path: name for path, name in names.items() if path in there}
    return names


def changes_since(
    parents: Sequence[Parent], files: Mapping[str, SourceFile], tree: Tree, read: Mapping[str, str]
) -> Changes:
    """Return the changes from a draft of these parents to a version with these files.

    Args:
        parents: the parents.
        files: the files that the version is to have.
        tree: the draft's tree.
        read: names of contents that the draft has read already, by path.
    """
    changes = Changes()
    for path, file in files.items():
        name = name_of(file)
        there = {read[path]} if path in read else {each.names.get(path) for each in parents}
        if there == {name}:
            continue
        owner = next((each for each in parents if each.names.get(path) == name), None)
        if owner is not None:
            changes.entries[path] = owner.tree.get(path)
        elif file.kind in (Kind.SYMLINK, Kind.DIRECTORY):
            changes.entries[path] = Entry(path, file.kind, target=file.target)
        else:
            changes.new.setdefault(file.content, []).append(file)
    _take_from_parents(parents, changes)
    for path in {
        path for names in (*(each.names for each in parents), read) for path in names
    } - files.keys():
        if len(parents) == 1 or tree.get(path) is not None:
            changes.entries[path] = None
    return changes


def _take_from_parents(parents: Sequence[Parent], changes: Changes) -> None:
    """Take the contents that a parent has at another path, as after a rename, from there."""
    if not changes.new:
        return
    for parent in parents:
        for path, name in parent.names.items():
            if name[0] in "01" and (files := changes.new.pop(name[1:], None)):
                entry = parent.tree.get(path)
                assert entry is not None, path
                changes.entries |= copies(entry, files)


def copies(entry: Entry, files: Iterable[SourceFile]) -> dict[str, Entry | None]:
    """Return the entries of files that have the content of another one."""
    return {file.path: entry._replace(path=file.path, kind=file.kind) for file in files}
