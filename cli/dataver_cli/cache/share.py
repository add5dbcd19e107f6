"""`dataver cache share`."""

import click

from dataver_cli.command import subcommand
from dataver_cli.session import Session


@subcommand(
    "share",
    repo=False,
    examples="""
        dataver cache share
        dataver cache share --off
    """,
)
@click.option("--off", is_flag=True, help="Stop sharing the cache.")
def command(session: Session, off: bool) -> None:
    """Let other users read the cached versions, but no other part of the cache.

    Other users set DATAVER_SHARED_CACHE to its path. `dataver fetch` then uses its versions in place, and
    hashes each version before a user's first use. Only you can write to the cache, so its users have to
    trust you.
    """
    from dataver.cache.sharing import share, unshare
    from dataver.machine.cache_root import open_cache_root

    root = open_cache_root()
    (unshare if off else share)(root)
    session.out.show({"path": str(root), "shared": not off}, [])
    session.out.note(
        f"Only you can read {root}." if off else f"Other users can set DATAVER_SHARED_CACHE={root}."
    )
