"""How many examples a property test tries: a sixth of its number, or all in `make test-slow`."""

import os

__all__ = ["examples"]

_ALL = os.environ.get("DATAVER_PROPERTIES") == "full"


def examples(count: int) -> int:
    """Return how many of `count` examples this run tries."""
    return count if _ALL else min(count, max(5, count // 6))
