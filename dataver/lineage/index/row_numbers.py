"""Numbers of runs and versions in the lineage index.

They are derived from content (hashes of run keys, record ids), never from the order of arrival: so an index
rebuilt from the repository is equal, row for row.
"""

from dataver.hashing.digest import CONTEXT_RUN, derived

__all__ = ["run_number", "version_number"]


def run_number(key: str) -> int:
    """Return the number of a run in the index: 63 bits of a hash of its key."""
    return _number(derived(CONTEXT_RUN, key.encode("utf-8")))


def version_number(record: str) -> int:
    """Return the number of a version in the index: the first 63 bits of its record id (64 hex)."""
    return _number(bytes.fromhex(record))


def _number(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "big") >> 1
