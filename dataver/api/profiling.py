"""Profiles in the public API: of versions, and of drafts when they are sealed and published."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from dataver.progress import SILENT, Progress, receiver
from dataver.tree import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dataver.ingest import DraftCore, Sent
    from dataver.profiles.making import ProfileReport
    from dataver.repository import Published, RepositoryCore
    from dataver.tree import Given, Tree

# Imports in functions: every `Version` has these methods, and few are profiled.

__all__ = ["Profiled", "profile_sealed", "publish_profiled"]


class Profiled:
    """Base class of `dataver.Version`: the profiles of its files."""

    if TYPE_CHECKING:
        _repository: RepositoryCore
        _tree: Tree

        def _published(self) -> Published: ...

        def path(self, path: str | os.PathLike[str]) -> Path:  # noqa: D102  # the method of `Version`
            ...

    def profile(
        self, include: Given | None = None, *, exclude: Given = (), progress: Progress | bool = SILENT
    ) -> ProfileReport:
        """Make full profiles of its files and store them; files that have one are not read.

        A repeated call continues an interrupted one. A broken file has a profile with a `problem`.

        Args:
            include: globs; only matching files.
            exclude: globs of files to leave out.
            progress: receives files and bytes; True shows a bar.

        Raises:
            PathNotFound: a pattern of `include` matches nothing.
            InvalidInput: it is not uploaded.
            IntegrityError: the repository holds other bytes for a file.
            StoreError: the store failed, or refuses profiles; repeating the call continues.
            NotFound: it was deleted meanwhile; no profile is left.
        """
        from dataver.profiles.making import profile_version
        from dataver.reading import Files

        files = Files(self._repository, self._published())
        chosen = Selection.across([self._tree], include, exclude).matcher()
        with receiver(progress, "Profiling") as updates:
            return profile_version(self._repository, files, chosen, self.path, updates)

    def profiles(
        self, include: Given | None = None, *, exclude: Given = ()
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the path and the profile of each file that has one, in path order; reads no file.

        A profile is a JSON object with `kind` (table, image, audio, array, text, json or archive), `full`,
        `problem` of a broken file, `partial` where a bound was met, and what `docs/profiles.md` lists.

        Args:
            include: globs; only matching files.
            exclude: globs of files to leave out.

        Raises:
            PathNotFound: a pattern of `include` matches nothing.
            InvalidInput: it is not uploaded.
            StoreError: the store failed.
        """
        from dataver.profiles.stored import stored_profiles

        chosen = Selection.across([self._tree], include, exclude).matcher()
        return stored_profiles(self._repository, self._published(), chosen)


def profile_sealed(draft: DraftCore) -> None:
    """Make cheap profiles of a sealed draft, unless `DATAVER_PROFILES=off`."""
    if os.environ.get("DATAVER_PROFILES", "").lower() not in ("off", "0", "no", "false"):
        from dataver.api.draft_file import open_in_draft
        from dataver.profiles.drafts import profile_draft

        opening = partial(
            open_in_draft, draft, mode="rb", executable=None, encoding=None, errors=None, newline=None
        )
        profile_draft(draft, cast("Callable[[str], BinaryIO]", opening))


def publish_profiled(
    draft: DraftCore, progress: Progress, rebase: bool, allow_fork: bool
) -> tuple[Sent, Published | None]:
    """Publish a draft, then its profiles; arguments and errors as of `publish_draft`."""
    from dataver.ingest.upload import publish_draft
    from dataver.profiles.drafts import send_profiles

    sent = publish_draft(draft, progress, rebase, allow_fork)
    send_profiles(draft, sent[0].published)
    return sent
