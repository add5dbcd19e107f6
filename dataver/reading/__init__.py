"""Random access to the files of a version without fetching it, for file systems, loaders and servers.

Names are imported when they are first used, so that importing this costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataver.reading.directory_view import Info
    from dataver.reading.files import Files
    from dataver.reading.stream import FileReader

__all__ = ["FileReader", "Files", "Info"]

_HOMES = {"FileReader": "stream", "Files": "files", "Info": "directory_view"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
