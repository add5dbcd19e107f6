"""The result of one check."""

from dataclasses import dataclass
from typing import Literal

from dataver.errors import DataverError

__all__ = ["Check", "failed", "ok", "skipped", "warning"]


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: what was checked; stable.
        state: `ok`, `warning`, `failed` or `skipped`.
        text: what was found, without secrets.
        hint: the next step, or None.
        error: the error of a failed check.
    """

    name: str
    state: Literal["ok", "warning", "failed", "skipped"]
    text: str
    hint: str | None = None
    error: DataverError | None = None


def ok(name: str, text: str) -> Check:
    """Return a check that found no problem."""
    return Check(name, "ok", text)


def warning(name: str, text: str, hint: str) -> Check:
    """Return a check that found a limitation."""
    return Check(name, "warning", text, hint)


def skipped(name: str, why: str) -> Check:
    """Return a check that was not made."""
    return Check(name, "skipped", f"not checked: {why}")


def failed(name: str, error: DataverError, hint: str | None = None) -> Check:
    """Return a failed check; `hint` replaces the hint of the error."""
    return Check(name, "failed", error.message, hint or error.hint, error)
