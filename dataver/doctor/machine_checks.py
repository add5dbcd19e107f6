"""Checks of this machine: the cache folder, and the versions of Python packages."""

import platform
import re
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Final

from dataver._about import __version__
from dataver.cache.limit import cache_limit
from dataver.doctor.findings import Check, failed, ok, warning
from dataver.errors import DataverError, StoreError
from dataver.machine.cache_root import is_network, open_cache_root, private_cache_root

__all__ = ["extra_of", "machine_checks"]

_LITTLE: Final = 1_000_000_000  # bytes; less cannot hold the spool and indexes of larger versions
_REQUIREMENT: Final = re.compile(
    r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?>=([0-9.]+)(?:;.*extra == ['\"](\w+)['\"])?"
)
_EXTRAS: Final = {
    "gs": "gcs", "gcs": "gcs",
    "abfs": "azure", "abfss": "azure", "az": "azure", "adl": "azure",
    "sftp": "ssh", "ssh": "ssh",
}  # fmt: skip


def extra_of(url: str) -> str | None:
    """Return the extra of dataver that a URL needs, or None."""
    return _EXTRAS.get(url.partition("://")[0].lower()) if "://" in url else None


def machine_checks() -> Iterator[Check]:
    """Yield the checks of this machine."""
    yield _cache()
    yield _versions()
    yield _extras()


def _cache() -> Check:
    try:
        root = open_cache_root()
        limit = cache_limit(root)
    except DataverError as error:
        return failed("cache", error)
    status, free = root.stat(), shutil.disk_usage(root).free
    bound = "no limit" if limit.size is None else f"limit {_gigabytes(limit.size)} ({limit.source})"
    text = (
        f"{root}: owner {_owner(status.st_uid)}, mode {status.st_mode & 0o7777:04o}, "
        f"{_gigabytes(free)} free, {bound}"
    )
    if not _writable(root):
        return failed(
            "cache",
            StoreError(
                f"{root} cannot be written.",
                hint="set DATAVER_CACHE to a folder of your own that can be written",
            ),
        )
    if free < _LITTLE:
        return warning("cache", text, "free some space, or set DATAVER_CACHE to a folder on another disk")
    if is_network(root):
        return ok("cache", f"{text}; a network mount, so indexes are in {private_cache_root()}")
    return ok("cache", text)


def _writable(root: Path) -> bool:
    """Return whether a file can be created: on a read-only mount, permissions do not tell."""
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=root):
            return True
    except OSError:
        return False


def _owner(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _versions() -> Check:
    found, old = [], []
    for name, least, extra in _requirements():
        if extra is None:
            here = _installed(name)
            found.append(f"{name} {here or 'missing'}")
            if here is None or _numbers(here) < _numbers(least):
                old.append(f"{name}>={least}")
    text = f"dataver {__version__}, Python {platform.python_version()}, {', '.join(found)}"
    if old:
        missing = " ".join(f"'{each}'" for each in old)
        return failed("versions", DataverError(f"{text}.", hint=f"pip install {missing}"))
    return ok("versions", text)


def _extras() -> Check:
    rows = [(extra, name, _installed(name)) for name, _, extra in _requirements() if extra is not None]
    here = [f"{extra} ({name} {found})" for extra, name, found in rows if found]
    absent = dict.fromkeys(extra for extra, _, found in rows if not found)
    return ok(
        "extras", f"installed: {', '.join(here) or 'none'}; not installed: {', '.join(absent) or 'none'}"
    )


def _requirements() -> Iterator[tuple[str, str, str | None]]:
    """Yield the name, the least version and the extra of each requirement of the installed dataver."""
    try:
        lines = requires("dataver") or []
    except PackageNotFoundError:  # a source tree on PYTHONPATH
        lines = []
    for line in lines:
        found = _REQUIREMENT.match(line.replace(" ", "").replace("extra==", "extra == "))
        if found:
            yield found[1], found[2], found[3]


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d+", text.partition("+")[0])[:3])


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
