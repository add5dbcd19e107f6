"""Fetch versions, plan a fetch, and link what was fetched to runs."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dataver.arguments import check_word
from dataver.cache.version_cache import VersionCache
from dataver.checkout.fetching import fetch as check_out
from dataver.checkout.selection import FetchRequest, survey
from dataver.formats.event import Subset
from dataver.lineage.attribution.owner import key_of, wanted
from dataver.lineage.settings import enabled
from dataver.machine.cache_root import CacheUnusable, open_cache_root, private_cache_root
from dataver.machine.speeds import record_transfer
from dataver.progress import Progress, receiver
from dataver.repository import Published, Ref, RepositoryCore, ref_text
from dataver.storage.url import local_folder
from dataver.tree.selection import Given, Selection

if TYPE_CHECKING:
    from dataver.checkout import FetchReport
    from dataver.checkout.fetch_plan import FetchPlan
    from dataver.lineage.lineage import Lineage
    from dataver.tree.shard import Shard

# Imports in functions: a fetch without lineage, shards or a plan needs none of it.

__all__ = ["fetch", "fetch_run", "plan_fetch"]


def fetch(
    core: RepositoryCore,
    ref: Ref,
    *,
    dest: str | Path | None = None,
    include: Given | Selection | None = None,
    exclude: Given = (),
    shard: "tuple[int | Iterable[int], int] | str | None" = None,
    verify: str = "stat",
    overwrite: bool = False,
    run: object = None,
    progress: Progress | bool,
) -> "FetchReport":
    """Fetch a version and link it to a run; see `dataver.Repository.fetch`."""
    check_word("verify", verify, ("stat", "full"))
    linked = _is_linked(run)
    published = core.resolve(ref)
    selection = _selection(core, published, include, exclude, shard)
    cache, uncached = _cache(needed=dest is None)
    with receiver(progress, "Fetching", fresh="moved") as shown:
        report = check_out(
            core,
            published.record.tree,
            dest=local_folder(dest) if dest is not None else None,
            selection=selection,
            cache=cache,
            progress=shown,
            verify=verify,
            overwrite=overwrite,
            near=_near(published),
            ref=published.ref,
        )
    report.uncached = uncached
    record_transfer(core.local_name, "fetch", report.transferred, report.seconds)
    if linked:
        _link(core, published, selection, report, run, ref_text(ref))
    return report


def plan_fetch(
    core: RepositoryCore,
    ref: Ref,
    *,
    dest: str | Path | None,
    include: Given | Selection | None,
    exclude: Given,
    shard: "tuple[int | Iterable[int], int] | str | None",
    measure: bool,
) -> "FetchPlan":
    """Return what a fetch would transfer; see `dataver.Repository.plan_fetch`."""
    from dataver.checkout.fetch_plan import plan_fetch as plan

    published = core.resolve(ref)
    return plan(
        core,
        published.record.tree,
        cache=_cache(needed=False)[0],
        dest=local_folder(dest) if dest is not None else None,
        selection=_selection(core, published, include, exclude, shard),
        near=_near(published),
        measure=measure,
    )


def fetch_run(
    core: RepositoryCore, lineage: "Lineage", run: str, *, dest: str | Path | None, progress: Progress | bool
) -> "dict[str, FetchReport]":
    """Fetch what a run read; see `dataver.Repository.fetch_run`."""
    readings = lineage.readings(run)
    top = None if dest is None else local_folder(dest)
    reports = {}
    for ref, selection in readings:
        folder = top if top is None or len(readings) == 1 else Path(top, *ref.split("/"))
        reports[ref] = fetch(core, ref, dest=folder, include=selection, progress=progress)
    return reports


def _is_linked(run: object) -> bool:
    """Return whether lineage is recorded; reject an invalid run before anything is fetched."""
    if run is not None:
        key_of(run)
        return enabled()
    return wanted()


def _cache(*, needed: bool) -> "tuple[VersionCache, str]":
    """Return the version cache, and the reason if it is not the default one, else "".

    Raises:
        CacheUnusable: no cache is usable, and one is needed.
    """
    try:
        return VersionCache(open_cache_root()), ""
    except CacheUnusable as error:
        if needed:
            raise
        return VersionCache(private_cache_root()), error.message


def _near(published: Published) -> list[bytes]:
    """Return the trees whose cached files are likely to occur in this version."""
    return [bytes.fromhex(parent.tree) for parent in published.record.parents]


def _selection(
    core: RepositoryCore,
    published: Published,
    include: Given | Selection | None,
    exclude: Given,
    shard: object,
) -> Selection:
    part: Shard | None = None
    if shard is not None:
        from dataver.checkout.distributed_rank import as_shard

        part = as_shard(shard)
    return Selection.of(core.tree(published.record.tree), include, exclude, part)


def _link(
    core: RepositoryCore,
    published: Published,
    selection: Selection,
    report: "FetchReport",
    run: object,
    asked: str,
) -> None:
    from dataver.lineage.record.recorder import record
    from dataver.lineage.record.run import link_of

    of, record_id = published.record, published.record_id
    for shard, files, size in _parts(core, published.record.tree, selection, report):
        part = Subset(patterns=selection.include, exclude=selection.exclude, shard=shard)
        link = link_of("input", of, record_id, "fetch", subset=part, files=files, size=size)
        record(core, link, run=run, asked=asked)


def _parts(
    core: RepositoryCore, tree: bytes, selection: Selection, report: "FetchReport"
) -> Iterator[tuple[tuple[int, int] | None, int, int]]:
    """Yield the shards that a fetch links, each with its files and bytes."""
    shard = selection.shard
    if shard is None:
        yield None, report.files, report.size
    elif len(shard.ranks) == 1:
        yield (shard.ranks[0], shard.world), report.files, report.size
    else:
        for rank in shard.ranks:
            total = survey(
                FetchRequest(core, tree, selection._replace(shard=shard._replace(ranks=(rank,)))), None
            )
            yield (rank, shard.world), total.files, total.size
