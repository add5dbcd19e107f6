"""Fetching, as people call it on a repository: fetch, what it would move, verify; and the runs that did.

What fetches is imported by the methods that need it.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dataver.errors import InvalidInput
from dataver.progress import SILENT, Progress
from dataver.repository import Published
from dataver.repository import Repository as RepositoryCore
from dataver.repository.places import cache_root

if TYPE_CHECKING:
    from dataver.checkout import FetchReport, VerifyReport
    from dataver.checkout.fetch_plan import FetchPlan
    from dataver.lineage.lineage import Lineage
    from dataver.tree.shard import Shard

__all__ = ["Fetching"]


class Fetching(RepositoryCore):
    """The part of the public repository that brings versions here and knows which runs read them."""

    @cached_property
    def lineage(self) -> "Lineage":
        """Which runs consumed and produced its versions."""
        from dataver.lineage.lineage import Lineage

        return Lineage(self)

    def fetch(
        self,
        ref: str,
        *,
        dest: str | Path | None = None,
        paths: str | Iterable[str] | None = None,
        shard: "tuple[int | Iterable[int], int] | str | None" = None,
        verify: str = "stat",
        overwrite: bool = False,
        run: object = None,
        progress: Progress = SILENT,
    ) -> "FetchReport":
        """Bring a version to this machine, every byte checked, and link it to the current run.

        Args:
            ref: the version.
            dest: an own, writable copy goes there; None gives a read-only folder in the cache.
            paths: globs; only what matches is fetched.
            shard: `(rank, world)`; of what matches, only the part of that reader of several, the first being
                0. "rank" takes both from what launched this process (torchrun, Slurm, Open MPI), "node" the
                parts of all ranks of this machine; alone, that is everything.
            verify: how a folder that is there already is checked: "stat" or "full" (hashes every file).
            overwrite: replace files in `dest` that differ.
            run: the run to link it to: a key such as `mlflow:4f1c…`, a `dataver.Run`, or a tracker's own
                object; None means the run that this process works for (`dataver.run` says how it is found).
            progress: told of files and bytes.

        Raises:
            NotFound: no such version.
            InvalidInput: `run` is no run, or `shard` no shard.
            Conflict: files in `dest` differ and `overwrite` is off; nothing was changed.
            IntegrityError: the repository holds wrong bytes; none of them was left under a file's name.
        """
        from dataver.checkout.fetching import fetch as checkout
        from dataver.checkout.version_cache import VersionCache
        from dataver.repository.rates import remember

        if verify not in ("stat", "full"):
            raise InvalidInput(f"verify is 'stat' or 'full', not '{verify}'.")
        linked = _linking(run)
        part = _shard(shard)
        published = self.resolve(ref)
        patterns = _patterns(paths)
        report = checkout(
            self,
            published.record.tree,
            dest=Path(dest) if dest is not None else None,
            patterns=patterns,
            shard=part,
            cache=VersionCache(cache_root()),
            progress=progress,
            verify=verify,
            overwrite=overwrite,
            near=_near(published),
            ref=published.ref,
        )
        remember(self.id, "fetch", report.transferred, report.seconds)
        if linked:
            from dataver.lineage.noting import note_fetch

            chosen = tuple(sorted(set(patterns or ())))
            for each, files, size in _parts(self, published.record.tree, chosen, part, report):
                note_fetch(
                    self, published, patterns=chosen, shard=each, files=files, size=size, run=run, asked=ref
                )
        return report

    def plan_fetch(
        self,
        ref: str,
        *,
        dest: str | Path | None = None,
        paths: str | Iterable[str] | None = None,
        shard: "tuple[int | Iterable[int], int] | str | None" = None,
        measure: bool = True,
    ) -> "FetchPlan":
        """Return what a fetch with these arguments would move; nothing is written, and no run is linked.

        Args:
            ref: the version.
            dest: folder for an own copy; None means the cache.
            paths: globs; only what matches.
            shard: of what matches, the part that `fetch` takes with it.
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
            patterns=_patterns(paths),
            shard=_shard(shard),
            near=_near(published),
            measure=measure,
        )

    def fetch_run(
        self, run: str, *, dest: str | Path | None = None, progress: Progress = SILENT
    ) -> "dict[str, FetchReport]":
        """Fetch again exactly what a run read: the same versions, and the same part of each.

        Args:
            run: a run's id in any system, or an unambiguous beginning (`Lineage.run`).
            dest: own, writable copies go there, in a folder `name@label` each where there are several; None
                gives read-only folders in the cache.
            progress: told of files and bytes.

        Returns:
            A report a version, by `name@label`.

        Raises:
            NotFound: there is no such run, it read nothing, or a version is gone.
            InvalidInput: several runs fit.
            IntegrityError: a label names another version than the run read.
        """
        readings = self.lineage.readings(run)
        reports = {}
        for ref, patterns, shard in readings:
            folder = (
                None if dest is None else Path(dest) if len(readings) == 1 else Path(dest, *ref.split("/"))
            )
            reports[ref] = self.fetch(ref, dest=folder, paths=patterns, shard=shard, progress=progress)
        return reports

    def verify(self, ref: str, *, quick: bool = False, progress: Progress = SILENT) -> "VerifyReport":
        """Read a version in the repository; compare it with its checksums and, unless `quick`, digests."""
        from dataver.checkout import verify_version

        return verify_version(self, self.resolve(ref).record.tree, quick=quick, progress=progress)

    def verify_folder(self, ref: str, folder: str | Path, *, progress: Progress = SILENT) -> "VerifyReport":
        """Compare a local folder with a version, file by file, by digest."""
        from dataver.checkout import verify_folder

        return verify_folder(self, self.resolve(ref).record.tree, Path(folder), progress=progress)


def _linking(run: object) -> bool:
    """Return whether lineage is noted; refuse what is no run before anything is fetched."""
    from dataver.lineage.settings import enabled

    if run is not None:
        from dataver.lineage.which_run import key_of

        key_of(run)
    return enabled()


def _patterns(paths: str | Iterable[str] | None) -> list[str] | None:
    return [paths] if isinstance(paths, str) else list(paths) if paths is not None else None


def _near(published: Published) -> list[bytes]:
    """Return the trees whose files, if the cache has them, are likely to be in this version, too."""
    return [bytes.fromhex(parent.tree) for parent in published.record.parents]


def _shard(given: object) -> "Shard | None":
    if given is None:
        return None
    from dataver.checkout.standing import as_shard

    return as_shard(given)


def _parts(
    repo: RepositoryCore,
    tree: bytes,
    patterns: tuple[str, ...],
    shard: "Shard | None",
    report: "FetchReport",
) -> Iterator[tuple[tuple[int, int] | None, int, int]]:
    """Yield what a fetch has to link: the part of each rank, with its files and bytes."""
    if shard is None:
        yield None, report.files, report.size
    elif len(shard.ranks) == 1:
        yield (shard.ranks[0], shard.world), report.files, report.size
    else:
        from dataver.checkout.wish import Wish, survey

        for rank in shard.ranks:
            total = survey(Wish(repo, tree, patterns, shard._replace(ranks=(rank,))), None)
            yield (rank, shard.world), total.files, total.size
