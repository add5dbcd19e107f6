"""All checks of a repository and of this machine, in order.

Secrets do not reach a result: messages of stores contain none, and the values of secret variables and storage
options are redacted from each text in addition.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dataver.doctor.findings import Check, failed, ok, skipped, warning
from dataver.doctor.machine_checks import extra_of, machine_checks
from dataver.doctor.store_checks import STORE_CHECKS, store_checks
from dataver.errors import DataverError, InvalidInput
from dataver.lineage.capture.redact import redact, redact_url, secret_values
from dataver.machine.configuration import options_for, url_setting
from dataver.machine.paths import absolute_url, default_repository
from dataver.storage import Store, open_store
from dataver.storage.settings import secret_names
from dataver.storage.url import check_spelling

__all__ = ["Examination", "examine"]


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
