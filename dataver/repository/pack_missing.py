"""The error for a pack that is not in the store, raised for stored and external packs."""

from dataver.errors import IntegrityError

__all__ = ["PackMissing"]


class PackMissing(IntegrityError):
    """A pack that a layout refers to is not in the store.

    The layout may be older than a repack: read the block again without caches to find the new pack.
    """
