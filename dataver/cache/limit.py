"""Size limit of the cache of versions: the user's setting, else a share of the disk.

DATAVER_CACHE_SIZE=200GB      for this process; also 30%, a number of bytes, or `unlimited`
[cache]                       in the user's configuration file, `user_config_path()`
size = "200 GB"
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final, NamedTuple

from dataver.errors import InvalidInput
from dataver.machine.configuration import read_configuration, user_config_path

__all__ = ["Limit", "cache_limit", "parse_limit"]

SHARE: Final = 0.20
"""Default share of the disk that holds the cache."""

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?i?b?|%)", re.IGNORECASE)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


class Limit(NamedTuple):
    """A limit in bytes and its source.

    Attributes:
        size: bytes; None if only the disk limits the cache.
        source: where the limit is set, as text for messages.
    """

    size: int | None
    source: str


def cache_limit(root: Path) -> Limit:
    """Return the limit of the cache at `root`.

    Raises:
        InvalidInput: the setting is not a size.
    """
    setting = os.environ.get("DATAVER_CACHE_SIZE")
    if setting:
        return Limit(parse_limit(setting, root), "DATAVER_CACHE_SIZE")
    path = user_config_path()
    if os.path.isfile(path):  # noqa: PTH113  # does not raise for a home without read permission
        table = read_configuration(path).get("cache", {})
        size = table.get("size") if isinstance(table, dict) else None
        if size is not None:
            return Limit(parse_limit(str(size), root), str(path))
    return Limit(int(SHARE * disk_size(root)), f"{SHARE:.0%} of the disk")


def parse_limit(text: str, root: Path) -> int | None:
    """Return the bytes that a text denotes; None for `unlimited`.

    Raises:
        InvalidInput: not a size.
    """
    if text.strip().lower() == "unlimited":
        return None
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise InvalidInput(f"'{text}' is not a cache size.", hint="write 200GB, 30%, or unlimited")
    number, unit = float(found[1]), found[2].lower()
    if unit == "%":
        return int(number / 100 * disk_size(root))
    base = 1024 if "i" in unit else 1000
    return int(number * base ** _POWERS[unit.rstrip("b").rstrip("i")])


def disk_size(root: Path) -> int:
    """Return the size in bytes of the file system of `root`, which need not exist."""
    status = os.statvfs(_nearest(root))
    return status.f_blocks * status.f_frsize


def disk_free(root: Path) -> int:
    """Return the bytes of it that are free for this user."""
    status = os.statvfs(_nearest(root))
    return status.f_bavail * status.f_frsize


def _nearest(path: Path) -> Path:
    return next((each for each in (path, *path.parents) if each.is_dir()), Path("/"))
