"""Fetching a version to files: plan ranges, read, verify, materialise.

Names are imported when they are first used, so that importing this costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataver.checkout.fetching import FetchReport, fetch
    from dataver.checkout.reading import read_file
    from dataver.checkout.repository_verifier import RepositoryReport, verify_repository
    from dataver.checkout.version_verifier import VerifyReport, verify_folder, verify_version

__all__ = [
    "FetchReport",
    "RepositoryReport",
    "VerifyReport",
    "fetch",
    "read_file",
    "verify_folder",
    "verify_repository",
    "verify_version",
]

_HOMES = {
    "FetchReport": "fetching",
    "RepositoryReport": "repository_verifier",
    "VerifyReport": "version_verifier",
    "fetch": "fetching",
    "read_file": "reading",
    "verify_folder": "version_verifier",
    "verify_repository": "repository_verifier",
    "verify_version": "version_verifier",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
