"""Checks of a store: login, reachability, permissions, clock, conditional writes.

The idea: each permission is tried with an object of its own, `.probe-<32 hex>`, which is then deleted; names
that begin with `.` are temporary (`docs/format.md`), and `gc` deletes a probe that remains. With `read_only`
nothing is written.

After a failure to reach the store the other checks are skipped. A refused permission is no such failure: the
remaining permissions are still tried.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from dataver.doctor.findings import Check, failed, ok, skipped, warning
from dataver.errors import DataverError, IntegrityError, NotFound, StoreError
from dataver.formats.config import RepositoryConfig
from dataver.machine.store_clock import PROBES
from dataver.repository.create_once import probe_exclusive_create
from dataver.repository.repository import read_config
from dataver.storage import Store
from dataver.storage.translate import is_denied

__all__ = ["STORE_CHECKS", "store_checks"]

STORE_CHECKS: Final = (
    "credentials",
    "reachable",
    "list",
    "read",
    "write",
    "clock",
    "conditional-writes",
    "delete",
)
"""The names of the checks, in order."""

_RIGHTS: Final = {
    "list": "s3:ListBucket",
    "read": "s3:GetObject",
    "write": "s3:PutObject",
    "delete": "s3:DeleteObject",
}
_NEAR: Final = timedelta(minutes=1)
_FAR: Final = timedelta(minutes=15)  # S3 refuses requests beyond it
_SECOND: Final = timedelta(seconds=1)  # precision of the times of S3 and SFTP
_CONTENT: Final = b"written by dataver doctor"
_RECORDED: Final = "dataver.json, written by `init`, records that it "


def store_checks(
    store: Store, *, read_only: bool, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Iterator[Check]:
    """Yield the checks of a store, in the order of `STORE_CHECKS`.

    Args:
        store: the store, as `open_store` returns it.
        read_only: write nothing.
        now: this machine's clock.
    """
    login = _login(store)
    yield login
    if login.state == "failed":
        yield from _rest("reachable", "there are no credentials")
        return
    config: RepositoryConfig | DataverError
    try:
        config = read_config(store)
    except DataverError as error:
        config = error
    yield _reachable(store, config)
    if isinstance(config, IntegrityError) or (isinstance(config, StoreError) and not is_denied(config)):
        yield from _rest("list", "see reachable")
        return
    yield _attempt("list", "objects can be listed", lambda: list(store.list(PROBES)))
    if read_only:
        yield _read(store, config, None)
        for name in ("write", "clock", "conditional-writes", "delete"):
            yield skipped(name, "--read-only")
        return
    yield from _with_probe(store, config, now)


def _with_probe(
    store: Store, config: RepositoryConfig | DataverError, now: Callable[[], datetime]
) -> Iterator[Check]:
    key = f"{PROBES}{os.urandom(16).hex()}"
    before = now()
    written = _attempt("write", "objects can be written", lambda: store.put(key, _CONTENT))
    after = now()
    if written.state == "failed":
        yield _read(store, config, None)
        yield _with_hint(written, "users who only read use --read-only")
        yield from _rest("clock", "nothing can be written")
        return
    read = _read(store, config, key)
    yield read
    yield written
    if read.state == "ok":
        yield _clock(store, key, before, after)
        yield _conditional(store, config)
    else:
        yield skipped("clock", "it needs reading")
        yield skipped("conditional-writes", "they need reading")
    yield _with_hint(
        _attempt("delete", "objects can be deleted", lambda: _deleted(store, key)),
        f"{PROBES}… remains until `gc` deletes it",
    )


def _login(store: Store) -> Check:
    try:
        otherwise = "none: a folder" if store.local_root else "found by the package of the URL"
        return ok("credentials", store.login or otherwise)
    except DataverError as error:
        return failed("credentials", error)


def _reachable(store: Store, config: RepositoryConfig | DataverError) -> Check:
    if isinstance(config, RepositoryConfig):
        return ok("reachable", f"{store.url} is a repository (id {config.id[:12]})")
    if is_denied(config):
        return ok("reachable", "the store answers")
    return failed("reachable", config)


def _attempt(name: str, text: str, call: Callable[[], object]) -> Check:
    try:
        call()
    except DataverError as error:
        return failed(name, error, _right(name) if is_denied(error) and _is_s3(error) else None)
    return ok(name, text)


def _with_hint(check: Check, more: str) -> Check:
    """Return a check whose hint, if it failed, has one more sentence."""
    if check.state != "failed":
        return check
    return replace(check, hint=f"{check.hint}; {more}" if check.hint else more)


def _is_s3(error: DataverError) -> bool:
    return "s3://" in error.message


def _right(name: str) -> str:
    return f"ask for {_RIGHTS[name]} on this prefix: docs/operations.md has the policy of each role"


def _read(store: Store, config: RepositoryConfig | DataverError, key: str | None) -> Check:
    """Check reading: of the probe, else of `dataver.json`, which was read before."""
    if key is not None and not (isinstance(config, DataverError) and is_denied(config)):
        return _attempt("read", "objects can be read", lambda: _same(store, key))
    if isinstance(config, RepositoryConfig):
        return ok("read", "objects can be read")
    if isinstance(config, NotFound):
        return skipped("read", "there is no object to read")
    return failed("read", config, _right("read") if _is_s3(config) else None)


def _same(store: Store, key: str) -> None:
    if store.get(key) != _CONTENT:
        raise IntegrityError(
            f"{key} in {store.url} has other bytes than were written.",
            hint="look for a proxy or a cache between here and the store",
        )


def _clock(store: Store, key: str, before: datetime, after: datetime) -> Check:
    """Compare this machine's clock with the time that the store gave to an object."""
    try:
        stated = store.stat(key).modified
    except DataverError as error:
        return failed("clock", error)
    if stated is None:
        return skipped("clock", "the store states no times")
    ahead = max(before - stated - _SECOND, timedelta())
    behind = max(stated - after - _SECOND, timedelta())
    if max(ahead, behind) < _NEAR:
        return ok("clock", f"this machine and the store differ by less than {_NEAR.seconds} s")
    text = (
        f"this machine's clock is {_seconds(ahead or behind)} {'ahead of' if ahead else 'behind'} the store's"
    )
    hint = "set it (`timedatectl set-ntp true`); versions, moves of tags and runs carry its time"
    if max(ahead, behind) < _FAR:
        return warning("clock", text, hint)
    return failed("clock", StoreError(f"{text}.", hint=hint))


def _seconds(span: timedelta) -> str:
    return f"{round(span.total_seconds()):,} s"


def _conditional(store: Store, config: RepositoryConfig | DataverError) -> Check:
    """Check whether create-if-absent is honoured, and compare with the repository's configuration."""
    recorded = config.create_if_absent if isinstance(config, RepositoryConfig) else None
    try:
        honoured = probe_exclusive_create(store)
    except DataverError as error:
        return failed("conditional-writes", error)
    if honoured and recorded is False:
        return warning(
            "conditional-writes",
            f"the store honours create-if-absent, but {_RECORDED}does not: writers take turns by claims",
            "`dataver mirror` to a new repository makes a copy that uses it",
        )
    if honoured:
        return ok("conditional-writes", "the store honours create-if-absent")
    if recorded:
        return failed(
            "conditional-writes",
            StoreError(
                f"the store ignores create-if-absent, but {_RECORDED}honours it: a writer could replace "
                "another's version.",
                hint="stop all writers, and `dataver mirror` to a new repository on this store",
            ),
        )
    return warning(
        "conditional-writes",
        "the store ignores create-if-absent: writers take turns by claims, with three more requests per "
        "version, and one that is stopped for two minutes in between could replace another's record",
        "for many concurrent writers, use a store that honours it (docs/stores.md)",
    )


def _deleted(store: Store, key: str) -> None:
    store.delete(key)
    if store.exists(key):
        raise StoreError(f"{key} in {store.url} is still there after it was deleted.")


def _rest(name: str, why: str) -> Iterator[Check]:
    """Yield the check of this name and those after it as skipped."""
    for each in STORE_CHECKS[STORE_CHECKS.index(name) :]:
        yield skipped(each, why)
