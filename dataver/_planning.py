"""What would move, as people ask it of a repository, before anything moves."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from dataver.repository import Repository as RepositoryCore
from dataver.repository.places import cache_root

if TYPE_CHECKING:
    from dataver.checkout.fetch_plan import FetchPlan

__all__ = ["Planning"]


class Planning(RepositoryCore):
    """The part of the public repository that plans a fetch; `Draft.plan_upload` plans an upload."""

    def plan_fetch(
        self,
        ref: str,
        *,
        dest: str | Path | None = None,
        paths: str | Iterable[str] | None = None,
        measure: bool = True,
    ) -> "FetchPlan":
        """Return what a fetch with these arguments would move; nothing is written, and no run is linked.

        Args:
            ref: the version.
            dest: folder for an own copy; None means the cache.
            paths: globs; only what matches.
            measure: where no speed of this repository is remembered, read a part of what would be moved (8 MB
                at most) to know one.

        Raises:
            NotFound: no such version.
            PathNotFound: the globs select nothing.
        """
        from dataver.checkout.fetch_plan import plan_fetch
        from dataver.checkout.version_cache import VersionCache

        published = self.resolve(ref)
        return plan_fetch(
            self,
            published.record.tree,
            cache=VersionCache(cache_root()),
            dest=Path(dest) if dest is not None else None,
            patterns=[paths] if isinstance(paths, str) else list(paths) if paths is not None else None,
            near=[bytes.fromhex(parent.tree) for parent in published.record.parents],
            measure=measure,
        )
