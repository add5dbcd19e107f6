"""Profiles that a repository has of the files of a version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataver.formats.profile import decode_profile
from dataver.profiles.kinds import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dataver.formats.profile import Lines
    from dataver.repository import Published, RepositoryCore

__all__ = ["stored_profiles"]


def stored_profiles(
    repo: RepositoryCore, published: Published, chosen: Callable[[str], bool]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the path and the profile of each chosen file of a version that has one, in path order.

    Raises:
        StoreError: the store failed.
    """
    files: dict[str, list[tuple[str, bytes]]] = {}
    for leaf in repo.tree(published.record.tree).leaves():
        for number, path in enumerate(leaf.paths):
            kind, name = kind_of(path), leaf.file_digest(number)
            if kind is not None and name and chosen(path):
                files.setdefault(kind.group, []).append((path, name))
    lines: Lines = {}
    for group, some in files.items():
        lines |= repo.profiles.find(published.record.dataset, group, {name for _, name in some})
    for path, name in sorted(each for some in files.values() for each in some):
        if name in lines:
            yield path, decode_profile(lines[name])
