"""`dataver cache info`."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dataver_cli.cache_parts import PARTS, part_sizes
from dataver_cli.command import subcommand
from dataver_cli.output import SHORT, count, size, table, when
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver.cache.eviction import FolderUse


@subcommand(
    "info",
    repo=False,
    examples="""
        dataver cache info
        dataver cache info --json
    """,
)
def command(session: Session) -> None:
    """Show the contents of the cache, its size limit, and the processes that use it.

    The limit is DATAVER_CACHE_SIZE, else `size` under [cache] in the user's configuration, else a fifth of
    the disk. The least recently used versions are removed first. Versions that a live process uses are kept.
    """
    from dataver.cache.eviction import cache_use
    from dataver.cache.leases import describe_holder
    from dataver.cache.limit import disk_free
    from dataver.cache.version_cache import VersionCache
    from dataver.machine.cache_root import open_cache_root, private_cache_root
    from dataver.machine.configuration import user_config_path

    cache = VersionCache(open_cache_root())
    use, private = cache_use(cache), private_cache_root()
    parts = part_sizes(private)
    values = {
        "path": str(cache.root),
        "private_path": str(private),
        "limit": use.limit.size,
        "limit_from": use.limit.source,
        "config": str(user_config_path()),
        "free": disk_free(cache.root),
        "size": use.size,
        "versions": [_folder_values(each) for each in use.folders],
        "interrupted": {"folders": len(use.left), "size": sum(use.left.values())},
        "parts": {name: {"files": files, "size": total} for name, (files, total) in parts.items()},
    }
    rows = [
        [
            each.folder.ref or f"dv1:{each.folder.tree.hex()[:SHORT]}",
            f"{each.folder.files:,}",
            size(each.folder.size),
            size(each.own),
            when(datetime.fromtimestamp(each.used, UTC)),
            "; ".join(map(describe_holder, each.users)) or "-",
        ]
        for each in use.folders
    ]
    lines = table(
        rows,
        ["version", "files", "size", "its own", "last used", "in use by"],
        right=(1, 2, 3),
        omit=(2, 5),
        shorten=0,
    )
    bound = "no limit" if use.limit.size is None else f"at most {size(use.limit.size)}"
    lines.append(
        f"{cache.root}: {count(len(use.folders), 'version')}, {size(use.size)} on the disk, {bound} "
        f"({use.limit.source}); {size(disk_free(cache.root))} of the disk are free"
    )
    if use.left:
        lines.append(f"interrupted fetches left {size(sum(use.left.values()))}, which later fetches will use")
    lines += [
        f"{private / name}: {size(total)} in {count(files, 'file')}, {PARTS[name]}"
        for name, (files, total) in parts.items()
    ]
    session.out.show(values, lines)


def _folder_values(each: "FolderUse") -> dict[str, object]:
    """Return a cached version as JSON values."""
    return {
        "ref": each.folder.ref,
        "digest": f"dv1:{each.folder.tree.hex()}",
        "paths": list(each.folder.selection.include),
        "exclude": list(each.folder.selection.exclude),
        "shard": str(each.folder.selection.shard) if each.folder.selection.shard else None,
        "repository": each.folder.repository,
        "path": str(each.folder.path),
        "files": each.folder.files,
        "size": each.folder.size,
        "own": each.own,
        "used": datetime.fromtimestamp(each.used, UTC).isoformat(),
        "in_use_by": each.users,
    }
