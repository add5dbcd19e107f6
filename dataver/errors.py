"""Every error that dataver raises on purpose.

One tree under `DataverError`. A message is one sentence that names the object and where it is; a hint is the
next step. `code` is stable: programs may compare it. Errors are grouped by what a caller would do about them,
not by the module that met them. Foreign exceptions are translated once, where they enter.
"""

from collections.abc import Sequence
from typing import ClassVar

__all__ = [
    "AlreadyExists",
    "Conflict",
    "DataverError",
    "FormatTooNew",
    "Incomplete",
    "IntegrityError",
    "InternalError",
    "InvalidInput",
    "NotFound",
    "PathNotFound",
    "StoreError",
]


class DataverError(Exception):
    """The root of all errors of dataver: one sentence, and a hint with the next step.

    Attributes:
        code: stable name of the kind of error.
        message: one sentence about one object.
        hint: what to do next, or None where nothing useful can be said.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class InvalidInput(DataverError, ValueError):
    """What the caller gave cannot be used: a name, a path, an option."""

    code = "invalid-input"


class NotFound(DataverError):
    """A dataset, version, tag, repository or key that does not exist."""

    code = "not-found"


class PathNotFound(NotFound, FileNotFoundError):
    """A path that does not exist, on the local disk or inside a version."""

    code = "path-not-found"


class AlreadyExists(DataverError):
    """Something with this name exists and is never overwritten."""

    code = "already-exists"


class Conflict(DataverError):
    """Somebody else's change got in first, or two wishes exclude each other."""

    code = "conflict"


class StoreError(DataverError):
    """The store refused or failed.

    Attributes:
        transient: whether the same call may succeed later (network, throttling) or will not (permission).
        retry_after: seconds that the store asks to be left alone for, or None where it does not say.
    """

    code = "store"

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        transient: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.transient = transient
        self.retry_after = retry_after


class IntegrityError(DataverError):
    """Bytes that are not what their name, checksum or format says (invariant 1)."""

    code = "integrity"


class FormatTooNew(DataverError):
    """Written by a newer dataver: a format number or a codec that this one does not know."""

    code = "format-too-new"


class InternalError(DataverError):
    """A defect of dataver itself."""

    code = "internal"


class Incomplete(DataverError):
    """The command did a part of what it was asked; `problems` says what was not done (invariant 10).

    Attributes:
        problems: one `(name, reason)` a thing that was left out.
    """

    code = "incomplete"

    def __init__(
        self, message: str, *, hint: str | None = None, problems: Sequence[tuple[str, str]] = ()
    ) -> None:
        super().__init__(message, hint=hint)
        self.problems = list(problems)
