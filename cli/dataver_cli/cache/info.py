"""`dataver cache info`."""

from datetime import UTC, datetime

from dataver_cli.cache_parts import PARTS, part_sizes
from dataver_cli.command import subcommand
from dataver_cli.output import count, size, table, when
from dataver_cli.session import Session


@subcommand(
    "info",
    repo=False,
    examples="""
        dataver cache info
        dataver cache info --json
    """,
)
def command(session: Session) -> None:
    """Show what this machine keeps, how large it may become, and who uses it.

    The bound is DATAVER_CACHE_SIZE, else `size` under [cache] in the user's configuration, else a fifth of
    the disk. What was used longest ago goes first; what a live process uses stays.
    """
    from dataver.checkout.cache_keeping import look
    from dataver.checkout.cache_limit import disk_free
    from dataver.checkout.cache_locks import shown
    from dataver.checkout.version_cache import VersionCache
    from dataver.repository.configuration import user_config_path
    from dataver.repository.places import cache_root
    from dataver.repository.private_place import private_cache_root

    cache = VersionCache(cache_root())
    use, private = look(cache), private_cache_root()
    parts = part_sizes(private)
    values = {
        "path": str(cache.root),
        "private_path": str(private),
        "limit": use.limit.size,
        "limit_from": use.limit.source,
        "config": str(user_config_path()),
        "free": disk_free(cache.root),
        "size": use.size,
        "versions": [
            {
                "ref": each.folder.ref,
                "digest": f"dv1:{each.folder.tree.hex()}",
                "paths": list(each.folder.selection),
                "shard": str(each.folder.shard) if each.folder.shard else None,
                "repository": each.folder.repository,
                "path": str(each.folder.path),
                "files": each.folder.files,
                "size": each.folder.size,
                "own": each.own,
                "used": datetime.fromtimestamp(each.used, UTC).isoformat(),
                "in_use_by": each.users,
            }
            for each in use.folders
        ],
        "interrupted": {"folders": len(use.left), "size": sum(use.left.values())},
        "parts": {name: {"files": files, "size": total} for name, (files, total) in parts.items()},
    }
    rows = [
        [
            each.folder.ref or f"dv1:{each.folder.tree.hex()[:16]}",
            f"{each.folder.files:,}",
            size(each.folder.size),
            size(each.own),
            when(datetime.fromtimestamp(each.used, UTC)),
            "; ".join(map(shown, each.users)) or "-",
        ]
        for each in use.folders
    ]
    lines = table(rows, ["version", "files", "size", "its own", "last used", "in use by"], right=(1, 2, 3))
    bound = "no bound" if use.limit.size is None else f"at most {size(use.limit.size)}"
    lines.append(
        f"{cache.root}: {count(len(use.folders), 'version')}, {size(use.size)} on the disk, {bound} "
        f"({use.limit.source}); {size(disk_free(cache.root))} of the disk are free"
    )
    if use.left:
        lines.append(
            f"interrupted fetches left {size(sum(use.left.values()))}, which the next ones go on with"
        )
    lines += [
        f"{private / name}: {size(total)} in {count(files, 'file')}, {PARTS[name]}"
        for name, (files, total) in parts.items()
    ]
    session.out.show(values, lines)
