"""Search of a repository: the local index is brought up to date, then asked."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from dataver.lineage.index.index import LineageIndex
from dataver.lineage.index.pull import pull
from dataver.progress import SILENT
from dataver.search.conditions import select_versions
from dataver.search.text_index import refresh_columns, refresh_paths, refresh_texts
from dataver.search.word_search import Hit, search_columns, search_paths, search_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataver.progress import Progress
    from dataver.repository import RepositoryCore

__all__ = ["find", "search"]


def search(
    repo: RepositoryCore,
    words: str,
    *,
    prefix: str = "",
    files: bool = True,
    limit: int = 20,
    progress: Progress = SILENT,
) -> list[Hit]:
    """Return what matches words: versions and datasets by texts, then files by paths, tables by columns.

    The first search reads the tree of every version for its paths, unless `files` is off; later ones read
    what is new.

    Args:
        repo: the repository.
        words: all of them must match, each also as the beginning of a word.
        prefix: the beginning of the dataset's name.
        files: search the paths of files and the columns of tables with profiles, too.
        limit: the maximum number of results of each kind.
        progress: receives versions.

    Raises:
        InvalidInput: there is no word.
        StoreError: the repository cannot be reached, or the index not be written.
        IntegrityError: the index is damaged.
    """
    with _current(repo, progress) as index:
        with index.asking() as db:
            hits = search_texts(db, words, prefix=prefix, limit=limit)
        if files:
            refresh_paths(repo, index, progress)
            refresh_columns(repo, index)
            with index.asking() as db:
                hits += search_paths(db, words, prefix=prefix, limit=limit)
                hits += search_columns(db, words, prefix=prefix, limit=limit)
    return hits


def find(
    repo: RepositoryCore, condition: str, *, prefix: str = "", progress: Progress = SILENT
) -> list[tuple[str, str]]:
    """Return `(dataset, label)` of the versions that meet a condition; see `dataver.search.conditions`.

    Raises:
        InvalidInput: the condition is not valid.
        StoreError: the repository cannot be reached, or the index not be written.
        IntegrityError: the index is damaged.
    """
    with _current(repo, progress) as index, index.asking() as db:
        return select_versions(db, condition, prefix=prefix)


@contextmanager
def _current(repo: RepositoryCore, progress: Progress) -> Iterator[LineageIndex]:
    with LineageIndex.open(repo.local_name) as index:
        pull(repo, index)
        refresh_texts(repo, index, progress)
        yield index
