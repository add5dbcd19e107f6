"""Verifying external files: each separately, at its place.

The idea: packs are verified whole, but an external pack only as far as the version needs it: other objects in
it may have changed since. So these files are read in parallel, and each piece and each file is compared with
its digest (invariant 1). A quick check compares the attributes of the objects, and reads only those whose
attributes do not prove that they are unchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataver import parallel
from dataver.checkout.reading import read_file
from dataver.errors import FormatTooNew, IntegrityError, StoreError
from dataver.formats.entry import is_external

if TYPE_CHECKING:
    from dataver.formats.entry import Entry
    from dataver.progress import Progress
    from dataver.repository import RepositoryCore

__all__ = ["ExternalVerifier"]


class ExternalVerifier:
    """Collector and verifier of external files."""

    def __init__(self, repo: RepositoryCore, progress: Progress, *, quick: bool) -> None:
        self._repo, self._progress, self._quick = repo, progress, quick
        self._entries: list[Entry] = []

    def takes(self, entry: Entry) -> bool:
        """Collect a file if any of its bytes are external; return whether it was collected."""
        if not any(is_external(extent.pack) for extent in entry.extents):
            return False
        self._entries.append(entry)
        return True

    def run(self) -> dict[str, str]:
        """Return the problems found, by path.

        Raises:
            StoreError: a store cannot be reached.
        """
        with parallel.pool(parallel.checkers(), "verify") as pool:
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
        """Return whether the attributes of the objects prove that they are unchanged."""
        externals = self._repo.packs.externals
        for extent in entry.extents:
            if not is_external(extent.pack):
                return False
            if not externals.are_unchanged(extent.pack, *externals.load(extent.pack).frames_of(extent)):
                return False
        return True
