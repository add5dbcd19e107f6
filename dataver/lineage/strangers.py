"""Which modules the trackers of other packages belong to, remembered on this machine.

To find them all installed packages are looked through (`trackers/base.py`): a millisecond for a hundred, more
on a network's disk, and every first fetch would wait for it. So the answer is kept for the folders of
`sys.path` as they are: what is installed or removed changes the time of one of them.

Disposable (invariant 5): what is not remembered is looked up.
"""

from __future__ import annotations

import json
import os
import sys
from zlib import crc32

__all__ = ["recall", "remember"]


def recall() -> list[str] | None:
    """Return the modules of other packages' trackers; None if that is not known."""
    try:
        with open(_path(), encoding="utf-8") as file:
            kept = json.load(file)
        modules = kept["modules"] if kept["folders"] == _folders() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return [each for each in modules if isinstance(each, str)] if isinstance(modules, list) else None


def remember() -> None:
    """Look them up, and keep that for other processes; never raises."""
    from dataver.lineage.trackers.base import declared

    if recall() is not None:
        return
    path, folders = _path(), _folders()
    text = json.dumps({"folders": folders, "modules": sorted(tracker.module for tracker in declared())})
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120  # no Path: quick
        temporary = f"{path}.{os.getpid()}"
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)  # noqa: PTH105
    except OSError:
        pass  # it is looked up again


def _folders() -> int:
    """Return a checksum of the folders as they are; the first is the script's own."""
    seen: list[str] = []
    for folder in sys.path[1:]:
        try:
            seen.append(f"{folder}:{os.stat(folder).st_mtime_ns}")  # noqa: PTH116
        except OSError:
            continue
    return _checksum(seen)


def _path() -> str:
    """Return the file of this environment."""
    from dataver.repository.places import state_root

    return f"{state_root()}/lineage/trackers-{_checksum([sys.prefix, *sys.path[1:]]):08x}.json"


def _checksum(texts: list[str]) -> int:
    return crc32("\0".join(texts).encode("utf-8", "replace"))
