"""From a version to files: plan ranges, read, verify, materialise; the cache of whole versions.

Names are imported when they are first used, so that importing this costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataver.checkout.fetching import FetchReport, fetch
    from dataver.checkout.reading import read_file
    from dataver.checkout.verifying import VerifyReport, verify_folder, verify_version
    from dataver.checkout.version_cache import CachedFolder, VersionCache

__all__ = [
    "CachedFolder",
    "FetchReport",
    "VerifyReport",
    "VersionCache",
    "fetch",
    "read_file",
    "verify_folder",
    "verify_version",
]

_HOMES = {
    "CachedFolder": "version_cache",
    "FetchReport": "fetching",
    "VerifyReport": "verifying",
    "VersionCache": "version_cache",
    "fetch": "fetching",
    "read_file": "reading",
    "verify_folder": "verifying",
    "verify_version": "verifying",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
