"""All checks of a repository and of this machine, in order.

Secrets do not reach a result: messages of stores contain none, and the values of secret variables and storage
options are redacted from each text in addition.
"""

import platform
import pwd
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Final

from dataver._about import __version__
from dataver.cache.limit import cache_limit
from dataver.doctor.findings import Check, failed, ok, skipped, warning
from dataver.doctor.store_checks import STORE_CHECKS, store_checks
from dataver.errors import DataverError, InvalidInput, StoreError
from dataver.lineage.capture.redact import redact, redact_url, secret_values
from dataver.machine.cache_root import is_network, open_cache_root, private_cache_root
from dataver.machine.configuration import options_for, url_setting
from dataver.machine.paths import absolute_url, default_repository
from dataver.storage import Store, open_store
from dataver.storage.settings import secret_names
from dataver.storage.url import check_spelling

__all__ = ["Examination", "examine", "extra_of", "machine_checks"]
_LITTLE: Final = 1_000_000_000  # bytes; less cannot hold the spool and indexes of larger versions
_REQUIREMENT: Final = re.compile(
    r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?>=([0-9.]+)(?:;.*extra == ['\"]([\w-]+)['\"])?"
)
_EXTRAS: Final = {
    "gs": "gcs", "gcs": "gcs",
    "abfs": "azure", "abfss": "azure", "az": "azure", "adl": "azure",
    "sftp": "ssh", "ssh": "ssh",
}  # fmt: skip


@dataclass(frozen=True)
class Examination:
    """The results of all checks.

    Attributes:
        url: the repository; None if its configuration is invalid.
        checks: the results, in order.
    """

    url: str | None
    checks: list[Check]

    @property
    def error(self) -> DataverError | None:
        """The error of the first failed check, or None."""
        return next((check.error for check in self.checks if check.error is not None), None)


def examine(
    url: str | Path | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
    read_only: bool = False,
) -> Examination:
    """Check a repository, the access to it, and this machine.

    Args:
        url: the repository; None means the configured one, as for `dataver.open`.
        storage_options: options of the store, in addition to the configured ones.
        read_only: write nothing to the store; checks that need a write are skipped.
    """
    values = [*secret_values(), *_secrets(storage_options or {})]
    where, store = None, None
    try:
        where, check = _repository(url)
        if check.state == "ok":
            store = _open(where, storage_options)
    except DataverError as error:
        check = failed("repository", error)
    found = store_checks(store, read_only=read_only) if store is not None else _no_store_checks()
    checks = [_redacted(each, values) for each in (check, *found, *machine_checks())]
    return Examination(redact_url(where, values=values) if where else None, checks)


def _repository(url: str | Path | None) -> tuple[str, Check]:
    """Return the repository's URL, and a check that names its source."""
    if url is not None:
        return absolute_url(url), ok("repository", f"{url} (as given)")
    setting = url_setting()
    if setting is not None:
        check_spelling(str(setting.value))
        return absolute_url(setting.value), ok("repository", f"{setting.value} (from {setting.source})")
    own = default_repository()
    if own.exists():
        return str(own), ok("repository", f"{own} (default)")
    text = f"no repository is configured; the first command would create your own, {own}"
    return str(own), warning("repository", text, "select one with `dataver init URL` or DATAVER_REPO")


def _open(where: str, given: Mapping[str, Any] | None) -> Store:
    try:
        return open_store(where, options_for(where, given))
    except InvalidInput as error:
        extra = extra_of(where) if "not installed" in error.message else None
        if extra is None:
            raise
        raise InvalidInput(error.message, hint=f"pip install 'dataver[{extra}]'") from error


def _no_store_checks() -> Iterator[Check]:
    return (skipped(name, "see repository") for name in STORE_CHECKS)


def _secrets(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield the values of secret options, at any depth."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _secrets(value)
        elif isinstance(value, str) and value and list(secret_names({name: value})):
            yield value


def _redacted(check: Check, values: list[str]) -> Check:
    text, hint = (each and redact(each, values=values, by_name=False) for each in (check.text, check.hint))
    return replace(check, text=text or "", hint=hint)


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
    try:
        with tempfile.TemporaryFile(dir=root):
            return True
    except OSError:
        return False


def _owner(uid: int) -> str:
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
