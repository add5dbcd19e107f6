"""Verifying files that lie outside the repository: each by itself, where it lies.

The idea: packs are verified whole, but of an external pack only what the version needs is this version's
business: another object in it may have changed since, and nobody asks for it. So these files are read
through, several at once, each piece and each file compared with its digest (invariant 1). A quick look asks
the stores how the objects look, and reads only those of which they cannot say that they are the same.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from dataver.checkout.reading import read_file
from dataver.errors import FormatTooNew, IntegrityError, StoreError
from dataver.formats.entry import is_external

if TYPE_CHECKING:
    from dataver.formats.entry import Entry
    from dataver.progress import Progress
    from dataver.repository import Repository

__all__ = ["ExternalVerifier"]

_THREADS: Final = 8


class ExternalVerifier:
    """Takes the external ones among files, then verifies them."""

    def __init__(self, repo: Repository, progress: Progress, *, quick: bool) -> None:
        self._repo, self._progress, self._quick = repo, progress, quick
        self._entries: list[Entry] = []

    def takes(self, entry: Entry) -> bool:
        """Take a file if any byte of it lies outside the repository; tell whether it does."""
        if not any(is_external(extent.pack) for extent in entry.extents):
            return False
        self._entries.append(entry)
        return True

    def run(self) -> dict[str, str]:
        """Return what is wrong with each file, by path.

        Raises:
            StoreError: a store cannot be reached.
        """
        with ThreadPoolExecutor(max(_THREADS, os.cpu_count() or 1), "dataver-verify") as pool:
            problems = zip(self._entries, pool.map(self._problem, self._entries), strict=True)
            return {entry.path: problem for entry, problem in problems if problem is not None}

    def _problem(self, entry: Entry) -> str | None:
        try:
            if not (self._quick and self._looks_right(entry)):
                for piece in read_file(self._repo, entry):
                    self._progress.advance(0, 0, new=len(piece))
        except (IntegrityError, FormatTooNew) as error:
            return error.message
        except StoreError as error:
            if error.transient:
                raise
            return error.message
        finally:
            self._progress.advance(1, entry.size)
        return None

    def _looks_right(self, entry: Entry) -> bool:
        """Tell whether the stores say that the objects are those that were recorded."""
        externals = self._repo.packs.externals
        for extent in entry.extents:
            if not is_external(extent.pack):
                return False
            if not externals.look(extent.pack, *externals.load(extent.pack).frames_of(extent)):
                return False
        return True
