"""All errors that dataver raises on purpose.

All derive from `DataverError`. A message is one sentence that names the object and its location; a hint is
the next step. `code` is stable: programs may compare it. Errors are grouped by how a caller handles them, not
by the module that raises them. Exceptions of other libraries are translated once, at the interface.
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
    """Base class of all errors of dataver: one sentence, and a hint with the next step.

    Attributes:
        code: stable name of the kind of error.
        message: one sentence about one object.
        hint: the next step, or None if there is none.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  hint: {self.hint}"


def message_of(error: BaseException) -> str:
    """Return the message of an error without the hint, for use in another sentence."""
    return error.message if isinstance(error, DataverError) else str(error)


class InvalidInput(DataverError, ValueError):
    """An invalid argument: a name, a path, an option."""

    code = "invalid-input"


class NotFound(DataverError):
    """A dataset, version, tag, repository or key that does not exist."""

    code = "not-found"


class PathNotFound(NotFound, FileNotFoundError):
    """A path that does not exist, on the local disk or inside a version."""

    code = "path-not-found"


class AlreadyExists(DataverError):
    """An object with this name exists and is never overwritten."""

    code = "already-exists"


class Conflict(DataverError):
    """Another change was made first, or two requests exclude each other."""

    code = "conflict"


class StoreError(DataverError):
    """The store refused or failed.

    Attributes:
        transient: whether the same call may succeed later (network, throttling, as opposed to permission).
        retry_after: seconds that the store asks to wait before a retry, or None.
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
    """Bytes that do not match their name, checksum or format (invariant 1)."""

    code = "integrity"


class FormatTooNew(DataverError):
    """Written by a newer dataver: an unknown format number or codec."""

    code = "format-too-new"


class InternalError(DataverError):
    """A defect of dataver itself."""

    code = "internal"


class Incomplete(DataverError):
    """A command was completed only in part; `problems` lists what was not done (invariant 10).

    Attributes:
        problems: one `(name, reason)` for each item that was left out.
    """

    code = "incomplete"

    def __init__(
        self, message: str, *, hint: str | None = None, problems: Sequence[tuple[str, str]] = ()
    ) -> None:
        super().__init__(message, hint=hint)
        self.problems = list(problems)
