"""Contents of the files of versions, as the index knows them: prefixes of digests of `CONTENT_SIZE` bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataver.errors import IntegrityError, NotFound, PathNotFound
from dataver.formats.entry import Kind
from dataver.hashing import new_hasher
from dataver.lineage.queries.content import CONTENT_SIZE, chosen_files, files_of
from dataver.tree.selection import Given, Selection

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from dataver.lineage.queries.content import Covers
    from dataver.lineage.queries.results import IndexedLink, IndexedVersion
    from dataver.repository import RepositoryCore

    Ask = Callable[..., AbstractContextManager[sqlite3.Connection]]

__all__ = ["chosen_contents", "content_of_file", "contents_read"]


def chosen_contents(
    repository: RepositoryCore, ask: Ask, version: IndexedVersion, include: Given
) -> set[bytes]:
    """Return the contents of files of a version; from the index if a deleted one's tree is missing.

    Raises:
        NotFound: the tree is missing, and the index does not know its files.
        PathNotFound: a pattern matches no file.
    """
    try:
        tree = repository.tree(bytes.fromhex(version.tree or ""))
        selection = Selection.of(tree, include)
        selection.require(tree, (Kind.FILE, Kind.EXECUTABLE), where=version.ref)
        chosen = (leaf.entry(number) for leaf, numbers in selection.parts(tree) for number in numbers)
        return {each.digest[:CONTENT_SIZE] for each in chosen if each.digest}
    except PathNotFound:
        raise
    except (IntegrityError, NotFound) as error:
        if version.created is not None and version.deleted is None:
            raise
        with ask() as db:
            files = files_of(db, version.row)
        if files is None:
            raise NotFound(
                f"the files of {version.ref} are unknown: its tree is missing.",
                hint=f"`dataver lineage impact {version.ref}` uses the whole version",
            ) from error
    return chosen_files(files, include, version.ref)


def contents_read(ask: Ask, covers: Covers, link: IndexedLink) -> set[bytes] | None:
    """Return the contents that a link read, from the index; None if it does not know them."""
    if link.version_row is None:
        return None
    with ask(changes=True) as db:
        files = files_of(db, link.version_row)
    covered = {path: covers(link.subset, path) for path in files or ()}
    if files is None or None in covered.values():
        return None
    return {content for path, content in files.items() if covered[path]}


def content_of_file(path: str) -> bytes:
    """Return the content of a local file."""
    hasher = new_hasher()
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            hasher.update(data)
    return hasher.digest()[:CONTENT_SIZE]
